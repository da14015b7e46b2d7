#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/direct_reach.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/ramp.h"
#include "base/text.h"
#include "controller/describe_assertions.h"
#include "controller/placement.h"
#include "controller/limiter_steps.h"
#include "controller/load_faults.h"
#include "controller/network_faults.h"
#include "controller/plan.h"
#include "controller/process_faults.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int kWidth = 96;
constexpr int kLeastWidth = 60;
constexpr size_t kLeastNameWidth = 10;
constexpr size_t kMostNameWidth = 24;
// "  1 m 30 s  " in front of the timeline's names.
constexpr int kTimeWidth = 9;

std::string Human(const google::protobuf::Duration& duration) { return HumanDuration(ToDuration(duration)); }

// For positions on the timeline: "1 min 32.5 s" reads better than "92.5 s" once it is long.
std::string Clock(absl::Duration duration) {
  if (duration < absl::Minutes(2)) return HumanDuration(duration);
  const int64_t seconds = absl::ToInt64Seconds(absl::Ceil(duration, absl::Seconds(1)));
  if (seconds < 3600) return absl::StrFormat("%d min %02d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %02d min", seconds / 3600, seconds / 60 % 60);
}

// `text` in lines, without a break between a number and its unit.
std::string Filled(absl::string_view text, int indent, int width) {
  constexpr char kGlue = '\x01';
  std::string glued(text);
  for (size_t i = 1; i + 1 < glued.size(); ++i) {
    const bool is_unit = absl::ascii_islower(glued[i + 1]) || glued[i + 1] == '%';
    if (glued[i] == ' ' && absl::ascii_isdigit(glued[i - 1]) && is_unit) glued[i] = kGlue;
  }
  std::string filled = Wrapped(glued, indent, width);
  std::replace(filled.begin(), filled.end(), kGlue, ' ');
  return filled;
}

// The plan as text, section by section. Names stand in a column of their own.
class Page {
 public:
  explicit Page(size_t name_width, int width = kWidth) : name_width_(name_width), width_(width) {}

  void Section(absl::string_view title) { absl::StrAppend(&text_, "\n", title, "\n"); }

  void Entry(absl::string_view name, absl::string_view what) { Row(2, name, what); }
  void More(absl::string_view what) { Row(2, "", what); }
  void Event(absl::string_view time, absl::string_view name, absl::string_view what) {
    absl::StrAppend(&text_, absl::StrFormat("%*s", kTimeWidth + 2, time));
    Row(2, name, what, kTimeWidth + 2);
  }
  void MoreOfEvent(absl::string_view label, absl::string_view what) {
    const int indent = kTimeWidth + 4 + static_cast<int>(name_width_) + 2;
    const int inner = indent + 12;
    absl::StrAppend(&text_, std::string(indent, ' '), absl::StrFormat("%-12s", label), Filled(what, inner, width_),
                    "\n");
  }
  void Plain(absl::string_view what) { absl::StrAppend(&text_, Filled(what, 0, width_), "\n"); }

  std::string Text() const { return text_; }

 private:
  void Row(int margin, absl::string_view name, absl::string_view what, int before = 0) {
    const int indent = before + margin + static_cast<int>(name_width_) + 2;
    absl::StrAppend(&text_, std::string(margin, ' '), name);
    // A name that is too long for its column has a line of its own.
    if (name.size() > name_width_) {
      absl::StrAppend(&text_, "\n", std::string(indent, ' '));
    } else {
      text_.append(name_width_ + 2 - name.size(), ' ');
    }
    absl::StrAppend(&text_, Filled(what, indent, width_), "\n");
  }

  size_t name_width_;
  int width_;
  std::string text_;
};

size_t NameWidth(const Scenario& scenario) {
  size_t longest = kLeastNameWidth;
  const auto consider = [&](const auto& list) {
    for (const auto& item : list) longest = std::max(longest, item.name().size());
  };
  consider(scenario.agents());
  consider(scenario.services());
  consider(scenario.edges());
  consider(scenario.load());
  consider(scenario.faults());
  consider(scenario.assertions());
  return std::min(longest, kMostNameWidth);
}

