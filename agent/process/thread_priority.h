#pragma once

namespace squall {

// Lets the calling thread run before others and wake on time, as far as the host allows: without privileges it stays as it
// is. For threads that measure or pass traffic on, since what delays them counts against the target. Threads and processes
// that it starts have the ordinary priority.
void RaiseThreadPriority();

}  // namespace squall
