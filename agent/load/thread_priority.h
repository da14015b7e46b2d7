#pragma once

namespace squall {

// Lets the calling thread run before others and wake on time, as far as the host allows: without privileges
// it stays as it is. For threads that measure, since what delays them counts against the target. Threads and
// processes that it starts afterwards inherit it.
void RaiseThreadPriority();

}  // namespace squall
