#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/assertion_checks.h"
#include "controller/dns_checks.h"
#include "controller/load_faults.h"
#include "controller/margin.h"
#include "controller/network_checks.h"
#include "controller/network_faults.h"
#include "controller/plan.h"
#include "controller/process_checks.h"
#include "controller/process_faults.h"
#include "controller/ramp_checks.h"
#include "controller/repeats.h"
#include "controller/scalars.h"
#include "controller/scenario_checks.h"
#include "controller/schema.h"
#include "controller/units.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr absl::Duration kLongestRun = absl::Hours(24);
constexpr absl::Duration kLeastMargin = absl::Milliseconds(50);
constexpr double kMarginShare = 0.05;
constexpr size_t kMostNamed = 10;

// A fault with its times, for checks.
struct Timed {
  const Fault* fault = nullptr;
  std::string path;
  absl::Duration at;
  absl::Duration until;
  absl::Duration after_until;  // when the fault of its `after` ends; zero without
  bool known = false;          // its times can be relied on
};

bool IsKill(const Timed& timed) { return timed.fault->has_kill(); }

// What to write as `at:` of the fault so that it starts at `start`.
std::string AtFor(const Timed& timed, absl::Duration start) {
  return absl::StrCat("at: ", DurationText(start - timed.after_until));
}

std::string Span(const Timed& timed) {
  return timed.at == timed.until ? absl::StrCat("at ", HumanDuration(timed.at))
                                 : absl::StrCat(HumanDuration(timed.at), " to ", HumanDuration(timed.until));
}

class TimingChecker {
 public:
  TimingChecker(const Scenario& scenario, Reading& reading) : scenario_(scenario), reading_(reading) {}

  void Check() {
    for (int i = 0; i < scenario_.faults_size(); ++i) CheckFault(scenario_.faults(i), ItemPath("faults", i));
    CheckCycles();
    plan_ = MakePlan(scenario_);
    FindTimes();
    CheckClashes();
    for (int i = 0; i < scenario_.assertions_size(); ++i) {
      const std::string path = ItemPath("assert", i);
      CheckAssertion(scenario_, scenario_.assertions(i), absl::StrCat(path, ".", AssertionKind(scenario_.assertions(i))), reading_);
      if (scenario_.assertions(i).has_timeout())
        CheckTimeout(scenario_.assertions(i).timeout(), path + ".timeout");
      if (scenario_.assertions(i).has_recovery())
        CheckQuiet(scenario_.assertions(i).recovery(), path + ".recovery");
      if (scenario_.assertions(i).has_tls_verified())
        CheckTlsVerified(scenario_, scenario_.assertions(i).tls_verified(), path + ".tls_verified", reading_);
      if (scenario_.assertions(i).has_circuit_breaker())
        CheckBreakersFault(scenario_, scenario_.assertions(i).circuit_breaker(), path + ".circuit_breaker", reading_);
    }
    if (reading_.Sound("faults")) CheckRepeats(scenario_, reading_);
    CheckFind(scenario_, reading_);
    CheckRamps(scenario_, reading_);
    CheckTotal();
  }

 private:
  bool IsAttached(const std::string& name) const {
    const Service* service = FindNamed(scenario_.services(), name);
    return service != nullptr && service->has_attach();
  }

  // ---- single faults

  void CheckFault(const Fault& fault, const std::string& path) {
    switch (GroupOf(fault)) {
      case FaultGroup::kNetwork:
        CheckLasts(path);
        CheckNetworkFault(scenario_, fault, absl::StrCat(path, ".", FaultKind(fault)), reading_);
        return;
      case FaultGroup::kDns:
        CheckLasts(path);
        CheckDns(fault.dns(), absl::StrCat(path, ".dns"), reading_);
        return;
      case FaultGroup::kProcess:
        if (!fault.has_kill()) CheckLasts(path);
        CheckProcessFault(scenario_, fault, path, reading_);
        return;
      case FaultGroup::kLoad:
        CheckLasts(path);
        CheckLoadFault(scenario_, fault, absl::StrCat(path, ".", FaultKind(fault)), reading_);
        return;
      case FaultGroup::kNone:
        return;
    }
  }

  void CheckLasts(const std::string& path) {
    const std::string lasts = absl::StrCat(path, ".for");
    if (reading_.Given(lasts) || !reading_.Sound(lasts)) return;
    reading_.ReportAt(lasts, reading_.At(path),
                      "for is missing: every fault has an end; write for example for: 10s");
  }

  // ---- times

