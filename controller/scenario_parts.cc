#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "controller/scenario_checks.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {
namespace {

void CheckRun(const Service& service, const std::string& path, Reading& reading) {
  const std::string run = absl::StrCat(path, ".run");
  if (!reading.Sound(run)) return;
  if (service.run().empty() || service.run(0).empty()) {
    reading.Report(run,
                   "run names no program; write the program and its arguments, for example run: [bin/orders, "
                   "--port=8080]");
  }
}

void CheckAttach(const Service& service, const std::string& path, Reading& reading) {
  const std::string attach = absl::StrCat(path, ".attach");
  for (const char* key : {"cwd", "env", "user", "ready"}) {
    const std::string other = absl::StrCat(path, ".", key);
    if (!reading.Given(other)) continue;
    reading.Report(other, absl::StrCat(key, " goes with run only, and this service is attached to; leave ",
                                       key, " out"));
  }
  if (!reading.Sound(attach)) return;
  for (const auto& [key, empty] : {std::pair{"command", service.attach().by_case() == Attach::kCommand &&
                                                            service.attach().command().empty()},
                                   std::pair{"cgroup", service.attach().by_case() == Attach::kCgroup &&
                                                           service.attach().cgroup().empty()}}) {
    if (empty) {
      reading.Report(absl::StrCat(attach, ".", key),
                     absl::StrCat(key, " is empty, which matches no process; write the whole ",
                                  key == std::string("command") ? "command line" : "path of the cgroup"));
    }
  }
}

void CheckService(const Service& service, const std::string& path, Reading& reading) {
  const bool run = reading.Given(absl::StrCat(path, ".run"));
  const bool attach = reading.Given(absl::StrCat(path, ".attach"));
  if (run && attach) {
    reading.Report(
        absl::StrCat(path, ".attach"),
        "run and attach exclude each other; leave out attach to have squall start the service, or run to "
        "use one that is already running");
  } else if (run) {
    CheckRun(service, path, reading);
  } else if (attach) {
    CheckAttach(service, path, reading);
  } else if (reading.Sound(path)) {
    reading.Report(
        path, absl::StrCat("service ", Quoted(service.name()),
                           " is neither started nor found; write run: [bin/orders, --port=8080] or attach: "
                           "{listen: 8080}"));
  }
}

void CheckServices(const Scenario& scenario, Reading& reading) {
  std::map<std::string, std::string> attached;  // service by how it is found
  for (int i = 0; i < scenario.services_size(); ++i) {
    const Service& service = scenario.services(i);
    const std::string path = ItemPath("services", i);
    CheckService(service, path, reading);
    if (!service.has_attach() || !reading.Sound(absl::StrCat(path, ".attach"))) continue;
    const auto [first, is_new] = attached.emplace(service.attach().SerializeAsString(), service.name());
    if (is_new) continue;
    reading.Report(absl::StrCat(path, ".attach"),
                   absl::StrCat(Quoted(service.name()), " and ", Quoted(first->second),
                                " are the same process; leave one of them out"));
  }
}

void CheckEdges(const Scenario& scenario, Reading& reading) {
  std::map<std::pair<std::string, std::string>, std::string> same_way;
  std::map<std::string, std::string> relays;
  for (int i = 0; i < scenario.edges_size(); ++i) {
    const Edge& edge = scenario.edges(i);
    const std::string path = ItemPath("edges", i);
    if (!reading.Sound(path)) continue;
    const auto [same, is_new] = same_way.emplace(std::pair(edge.from(), edge.to()), edge.name());
    if (!is_new) {
      reading.Report(
          absl::StrCat(path, ".to"),
          absl::StrCat("edges ", Quoted(same->second), " and ", Quoted(edge.name()), " both go from ",
                       edge.from(), " to ", edge.to(), "; leave one of them out"));
    }
    if (edge.relay_at().empty()) continue;
    const std::string relay_at = absl::StrCat(path, ".relay_at");
    if (edge.relay_at() == edge.to()) {
      reading.Report(relay_at,
                     "relay_at is the address of the dependency itself; write another, free port, for "
                     "example \"127.0.0.1:19090\"");
      continue;
    }
    const auto [first, is_free] = relays.emplace(edge.relay_at(), edge.name());
    if (is_free) continue;
    reading.Report(relay_at, absl::StrCat("edge ", Quoted(first->second), " has its relay at ",
                                          edge.relay_at(), " already; write another, free port"));
  }
}

void CheckRate(const Load& load, const std::string& path, Reading& reading) {
  const bool rate = reading.Given(absl::StrCat(path, ".rate"));
  const bool steps = reading.Given(absl::StrCat(path, ".steps"));
  if (rate && steps) {
    reading.Report(absl::StrCat(path, ".steps"), "rate and steps exclude each other; leave out one of them");
  } else if (!reading.Sound(absl::StrCat(path, ".rate")) || !reading.Sound(absl::StrCat(path, ".steps"))) {
    // What is wrong may be what is looked for.
  } else if (!rate && load.steps().empty()) {
    reading.ReportAt(absl::StrCat(path, ".rate"), reading.At(path),
                     "rate is missing; write for example rate: 200/s, or steps: [{rate: 200/s, for: 10s}]");
  } else if (steps && load.steps(0).rate() <= 0) {
    reading.Report(
        absl::StrCat(path, ".steps[0].rate"),
        "the baseline runs at the rate of the first step, so 0/s measures nothing; write for example 200/s");
  }
}

void CheckNotEmpty(bool empty, const std::string& path, absl::string_view advice, Reading& reading) {
  if (empty && reading.Sound(path)) {
    reading.Report(path, absl::StrCat(path, reading.Given(path) ? " is empty; " : " is missing; ", advice));
  }
}

}  // namespace

void CheckParts(const Scenario& scenario, bool must_assert, Reading& reading) {
  CheckServices(scenario, reading);
  CheckEdges(scenario, reading);
  for (int i = 0; i < scenario.load_size(); ++i) CheckRate(scenario.load(i), ItemPath("load", i), reading);
  CheckNotEmpty(
      scenario.faults().empty(), "faults",
      "a scenario breaks something; write for example faults: [{latency: {delay: 500ms}, for: 10s}]",
      reading);
  CheckNotEmpty(must_assert && scenario.assertions().empty(), "assert",
                "a scenario without it proves nothing; write for example assert: [{recovery: {within: 10s}}]",
                reading);
}

}  // namespace squall