std::string DescribeReady(const Service& service) {
  const std::string within = service.has_ready() ? Human(service.ready().within()) : "10 s";
  switch (service.ready().check_case()) {
    case Ready::kHttp:
      return absl::StrCat("ready when GET ", service.ready().http().url(), " answers below 400, within ",
                          within);
    case Ready::kTcp:
      return absl::StrCat("ready when ", service.ready().tcp(), " accepts, within ", within);
    case Ready::CHECK_NOT_SET:
      return absl::StrCat("ready when it listens on a TCP port, within ", within);
  }
  return "";
}

std::string DescribeAttach(const Attach& attach) {
  switch (attach.by_case()) {
    case Attach::kListen:
      return absl::StrCat("attach to the process that listens on port ", attach.listen());
    case Attach::kPid:
      return absl::StrCat("attach to process ", attach.pid());
    case Attach::kCommand:
      return absl::StrCat("attach to the process with the command line ", Quoted(attach.command()));
    case Attach::kCgroup:
      return absl::StrCat("attach to the processes of cgroup ", attach.cgroup());
    case Attach::BY_NOT_SET:
      return "attach";
  }
  return "";
}

// "on shop-1: "; empty where everything is on this machine.
std::string On(const std::string& agent) { return agent.empty() ? "" : absl::StrCat("on ", agent, ": "); }

void AddAgents(const Scenario& scenario, Page& page) {
  const std::vector<std::string> in_use = AgentsInUse(scenario);
  if (in_use[0].empty()) return;
  page.Section("Agents");
  for (const AgentAt& agent : scenario.agents()) {
    const bool used = std::find(in_use.begin(), in_use.end(), agent.name()) != in_use.end();
    page.Entry(agent.name(), used ? absl::StrCat(agent.address(), ", mutual TLS 1.3") : "nothing is on it: not asked");
  }
}

void AddServices(const Scenario& scenario, Page& page) {
  if (scenario.services().empty()) return;
  page.Section("Services");
  for (const Service& service : scenario.services()) {
    if (service.has_attach()) {
      page.Entry(service.name(), absl::StrCat(On(service.on()), DescribeAttach(service.attach()), ", and its children"));
      continue;
    }
    page.Entry(service.name(), absl::StrCat(On(service.on()), "run ", absl::StrJoin(service.run(), " ")));
    std::vector<std::string> with;
    if (!service.user().empty()) with.push_back(absl::StrCat("as user ", service.user(), " (needs root)"));
    if (!service.cwd().empty()) with.push_back(absl::StrCat("in folder ", service.cwd()));
    if (!service.env().empty()) {
      with.push_back(absl::StrCat("with ", service.env().size(), " environment variable",
                                  service.env().size() == 1 ? "" : "s"));
    }
    if (!with.empty()) page.More(absl::StrJoin(with, ", "));
    page.More(DescribeReady(service));
    if (service.has_metrics()) {
      page.More(absl::StrCat("metrics at ", service.metrics().url(),
                             ", read four times a second where an assertion needs them"));
    }
  }
}

std::string CountedAs(const Edge& edge) {
  switch (edge.protocol()) {
    case Edge::PROTOCOL_TCP:
      return "each connection counted as one call";
    case Edge::PROTOCOL_UDP:
      return "datagrams counted";
    default:
      return "HTTP/1.1 and HTTP/2 requests counted";
  }
}