  // Once for each cycle, at its first fault.
  void CheckCycles() {
    std::map<std::string, int> index;
    for (int i = 0; i < scenario_.faults_size(); ++i) index.emplace(scenario_.faults(i).name(), i);
    std::set<int> seen;
    for (int start = 0; start < scenario_.faults_size(); ++start) {
      std::vector<int> way;
      int i = start;
      while (seen.insert(i).second) {
        way.push_back(i);
        const auto next = index.find(scenario_.faults(i).after());
        if (scenario_.faults(i).after().empty() || next == index.end()) break;
        i = next->second;
        const auto closed = std::find(way.begin(), way.end(), i);
        if (closed != way.end()) ReportCycle({closed, way.end()});
      }
    }
  }

  void ReportCycle(const std::vector<int>& cycle) {
    std::vector<std::string> names;
    for (int i : cycle) names.push_back(scenario_.faults(i).name());
    // None of the cycle has times, nor what comes after it.
    cyclic_.insert(names.begin(), names.end());
    if (names.size() > kMostNamed) names.resize(kMostNamed);
    const int first = *std::min_element(cycle.begin(), cycle.end());
    const std::string who = cycle.size() == 1 ? absl::StrCat(Quoted(names[0]), " waits for itself")
                                              : absl::StrCat(absl::StrJoin(names, ", "),
                                                             cycle.size() > names.size() ? " and others" : "",
                                                             " wait for each other");
    reading_.Report(absl::StrCat(ItemPath("faults", first), ".after"),
                    absl::StrCat(who, ", so none would ever start; leave out `after` on one of them"));
  }

  void FindTimes() {
    for (const PlannedFault& planned : plan_.faults) {
      Timed timed;
      timed.fault = planned.fault;
      timed.at = planned.at;
      timed.until = planned.until;
      for (int i = 0; i < scenario_.faults_size(); ++i) {
        if (&scenario_.faults(i) == planned.fault) timed.path = ItemPath("faults", i);
      }
      timed.known = reading_.Sound(timed.path) && planned.fault->kind_case() != Fault::KIND_NOT_SET &&
                    cyclic_.count(planned.fault->name()) == 0;
      timed_.push_back(timed);
    }
    // A fault that waits for one of unknown times has unknown times itself. Waiting ones come later, unless
    // at the same time.
    for (bool changed = true; changed;) {
      changed = false;
      for (Timed& timed : timed_) {
        if (!timed.known || timed.fault->after().empty()) continue;
        const Timed* before = FindTimed(timed.fault->after());
        timed.after_until = before == nullptr ? absl::ZeroDuration() : before->until;
        if (before != nullptr && before->known) continue;
        timed.known = false;
        changed = true;
      }
    }
  }

  const Timed* FindTimed(const std::string& name) const {
    for (const Timed& timed : timed_) {
      if (timed.fault->name() == name) return &timed;
    }
    return nullptr;
  }

  void CheckTotal() {
    const bool all_known =
        std::all_of(timed_.begin(), timed_.end(), [](const Timed& timed) { return timed.known; });
    if (!all_known || !reading_.Sound("load") || !reading_.Sound("assert")) return;
    const absl::Duration longest = MakePlan(WithRepeats(scenario_)).Longest();
    if (longest <= kLongestRun) return;
    const auto last = std::max_element(timed_.begin(), timed_.end(),
                                       [](const Timed& a, const Timed& b) { return a.until < b.until; });
    reading_.Report(
        last == timed_.end() ? "faults" : last->path,
        absl::StrCat("the run would take up to ", DurationText(longest),
                     " and may take 24h; shorten the faults, the budgets or, by a higher rate, the windows"));
  }

  // ---- faults that fight over one thing

  void CheckClashes() {
    for (size_t i = 0; i < timed_.size(); ++i) {
      for (size_t k = i + 1; k < timed_.size(); ++k) {
        const Timed& first = timed_[i];
        const Timed& second = timed_[k];
        if (!first.known || !second.known) continue;
        CheckTogether(first, second);
        if (IsKill(first) && IsKill(second)) CheckKills(first, second);
        if (first.fault->has_dns() && second.fault->has_dns()) CheckAnswers(first, second);
      }
      if (timed_[i].known && timed_[i].fault->has_surge()) CheckSurge(timed_[i]);
    }
  }

  // Surges of one load that act together multiply.
  void CheckSurge(const Timed& surge) {
    const std::string& name = surge.fault->surge().load();
    const auto load = std::find_if(scenario_.load().begin(), scenario_.load().end(), [&](const Load& each) { return each.name() == name; });
    if (load == scenario_.load().end() || !reading_.Sound("load")) return;
    double rate = MostOffered(*load);
    for (const Timed& other : timed_) {
      const bool acts = other.known && other.at <= surge.at && surge.at < other.until;
      if (acts && LoadOfFault(*other.fault) == name && other.fault->has_surge()) rate *= other.fault->surge().times();
    }
    if (rate <= kMostOfALoad) return;
    reading_.Report(surge.path + ".surge.times", absl::StrCat("load ", name, " would come to ", HumanRate(rate), " and can come to ",
                                                              HumanRate(kMostOfALoad), "; write less"));
  }

