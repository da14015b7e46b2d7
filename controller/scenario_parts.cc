#include <arpa/inet.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "controller/formats.h"
#include "controller/limiter_steps.h"
#include "controller/load_checks.h"
#include "controller/network_checks.h"
#include "controller/placement.h"
#include "controller/scalars.h"
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

// Whom a service asks for names must not have to be looked up itself.
bool IsIpWithPort(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  in6_addr ip;
  if (inet_pton(AF_INET, host.c_str(), &ip) == 1) return true;
  return host.size() > 2 && inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &ip) == 1;
}

void CheckNameServer(const Service& service, const std::string& path, Reading& reading) {
  const std::string nameserver = absl::StrCat(path, ".nameserver");
  const std::string resolver_at = absl::StrCat(path, ".resolver_at");
  if (!reading.Sound(nameserver) || !reading.Sound(resolver_at)) return;
  for (const auto& [at, address] : {std::pair{nameserver, service.nameserver()}, {resolver_at, service.resolver_at()}}) {
    if (!address.empty() && !IsIpWithPort(address)) {
      reading.Report(at, absl::StrCat(Quoted(address), " is no IP address with a port; write for example \"127.0.0.1:15353\""));
    }
  }
  if (service.resolver_at().empty()) return;
  if (service.nameserver().empty()) {
    reading.Report(resolver_at,
                   "resolver_at needs a server to which it forwards; write beside it for example nameserver: "
                   "\"127.0.0.53:53\"");
  } else if (service.nameserver() == service.resolver_at()) {
    reading.Report(resolver_at,
                   "resolver_at is the address of the name server itself; write another, free port, for example "
                   "\"127.0.0.1:15353\"");
  }
}

// What asks them speaks plain HTTP.
void CheckPlain(const HttpReady& check, const std::string& path, Reading& reading) {
  if (!absl::StartsWithIgnoreCase(check.url(), "https://")) return;
  reading.Report(path, "readiness is asked over http:// only; write another URL, or tcp: \"127.0.0.1:8443\"");
}

void CheckService(const Service& service, const std::string& path, Reading& reading) {
  CheckPlain(service.ready().http(), path + ".ready.http.url", reading);
  CheckNameServer(service, path, reading);
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
  std::map<std::string, std::string> attached;   // service by how it is found
  std::map<std::string, std::string> resolvers;  // service by resolver_at
  for (int i = 0; i < scenario.services_size(); ++i) {
    const Service& service = scenario.services(i);
    const std::string path = ItemPath("services", i);
    CheckService(service, path, reading);
    if (!service.resolver_at().empty() && reading.Sound(absl::StrCat(path, ".resolver_at"))) {
      const auto [holder, is_free] = resolvers.emplace(service.resolver_at(), service.name());
      if (!is_free) {
        reading.Report(absl::StrCat(path, ".resolver_at"),
                       absl::StrCat("the queries of ", Quoted(holder->second), " are answered at ",
                                    service.resolver_at(), " already; write another, free port"));
      }
    }
    if (!service.has_attach() || !reading.Sound(absl::StrCat(path, ".attach"))) continue;
    const auto [first, is_new] =
        attached.emplace(absl::StrCat(service.on(), " ", service.attach().SerializeAsString()), service.name());
    if (is_new) continue;
    reading.Report(absl::StrCat(path, ".attach"),
                   absl::StrCat(Quoted(service.name()), " and ", Quoted(first->second),
                                " are the same process; leave one of them out"));
  }
}

// 0.0.0.0 and :: are for listening; who connects there reaches its own host.
void CheckIsPlace(const std::string& to, const std::string& path, Reading& reading) {
  const std::string plain = PlainAddress(to);
  const std::string port = plain.substr(plain.rfind(':'));
  if (plain != "0.0.0.0" + port && plain != "[::]" + port) return;
  reading.Report(path, absl::StrCat(Quoted(to), " is no place that a service calls; write \"",
                                    plain[0] == '[' ? "[::1]" : "127.0.0.1", port, "\", or \"*", port, "\" for any address"));
}

