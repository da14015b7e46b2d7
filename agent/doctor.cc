#include "agent/doctor.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/net/name_paths.h"
#include "agent/plan_checks.h"
#include "agent/process/cgroup_layout.h"
#include "agent/process/limit_cgroup.h"
#include "agent/process/proc.h"
#include "base/version.h"

namespace squall {
namespace {

// What stands in for names of the user's own.
constexpr char kService[] = "SERVICE";
constexpr char kEdge[] = "EDGE";
constexpr char kLoad[] = "LOAD";

constexpr char kRedirected[] = "connects redirected to a relay by cgroup BPF";
constexpr char kOwnAddress[] = "a relay with an address of its own (relay_at)";
constexpr char kHooks[] = "hooks on packets by cgroup BPF";
constexpr char kQueue[] = "packets queued by nftables";
constexpr char kReject[] = "resets by nftables";

constexpr char kRun[] = "services that squall runs";
constexpr char kAttached[] = "services that run already";
constexpr char kRelayAt[] = "edges with relay_at";
constexpr char kBefore[] = "connections from before the run";
constexpr char kUdp[] = "datagrams";

std::string KindName(Fault::KindCase kind) { return Fault::descriptor()->FindFieldByNumber(kind)->name(); }

class Ways {
 public:
  // `fault` without a name; its edge, service or load is filled in.
  explicit Ways(Fault fault) : fault_(std::move(fault)) {
    fault_.set_name(KindName(fault_.kind_case()));
    auto* kind = fault_.GetReflection()->MutableMessage(&fault_, Fault::descriptor()->FindFieldByNumber(fault_.kind_case()));
    for (const auto& [field, value] : {std::pair("edge", kEdge), {"service", kService}, {"load", kLoad}}) {
      const auto* known = kind->GetDescriptor()->FindFieldByName(field);
      if (known != nullptr && known->type() == google::protobuf::FieldDescriptor::TYPE_STRING) kind->GetReflection()->SetString(kind, known, value);
    }
    scenario_.add_services()->set_name(kService);
    scenario_.mutable_services(0)->add_run("/bin/true");
  }

  // A service that squall runs.
  Ways& Run(const std::string& through, const std::string& on = kRun) { return Add(on, through, scenario_); }
  Ways& Attached(const std::string& through, const std::string& on = kAttached) { return Add(on, through, OfAttached()); }
  // On an edge of it.
  Ways& RunEdge(const std::string& through) { return Add(kRun, through, WithEdge(scenario_)); }
  Ways& AttachedEdge(const std::string& through, const std::string& on = kAttached) {
    return Add(on, through, WithEdge(OfAttached()));
  }
  Ways& RelayAt() {
    Scenario scenario = WithEdge(scenario_);
    scenario.mutable_edges(0)->set_relay_at("127.0.0.1:1");
    return Add(kRelayAt, kOwnAddress, std::move(scenario));
  }
  Ways& Udp(const std::string& through) {
    Scenario scenario = WithEdge(scenario_);
    scenario.mutable_edges(0)->set_protocol(Edge::PROTOCOL_UDP);
    return Add(kUdp, through, std::move(scenario));
  }
  Ways& ResolverAt(const std::string& through) {
    Scenario scenario = scenario_;
    scenario.mutable_services(0)->set_resolver_at("127.0.0.1:1");
    scenario.mutable_services(0)->set_nameserver("127.0.0.1:2");
    return Add("services with resolver_at", through, std::move(scenario));
  }
  // As Run, of another fault of the kind.
  Ways& Other(const std::string& on, const std::string& through, Fault fault) {
    fault_ = Ways(std::move(fault)).fault_;
    return Run(through, on);
  }

  std::vector<FaultWay> Take() { return std::move(ways_); }

 private:
  Ways& Add(const std::string& on, const std::string& through, Scenario scenario) {
    *scenario.add_faults() = fault_;
    ways_.push_back({on, through, std::move(scenario)});
    return *this;
  }
  static Scenario WithEdge(Scenario scenario) {
    Edge& edge = *scenario.add_edges();
    edge.set_name(kEdge);
    edge.set_from(kService);
    edge.add_to("127.0.0.1:1");
    return scenario;
  }
  // The checks of edges ask whether it runs already, and not who it is.
  Scenario OfAttached() const {
    constexpr int kNobody = 1 << 23;  // above the largest pid
    Scenario scenario = scenario_;
    scenario.mutable_services(0)->clear_run();
    scenario.mutable_services(0)->mutable_attach()->set_pid(kNobody);
    return scenario;
  }