  // REQUIRES: first.at <= second.at.
  void CheckTogether(const Timed& first, const Timed& second) {
    // What begins at the same instant begins in no order.
    if (second.at >= first.until && second.at != first.at) return;
    std::string both = FightOver(scenario_, *first.fault, *second.fault);
    if (both.empty()) both = FightOverProcess(scenario_, *first.fault, *second.fault);
    if (both.empty()) return;
    reading_.Report(second.path, absl::StrCat(Quoted(second.fault->name()), " (", Span(second), ") and ",
                                              Quoted(first.fault->name()), " (", Span(first), ") both ", both,
                                              "; write ", AtFor(second, first.until > first.at ? first.until : first.at + absl::Seconds(1)),
                                              " or later"));
  }

  // REQUIRES: first.at <= second.at.
  void CheckAnswers(const Timed& first, const Timed& second) {
    if (second.at >= first.until) return;
    const std::string name = NameOfBoth(first.fault->dns(), second.fault->dns());
    if (name.empty()) return;
    reading_.Report(second.path, absl::StrCat(Quoted(second.fault->name()), " (", Span(second), ") and ",
                                              Quoted(first.fault->name()), " (", Span(first), ") both answer ",
                                              Quoted(name), " at the same time; write ", AtFor(second, first.until),
                                              " or later, or other names"));
  }

  // REQUIRES: first.at <= second.at.
  void CheckKills(const Timed& first, const Timed& second) {
    const std::string& service = first.fault->kill().service();
    if (service.empty() || service != second.fault->kill().service()) return;
    if (second.at <= first.until) {
      reading_.Report(second.path, absl::StrCat(Quoted(second.fault->name()), " (", Span(second), ") and ",
                                                Quoted(first.fault->name()), " (", Span(first), ") kill ",
                                                service, " at the same time; write ",
                                                AtFor(second, first.until + absl::Seconds(1)), " or later"));
    } else if (LeavesDead(*first.fault) && !IsAttached(service)) {
      reading_.Report(
          second.path,
          absl::StrCat(service, " is dead already, since ", Quoted(first.fault->name()), " killed it at ",
                       HumanDuration(first.at), "; give that one restart_after, or leave this one out"));
    }
  }

  // ---- assertions

  static absl::Duration MarginOf(const Timeout& timeout) {
    return timeout.has_margin() ? ToDuration(timeout.margin())
                                : std::max(kLeastMargin, kMarginShare * ToDuration(timeout.deadline()));
  }

  void CheckTimeout(const Timeout& timeout, const std::string& path) {
    if (!reading_.Sound(path)) return;
    const absl::Duration limit = ToDuration(timeout.deadline()) + 2 * MarginOf(timeout);
    CheckPatience(timeout, limit, path);
    CheckExercised(timeout, limit, path);
  }

  // A client that gives up within what the assertion allows would hide a late answer.
  void CheckPatience(const Timeout& timeout, absl::Duration limit, const std::string& path) {
    for (int i = 0; i < scenario_.load_size(); ++i) {
      const Load& load = scenario_.load(i);
      const std::string patience = absl::StrCat(ItemPath("load", i), ".give_up_after");
      if (load.name() != timeout.load() || !reading_.Sound(patience) ||
          ToDuration(load.give_up_after()) > limit)
        continue;
      const std::string message = absl::StrCat(
          "impossible timing: clients of ", load.name(), " give up after ",
          HumanDuration(ToDuration(load.give_up_after())), ", and the timeout of ",
          HumanDuration(ToDuration(timeout.deadline())), " with its margin allows ", HumanDuration(limit),
          "; write in load ", load.name(), " give_up_after: ", DurationText(2 * limit));
      reading_.Report(reading_.Given(patience) ? patience : absl::StrCat(path, ".deadline"), message);
    }
  }

  // A service that its own clients cannot reach answers none of them in time, whatever it does.
  static std::string CutFromItsCallers(const Fault& fault, const Timeout& timeout) {
    if (!fault.has_partition() || fault.partition().isolate().empty()) return "";
    return absl::StrCat(Quoted(fault.name()), " cuts ", fault.partition().isolate(), " from everybody, and with it from ", timeout.load(),
                        " where that calls it: late answers would tell nothing; cut an edge (edge: ...) or give the timeout another `fault`");
  }

