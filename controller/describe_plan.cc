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
#include "base/text.h"
#include "controller/placement.h"
#include "controller/limiter_steps.h"
#include "controller/load_faults.h"
#include "controller/network_faults.h"
#include "controller/plan.h"
#include "controller/process_faults.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int kWidth = 96;
constexpr int kLeastWidth = 60;
constexpr size_t kLeastNameWidth = 10;
constexpr size_t kMostNameWidth = 24;
// "  1 m 30 s  " in front of the timeline's names.
constexpr int kTimeWidth = 9;

absl::Duration Length(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

std::string Human(const google::protobuf::Duration& duration) { return HumanDuration(Length(duration)); }

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

const Service* FindService(const Scenario& scenario, const std::string& name) {
  for (const Service& service : scenario.services()) {
    if (service.name() == name) return &service;
  }
  return nullptr;
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
  const Service* from = FindService(scenario, edge.from());
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

void AddLoad(const Scenario& scenario, Page& page) {
  if (scenario.load().empty()) return;
  page.Section("Load");
  for (const Load& load : scenario.load()) {
    page.Entry(load.name(), absl::StrCat(On(load.on()), load.http().method(), " ", load.http().url()));
    page.More(absl::StrCat(DescribeRate(load), "; a client gives up after ", Human(load.give_up_after()),
                           "; judged in windows of ", HumanDuration(JudgedWindow(load))));
    if (load.has_rejected_when())
      page.More(absl::StrCat("rejected when: ", DescribeMatch(load.rejected_when())));
    if (load.has_degraded_when())
      page.More(absl::StrCat("degraded when: ", DescribeMatch(load.degraded_when())));
  }
}

Mechanism DnsMechanism(const Scenario& scenario, const Dns& dns) {
  const Service* service = FindService(scenario, dns.service());
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
      at += Length(step.for_());
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
  for (const PlannedFault& planned : plan.faults) AddFault(scenario, planned, plan.FaultsStart(), page);
  if (plan.recovery > absl::ZeroDuration()) {
    page.Event(
        Clock(plan.FaultsStart() + plan.faults_end), "(recovery)",
        absl::StrCat("at most ", Clock(plan.recovery), ", over as soon as all assertions can be judged"));
  }
  page.Event(Clock(plan.Longest()), "(end)",
             "everything is healed, services that squall started are stopped");
}

std::string AboutFault(const std::string& fault) {
  return fault.empty() ? "from the first injection to the last healing" : absl::StrCat("about ", fault);
}

std::string DescribeTimeout(const Timeout& timeout) {
  const absl::Duration deadline = Length(timeout.deadline());
  const absl::Duration margin =
      timeout.has_margin() ? Length(timeout.margin()) : std::max(absl::Milliseconds(50), 0.05 * deadline);
  return absl::StrCat("requests of ", timeout.load(), " that run into the deadline of ",
                      HumanDuration(deadline), " are answered within ", HumanDuration(deadline + 2 * margin),
                      " (margin ", HumanDuration(margin),
                      timeout.has_margin() ? "" : " + the fastest baseline request",
                      ", twice), and 99.9 % of 1,000 or "
                      "more within ",
                      HumanDuration(deadline + margin), "; at least ", timeout.at_least(), " of them");
}

std::string DescribeRecovery(const Recovery& recovery) {
  return absl::StrCat(recovery.load(), " is back within ", Human(recovery.within()), " of ",
                      recovery.since() == Recovery::SINCE_INJECT ? "injection" : "healing", ": ",
                      recovery.windows(), " windows, at most one of them out of band; p50 and p95 up to ",
                      absl::StrFormat("%g", recovery.latency_factor()), " x baseline or + ",
                      Human(recovery.latency_slack()), ", errors up to baseline + ",
                      absl::StrFormat("%g", recovery.errors_slack()), " points, goodput from ",
                      HumanPercent(recovery.goodput()), " of baseline");
}

std::string DescribeBreaker(const CircuitBreaker& breaker) {
  if (breaker.stays_closed()) {
    return absl::StrCat("calls over ", breaker.edge(), " go on at 90 % or more of what is usual in 99 % of windows");
  }
  const std::string probes = breaker.probes() == 0   ? "any number of probes"
                             : breaker.probes() == 1 ? "1 probe"
                                                     : absl::StrCat(breaker.probes(), " probes");
  return absl::StrCat("calls over ", breaker.edge(), " stop within ", Human(breaker.opens_within()),
                      " of the first failed one, ", probes, " every ", Human(breaker.open_time()),
                      ", and flow again within ", Human(breaker.closes_within()), " of healing; while open, ",
                      breaker.load(), " is answered within ",
                      breaker.has_fails_fast_within() ? Human(breaker.fails_fast_within())
                                                      : "max(50 ms, baseline p99 + 20 ms)");
}

std::string ModelWord(const RateLimiter& limiter) {
  switch (limiter.model()) {
    case RateLimiter::MODEL_FIXED_WINDOW:
      return absl::StrCat("in each window of ", Human(limiter.period()), " on the clock");
    case RateLimiter::MODEL_SLIDING_LOG:
      return absl::StrCat("in any ", Human(limiter.period()));
    case RateLimiter::MODEL_NGINX:
      return absl::StrCat("and ", limiter.burst(), " + 1 at once (nginx)");
    default:
      return absl::StrCat("and ", limiter.burst(), " at once");
  }
}

std::string DescribeLimiter(const RateLimiter& limiter) {
  const bool window = limiter.model() == RateLimiter::MODEL_FIXED_WINDOW || limiter.model() == RateLimiter::MODEL_SLIDING_LOG;
  std::string text =
      absl::StrCat(limiter.load(), " is admitted at ", HumanRate(limiter.rate()), window ? absl::StrCat(", ", limiter.burst()) : "",
                   " ", ModelWord(limiter));
  if (limiter.instances() > 1) absl::StrAppend(&text, ", by each of ", limiter.instances(), " instances");
  absl::StrAppend(&text, ": no more in any interval, and no less; what is too much is rejected within ",
                  Human(limiter.rejects_within()));
  if (limiter.retry_after()) absl::StrAppend(&text, " with a Retry-After after which it is admitted");
  if (!limiter.others().empty()) {
    absl::StrAppend(&text, "; ", absl::StrJoin(limiter.others(), ", "), " must not feel it");
  }
  return text;
}

void AddAssertions(const Scenario& scenario, Page& page) {
  page.Section("Assertions");
  for (const Assertion& assertion : scenario.assertions()) {
    const std::string kind =
        AssertionKind(assertion) == assertion.name() ? "" : AssertionKind(assertion) + ": ";
    switch (assertion.kind_case()) {
      case Assertion::kTimeout:
        page.Entry(assertion.name(), kind + DescribeTimeout(assertion.timeout()));
        page.More(AboutFault(assertion.timeout().fault()));
        break;
      case Assertion::kRecovery:
        page.Entry(assertion.name(), kind + DescribeRecovery(assertion.recovery()));
        page.More(AboutFault(assertion.recovery().fault()));
        break;
      case Assertion::kCircuitBreaker:
        page.Entry(assertion.name(), kind + DescribeBreaker(assertion.circuit_breaker()));
        page.More(AboutFault(assertion.circuit_breaker().fault()));
        if (assertion.circuit_breaker().has_state()) {
          page.More(absl::StrCat("its own state, by metric ", assertion.circuit_breaker().state().metric(),
                                 ", is shown beside"));
        }
        break;
      case Assertion::kRateLimiter:
        page.Entry(assertion.name(), kind + DescribeLimiter(assertion.rate_limiter()));
        break;
      case Assertion::kTlsVerified:
        page.Entry(assertion.name(), absl::StrCat(kind, "no TLS handshake is completed with a certificate that must be refused"));
        page.More(AboutFault(assertion.tls_verified().fault()));
        break;
      case Assertion::KIND_NOT_SET:
        break;
    }
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
                      Length(dns.delay()) > absl::ZeroDuration() ? absl::StrCat(", ", Human(dns.delay()), " late") : "");
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
