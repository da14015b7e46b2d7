#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/net/http_get.h"
#include "agent/watch/poll.h"
#include "agent/watch/webhook.h"
#include "proto/agent.pb.h"
#include "proto/scenario.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// What assertions need of a monitor.
struct WantedOfMonitor {
  std::set<std::string> alerts;   // their names
  std::set<std::string> queries;  // PromQL
  bool Any() const { return !alerts.empty() || !queries.empty(); }
};
WantedOfMonitor WantedOf(const Scenario& scenario, const std::string& monitor);

// Whether the addresses on which Alertmanagers are awaited can be had, and Prometheus understands its queries. Notes a Prometheus that does not
// answer.
absl::Status CheckMonitors(const Scenario& scenario, PrepareReply& reply);

using Labels = std::map<std::string, std::string>;

// Answers of monitors. Pure; INVALID_ARGUMENT when the text is something else. What is malformed in it is skipped.
// /api/v1/alerts: the labels of those that are pending or fire. At most 1,000.
absl::StatusOr<std::map<Labels, AlertSample::State>> ParseAlerts(absl::string_view json);
// /api/v1/query: vectors and scalars. At most 1,000.
absl::StatusOr<std::map<Labels, double>> ParseQueryResult(absl::string_view json);
// Alertmanager's webhook, version 4: those that fire, and those that are resolved (INACTIVE).
absl::StatusOr<std::map<Labels, AlertSample::State>> ParseNotification(absl::string_view json);

// Tells what a monitor says when it changes. Not thread-safe.
class MonitorStory {
 public:
  using Sink = std::function<void(Record)>;

  MonitorStory(std::string monitor, std::set<std::string> alerts, Sink sink);
  void TellAlert(const Labels& labels, AlertSample::State state);
  // Those that are not among them are INACTIVE.
  void TellAllAlerts(const std::map<Labels, AlertSample::State>& alerts);
  // A series that is not among them has no value any more: NaN.
  void TellResult(const std::string& query, const std::map<Labels, double>& result);
  void TellUp(bool up) { TellValue("up", up ? 1 : 0); }

 private:
  void TellValue(const std::string& series, double value);

  const std::string monitor_;
  const std::set<std::string> alerts_;
  const Sink sink_;
  std::map<Labels, AlertSample::State> states_;
  std::map<std::string, double> values_;
  std::map<std::string, std::set<std::string>> series_;  // of each query, those that have a value
};

// Asks a Prometheus server once a second, on a thread of its own. Each answer may take 1 s and have 4 MiB.
class PrometheusWatch {
 public:
  static constexpr absl::Duration kEvery = absl::Seconds(1);

  PrometheusWatch(const Monitor& monitor, WantedOfMonitor wanted, MonitorStory::Sink sink);
  ~PrometheusWatch() { stop_ = true; }

 private:
  void Ask();

  const std::string url_;
  const WantedOfMonitor wanted_;
  MonitorStory story_;
  std::atomic<bool> stop_ = false;
  HttpGetter getter_;
  Poll poll_;  // last: it ends first
};

// Awaits what an Alertmanager sends.
class AlertmanagerWatch {
 public:
  static absl::StatusOr<std::unique_ptr<AlertmanagerWatch>> Listen(const Monitor& monitor, WantedOfMonitor wanted, MonitorStory::Sink sink);

 private:
  AlertmanagerWatch(const Monitor& monitor, WantedOfMonitor wanted, Fd listener, MonitorStory::Sink sink);
  MonitorStory story_;
  std::optional<WebhookReceiver> receiver_;
};

}  // namespace squall