void CheckRelayAt(const Edge& edge, const std::string& relay_at, Reading& reading) {
  for (const std::string& to : edge.to()) {
    if (PlainAddress(to) == PlainAddress(edge.relay_at())) {
      reading.Report(relay_at,
                     "relay_at is the address of the dependency itself; write another, free port, for "
                     "example \"127.0.0.1:19090\"");
    } else if (to[0] == '*') {
      reading.Report(relay_at,
                     absl::StrCat("a relay at an address of its own cannot know which address the service means by ", Quoted(to),
                                  "; leave out relay_at, or write the addresses"));
    }
  }
}

void CheckEdges(const Scenario& scenario, Reading& reading) {
  std::map<std::pair<std::string, std::string>, std::string> same_way;
  std::map<std::string, std::string> relays;
  for (int i = 0; i < scenario.edges_size(); ++i) {
    const Edge& edge = scenario.edges(i);
    const std::string path = ItemPath("edges", i);
    if (!reading.Sound(path)) continue;
    if (edge.to().empty()) {
      reading.Report(path + ".to", "to is empty; write for example to: \"127.0.0.1:9090\"");
      continue;
    }
    for (int k = 0; k < edge.to_size(); ++k) {
      const std::string& to = edge.to(k);
      const std::string at = reading.Given(ItemPath(path + ".to", k)) ? ItemPath(path + ".to", k) : path + ".to";
      CheckIsPlace(to, at, reading);
      // "*:5432" beside "10.0.0.7:5432" is no overlap: the address that is written out wins.
      const auto [same, is_new] = same_way.emplace(std::pair(edge.from(), PlainAddress(to)), edge.name());
      if (is_new) continue;
      reading.Report(at, same->second == edge.name()
                             ? absl::StrCat(to, " is there twice; leave one of them out")
                             : absl::StrCat("edges ", Quoted(same->second), " and ", Quoted(edge.name()), " both go from ",
                                            edge.from(), " to ", to, "; leave one of them out"));
    }
    if (edge.relay_at().empty()) continue;
    const std::string relay_at = absl::StrCat(path, ".relay_at");
    CheckRelayAt(edge, relay_at, reading);
    if (!reading.Sound(relay_at)) continue;
    const auto [first, is_free] =
        relays.emplace(absl::StrCat(AgentOfEdge(scenario, edge.name()), " ", edge.relay_at()), edge.name());
    if (is_free) continue;
    reading.Report(relay_at, absl::StrCat("edge ", Quoted(first->second), " has its relay at ",
                                          edge.relay_at(), " already; write another, free port"));
  }
}

// A rate_limiter judges the load, or may be meant to: what is wrong with that is reported there.
bool HasRateLimiter(const Scenario& scenario, const Load& load) {
  return std::any_of(scenario.assertions().begin(), scenario.assertions().end(), [&](const Assertion& assertion) {
    const std::string& judged = assertion.rate_limiter().load();
    return assertion.has_rate_limiter() && (judged.empty() || judged == load.name());
  });
}

void CheckRate(const Scenario& scenario, const Load& load, const std::string& path, Reading& reading) {
  const bool rate = reading.Given(absl::StrCat(path, ".rate"));
  const bool steps = reading.Given(absl::StrCat(path, ".steps"));
  if (rate && steps) {
    reading.Report(absl::StrCat(path, ".steps"), "rate and steps exclude each other; leave out one of them");
  } else if (!reading.Sound(absl::StrCat(path, ".rate")) || !reading.Sound(absl::StrCat(path, ".steps"))) {
    // What is wrong may be what is looked for.
  } else if (!rate && load.steps().empty()) {
    if (HasRateLimiter(scenario, load)) return;
    reading.ReportAt(absl::StrCat(path, ".rate"), reading.At(path),
                     "rate is missing; write for example rate: 200/s, or steps: [{rate: 200/s, for: 10s}]");
  } else if (steps && load.steps_size() > 0 && load.steps(0).rate() <= 0) {
    reading.Report(
        absl::StrCat(path, ".steps[0].rate"),
        "the baseline runs at the rate of the first step, so 0/s measures nothing; write for example 200/s");
  }
}

bool HasWindow(const RateLimiter& limiter) {
  return limiter.model() == RateLimiter::MODEL_FIXED_WINDOW || limiter.model() == RateLimiter::MODEL_SLIDING_LOG;
}

