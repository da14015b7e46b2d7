#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/text.h"
#include "controller/plan.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int kWidth = 96;
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
std::string Filled(absl::string_view text, int indent) {
  constexpr char kGlue = '\x01';
  std::string glued(text);
  for (size_t i = 1; i + 1 < glued.size(); ++i) {
    const bool is_unit = absl::ascii_islower(glued[i + 1]) || glued[i + 1] == '%';
    if (glued[i] == ' ' && absl::ascii_isdigit(glued[i - 1]) && is_unit) glued[i] = kGlue;
  }
  std::string filled = Wrapped(glued, indent, kWidth);
  std::replace(filled.begin(), filled.end(), kGlue, ' ');
  return filled;
}

// The plan as text, section by section. Names stand in a column of their own.
class Page {
 public:
  explicit Page(size_t name_width) : name_width_(name_width) {}

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
    absl::StrAppend(&text_, std::string(indent, ' '), absl::StrFormat("%-12s", label), Filled(what, inner),
                    "\n");
  }
  void Plain(absl::string_view what) { absl::StrAppend(&text_, Filled(what, 0), "\n"); }

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
    absl::StrAppend(&text_, Filled(what, indent), "\n");
  }

  size_t name_width_;
  std::string text_;
};

size_t NameWidth(const Scenario& scenario) {
  size_t longest = kLeastNameWidth;
  const auto consider = [&](const auto& list) {
    for (const auto& item : list) longest = std::max(longest, item.name().size());
  };
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

void AddServices(const Scenario& scenario, Page& page) {
  if (scenario.services().empty()) return;
  page.Section("Services");
  for (const Service& service : scenario.services()) {
    if (service.has_attach()) {
      page.Entry(service.name(), absl::StrCat(DescribeAttach(service.attach()), ", and its children"));
      continue;
    }
    page.Entry(service.name(), absl::StrCat("run ", absl::StrJoin(service.run(), " ")));
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

const Edge* FindEdge(const Scenario& scenario, const std::string& name) {
  for (const Edge& edge : scenario.edges()) {
    if (edge.name() == name) return &edge;
  }
  return nullptr;
}

std::string EdgeMechanism(const Edge& edge) {
  return edge.relay_at().empty()
             ? absl::StrCat("connects of ", edge.from(), " redirected to a relay (cgroup BPF; needs root)")
             : absl::StrCat("relay at ", edge.relay_at(), ", no privileges");
}

// Whom a fault on the edge touches. `edge` null: it is not in the scenario.
std::string EdgeScope(const std::string& name, const Edge* edge) {
  if (edge == nullptr) return absl::StrCat("edge ", name);
  return edge->relay_at().empty()
             ? absl::StrCat("edge: calls of ", edge->from(), " to ", edge->to(), ", of no other process")
             : absl::StrCat("edge: calls that ", edge->from(), " or others send to ", edge->relay_at());
}

void AddEdges(const Scenario& scenario, Page& page) {
  if (scenario.edges().empty()) return;
  page.Section("Edges");
  for (const Edge& edge : scenario.edges()) {
    page.Entry(edge.name(),
               absl::StrCat(edge.from(), " -> ", edge.to(), ", ",
                            edge.protocol() == Edge::PROTOCOL_TCP ? "each connection counted as one call"
                                                                  : "HTTP/1.1 requests counted"));
    page.More(EdgeMechanism(edge));
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
    page.Entry(load.name(), absl::StrCat(load.http().method(), " ", load.http().url()));
    page.More(absl::StrCat(DescribeRate(load), "; a client gives up after ", Human(load.give_up_after()),
                           "; judged in windows of ", HumanDuration(JudgedWindow(load))));
    if (load.has_rejected_when())
      page.More(absl::StrCat("rejected when: ", DescribeMatch(load.rejected_when())));
    if (load.has_degraded_when())
      page.More(absl::StrCat("degraded when: ", DescribeMatch(load.degraded_when())));
  }
}

void AddFault(const Scenario& scenario, const PlannedFault& planned, absl::Duration baseline, Page& page) {
  const Fault& fault = *planned.fault;
  const std::string time = Clock(baseline + planned.at);
  switch (fault.kind_case()) {
    case Fault::kLatency: {
      page.Event(time, fault.name(),
                 absl::StrCat(DescribeFault(fault), ", for ", HumanDuration(planned.until - planned.at)));
      const Edge* edge = FindEdge(scenario, fault.latency().edge());
      page.MoreOfEvent("scope:", EdgeScope(fault.latency().edge(), edge));
      if (edge != nullptr) page.MoreOfEvent("through:", EdgeMechanism(*edge));
      page.MoreOfEvent("undone by:",
                       edge != nullptr && !edge->relay_at().empty()
                           ? "the relay passes on without delay; it lives in the agent and dies with it"
                           : "the relay passes on without delay; redirection is a BPF link that dies "
                             "with the agent");
      return;
    }
    case Fault::kKill:
      page.Event(time, fault.name(), DescribeFault(fault));
      page.MoreOfEvent("scope:",
                       absl::StrCat("process: every process of ", fault.kill().service(), ", no other"));
      page.MoreOfEvent("through:",
                       "pidfd signal to every process of the service, each matched by pid and start time");
      page.MoreOfEvent("undone by:",
                       fault.kill().has_restart_after()
                           ? absl::StrCat("started again after ", Human(fault.kill().restart_after()))
                           : "nothing to undo: squall leaves it dead");
      return;
    case Fault::kDns:
    case Fault::kCpu:
    case Fault::KIND_NOT_SET:
      return;
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
  for (const PlannedFault& planned : plan.faults) AddFault(scenario, planned, plan.baseline, page);
  page.Event(
      Clock(plan.baseline + plan.faults_end), "(recovery)",
      absl::StrCat("at most ", Clock(plan.recovery), ", over as soon as all assertions can be judged"));
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

std::string Direction(const Latency& latency) {
  switch (latency.direction()) {
    case Latency::DIRECTION_REQUEST:
      return "on every request";
    case Latency::DIRECTION_BOTH:
      return "on every request and every response";
    default:
      return "on every response";
  }
}

}  // namespace

std::string DescribeFault(const Fault& fault) {
  switch (fault.kind_case()) {
    case Fault::kLatency: {
      const Latency& latency = fault.latency();
      const bool varies = Length(latency.jitter()) > absl::ZeroDuration();
      return absl::StrCat(Human(latency.delay()),
                          varies ? absl::StrCat(" +/- ", Human(latency.jitter())) : "", " ",
                          Direction(latency), " over ", latency.edge());
    }
    case Fault::kKill:
      return absl::StrCat(fault.kill().signal(), " to ", fault.kill().service(),
                          fault.kill().has_restart_after()
                              ? absl::StrCat(", started again after ", Human(fault.kill().restart_after()))
                              : "");
    case Fault::kDns:
    case Fault::kCpu:
    case Fault::KIND_NOT_SET:
      return "nothing";
  }
  return "";
}

std::string DescribePlan(const Scenario& scenario, const Plan& plan) {
  Page page(NameWidth(scenario));
  page.Plain(scenario.name());
  if (!scenario.description().empty()) page.Plain(scenario.description());
  AddServices(scenario, page);
  AddEdges(scenario, page);
  AddLoad(scenario, page);
  AddTimeline(scenario, plan, page);
  AddAssertions(scenario, page);
  AddGuardrails(scenario, page);
  return page.Text();
}

}  // namespace squall
