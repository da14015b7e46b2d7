#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/durations.h"
#include "controller/breaker_profiles.h"
#include "controller/limiter_steps.h"
#include "controller/plan.h"
#include "controller/scalars.h"
#include "controller/scenario_checks.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

// Gives each nameless one its kind as a name, with the next free number where that is taken.
template <typename List, typename KindOf>
void Name(List& list, KindOf kind_of) {
  std::set<std::string> taken;
  for (const auto& item : list) taken.insert(item.name());
  std::map<std::string, int> count;
  for (auto& item : list) {
    if (!item.name().empty()) continue;
    const std::string kind = kind_of(item);
    if (kind.empty()) continue;
    std::string name;
    do {
      const int n = ++count[kind];
      name = n == 1 ? kind : absl::StrCat(kind, "-", n);
    } while (taken.count(name) > 0);
    taken.insert(name);
    item.set_name(name);
  }
}

template <typename List>
void CheckNamesDiffer(const List& list, const std::string& path, absl::string_view noun, Reading& reading) {
  std::set<std::string> seen;
  for (int i = 0; i < list.size(); ++i) {
    const std::string place = absl::StrCat(ItemPath(path, i), ".name");
    if (list[i].name().empty() || seen.insert(list[i].name()).second || !reading.Given(place)) continue;
    reading.Report(place, absl::StrCat("another ", noun, " is named ", Quoted(list[i].name()),
                                       " too; give each a name of its own"));
  }
}

// What references of a scenario can name.
struct Named {
  std::string where;    // the key under which they are
  std::string example;  // of one, with that key
  std::vector<std::string> names;
  bool sound = true;      // all of them are known
  bool reported = false;  // that there are none
};

template <typename List>
Named NamesOf(const List& list, const std::string& where, const std::string& example,
              const Reading& reading) {
  Named named;
  named.where = where;
  named.example = example;
  // A broken entry still has its name; only what broke the list or a name itself makes names doubtful.
  named.sound = reading.Sound(where);
  for (int i = 0; i < list.size(); ++i) {
    if (!list[i].name().empty()) named.names.push_back(list[i].name());
  }
  if (!named.sound) {
    named.sound = !named.names.empty() && static_cast<int>(named.names.size()) == list.size();
  }
  return named;
}

