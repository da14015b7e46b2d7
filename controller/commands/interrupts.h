#pragma once

#include <atomic>

namespace squall {

// From now on SIGINT, SIGTERM and SIGHUP are counted here instead of ending the process: it heals first.
const std::atomic<int>& CatchInterrupts();

}  // namespace squall