  // Only a dependency that answers later than the limit shows whether the service keeps its deadline.
  void CheckExercised(const Timeout& timeout, absl::Duration limit, const std::string& path) {
    std::string longest_name;
    absl::Duration longest;
    for (const Timed& timed : timed_) {
      if (!timeout.fault().empty() && timed.fault->name() != timeout.fault()) continue;
      if (!reading_.Sound(timed.path)) return;
      if (const std::string callers = CutFromItsCallers(*timed.fault, timeout); !callers.empty()) {
        reading_.Report(path, callers);
        return;
      }
      if (const std::string why = CannotJudgeTimeout(scenario_, timeout, *timed.fault); !why.empty()) {
        reading_.Report(path, why);
        return;
      }
      // As a service does without processor time, or over an edge that is slow by the byte.
      if (DelaysByChance(*timed.fault)) return;
      const absl::Duration least = LeastWait(*timed.fault);
      if (least <= absl::ZeroDuration()) continue;
      if (least >= limit) return;
      if (longest_name.empty() || least > longest) {
        longest = least;
        longest_name = timed.fault->name();
      }
    }
    if (!reading_.Sound("faults") || timed_.empty()) return;
    const std::string needed =
        absl::StrCat("a latency of ", DurationText(limit), " or more (deadline + 2 margins)");
    if (longest_name.empty()) {
      const std::string where =
          timeout.fault().empty() ? "no fault here" : absl::StrCat("not ", Quoted(timeout.fault()));
      reading_.Report(
          path, absl::StrCat("impossible timing: only a fault that makes calls wait (latency, stall, blackhole, partition, pause, or an http, grpc or dns fault "
                             "that answers late) makes requests run into a deadline, and ",
                             where, " is one; add ", needed));
      return;
    }
    const bool stops = FindTimed(longest_name)->fault->has_pause();
    reading_.Report(absl::StrCat(path, ".deadline"),
                    absl::StrCat("impossible timing: ", Quoted(longest_name), " makes calls wait no longer than ", HumanDuration(longest),
                                 stops ? "" : " for certain (delay - jitter)", ", which tells nothing about a deadline of ",
                                 HumanDuration(ToDuration(timeout.deadline())), "; write ",
                                 stops ? absl::StrCat("a stop of ", DurationText(limit), " or more (deadline + 2 margins)") : needed,
                                 ", or a shorter deadline"));
  }

  // Until the budget is over, no other fault may act.
  void CheckQuiet(const Recovery& recovery, const std::string& path) {
    if (recovery.fault().empty() || !reading_.Sound(path)) return;
    const Timed* timed = FindTimed(recovery.fault());
    if (timed == nullptr || !timed->known) return;
    const bool since_inject = recovery.since() == Recovery::SINCE_INJECT;
    const absl::Duration need = ToDuration(recovery.within()) + recovery.windows() * WindowOf(recovery.load());
    const absl::Duration quiet_until =
        std::max((since_inject ? timed->at : timed->until) + need, timed->until);
    for (const Timed& other : timed_) {
      if (!other.known || &other == timed || other.until < timed->until || other.at >= quiet_until) continue;
      if (other.at < timed->until) {
        reading_.Report(
            absl::StrCat(path, ".fault"),
            absl::StrCat(Quoted(other.fault->name()), " (", Span(other), ") still acts when ",
                         Quoted(timed->fault->name()), " ends at ", HumanDuration(timed->until),
                         ", so recovery from it cannot be judged; leave out `fault` to judge recovery "
                         "from all faults"));
        return;
      }
      const std::string at = absl::StrCat(other.path, ".at");
      reading_.Report(
          at, absl::StrCat(Quoted(other.fault->name()), " starts at ", HumanDuration(other.at),
                           ", before recovery from ", Quoted(timed->fault->name()), " can be judged (",
                           HumanDuration(ToDuration(recovery.within())), " and ", recovery.windows(),
                           " windows); write ", AtFor(other, quiet_until)));
      return;
    }
  }

  absl::Duration WindowOf(const std::string& load_name) const {
    for (const Load& load : scenario_.load()) {
      if (load.name() == load_name) return JudgedWindow(load);
    }
    return plan_.window;
  }

  const Scenario& scenario_;
  Reading& reading_;
  Plan plan_;
  std::vector<Timed> timed_;  // in the order of `at`
  std::set<std::string> cyclic_;
};

}  // namespace

void CheckTiming(const Scenario& scenario, Reading& reading) { TimingChecker(scenario, reading).Check(); }

}  // namespace squall
