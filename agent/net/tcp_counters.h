#pragma once

#include <cstdint>

namespace squall {

// Connects over TCP that failed in this thread's network namespace since it was made: tcpAttemptFails (RFC 4022) of
// /proc/net/snmp. 0 where the kernel does not tell.
int64_t FailedConnects();

}  // namespace squall