// What the model makes of rate, burst and period.
void CheckModel(const RateLimiter& limiter, const std::string& path, Reading& reading) {
  const std::string period = absl::StrCat(path, ".period");
  if (!HasWindow(limiter)) {
    if (reading.Given(period)) {
      reading.Report(period, absl::StrCat("period goes with fixed_window and sliding_log only; leave it out, or write model: ",
                                          "fixed_window"));
    }
    if (limiter.model() != RateLimiter::MODEL_NGINX && limiter.burst() < 1) {
      reading.Report(absl::StrCat(path, ".burst"),
                     "a token bucket without room for a token admits nothing; write burst: 1 or more");
    }
    return;
  }
  const double per_period = limiter.rate() * absl::ToDoubleSeconds(ToDuration(limiter.period()));
  const double whole = std::round(per_period);
  if (whole < 1 || std::abs(per_period - whole) > 1e-6 * whole) {
    reading.Report(absl::StrCat(path, ".rate"),
                   absl::StrCat("rate x period is ", per_period, " requests, and a window admits a whole number of them, 1 or ",
                                "more; change rate or period"));
  } else if (limiter.burst() != whole) {
    reading.Report(absl::StrCat(path, ".burst"), absl::StrCat("a window of rate x period admits ", whole, " requests at once; ",
                                                              "write burst: ", whole));
  }
}

void CheckRateLimiters(const Scenario& scenario, Reading& reading) {
  std::map<std::string, std::string> planned;  // assertion by load
  for (int i = 0; i < scenario.assertions_size(); ++i) {
    const std::string path = absl::StrCat(ItemPath("assert", i), ".rate_limiter");
    if (!scenario.assertions(i).has_rate_limiter() || !reading.Sound(path)) continue;
    const RateLimiter& limiter = scenario.assertions(i).rate_limiter();
    CheckModel(limiter, path, reading);
    std::set<std::string> others;
    for (int k = 0; k < limiter.others_size(); ++k) {
      const std::string other = ItemPath(absl::StrCat(path, ".others"), k);
      if (limiter.others(k) == limiter.load()) {
        reading.Report(other, absl::StrCat(Quoted(limiter.load()), " is the load that is limited itself; name loads with other "
                                           "keys, or leave others out"));
      } else if (!others.insert(limiter.others(k)).second) {
        reading.Report(other, absl::StrCat(Quoted(limiter.others(k)), " is named twice; leave one of them out"));
      }
    }
    for (int k = 0; k < scenario.load_size(); ++k) {
      if (scenario.load(k).name() != limiter.load() || !HasPlannedSteps(scenario.load(k))) continue;
      const auto [first, is_new] = planned.emplace(limiter.load(), scenario.assertions(i).name());
      if (is_new) continue;
      reading.Report(absl::StrCat(path, ".load"),
                     absl::StrCat("load ", limiter.load(), " is offered what ", Quoted(first->second),
                                  " needs, which does not fit this one; give the load a rate or steps of its own, or write a "
                                  "second load"));
    }
  }
}

bool OnlyRateLimiters(const Scenario& scenario) {
  return !scenario.assertions().empty() &&
         std::all_of(scenario.assertions().begin(), scenario.assertions().end(),
                     [](const Assertion& assertion) { return assertion.has_rate_limiter(); });
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
  CheckExisting(scenario, reading);
  for (int i = 0; i < scenario.load_size(); ++i) {
    CheckRate(scenario, scenario.load(i), ItemPath("load", i), reading);
    CheckLoad(scenario.load(i), ItemPath("load", i), reading);
  }
  CheckRateLimiters(scenario, reading);
  // A limiter can be judged when nothing is broken.
  CheckNotEmpty(
      scenario.faults().empty() && !OnlyRateLimiters(scenario), "faults",
      "a scenario breaks something; write for example faults: [{latency: {delay: 500ms}, for: 10s}]",
      reading);
  CheckNotEmpty(must_assert && scenario.assertions().empty(), "assert",
                "a scenario without it proves nothing; write for example assert: [{recovery: {within: 10s}}]",
                reading);
}

}  // namespace squall