class Resolver {
 public:
  Resolver(const Scenario& scenario, Reading& reading) : reading_(reading) {
    named_["agent"] = NamesOf(scenario.agents(), "agents", R"(agents: {shop-1: {address: "shop-1:7447"}})", reading);
    named_["service"] =
        NamesOf(scenario.services(), "services", "services: {orders: {attach: {listen: 8080}}}", reading);
    named_["edge"] =
        NamesOf(scenario.edges(), "edges", R"(edges: {recommend: {to: "127.0.0.1:9090"}})", reading);
    named_["load"] =
        NamesOf(scenario.load(), "load",
                R"(load: {checkout: {http: {url: "http://127.0.0.1:8080/"}, rate: 200/s}})", reading);
    named_["fault"] =
        NamesOf(scenario.faults(), "faults", "faults: [{latency: {delay: 500ms}, for: 10s}]", reading);
    named_["monitor"] = NamesOf(scenario.monitors(), "monitors",
                                R"(monitors: {prometheus: {prometheus: {url: "http://127.0.0.1:9090"}}})", reading);
    named_["assertion"] = NamesOf(scenario.assertions(), "assert", "assert: [{recovery: {within: 10s}}]", reading);
  }

  // Every reference in `message` and below.
  void Resolve(Message& message, const std::string& path) {
    const Reflection& reflection = *message.GetReflection();
    const google::protobuf::Descriptor& type = *message.GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const std::string child = ChildPath(path, field);
      if (!RulesOf(field).refers_to().empty() && field.is_repeated()) {
        for (int k = 0; k < reflection.FieldSize(message, &field); ++k) {
          CheckName(RulesOf(field).refers_to(), reflection.GetRepeatedString(message, &field, k), ItemPath(child, k));
        }
      } else if (!RulesOf(field).refers_to().empty()) {
        ResolveField(field, child, path, message);
      } else if (IsNested(field) && field.is_repeated()) {
        for (int k = 0; k < reflection.FieldSize(message, &field); ++k) {
          Resolve(*reflection.MutableRepeatedMessage(&message, &field, k), ItemPath(child, k));
        }
      } else if (IsNested(field) && reflection.HasField(message, &field)) {
        Resolve(*reflection.MutableMessage(&message, &field), child);
      }
    }
  }

 private:
  void ResolveField(const FieldDescriptor& field, const std::string& path, const std::string& parent,
                    Message& message) {
    const Reflection& reflection = *message.GetReflection();
    const std::string& noun = RulesOf(field).refers_to();
    Named& named = named_[noun];
    const std::string name = reflection.GetString(message, &field);
    if (!name.empty()) return CheckName(noun, name, path);
    if (RulesOf(field).optional_reference() || !reading_.Sound(path)) return;
    const std::string& unless = RulesOf(field).unless();
    if (!unless.empty() && !reflection.GetString(message, message.GetDescriptor()->FindFieldByName(unless)).empty()) return;
    if (noun == "agent" && named.names.empty()) return;  // this machine
    if (named.names.size() == 1 && named.sound) {
      reflection.SetString(&message, &field, named.names[0]);
    } else if (named.names.empty()) {
      ReportNone(noun, named, path, parent);
    } else if (named.sound) {
      reading_.ReportAt(
          path, reading_.At(parent),
          absl::StrCat(YamlName(field), " is missing, and there are ", named.names.size(), " ", named.where,
                       "; write ", YamlName(field), ": ", Alternatives(named.names)));
    }
  }

  void CheckName(const std::string& noun, const std::string& name, const std::string& path) {
    const Named& named = named_[noun];
    if (!named.sound || Contains(named, name)) return;
    reading_.Report(
        path, named.names.empty()
                  ? absl::StrCat("unknown ", noun, " ", Quoted(name), "; there is none under ", named.where,
                                 noun == "agent" ? " or in agents.yaml" : "", ", so add it there")
                  : absl::StrCat("unknown ", noun, " ", Quoted(name), "; ", Suggestion(name, named.names)));
  }

  // Once for all references of a kind: the same thing mends them.
  void ReportNone(const std::string& noun, Named& named, const std::string& path, const std::string& parent) {
    if (!named.sound || named.reported) return;
    named.reported = true;
    reading_.ReportAt(path, reading_.At(parent),
                      absl::StrCat("this needs ", noun == "edge" ? "an " : "a ", noun,
                                   ", and the file has none; write for example ", named.example));
  }

  static bool Contains(const Named& named, const std::string& name) {
    for (const std::string& known : named.names) {
      if (known == name) return true;
    }
    return false;
  }

  Reading& reading_;
  std::map<std::string, Named> named_;
};

// Whether the fault of this name, or every fault when it is empty, is a kill.
bool OnlyKills(const Scenario& scenario, const std::string& name) {
  for (const Fault& fault : scenario.faults()) {
    if ((name.empty() || fault.name() == name) && !fault.has_kill()) return false;
  }
  return true;
}

// What rate limiters are offered, one after the other, so that they and their loads do not disturb each other. REQUIRES: that
// references are resolved.
void PlanLimits(Scenario& scenario, const Reading& reading) {
  absl::Duration before;
  for (int i = 0; i < scenario.assertions_size(); ++i) {
    const Assertion& assertion = scenario.assertions(i);
    if (!assertion.has_rate_limiter()) continue;
    const RateLimiter& spec = assertion.rate_limiter();
    int k = 0;
    while (k < scenario.load_size() && scenario.load(k).name() != spec.load()) ++k;
    if (k == scenario.load_size()) continue;
    Load* load = scenario.mutable_load(k);
    if (!load->has_rejected_when()) {
      load->mutable_rejected_when()->add_status(429);
      load->mutable_rejected_when()->add_status(503);
    }
    if (load->rate() > 0 || !load->steps().empty() || spec.rate() <= 0) continue;
    // Of what is wrong the mistake is reported, and no more.
    if (!reading.Sound(ItemPath("load", k)) || !reading.Sound(ItemPath("assert", i))) continue;
    absl::Duration length;
    for (const Step& step : LimiterSteps(spec, before)) {
      *load->add_steps() = step;
      length += ToDuration(step.for_());
    }
    load->set_rate(load->steps(0).rate());
    before = length - ToDuration(load->steps(load->steps_size() - 1).for_());
  }
}

// The lowest rate of a load, per second; 0 when there is none.
double LowestRate(const Scenario& scenario, const std::string& name) {
  double lowest = 0;
  const auto take = [&](double rate) {
    if (rate > 0 && (lowest == 0 || rate < lowest)) lowest = rate;
  };
  for (const Load& load : scenario.load()) {
    if (load.name() != name) continue;
    take(load.rate());
    for (const Step& step : load.steps()) take(step.rate());
  }
  return lowest;
}

// The service that calls over the edge; nullptr when it is not in the scenario.
const Service* CallerOver(const Scenario& scenario, const std::string& name) {
  for (const Edge& edge : scenario.edges()) {
    for (const Service& service : scenario.services()) {
      if (edge.name() == name && edge.from() == service.name()) return &service;
    }
  }
  return nullptr;
}

void FillIn(CircuitBreaker& breaker, const Scenario& scenario, const std::string& path, Reading& reading) {
  const Service* caller = CallerOver(scenario, breaker.edge());
  const bool has_metrics = caller != nullptr && caller->has_metrics();
  FillBreaker(breaker, LowestRate(scenario, breaker.load()), has_metrics);
  if (!breaker.has_open_time() && !breaker.stays_closed() && reading.Sound(path + ".open_time")) {
    reading.ReportAt(path + ".open_time", reading.At(path),
                     breaker.profile() == CircuitBreaker::PROFILE_UNSPECIFIED
                         ? "open_time is missing: nothing tells it without a profile; write for example open_time: 2s, or "
                           "profile: gobreaker"
                         : "open_time is missing: this profile has no default for it; write for example open_time: 2s");
  }
  if (breaker.has_state() && caller != nullptr && !has_metrics && reading.Sound(path + ".state")) {
    reading.Report(path + ".state", absl::StrCat("state: service ", Quoted(caller->name()),
                                                 " has no metrics to read it from; give it for example metrics: {url: "
                                                 "\"http://127.0.0.1:8080/metrics\"}"));
  }
}

// The only tls fault, where none is named.
void FillIn(TlsVerified& verified, const Scenario& scenario, const std::string& path, Reading& reading) {
  const std::string place = path + ".fault";
  if (!verified.fault().empty() || !reading.Sound(place) || !reading.Sound("faults")) return;
  std::vector<std::string> names;
  for (const Fault& fault : scenario.faults()) {
    if (fault.has_tls()) names.push_back(fault.name());
  }
  if (names.size() == 1) return verified.set_fault(names[0]);
  reading.ReportAt(place, reading.At(path),
                   names.empty() ? "this needs a tls fault, and the file has none; write for example faults: [{tls: {how: "
                                   "untrusted}, for: 10s}]"
                                 : absl::StrCat("fault is missing, and there are ", names.size(), " tls faults; write fault: ",
                                                Alternatives(names)));
}

void FillIn(Load& load, const Scenario& scenario) {
  if (load.has_rejected_when() || load.has_tcp()) return;
  if (load.has_grpc()) return load.mutable_rejected_when()->add_grpc_status("RESOURCE_EXHAUSTED");
  load.mutable_rejected_when()->add_status(429);
  for (const Assertion& assertion : scenario.assertions()) {
    if (assertion.has_load_shedding() && assertion.load_shedding().load() == load.name()) {
      return load.mutable_rejected_when()->add_status(503);
    }
  }
}

// The name of the only one of the list; empty: there is none, or several.
template <typename List>
std::string Only(const List& list) {
  return list.size() == 1 ? list[0].name() : "";
}

void FillIn(LoadShedding& shedding) {
  if (!shedding.has_accepted_within()) *shedding.mutable_accepted_within() = FromDuration(1.2 * ToDuration(shedding.slo()));
}

void FillIn(Fallback& fallback, const Scenario& scenario) {
  for (const Load& load : scenario.load()) {
    if (load.name() == fallback.load() && !fallback.has_within()) *fallback.mutable_within() = load.give_up_after();
  }
}

void FillIn(GracefulShutdown& shutdown, const Scenario& scenario) {
  if (shutdown.has_within()) return;
  shutdown.mutable_within()->set_seconds(30);
  for (const Fault& fault : scenario.faults()) {
    if (fault.name() == shutdown.fault() && fault.kill().has_grace()) *shutdown.mutable_within() = fault.kill().grace();
  }
}

void FillIn(MetricBound& metric, const Scenario& scenario, const std::string& path, Reading& reading) {
  if (!metric.service().empty() || !metric.monitor().empty()) return;
  std::vector<std::string> names;
  for (const Service& service : scenario.services()) {
    if (service.has_metrics()) names.push_back(service.name());
  }
  if (names.size() == 1) return metric.set_service(names[0]);
  if (!reading.Sound(path) || !reading.Sound("services") || !reading.Sound("monitors")) return;
  reading.ReportAt(path + ".service", reading.At(path),
                   names.empty() ? "this needs a service with metrics, or a monitor, and the file has none; give a service for example metrics: "
                                   "{url: \"http://127.0.0.1:8080/metrics\"}"
                                 : absl::StrCat("service is missing, and there are ", names.size(), " with metrics; write service: ",
                                                Alternatives(names)));
}

void SetComputedDefaults(Scenario& scenario, Reading& reading) {
  PlanLimits(scenario, reading);
  for (Load& load : *scenario.mutable_load()) FillIn(load, scenario);
  for (int i = 0; i < scenario.assertions_size(); ++i) {
    Assertion& assertion = *scenario.mutable_assertions(i);
    if (assertion.has_recovery() && assertion.recovery().since() == Recovery::SINCE_UNSPECIFIED) {
      Recovery& recovery = *assertion.mutable_recovery();
      recovery.set_since(OnlyKills(scenario, recovery.fault()) ? Recovery::SINCE_INJECT
                                                               : Recovery::SINCE_HEAL);
    }
    if (assertion.has_circuit_breaker()) {
      FillIn(*assertion.mutable_circuit_breaker(), scenario, ItemPath("assert", i) + ".circuit_breaker", reading);
    }
    if (assertion.has_tls_verified()) {
      FillIn(*assertion.mutable_tls_verified(), scenario, ItemPath("assert", i) + ".tls_verified", reading);
    }
    if (assertion.has_load_shedding()) FillIn(*assertion.mutable_load_shedding());
    if (assertion.has_fallback()) FillIn(*assertion.mutable_fallback(), scenario);
    if (assertion.has_graceful_shutdown()) FillIn(*assertion.mutable_graceful_shutdown(), scenario);
    if (assertion.has_metric()) FillIn(*assertion.mutable_metric(), scenario, ItemPath("assert", i) + ".metric", reading);
    if (assertion.has_log() && assertion.log().at_least() == 0) assertion.mutable_log()->set_at_least(1);
    if (assertion.has_timeout() && assertion.timeout().edge().empty()) assertion.mutable_timeout()->set_edge(Only(scenario.edges()));
    if (assertion.has_recovery() && assertion.recovery().edge().empty()) {
      assertion.mutable_recovery()->set_edge(Only(scenario.edges()));
    }
    if (assertion.has_no_leak() && assertion.no_leak().load().empty()) assertion.mutable_no_leak()->set_load(Only(scenario.load()));
  }
}

}  // namespace

void FillIn(Scenario& scenario, Reading& reading) {
  CheckNamesDiffer(scenario.faults(), "faults", "fault", reading);
  CheckNamesDiffer(scenario.assertions(), "assert", "assertion", reading);
  Name(*scenario.mutable_faults(), FaultKind);
  Name(*scenario.mutable_assertions(), AssertionKind);
  Resolver(scenario, reading).Resolve(scenario, "");
  SetComputedDefaults(scenario, reading);
}

}  // namespace squall
