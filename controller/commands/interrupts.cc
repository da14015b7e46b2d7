#include "controller/commands/interrupts.h"

#include <signal.h>

namespace squall {
namespace {

std::atomic<int> interrupts = 0;

void OnInterrupt(int) { ++interrupts; }

}  // namespace

const std::atomic<int>& CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = &OnInterrupt;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return interrupts;
}

}  // namespace squall
