#include "tests/crash/victims.h"

#include <httplib.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "agent/journal.h"

namespace squall {
namespace {

constexpr absl::Duration kStarts = absl::Seconds(30);

constexpr char kScenario[] = R"(squall: 1
name: crash
services:
  shop: {attach: {pid: SHOP}}
SPAREedges:
  recommend: {from: shop, to: "127.0.0.1:PEER"PROTOCOL}
load:
  orders:
    http: {url: "http://127.0.0.1:PORT/order"}
    rate: 20/s
faults:
  - FAULT
assert:
  - recovery: {within: 10s}
)";

}  // namespace

std::vector<FaultCase> AllFaults(const std::string& small_disk) {
  const auto over = [](const std::string& kind, const std::string& fields, const std::string& as = "", const std::string& protocol = "") {
    return FaultCase{as.empty() ? kind : as, kind, absl::StrCat(kind, ": {edge: recommend", fields.empty() ? "" : ", ", fields, "}"), protocol};
  };
  const auto on = [](const std::string& kind, const std::string& fields, const std::string& as = "") {
    return FaultCase{as.empty() ? kind : as, kind, absl::StrCat(kind, ": {service: shop", fields.empty() ? "" : ", ", fields, "}"), ""};
  };
  return {
      over("latency", "delay: 900ms"),
      over("bandwidth", "rate: 64B/s"),
      over("stall", ""),
      over("slice", "size: 1B, delay: 50ms"),
      over("limit_data", "bytes: 10B"),
      over("reset", ""),
      over("refuse", ""),
      over("blackhole", ""),
      over("partition", ""),
      over("partition", "answer: reject", "partition, rejecting"),
      FaultCase{"partition, isolating", "partition", "partition: {isolate: shop}", ""},
      over("loss", "percent: 30%"),
      over("duplicate", "percent: 100%"),
      over("reorder", "percent: 60%, delay: 100ms"),
      over("corrupt", "percent: 20%"),
      over("http", "status: 503"),
      over("grpc", "code: unavailable"),
      over("tls", "how: untrusted", "", "tcp"),
      FaultCase{"dns", "dns", "dns: {service: shop, names: [\"*\"], answer: nxdomain}", ""},
      FaultCase{"kill", "kill", "kill: {service: spare, restart_after: 60s}", ""},
      on("pause", ""),
      on("pause", "each: 100ms, every: 100ms", "pause, again and again"),
      on("cpu", "quota: 2%", "cpu quota"),
      on("cpu", "load: 20%, cores: 1", "cpu load"),
      on("memory", "limit: 256MiB", "memory limit"),
      on("memory", absl::StrCat("leave: ", AvailableMiB() - 256, "MiB"), "memory leave"),
      on("disk", absl::StrCat("path: ", small_disk)),
      on("fds", "leave: 0"),
      on("pids", "leave: 0"),
      FaultCase{"abandon", "abandon", "abandon: {load: orders, patience: 1ms}", ""},
      FaultCase{"surge", "surge", "surge: {load: orders, times: 5}", ""},
  };
}

Victim::Victim(const Checkout& checkout, const FaultCase& fault, std::map<std::string, std::string> env)
    : checkout_(checkout),
      fault_(fault),
      env_(std::move(env)),
      folder_(absl::StrCat(checkout.path(), "/", absl::StrReplaceAll(fault.name, {{" ", "-"}, {",", ""}}))),
      port_(FreePort()),
      peer_port_(FreePort()),
      spare_port_(FreePort()) {
  std::filesystem::create_directories(folder_);
}

Victim::~Victim() {
  controller_.reset();
  // What a guardian started is nobody's child, and a guardian may be about to start one.
  const std::string mark = absl::StrCat("SQUALL_STATE_DIR=", folder_, "/state");
  std::set<pid_t> told;
  int looks_at_nobody = 0;  // one that is just being executed has no environment for a moment
  Eventually(absl::Seconds(10), [&] {
    int left = 0;
    for (const pid_t pid : AllPids()) {
      const absl::StatusOr<ProcStat> stat = ReadStat(pid);
      if (pid <= 1 || !stat.ok() || HasEnded(*stat) || !absl::StrContains(Slurp(absl::StrCat("/proc/", pid, "/environ")), mark)) continue;
      ++left;
      if (stat->name == "squall-agent" && told.insert(pid).second) kill(pid, SIGTERM);
    }
    looks_at_nobody = left == 0 ? looks_at_nobody + 1 : 0;
    return looks_at_nobody == 3;
  });
  agent_.reset();
  shop_.reset();
  recommend_.reset();
  std::filesystem::remove_all(folder_);
}