// What becomes of connections that an attached service has already: how many there are only the agent can tell.
std::string OnLiveConnections(const Scenario& scenario, const Edge& edge) {
  const Service* from = FindNamed(scenario.services(), edge.from());
  if (from == nullptr || !from->has_attach() || !edge.relay_at().empty() || IsUdp(&edge)) return "";
  if (edge.existing() == Edge::EXISTING_RESET) {
    return "connections from before the run are cut, and come back through the relay";
  }
  std::vector<std::string> reached, queued, only_new, missed;
  for (const Fault& fault : scenario.faults()) {
    if (EdgeOfFault(fault) != edge.name()) continue;
    switch (DirectReachOf(fault)) {
      case DirectReach::kReached:
        reached.push_back(fault.name());
        break;
      case DirectReach::kThroughQueue:
        queued.push_back(fault.name());
        break;
      case DirectReach::kOnlyNew:
        only_new.push_back(fault.name());
        break;
      case DirectReach::kNotReached:
        missed.push_back(fault.name());
    }
  }
  std::string live = "connections from before the run stay as they are";
  if (!reached.empty()) absl::StrAppend(&live, "; ", absl::StrJoin(reached, ", "), " reaches them");
  if (!queued.empty()) absl::StrAppend(&live, "; ", absl::StrJoin(queued, ", "), " reaches them through the packet queue");
  if (!only_new.empty()) absl::StrAppend(&live, "; ", absl::StrJoin(only_new, ", "), " is about new ones");
  if (!missed.empty()) {
    absl::StrAppend(&live, "; ", absl::StrJoin(missed, ", "), " does not reach them: existing: reset has them come back "
                    "through the relay");
  }
  return live;
}

void AddEdges(const Scenario& scenario, Page& page) {
  if (scenario.edges().empty()) return;
  page.Section("Edges");
  for (const Edge& edge : scenario.edges()) {
    page.Entry(edge.name(),
               absl::StrCat(edge.from(), " -> ", EdgeAddress(edge), ", ", CountedAs(edge)));
    page.More(EdgeMechanism(edge));
    const std::string live = OnLiveConnections(scenario, edge);
    if (!live.empty()) page.More(live);
  }
}

std::string DescribeMatch(const Match& match) {
  std::vector<std::string> parts;
  if (!match.status().empty()) parts.push_back(absl::StrCat("status ", absl::StrJoin(match.status(), ", ")));
  if (!match.headers().empty()) parts.push_back(absl::StrCat(match.headers().size(), " header(s)"));
  if (!match.body().empty()) parts.push_back(absl::StrCat("body with ", Quoted(match.body())));
  if (!match.grpc_status().empty()) parts.push_back(absl::StrCat("gRPC status ", absl::StrJoin(match.grpc_status(), ", ")));
  return parts.empty() ? "any answer" : absl::StrJoin(parts, " and ");
}

std::string DescribeRate(const Load& load) {
  if (HasPlannedSteps(load)) return absl::StrCat(HumanRate(load.rate()), ", and what its rate_limiter needs");
  if (load.steps().empty()) return HumanRate(load.rate());
  std::vector<std::string> steps;
  for (const Step& step : load.steps()) {
    steps.push_back(absl::StrCat(HumanRate(step.rate()), " for ", Human(step.for_())));
  }
  return absl::StrCat(absl::StrJoin(steps, ", then "), ", and on at the last");
}

template <typename Requests>
std::string Mixed(const Requests& requests) {
  return requests.empty() ? "" : absl::StrCat("; ", requests.size(), " requests, by their weights");
}

std::string DescribeRequests(const Load& load) {
  switch (load.kind_case()) {
    case Load::kHttp:
      return absl::StrCat(load.http().method(), " ", load.http().url(), load.http().version() == Http::VERSION_HTTP2 ? " (HTTP/2)" : "",
                          Mixed(load.http().requests()));
    case Load::kGrpc:
      return absl::StrCat("gRPC ", load.grpc().method(), " at ", load.grpc().address(), load.grpc().has_tls() ? " (TLS)" : "",
                          Mixed(load.grpc().requests()));
    case Load::kTcp:
      return absl::StrCat("TCP to ", load.tcp().address(), load.tcp().has_tls() ? " (TLS)" : "",
                          load.tcp().reconnect() ? ", a connection for each request" : "", Mixed(load.tcp().requests()));
    case Load::KIND_NOT_SET:
      break;
  }
  return "nothing";
}

