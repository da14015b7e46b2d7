#include "agent/watch/monitors.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/metric_series.h"
#include "base/utf8.h"

namespace squall {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

constexpr size_t kMostSeries = 1000;
constexpr size_t kMostLabels = 100;
constexpr size_t kMostOfLabel = 1000;
constexpr size_t kMostBytes = 4 << 20;
constexpr int kMostDepth = 30;

// Protobuf's parser takes the square of the depth as its time.
bool IsShallow(absl::string_view json) {
  int depth = 0;
  bool in_text = false;
  for (size_t i = 0; i < json.size() && depth <= kMostDepth; ++i) {
    const char c = json[i];
    if (in_text && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_text = !in_text;
    } else if (!in_text && (c == '{' || c == '[')) {
      ++depth;
    } else if (!in_text && (c == '}' || c == ']')) {
      --depth;
    }
  }
  return depth <= kMostDepth;
}

absl::StatusOr<Struct> ParseJson(absl::string_view json) {
  Struct parsed;
  if (!IsShallow(json)) return absl::InvalidArgumentError("the answer is no JSON of a monitor: it is nested too deeply");
  const auto status = google::protobuf::util::JsonStringToMessage(google::protobuf::StringPiece(json.data(), json.size()), &parsed);
  if (!status.ok()) return absl::InvalidArgumentError(absl::StrCat("the answer is no JSON object: it begins with '", ValidText(json, 60), "'"));
  return parsed;
}

// Null where there is none.
const Value& FieldOf(const Struct& from, const std::string& name) {
  const auto found = from.fields().find(name);
  return found == from.fields().end() ? Value::default_instance() : found->second;
}

Labels LabelsOf(const Value& value) {
  Labels labels;
  for (const auto& [name, label] : value.struct_value().fields()) {
    if (labels.size() < kMostLabels) labels[ValidText(name, kMostOfLabel)] = ValidText(label.string_value(), kMostOfLabel);
  }
  return labels;
}

// What a Prometheus server answered, if it was a success.
absl::StatusOr<Struct> DataOf(absl::string_view json) {
  const absl::StatusOr<Struct> answer = ParseJson(json);
  if (!answer.ok()) return answer;
  if (FieldOf(*answer, "status").string_value() != "success" || !FieldOf(*answer, "data").has_struct_value()) {
    return absl::InvalidArgumentError(absl::StrCat("the answer tells no success: ", ValidText(FieldOf(*answer, "error").string_value(), 300)));
  }
  return FieldOf(*answer, "data").struct_value();
}

// [1700000000.123, "0.5"]
std::optional<double> ValueOf(const Value& pair) {
  double value = 0;
  if (pair.list_value().values_size() != 2 || !absl::SimpleAtod(pair.list_value().values(1).string_value(), &value)) return std::nullopt;
  return value;
}

std::string PercentEncoded(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : absl::StrFormat("%%%02X", static_cast<unsigned char>(c));
  }
  return out;
}

std::string WithoutSlash(absl::string_view url) {
  while (absl::ConsumeSuffix(&url, "/")) {
  }
  return std::string(url);
}

std::string QueryUrl(absl::string_view url, absl::string_view query) {
  return absl::StrCat(url, "/api/v1/query?query=", PercentEncoded(query));
}

// INVALID_ARGUMENT when the server understands the question, and cannot answer it.
absl::StatusOr<std::string> AskPrometheus(HttpGetter& getter, const std::string& url) {
  absl::StatusOr<HttpGetter::Answer> answer = getter.Get(url);
  if (!answer.ok()) return answer.status();
  if (answer->status == 400 || answer->status == 422) {
    return absl::InvalidArgumentError(absl::StrCat("GET ", url, ": ", DataOf(answer->body).status().message()));
  }
  if (answer->status != 200) return absl::UnavailableError(absl::StrCat("GET ", url, " answered ", answer->status));
  return std::move(answer->body);
}

}  // namespace

WantedOfMonitor WantedOf(const Scenario& scenario, const std::string& monitor) {
  WantedOfMonitor wanted;
  for (const Assertion& assertion : scenario.assertions()) {
    if (assertion.has_alert() && assertion.alert().monitor() == monitor) wanted.alerts.insert(assertion.alert().alert());
    const MetricBound& metric = assertion.metric();
    if (!assertion.has_metric() || metric.monitor() != monitor) continue;
    wanted.queries.insert(metric.query().empty() ? MetricSeries{metric.metric(), Labels(metric.labels().begin(), metric.labels().end())}.Text()
                                                 : metric.query());
  }
  return wanted;
}

