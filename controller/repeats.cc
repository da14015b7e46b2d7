#include "controller/repeats.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "controller/plan.h"
#include "controller/process_faults.h"
#include "controller/scalars.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {

std::vector<std::string> NamesOfTimes(const Fault& fault) {
  std::vector<std::string> names = {fault.name()};
  for (int time = 2; time <= fault.repeat(); ++time) names.push_back(absl::StrCat(fault.name(), "-", time));
  return names;
}

Scenario WithRepeats(const Scenario& scenario) {
  Scenario out = scenario;
  out.clear_faults();
  const absl::Duration recovery = MakePlan(scenario).recovery;
  for (const Fault& fault : scenario.faults()) {
    std::string before;
    for (const std::string& name : NamesOfTimes(fault)) {
      Fault& time = *out.add_faults() = fault;
      time.set_name(name);
      time.clear_repeat();
      if (!before.empty()) {
        time.set_repeats(fault.name());
        time.set_after(before);
        *time.mutable_at() = fault.has_rest() ? fault.rest() : FromDuration(recovery);
      } else {
        for (const Fault& other : scenario.faults()) {
          if (other.name() == fault.after()) time.set_after(NamesOfTimes(other).back());
        }
      }
      before = name;
    }
  }
  return out;
}

std::vector<std::string> RepeatsOf(const Scenario& scenario, const std::string& name) {
  std::string first = name;
  if (first.empty()) {
    for (const Fault& fault : scenario.faults()) {
      if (!fault.repeats().empty()) continue;
      if (!first.empty()) return {};
      first = fault.name();
    }
  }
  std::vector<std::string> times;
  for (const Fault& fault : scenario.faults()) {
    if (fault.name() == first || fault.repeats() == first) times.push_back(fault.name());
  }
  return times.size() > 1 ? times : std::vector<std::string>{};
}

void CheckRepeats(const Scenario& scenario, Reading& reading) {
  std::set<std::string> names;
  for (const Fault& fault : scenario.faults()) names.insert(fault.name());
  for (int i = 0; i < scenario.faults_size(); ++i) {
    const Fault& fault = scenario.faults(i);
    const std::string path = ItemPath("faults", i);
    if (fault.repeat() <= 1) {
      if (reading.Given(path + ".rest")) reading.Report(path + ".rest", "rest goes with repeat; leave it out, or write for example repeat: 5");
      continue;
    }
    const std::vector<std::string> times = NamesOfTimes(fault);
    for (size_t k = 1; k < times.size(); ++k) {
      if (names.count(times[k]) == 0) continue;
      reading.Report(path + ".repeat", absl::StrCat("another fault has the name ", Quoted(times[k]), ", which would be that of time ", k + 1,
                                                    " of ", Quoted(fault.name()), "; give it another name"));
      break;
    }
    if (LeavesDead(fault)) {
      reading.Report(path + ".repeat", absl::StrCat(Quoted(fault.name()), " leaves nothing to kill a second time; write restart_after in kill"));
    }
  }
  const bool rests = std::any_of(scenario.assertions().begin(), scenario.assertions().end(),
                                 [](const Assertion& assertion) { return assertion.has_no_leak(); });
  if (!rests || !reading.Sound("faults")) return;
  const Scenario whole = WithRepeats(scenario);
  const Plan plan = MakePlan(whole);
  for (const PlannedFault& time : plan.faults) {
    if (time.fault->repeats().empty()) continue;
    for (const PlannedFault& other : plan.faults) {
      if (other.fault == time.fault || other.at >= time.at || other.until <= time.at) continue;
      for (int i = 0; i < scenario.faults_size(); ++i) {
        if (scenario.faults(i).name() != time.fault->repeats()) continue;
        reading.Report(ItemPath("faults", i) + ".repeat",
                       absl::StrCat("before each time of ", Quoted(time.fault->repeats()), " the loads rest for the no_leak, and ",
                                    Quoted(other.fault->name()), " still acts then; let it end before, or write a longer rest"));
        return;
      }
    }
  }
}

}  // namespace squall
