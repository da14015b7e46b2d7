#include "agent/watch/health.h"

#include <utility>

#include "base/clock.h"
#include "base/utf8.h"

namespace squall {

HealthWatch::HealthWatch(std::string service, std::string url, HttpGetter::Where where, Sink sink)
    : service_(std::move(service)),
      url_(std::move(url)),
      sink_(std::move(sink)),
      getter_(std::move(where), {.timeout = kTimeout, .most_bytes = kMostOfBody, .cut = true, .stopped = [this] { return stop_.load(); }}),
      poll_("health", kEvery, [this] { Ask(); }) {}

void HealthWatch::Ask() {
  const int64_t asked_ns = BootNanos();
  const absl::StatusOr<HttpGetter::Answer> answer = getter_.Get(url_);
  if (stop_) return;
  Record record;
  HealthSample& sample = *record.mutable_health();
  sample.set_service(service_);
  sample.set_at_ns(asked_ns);
  sample.set_took_ns(BootNanos() - asked_ns);
  if (answer.ok()) {
    sample.set_status(answer->status);
    std::string body = ValidText(answer->body, kMostOfBody);
    if (last_body_ != body) {
      sample.set_body_changed(true);
      sample.set_body(body);
      last_body_ = std::move(body);
    }
  }
  sink_(std::move(record));
}

}  // namespace squall