absl::Status CheckMonitors(const Scenario& scenario, PrepareReply& reply) {
  for (const Monitor& monitor : scenario.monitors()) {
    const WantedOfMonitor wanted = WantedOf(scenario, monitor.name());
    if (!wanted.Any()) continue;
    absl::Status status;
    if (monitor.has_alertmanager()) status = WebhookReceiver::Listen(monitor.alertmanager().listen()).status();
    if (monitor.has_prometheus()) {
      HttpGetter getter(&NetNamespace::Own, {.timeout = PrometheusWatch::kEvery, .most_bytes = kMostBytes});
      const std::string url = WithoutSlash(monitor.prometheus().url());
      status = AskPrometheus(getter, absl::StrCat(url, "/api/v1/alerts")).status();
      for (const std::string& query : wanted.queries) {
        if (!status.ok()) break;
        const absl::StatusOr<std::string> page = AskPrometheus(getter, QueryUrl(url, query));
        status = page.ok() ? ParseQueryResult(*page).status() : page.status();
      }
      if (absl::IsUnavailable(status)) {
        reply.add_notes(absl::StrCat("monitor ", monitor.name(), " does not answer now: ", status.message()));
        continue;
      }
    }
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("monitor ", monitor.name(), ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<Labels, AlertSample::State>> ParseAlerts(absl::string_view json) {
  const absl::StatusOr<Struct> data = DataOf(json);
  if (!data.ok()) return data.status();
  std::map<Labels, AlertSample::State> alerts;
  for (const Value& alert : FieldOf(*data, "alerts").list_value().values()) {
    const std::string& state = FieldOf(alert.struct_value(), "state").string_value();
    if (state != "firing" && state != "pending") continue;
    AlertSample::State& told = alerts[LabelsOf(FieldOf(alert.struct_value(), "labels"))];
    told = std::max(told, state == "firing" ? AlertSample::FIRING : AlertSample::PENDING);
    if (alerts.size() >= kMostSeries) break;
  }
  return alerts;
}

absl::StatusOr<std::map<Labels, double>> ParseQueryResult(absl::string_view json) {
  const absl::StatusOr<Struct> data = DataOf(json);
  if (!data.ok()) return data.status();
  std::map<Labels, double> values;
  const std::string& type = FieldOf(*data, "resultType").string_value();
  const Value& result = FieldOf(*data, "result");
  if (type == "scalar") {
    if (const std::optional<double> value = ValueOf(result)) values[{}] = *value;
    return values;
  }
  if (type != "vector") {
    return absl::InvalidArgumentError(absl::StrCat("the query gives a ", ValidText(type, 60), ", and no values of one moment"));
  }
  for (const Value& series : result.list_value().values()) {
    const std::optional<double> value = ValueOf(FieldOf(series.struct_value(), "value"));
    if (!value) continue;
    values[LabelsOf(FieldOf(series.struct_value(), "metric"))] = *value;
    if (values.size() >= kMostSeries) break;
  }
  return values;
}

absl::StatusOr<std::map<Labels, AlertSample::State>> ParseNotification(absl::string_view json) {
  const absl::StatusOr<Struct> notification = ParseJson(json);
  if (!notification.ok()) return notification.status();
  if (FieldOf(*notification, "version").string_value() != "4" || !FieldOf(*notification, "alerts").has_list_value()) {
    return absl::InvalidArgumentError("this is not version 4 of Alertmanager's webhook");
  }
  std::map<Labels, AlertSample::State> alerts;
  for (const Value& alert : FieldOf(*notification, "alerts").list_value().values()) {
    const std::string& status = FieldOf(alert.struct_value(), "status").string_value();
    if (status != "firing" && status != "resolved") continue;
    alerts[LabelsOf(FieldOf(alert.struct_value(), "labels"))] = status == "firing" ? AlertSample::FIRING : AlertSample::INACTIVE;
    if (alerts.size() >= kMostSeries) break;
  }
  return alerts;
}

MonitorStory::MonitorStory(std::string monitor, std::set<std::string> alerts, Sink sink)
    : monitor_(std::move(monitor)), alerts_(std::move(alerts)), sink_(std::move(sink)) {}

void MonitorStory::TellAlert(const Labels& labels, AlertSample::State state) {
  const auto name = labels.find("alertname");
  if (name == labels.end() || alerts_.count(name->second) == 0) return;
  const auto last = states_.find(labels);
  if (last == states_.end() ? state == AlertSample::INACTIVE || states_.size() >= kMostSeries : last->second == state) return;
  states_[labels] = state;
  Record record;
  AlertSample& sample = *record.mutable_alert();
  sample.set_monitor(monitor_);
  sample.set_at_ns(BootNanos());
  sample.set_alert(name->second);
  sample.mutable_labels()->insert(labels.begin(), labels.end());
  sample.set_state(state);
  sink_(std::move(record));
}

void MonitorStory::TellAllAlerts(const std::map<Labels, AlertSample::State>& alerts) {
  for (const auto& [labels, state] : alerts) TellAlert(labels, state);
  const std::map<Labels, AlertSample::State> known = states_;
  for (const auto& [labels, state] : known) {
    if (alerts.count(labels) == 0) TellAlert(labels, AlertSample::INACTIVE);
  }
}

void MonitorStory::TellResult(const std::string& query, const std::map<Labels, double>& result) {
  std::set<std::string> gone = std::move(series_[query]);
  std::set<std::string>& now = series_[query];
  now.clear();
  for (const auto& [labels, value] : result) {
    const std::string series = query + MetricSeries{"", labels}.Text();
    if (std::isnan(value)) continue;
    TellValue(series, value);
    gone.erase(series);
    now.insert(series);
  }
  for (const std::string& series : gone) TellValue(series, std::nan(""));
}

void MonitorStory::TellValue(const std::string& series, double value) {
  const auto last = values_.find(series);
  if (last == values_.end() ? values_.size() > kMostSeries : last->second == value) return;
  values_[series] = value;
  Record record;
  MetricSample& sample = *record.mutable_metric();
  sample.set_monitor(monitor_);
  sample.set_at_ns(BootNanos());
  sample.set_series(series);
  sample.set_value(value);
  sink_(std::move(record));
}

PrometheusWatch::PrometheusWatch(const Monitor& monitor, WantedOfMonitor wanted, MonitorStory::Sink sink)
    : url_(WithoutSlash(monitor.prometheus().url())),
      wanted_(std::move(wanted)),
      story_(monitor.name(), wanted_.alerts, std::move(sink)),
      getter_(&NetNamespace::Own, {.timeout = kEvery, .most_bytes = kMostBytes, .stopped = [this] { return stop_.load(); }}),
      poll_("prometheus", kEvery, [this] { Ask(); }) {}

void PrometheusWatch::Ask() {
  bool up = true;
  if (!wanted_.alerts.empty()) {
    const absl::StatusOr<std::string> page = AskPrometheus(getter_, absl::StrCat(url_, "/api/v1/alerts"));
    if (stop_) return;
    const auto alerts = page.ok() ? ParseAlerts(*page) : page.status();
    if (alerts.ok()) story_.TellAllAlerts(*alerts);
    up &= alerts.ok();
  }
  for (const std::string& query : wanted_.queries) {
    const absl::StatusOr<std::string> page = AskPrometheus(getter_, QueryUrl(url_, query));
    if (stop_) return;
    const auto result = page.ok() ? ParseQueryResult(*page) : page.status();
    if (result.ok()) story_.TellResult(query, *result);
    // It answers, though not this.
    if (absl::IsInvalidArgument(page.status())) story_.TellResult(query, {});
    up &= result.ok() || absl::IsInvalidArgument(page.status());
  }
  story_.TellUp(up);
}

absl::StatusOr<std::unique_ptr<AlertmanagerWatch>> AlertmanagerWatch::Listen(const Monitor& monitor, WantedOfMonitor wanted,
                                                                             MonitorStory::Sink sink) {
  absl::StatusOr<Fd> listener = WebhookReceiver::Listen(monitor.alertmanager().listen());
  if (!listener.ok()) return listener.status();
  return std::unique_ptr<AlertmanagerWatch>(new AlertmanagerWatch(monitor, std::move(wanted), *std::move(listener), std::move(sink)));
}

AlertmanagerWatch::AlertmanagerWatch(const Monitor& monitor, WantedOfMonitor wanted, Fd listener, MonitorStory::Sink sink)
    : story_(monitor.name(), std::move(wanted.alerts), std::move(sink)) {
  story_.TellUp(true);
  receiver_.emplace(std::move(listener), [this](absl::string_view body) {
    const auto alerts = ParseNotification(body);
    if (!alerts.ok()) return alerts.status();
    for (const auto& [labels, state] : *alerts) story_.TellAlert(labels, state);
    return absl::OkStatus();
  });
}

}  // namespace squall
