#include "agent/load/thread_priority.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace squall {

void RaiseThreadPriority() {
  // EPERM without CAP_SYS_NICE is the expected answer on a workstation; what is late is then counted as late.
  // On Linux a tid is taken where POSIX speaks of a process, and only that thread changes.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), -19);
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
}

}  // namespace squall
