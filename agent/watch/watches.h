#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/metrics/metrics_reader.h"
#include "agent/process/running_service.h"
#include "agent/watch/health.h"
#include "agent/watch/leak_watch.h"
#include "agent/watch/logs.h"
#include "agent/watch/monitors.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Everything that a run watches because an assertion asks for it: metrics pages, health, logs, monitors and leaks. Methods may be called
// from any thread, one after the other; those of Started services also at the same time.
class Watches {
 public:
  using Services = std::map<std::string, std::unique_ptr<RunningService>>;

  // What the agent cannot watch, before anything is touched.
  static absl::Status Prepare(const Scenario& scenario, const std::string& folder, PrepareReply& reply);

  // `sink`: called from any thread.
  explicit Watches(std::function<void(Record)> sink) : sink_(std::move(sink)) {}

  // Logs are read from here on, since services write while they start.
  void StartLogs(const Scenario& scenario, const std::string& folder);
  // Takes what the service prints; nothing: nobody asks for it. Valid as long as this is.
  std::function<void(absl::string_view)> PrintedBy(const std::string& service);
  // The rest, once services are ready: these outlive Stop. `called`: as for LookAtProcesses. `cancelled`: cuts what is under way.
  absl::Status Start(const Scenario& scenario, const Services& services, std::function<std::string(const std::string& peer)> called,
                     std::function<bool()> cancelled);
  // All but logs. Idempotent.
  void Stop();

  // What was logged until now, so that what follows can be told from it.
  void TellLogs();
  // Null: no no_leak is about it. Not before Start has returned.
  LeakWatch* LeakOf(const std::string& service);
  // Of all services that a no_leak is about, at the same time.
  void TakeSnapshots(ProcessSnapshot::Moment moment, int32_t cycle);
  void SetActing(bool acting);
  void SetResting(bool resting);

 private:
  const std::function<void(Record)> sink_;
  std::map<std::string, std::unique_ptr<LogWatch>> logs_;
  std::map<std::string, std::unique_ptr<LeakWatch>> leaks_;  // before what feeds it
  std::vector<std::unique_ptr<MetricsReader>> metrics_;
  std::vector<std::unique_ptr<HealthWatch>> health_;
  std::vector<std::unique_ptr<PrometheusWatch>> prometheus_;
  std::vector<std::unique_ptr<AlertmanagerWatch>> alertmanagers_;
};

}  // namespace squall
