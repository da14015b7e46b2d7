#include "controller/assertions/shutdown_exit.h"

#include <signal.h>

#include <cstring>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// An exit is seen so late at most.
constexpr int64_t kSeenWithinNs = 20'000'000;

int NumberOf(const std::string& signal) {
  for (int number = 1; number < NSIG; ++number) {
    const char* abbreviation = sigabbrev_np(number);
    if (abbreviation != nullptr && signal == absl::StrCat("SIG", abbreviation)) return number;
  }
  return 0;
}

std::string HowItEnded(const ServiceEvent& exit) {
  if (!exit.exit_known()) return "was gone";
  if (exit.exit_signal() == 0) return absl::StrCat("exited with ", exit.exit_code());
  const char* abbreviation = sigabbrev_np(exit.exit_signal());
  if (abbreviation == nullptr) return absl::StrCat("was ended by signal ", exit.exit_signal());
  return absl::StrCat("was ended by SIG", abbreviation);
}

bool IsGood(const ServiceEvent& exit, int number) {
  if (exit.exit_signal() != 0) return exit.exit_signal() == number;
  return exit.exit_code() == 0 || exit.exit_code() == 128 + number;
}

// The end of the service that the signal asked for. Where the run ends sooner, it is squall that ends it.
const ServiceEvent* ExitOf(const Shutdown& shutdown) {
  for (const ServiceEvent& event : shutdown.timeline.services) {
    if (event.service() != shutdown.kill.service() || event.what() != ServiceEvent::EXITED) continue;
    if (event.at_ns() >= shutdown.signalled_ns && event.at_ns() < shutdown.known_ns) return &event;
  }
  return nullptr;
}

// Only some of its processes were signalled, and the service goes on: nobody saw when each of them ended.
void CheckSomeGone(const Shutdown& shutdown, Promise& promise) {
  const Evidence& evidence = shutdown.span.evidence;
  const int64_t looked_ns = shutdown.span.healed_ns.value_or(shutdown.known_ns);
  const std::string gone = absl::StrCat(Grouped(evidence.gone()), " of ", Grouped(evidence.signalled()),
                                        evidence.signalled() == 1 ? " process" : " processes", " gone ",
                                        Tenths(shutdown.Took(looked_ns)), " after ", shutdown.kill.signal());
  promise.measured = gone;
  promise.text = gone;
  if (evidence.gone() >= evidence.signalled()) return;
  if (shutdown.Took(looked_ns) > shutdown.within_ns + kSeenWithinNs) {
    promise.Break(absl::StrCat("only ", gone), looked_ns);
  } else {
    promise.Open(
        {absl::StrCat("only ", gone, ", when they were last looked at"), "write `grace` on the kill, as long as `within`"});
  }
}

// It never ended, as far as anybody knows.
void CheckStillRuns(const Shutdown& shutdown, int64_t limit_ns, Promise& promise) {
  const int64_t ran_ns = shutdown.Took(shutdown.known_ns);
  const std::string ran = absl::StrCat(shutdown.kill.service(), " still ran ", Tenths(ran_ns), " after ", shutdown.kill.signal());
  promise.measured = absl::StrCat("not after ", Tenths(ran_ns));
  if (ran_ns > limit_ns) {
    promise.Break(absl::StrCat(ran, " (", HumanNanos(shutdown.within_ns), " allowed)"), shutdown.known_ns);
  } else {
    promise.Open({absl::StrCat(ran, ", and may for ", HumanNanos(shutdown.within_ns)),
                  shutdown.timeline.footer ? "let the run go on for longer after the kill" : ""});
  }
}

}  // namespace

Promise CheckExit(const Shutdown& shutdown) {
  const Kill& kill = shutdown.kill;
  const std::string& service = kill.service();
  const int64_t limit_ns = shutdown.within_ns + kSeenWithinNs;
  Promise promise;
  promise.name = "exit";
  promise.limit = absl::StrCat("at most ", Tenths(limit_ns));
  if (shutdown.span.evidence.ended_by_grace() > 0) {
    const int64_t grace_ns = Nanos(kill.grace());
    promise.measured = absl::StrCat("SIGKILL after ", HumanNanos(grace_ns));
    promise.limit = "no SIGKILL";
    promise.Break(
        absl::StrCat(service, " still ran ", HumanNanos(grace_ns), " after ", kill.signal(), ", and was ended by SIGKILL"),
        shutdown.signalled_ns + grace_ns);
    return promise;
  }
  const ServiceEvent* exit = kill.count() > 0 ? nullptr : ExitOf(shutdown);
  if (exit == nullptr) {
    kill.count() > 0 ? CheckSomeGone(shutdown, promise) : CheckStillRuns(shutdown, limit_ns, promise);
    return promise;
  }
  const int64_t took_ns = shutdown.Took(exit->at_ns());
  const std::string how = HowItEnded(*exit);
  const std::string after = absl::StrCat(Tenths(took_ns), " after ", kill.signal());
  promise.measured = Tenths(took_ns);
  promise.margin = Tenths(limit_ns - took_ns);
  promise.text = absl::StrCat(service, " ", how, ", ", after);
  if (took_ns > limit_ns) {
    promise.Break(absl::StrCat(service, " ", how, " only ", after, " (", HumanNanos(shutdown.within_ns), " allowed)"),
                  exit->at_ns());
    return promise;
  }
  if (!exit->exit_known()) promise.text += " (its status is not known, as squall did not start it)";
  const bool for_restart =
      kill.has_restart_after() && shutdown.span.heal_asked_ns && exit->at_ns() >= *shutdown.span.heal_asked_ns;
  if (for_restart && (!exit->exit_known() || exit->exit_signal() == SIGKILL)) {
    promise.Open({absl::StrCat(service, " still ran when it was to be started again, ", after, ", and may for ",
                               HumanNanos(shutdown.within_ns)),
                  "raise the kill's `restart_after` beyond `within`"});
  } else if (const int number = NumberOf(kill.signal()); exit->exit_known() && !IsGood(*exit, number)) {
    promise.measured = how;
    promise.limit = absl::StrCat("0, ", 128 + number, " or ", kill.signal());
    promise.margin = "";
    promise.Break(absl::StrCat(promise.text, "; ", promise.limit, " is expected"), exit->at_ns());
  }
  return promise;
}

}  // namespace squall