void AddLoad(const Scenario& scenario, Page& page) {
  if (scenario.load().empty()) return;
  page.Section("Load");
  for (const Load& load : scenario.load()) {
    page.Entry(load.name(), absl::StrCat(On(load.on()), DescribeRequests(load)));
    page.More(absl::StrCat(DescribeRate(load), "; a client gives up after ", Human(load.give_up_after()),
                           "; judged in windows of ", HumanDuration(JudgedWindow(load))));
    if (load.has_ok_when()) page.More(absl::StrCat("ok when: ", DescribeMatch(load.ok_when())));
    if (load.has_rejected_when())
      page.More(absl::StrCat("rejected when: ", DescribeMatch(load.rejected_when())));
    if (load.has_degraded_when())
      page.More(absl::StrCat("degraded when: ", DescribeMatch(load.degraded_when())));
  }
}

Mechanism DnsMechanism(const Scenario& scenario, const Dns& dns) {
  const Service* service = FindNamed(scenario.services(), dns.service());
  if (service == nullptr) return {absl::StrCat("process: queries of ", dns.service(), ", of no other process"), "", ""};
  const bool asked = !service->resolver_at().empty();
  return {asked ? absl::StrCat("process: queries that ", service->name(), " or others send to ", service->resolver_at())
                : absl::StrCat("process: queries of ", service->name(), ", of no other process"),
          ResolverMechanism(*service),
          asked ? "the resolver forwards every query; it lives in the agent and dies with it"
                : "the resolver forwards every query; redirection is BPF links that die with the agent"};
}

Mechanism MechanismOf(const Scenario& scenario, const Fault& fault) {
  switch (GroupOf(fault)) {
    case FaultGroup::kNetwork:
      return NetworkMechanism(scenario, fault);
    case FaultGroup::kDns:
      return DnsMechanism(scenario, fault.dns());
    case FaultGroup::kProcess:
      return ProcessMechanism(scenario, fault);
    case FaultGroup::kLoad:
      return LoadMechanism(fault);
    case FaultGroup::kNone:
      break;
  }
  return {};
}

void AddFault(const Scenario& scenario, const PlannedFault& planned, absl::Duration baseline, Page& page) {
  const Fault& fault = *planned.fault;
  if (GroupOf(fault) == FaultGroup::kNone) return;
  const Mechanism mechanism = MechanismOf(scenario, fault);
  page.Event(Clock(baseline + planned.at), fault.name(),
             fault.has_kill() ? DescribeFault(fault)
                              : absl::StrCat(DescribeFault(fault), ", for ", HumanDuration(planned.until - planned.at)));
  page.MoreOfEvent("scope:", mechanism.scope);
  page.MoreOfEvent("through:", mechanism.through);
  page.MoreOfEvent("undone by:", mechanism.undone_by);
}

std::string DescribeStep(const Step& step) {
  return absl::StrCat(step.rate() == 0 ? "quiet" : HumanRate(step.rate()), " for ", Human(step.for_()));
}

// What each load offers to its limiter, step by step, when nothing is injected.
void AddLimits(const Scenario& scenario, const Plan& plan, Page& page) {
  page.Event(Clock(plan.baseline), "(limits)",
             absl::StrCat("nothing is injected for ", Clock(plan.limits), " while rate limiters are tried"));
  for (const Load& load : scenario.load()) {
    if (!HasPlannedSteps(load)) continue;
    absl::Duration at = plan.baseline;
    for (int i = 0; i < load.steps_size(); ++i) {
      const Step& step = load.steps(i);
      const bool last = i + 1 == load.steps_size();
      page.Event(Clock(at), i == 0 ? load.name() : "", last ? absl::StrCat(HumanRate(step.rate()), " from here on") : DescribeStep(step));
      at += ToDuration(step.for_());
    }
  }
}

