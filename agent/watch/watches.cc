#include "agent/watch/watches.h"

#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/metrics/needed.h"

namespace squall {

absl::Status Watches::Prepare(const Scenario& scenario, const std::string& folder, PrepareReply& reply) {
  const absl::Status logs = CheckLogs(scenario, folder, reply);
  return logs.ok() ? CheckMonitors(scenario, reply) : logs;
}

void Watches::StartLogs(const Scenario& scenario, const std::string& folder) {
  for (const Service& service : scenario.services()) {
    const std::vector<LinePattern> patterns = LinePatterns(scenario, service.name());
    if (patterns.empty()) continue;
    logs_[service.name()] = std::make_unique<LogWatch>(service.name(), LogFile(service, folder), patterns, sink_);
  }
}

std::function<void(absl::string_view)> Watches::PrintedBy(const std::string& service) {
  const auto found = logs_.find(service);
  if (found == logs_.end()) return nullptr;
  return [log = found->second.get()](absl::string_view text) { log->Printed(text); };
}

absl::Status Watches::Start(const Scenario& scenario, const Services& services, std::function<std::string(const std::string& peer)> called,
                            std::function<bool()> cancelled) {
  for (const Service& service : scenario.services()) {
    const RunningService* const running = services.at(service.name()).get();
    const HttpGetter::Where where = [running] { return running->Namespace(); };
    LeakWatch* leak = nullptr;
    if (MustNotLeak(scenario, service.name())) {
      leaks_[service.name()] = std::make_unique<LeakWatch>(
          LeakWatch::Of{service.name(), [running] { return running->Processes(); }, [running] { return running->Leader(); }, where,
                        service.pprof().url(), HasPeak(scenario, service.name()), called, cancelled},
          sink_);
      leak = leaks_[service.name()].get();
    }
    std::set<std::string> needed = NeededMetrics(scenario, service.name());
    if (service.has_metrics() && !needed.empty()) {
      metrics_.push_back(std::make_unique<MetricsReader>(MetricsReader::Page{service.name(), service.metrics().url(), std::move(needed)}, where,
                                                         [this, leak](Record record) {
                                                           if (leak != nullptr) leak->TakeMetric(record.metric());
                                                           sink_(std::move(record));
                                                         }));
    }
    if (service.has_health()) {
      health_.push_back(std::make_unique<HealthWatch>(service.name(), service.health().url(), where, sink_));
    }
  }
  for (const Monitor& monitor : scenario.monitors()) {
    WantedOfMonitor wanted = WantedOf(scenario, monitor.name());
    if (!wanted.Any()) continue;
    if (monitor.has_prometheus()) prometheus_.push_back(std::make_unique<PrometheusWatch>(monitor, std::move(wanted), sink_));
    if (!monitor.has_alertmanager()) continue;
    absl::StatusOr<std::unique_ptr<AlertmanagerWatch>> awaited = AlertmanagerWatch::Listen(monitor, std::move(wanted), sink_);
    if (!awaited.ok()) return absl::Status(awaited.status().code(), absl::StrCat("monitor ", monitor.name(), ": ", awaited.status().message()));
    alertmanagers_.push_back(*std::move(awaited));
  }
  return absl::OkStatus();
}

void Watches::Stop() {
  alertmanagers_.clear();
  prometheus_.clear();
  health_.clear();
  metrics_.clear();
  for (auto& [name, leak] : leaks_) leak->Stop();
}

void Watches::TellLogs() {
  for (auto& [name, log] : logs_) log->Tell();
}

LeakWatch* Watches::LeakOf(const std::string& service) {
  const auto found = leaks_.find(service);
  return found == leaks_.end() ? nullptr : found->second.get();
}

void Watches::TakeSnapshots(ProcessSnapshot::Moment moment, int32_t cycle) {
  std::vector<std::thread> taking;
  for (auto& [name, leak] : leaks_) taking.emplace_back([&leak = leak, moment, cycle] { leak->Take(moment, cycle); });
  for (std::thread& thread : taking) thread.join();
}

void Watches::SetActing(bool acting) {
  for (auto& [name, leak] : leaks_) leak->SetActing(acting);
}

void Watches::SetResting(bool resting) {
  for (auto& [name, leak] : leaks_) leak->SetResting(resting);
}

}  // namespace squall