  Fault fault_;
  Scenario scenario_;
  std::vector<FaultWay> ways_;
};

// A fault of this kind, of which the rest does not matter to the checks.
Fault Plain(Fault::KindCase kind) {
  Fault fault;
  fault.GetReflection()->MutableMessage(&fault, Fault::descriptor()->FindFieldByNumber(kind));
  return fault;
}

Ways OfRelay(Fault::KindCase kind) {
  Ways ways(Plain(kind));
  ways.RunEdge(kRedirected).AttachedEdge(kRedirected).RelayAt();
  return ways;
}

Ways OfHooks(Fault::KindCase kind) {
  Ways ways(Plain(kind));
  ways.RunEdge(kHooks).AttachedEdge(kHooks).Udp(kHooks);
  return ways;
}

Ways OfQueue(Fault::KindCase kind) {
  Ways ways(Plain(kind));
  ways.RunEdge(kQueue).AttachedEdge(kQueue).Udp(kQueue);
  return ways;
}

// "a cgroup v1 with the memory controller".
std::string CgroupWith(const std::string& controller) {
  const absl::StatusOr<CgroupMount> mount = MountOf(controller);
  return absl::StrCat("a cgroup", mount.ok() ? absl::StrCat(" v", mount->version) : "", " with the ", controller, " controller");
}

std::string Freezer() {
  const absl::StatusOr<CgroupMount> mount = MountOf("freezer");
  const absl::Status may = mount.ok() ? MayHaveController("freezer") : mount.status();
  if (!may.ok() || geteuid() != 0) return "SIGSTOP";
  return mount->version == 1 ? "the cgroup v1 freezer" : "the freezer of cgroup v2";
}

std::string CgroupLayout() {
  const std::vector<CgroupMount> mounts = ParseCgroupMounts(Slurp("/proc/self/mountinfo"));
  std::vector<std::string> v1;
  std::string v2;
  for (const char* controller : {"cpu", "memory", "pids", "freezer"}) {
    const std::optional<CgroupMount> mount = HierarchyOf(mounts, controller);
    if (mount && mount->version == 1) v1.push_back(controller);
  }
  for (const CgroupMount& mount : mounts) {
    if (mount.version != 2 || !v2.empty()) continue;
    std::string given = Slurp(absl::StrCat(mount.folder, "/cgroup.controllers"));
    std::vector<std::string> controllers = absl::StrSplit(given, absl::ByAnyChar(" \n"), absl::SkipEmpty());
    v2 = absl::StrCat("v2 at ", mount.folder, controllers.empty() ? " without controllers" : absl::StrCat(" with ", absl::StrJoin(controllers, ", ")));
  }
  if (v1.empty()) return v2.empty() ? "none" : v2;
  return absl::StrCat(v2.empty() ? "" : "hybrid: ", "v1 with ", absl::StrJoin(v1, ", "), v2.empty() ? "" : "; ", v2);
}

std::string Names() {
  const NamePaths paths = NamePathsOf(0);
  if (!paths.asks_servers) return "nsswitch.conf names neither `dns` nor `resolve` for hosts: no name server is asked";
  Dns all;
  all.add_names("*.squall.invalid");
  const std::vector<std::string> escapes = WhatEscapes(all, paths);
  return escapes.empty() ? "name servers are asked, on port 53" : absl::StrJoin(escapes, "; ");
}

HostFacts Facts() {
  HostFacts facts;
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  facts.set_host(host);
  facts.set_agent_version(kVersion);
  utsname kernel = {};
  if (uname(&kernel) == 0) facts.set_kernel(absl::StrCat(kernel.sysname, " ", kernel.release, " ", kernel.machine));
  facts.set_user(geteuid() == 0 ? "root" : absl::StrCat("uid ", geteuid(), ", not root"));
  facts.set_cgroups(CgroupLayout());
  facts.set_names(Names());
  return facts;
}

// Without what the names of a scenario that nobody wrote would add.
std::string WithoutNames(absl::string_view message, Fault::KindCase kind) {
  for (bool more = true; more;) {
    more = false;
    for (const std::string& lead : {absl::StrCat("edge ", kEdge, ": "), absl::StrCat("service ", kService, ": "),
                                    absl::StrCat("fault ", KindName(kind), ": "), absl::StrCat("fault ", KindName(kind), " ")}) {
      more |= absl::ConsumePrefix(&message, lead);
    }
  }
  return std::string(message);
}

void AddOnce(const std::string& text, std::vector<std::string>& texts) {
  if (!text.empty() && std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
}

}  // namespace

std::vector<FaultWay> WaysOf(Fault::KindCase kind) {
  Fault fault = kind == Fault::KIND_NOT_SET ? Fault() : Plain(kind);
  switch (kind) {
    case Fault::kLatency:
      return OfRelay(kind).Udp(kQueue).AttachedEdge(kQueue, kBefore).Take();
    case Fault::kBandwidth:
    case Fault::kStall:
    case Fault::kSlice:
    case Fault::kLimitData:
    case Fault::kRefuse:
    case Fault::kHttp:
    case Fault::kGrpc:
    case Fault::kTls:
      return OfRelay(kind).Take();
    case Fault::kReset: {
      std::vector<FaultWay> ways = OfRelay(kind).Take();
      fault.mutable_reset()->set_existing(true);
      ways.push_back(Ways(fault).AttachedEdge(kReject, kBefore).Take()[0]);
      return ways;
    }
    case Fault::kBlackhole:
      return OfHooks(kind).RelayAt().Take();
    case Fault::kPartition: {
      std::vector<FaultWay> ways = OfHooks(kind).Take();
      fault.mutable_partition()->set_answer(Partition::ANSWER_REJECT);
      ways.push_back(Ways(fault).AttachedEdge(kReject, absl::StrCat(kBefore, ", with answer: reject")).Take()[0]);
      return ways;
    }
    case Fault::kLoss:
      return OfHooks(kind).Take();
    case Fault::kDuplicate:
    case Fault::kReorder:
    case Fault::kCorrupt:
      return OfQueue(kind).Take();
    case Fault::kDns: {
      fault.mutable_dns()->add_names("*.squall.invalid");
      constexpr char kQueries[] = "queries redirected to a resolver by cgroup BPF";
      return Ways(fault).Run(kQueries).Attached(kQueries).ResolverAt("a resolver with an address of its own (resolver_at)").Take();
    }
    case Fault::kKill:
      return Ways(fault).Run("signals").Take();
    case Fault::kPause:
      return Ways(fault).Run(Freezer()).Take();
    case Fault::kCpu: {
      fault.mutable_cpu()->set_quota(50);
      Fault load = Plain(kind);
      load.mutable_cpu()->set_load(50);
      return Ways(fault).Run(CgroupWith("cpu"), "quota").Other("load", "burners", load).Take();
    }
    case Fault::kMemory: {
      fault.mutable_memory()->set_limit(64 << 20);
      Fault leave = Plain(kind);
      leave.mutable_memory()->set_leave(int64_t{1} << 30);
      return Ways(fault).Run(CgroupWith("memory"), "limit").Other("leave", "memory held by squall", leave).Take();
    }
    case Fault::kDisk:
      fault.mutable_disk()->set_path("/tmp");
      return Ways(fault).Run("a file made for it").Take();
    case Fault::kFds:
      return Ways(fault).Run("the soft limit of open files").Take();
    case Fault::kPids:
      return Ways(fault).Run(CgroupWith("pids")).Take();
    case Fault::kAbandon:
    case Fault::kSurge:
      return Ways(fault).Run("the load generator").Take();
    case Fault::KIND_NOT_SET:
      break;
  }
  return {};
}

Diagnosis Conclude(Fault::KindCase kind, const std::vector<FaultWay>& ways, const std::vector<absl::Status>& tried) {
  Diagnosis diagnosis;
  diagnosis.set_fault(KindName(kind));
  std::vector<std::string> through, reasons, remedies;
  std::map<std::string, std::vector<std::string>> of_reason;  // on what
  for (size_t i = 0; i < ways.size(); ++i) {
    if (tried[i].ok()) {
      AddOnce(ways[i].through, through);
      continue;
    }
    // "why; what to do", as errors are worded.
    const std::string message = WithoutNames(tried[i].message(), kind);
    const std::pair<std::string, std::string> parts = absl::StrSplit(message, absl::MaxSplits("; ", 1));
    // An address for the relay helps only what the relay does.
    const bool of_relay = std::any_of(ways.begin(), ways.end(), [](const FaultWay& way) { return way.on == kRelayAt; });
    const std::string hint = !of_relay && absl::StrContains(parts.second, "relay_at") ? "" : parts.second;
    if (absl::StrContains(parts.first, "root") && !absl::StrContains(hint, "root")) AddOnce("run the agent as root", remedies);
    AddOnce(hint, remedies);
    AddOnce(parts.first, reasons);
    AddOnce(ways[i].on, of_reason[parts.first]);
  }
  const size_t failed = static_cast<size_t>(std::count_if(tried.begin(), tried.end(), [](const auto& each) { return !each.ok(); }));
  diagnosis.set_works(failed == 0 ? Diagnosis::YES : failed < ways.size() ? Diagnosis::PARTLY : Diagnosis::NO);
  for (std::string& reason : reasons) {
    // Where all of it fails for one reason, that is about all of it.
    if (failed < ways.size() || reasons.size() > 1) reason = absl::StrCat(absl::StrJoin(of_reason[reason], ", "), ": ", reason);
  }
  diagnosis.set_through(absl::StrJoin(through, "; "));
  diagnosis.set_why_not(absl::StrJoin(reasons, "; "));
  diagnosis.set_remedy(absl::StrJoin(remedies, "; or "));
  return diagnosis;
}

DiagnoseReply Diagnose() {
  DiagnoseReply reply;
  *reply.mutable_host() = Facts();
  const auto* kinds = Fault::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    const auto kind = static_cast<Fault::KindCase>(kinds->field(i)->number());
    const std::vector<FaultWay> ways = WaysOf(kind);
    std::vector<absl::Status> tried;
    for (const FaultWay& way : ways) {
      const absl::StatusOr<PrepareReply> checked = CheckPlan(way.scenario, "/");
      // A plan that can be carried out in part says so in a note.
      tried.push_back(!checked.ok() ? checked.status()
                      : checked->notes().empty() ? absl::OkStatus() : absl::FailedPreconditionError(checked->notes(0)));
    }
    *reply.add_faults() = Conclude(kind, ways, tried);
  }
  return reply;
}

}  // namespace squall