void AddTimeline(const Scenario& scenario, const Plan& plan, Page& page) {
  page.Section(absl::StrCat("Timeline, at most ", Clock(plan.Longest())));
  std::string steady = absl::StrCat("errors at most ", HumanPercent(scenario.steady().errors()));
  if (scenario.steady().has_p99()) absl::StrAppend(&steady, ", p99 at most ", Human(scenario.steady().p99()));
  page.Event("0 s", "(baseline)",
             absl::StrCat(std::llround(absl::FDivDuration(plan.baseline, plan.window)), " windows of ",
                          HumanDuration(plan.window),
                          "; nothing is injected unless the service is steady: ", steady));
  if (plan.limits > absl::ZeroDuration()) AddLimits(scenario, plan, page);
  if (plan.rest > absl::ZeroDuration()) {
    page.Event(Clock(plan.baseline + plan.limits), "(rest)",
               absl::StrCat("loads rest for ", Clock(plan.rest), ", and what services then hold is recorded",
                            std::any_of(plan.faults.begin(), plan.faults.end(), [](const PlannedFault& each) { return !each.fault->repeats().empty(); })
                                ? "; again before each time of a fault that repeats, for as long as it takes to be back"
                                : ""));
  }
  for (const PlannedFault& planned : plan.faults) AddFault(scenario, planned, plan.FaultsStart(), page);
  if (plan.recovery > absl::ZeroDuration()) {
    page.Event(
        Clock(plan.FaultsStart() + plan.faults_end), "(recovery)",
        absl::StrCat("at most ", Clock(plan.recovery), ", over as soon as all assertions can be judged"));
  }
  if (plan.cut > absl::ZeroDuration()) {
    page.Event("", "(cut)", absl::StrCat("only if it has not recovered: the load is cut to 50 % and to nothing for ", Clock(plan.cut),
                                         " each, then restored for at most ", Clock(plan.restored)));
  }
  if (plan.rest > absl::ZeroDuration()) {
    page.Event("", "(rest)", absl::StrCat("loads rest for at most ", Clock(plan.rest), ", until services hold no more than before"));
  }
  page.Event(Clock(plan.Longest()), "(end)",
             "everything is healed, services that squall started are stopped");
}

void AddAssertions(const Scenario& scenario, Page& page) {
  page.Section("Assertions");
  for (const Assertion& assertion : scenario.assertions()) {
    const std::vector<std::string> lines = DescribeAssertion(assertion);
    const std::string kind = AssertionKind(assertion) == assertion.name() ? "" : AssertionKind(assertion) + ": ";
    for (size_t i = 0; i < lines.size(); ++i) i == 0 ? page.Entry(assertion.name(), kind + lines[i]) : page.More(lines[i]);
  }
}

void AddGuardrails(const Scenario& scenario, Page& page) {
  if (scenario.guardrails().empty()) return;
  page.Section("Guardrails: end the run at once");
  for (const Guardrail& guardrail : scenario.guardrails()) {
    switch (guardrail.kind_case()) {
      case Guardrail::kErrorRate:
        page.Entry("error_rate", absl::StrCat("more than ", HumanPercent(guardrail.error_rate().above()),
                                              " of requests of ", guardrail.error_rate().load(), " fail for ",
                                              Human(guardrail.error_rate().for_())));
        break;
      case Guardrail::KIND_NOT_SET:
        break;
    }
  }
}

std::string DescribeAnswer(const Dns& dns) {
  switch (dns.answer()) {
    case Dns::ANSWER_NXDOMAIN:
      return "NXDOMAIN";
    case Dns::ANSWER_SERVFAIL:
      return "SERVFAIL";
    case Dns::ANSWER_REFUSED:
      return "REFUSED";
    case Dns::ANSWER_TIMEOUT:
      return "no answer";
    case Dns::ANSWER_EMPTY:
      return "an answer without addresses";
    case Dns::ANSWER_WRONG_ADDRESS:
      return absl::StrCat("the wrong ", dns.addresses_size() == 1 ? "address " : "addresses ",
                          absl::StrJoin(dns.addresses(), ", "));
    case Dns::ANSWER_DELAYED:
      return "the right answer";
    default:
      return "nothing";
  }
}