bool Victim::Start() {
  const auto service = [&](const std::string& name, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), checkout_.target(name));
    arguments.push_back("--threads=8");  // there are thirty of them
    return std::make_unique<Process>(arguments);
  };
  recommend_ = service("recommend", {absl::StrCat("--port=", peer_port_)});
  shop_ = service("orders", {absl::StrCat("--port=", port_), absl::StrCat("--recommend=127.0.0.1:", peer_port_), "--deadline=300ms"});
  agent_ = StartAgent(agent_socket());
  return agent_->WaitForOutput("serves on ", kStarts) && Eventually(kStarts, [&] { return Answers(); });
}

std::unique_ptr<Process> Victim::StartAgent(const std::string& socket) const {
  Process::Options options;
  options.env = env_;
  options.env["SQUALL_RUNTIME_DIR"] = folder_ + "/run";
  options.env["SQUALL_STATE_DIR"] = folder_ + "/state";
  return std::make_unique<Process>(std::vector<std::string>{checkout_.agent(), "--listen=unix:" + socket}, options);
}

// A service of the run's own, which can be killed and not be missed.
std::string Victim::Spare() const {
  return absl::StrCat("  spare: {run: [", checkout_.target("recommend"), ", --port=", spare_port_, ", --threads=8]}\n");
}

std::string Victim::ScenarioWith(const FaultCase& fault) const {
  const bool instant = fault.kind == "kill";
  return absl::StrReplaceAll(kScenario, {{"SHOP", absl::StrCat(shop_->pid())},
                                         {"PEER", absl::StrCat(peer_port_)},
                                         {"PORT", absl::StrCat(port_)},
                                         {"PROTOCOL", fault.protocol.empty() ? "" : absl::StrCat(", protocol: ", fault.protocol)},
                                         {"SPARE", instant ? Spare() : ""},
                                         {"FAULT", instant ? fault.yaml : absl::StrCat(fault.yaml, "\n    for: 600s")}});
}

bool Victim::InjectThrough(const std::string& socket) {
  BeginThrough(socket);
  return AwaitInjected();
}

void Victim::HoldAt(int step) {
  const std::string path = folder_ + "/step";
  std::ofstream(path) << step;
  env_["HOLD_AT_STEP"] = path;
  env_["LD_PRELOAD"] = checkout_.path() + "/bazel-bin/tests/crash/hold_at_step.so";
}

bool Victim::ReachStep(bool& held) {
  Begin();
  bool ends = false;
  return Eventually(kStarts, [&] {
    const std::string said = controller_->Output();
    if (!ends && absl::StrContains(said, "INJECTED")) {
      controller_->Type("\n");
      ends = true;
    }
    held = std::filesystem::exists(folder_ + "/step.reached");
    return held || absl::StrContains(said, "FINISHED");
  });
}

void Victim::Release() const { std::filesystem::remove(folder_ + "/step"); }

bool Victim::AwaitInjected() const { return controller_->WaitForOutput("INJECTED", kStarts); }

void Victim::BeginThrough(const std::string& socket) {
  const std::string path = folder_ + "/scenario.yaml";
  std::ofstream(path) << ScenarioWith(fault_);
  Process::Options options;
  options.env = env_;
  options.types = true;
  controller_ = std::make_unique<Process>(
      std::vector<std::string>{checkout_.path() + "/bazel-bin/tests/crash/holder", "unix:" + socket, path}, options);
}

std::string Victim::Said() const {
  return absl::StrCat(controller_ == nullptr ? "" : controller_->Output(), agent_ == nullptr ? "" : agent_->Output());
}

bool Victim::Answers() const {
  httplib::Client client("127.0.0.1", port_);
  client.set_connection_timeout(1);
  client.set_read_timeout(1);
  for (int i = 0; i < 2; ++i) {
    const auto answer = client.Get("/order");
    if (!answer || answer->status != 200 || answer->has_header("x-fallback")) return false;
  }
  return true;
}

bool Victim::NothingPending() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/state", error)) {
    const absl::StatusOr<JournalContent> content = ReadJournal(entry.path());
    if (!content.ok() || !content->pending.empty()) return false;
  }
  return true;
}

pid_t Victim::Agent() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/state", error)) {
    const std::vector<std::string> parts = absl::StrSplit(entry.path().stem().string(), '-');
    ProcessId agent;
    if (parts.size() == 2 && absl::SimpleAtoi(parts[0], &agent.pid) && absl::SimpleAtoi(parts[1], &agent.start_ticks) && IsAlive(agent)) {
      return agent.pid;
    }
  }
  return 0;
}

pid_t Victim::GuardianOf(pid_t agent) const {
  for (const pid_t pid : AllPids()) {
    const absl::StatusOr<ProcStat> stat = ReadStat(pid);
    if (stat.ok() && stat->name == "squall-guardian" && stat->parent == agent && !HasEnded(*stat)) return pid;
  }
  return 0;
}

std::string Victim::Finish() {
  controller_->Type("\n");
  if (!controller_->WaitForOutput("FINISHED", kStarts)) return absl::StrCat("not finished: ", Said());
  return absl::StrContains(controller_->Output(), "NOT HEALED") ? controller_->Output() : "";
}

}  // namespace squall
