#include "agent/process/thread_priority.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace squall {

void RaiseThreadPriority() {
  // Real time, at the lowest level of it. Nice values would not do: with autogroups (kernel.sched_autogroup_enabled) they
  // count only among threads of one terminal session. What is forked from the thread gets the ordinary priority again.
  sched_param lowest = {};
  lowest.sched_priority = 1;
  if (sched_setscheduler(gettid(), SCHED_RR | SCHED_RESET_ON_FORK, &lowest) != 0) {
    // EPERM without CAP_SYS_NICE is the expected answer on a workstation; what is late is then counted as late.
    // On Linux a tid is taken where POSIX speaks of a process, and only that thread changes.
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), -19);
  }
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
}

}  // namespace squall