// "NXDOMAIN to A queries of orders for recommend.test, 200 ms late".
std::string DescribeDns(const Dns& dns) {
  const std::string type = dns.type() == Dns::RECORD_TYPE_A ? "A " : dns.type() == Dns::RECORD_TYPE_AAAA ? "AAAA " : "";
  const bool all = dns.names_size() == 1 && dns.names(0) == "*";
  return absl::StrCat(DescribeAnswer(dns), " to ", type, "queries of ", dns.service(), " for ",
                      all ? "any name" : absl::StrJoin(dns.names(), ", "),
                      ToDuration(dns.delay()) > absl::ZeroDuration() ? absl::StrCat(", ", Human(dns.delay()), " late") : "");
}

// "delay 50 ms to 2 s over 30 s".
std::string DescribeRamp(const Fault& fault) {
  const google::protobuf::FieldDescriptor& field = *RampedFieldOf(fault).ramp;
  const Ramp& ramp = fault.ramp();
  const google::protobuf::Reflection& reflection = *ramp.GetReflection();
  const auto value = [&](int i) -> std::string {
    switch (field.cpp_type()) {
      case google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE:
        return Human(static_cast<const google::protobuf::Duration&>(reflection.GetRepeatedMessage(ramp, &field, i)));
      case google::protobuf::FieldDescriptor::CPPTYPE_INT64:
        return absl::StrCat(HumanBytes(reflection.GetRepeatedInt64(ramp, &field, i)), "/s");
      default: {
        const double number = reflection.GetRepeatedDouble(ramp, &field, i);
        return RulesOf(field).unit() == FieldRules::PERCENT ? HumanPercent(number) : absl::StrFormat("%g", number);
      }
    }
  };
  return absl::StrCat(field.name(), " ", value(0), " to ", value(1), " over ", HumanDuration(RampLength(fault)));
}

}  // namespace

std::string ResolverMechanism(const Service& service) {
  if (!service.resolver_at().empty()) {
    return absl::StrCat("resolver at ", service.resolver_at(), ", which forwards to ", service.nameserver(), "; no privileges");
  }
  return absl::StrCat("queries to ", service.nameserver().empty() ? "port 53" : service.nameserver(),
                      " redirected to a resolver (cgroup BPF; needs root)");
}

std::string DescribeFault(const Fault& fault) {
  if (RampedFieldOf(fault).kind != nullptr) {
    Fault first = RampedAt(fault, absl::ZeroDuration());
    first.clear_ramp();
    return absl::StrCat(DescribeFault(first), "; ", DescribeRamp(fault));
  }
  switch (GroupOf(fault)) {
    case FaultGroup::kNetwork:
      return DescribeNetworkFault(fault);
    case FaultGroup::kDns:
      return DescribeDns(fault.dns());
    case FaultGroup::kProcess:
      return DescribeProcessFault(fault);
    case FaultGroup::kLoad:
      return DescribeLoadFault(fault);
    case FaultGroup::kNone:
      return "nothing";
  }
  return "";
}

std::string DescribePlan(const Scenario& scenario, const Plan& plan) {
  Page page(NameWidth(scenario));
  page.Plain(scenario.name());
  if (!scenario.description().empty()) page.Plain(scenario.description());
  AddAgents(scenario, page);
  AddServices(scenario, page);
  AddEdges(scenario, page);
  AddLoad(scenario, page);
  AddTimeline(scenario, plan, page);
  AddAssertions(scenario, page);
  AddGuardrails(scenario, page);
  return page.Text();
}

std::string DescribeInjection(const Scenario& scenario, const Plan& plan, int columns) {
  Page page(NameWidth(scenario), std::clamp(columns, kLeastWidth, kWidth));
  page.Plain(scenario.name());
  AddServices(scenario, page);
  AddEdges(scenario, page);
  page.Section("Injected at once");
  for (const PlannedFault& planned : plan.faults) AddFault(scenario, planned, absl::ZeroDuration(), page);
  return page.Text();
}

}  // namespace squall
