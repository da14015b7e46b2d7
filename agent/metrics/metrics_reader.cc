#include "agent/metrics/metrics_reader.h"

#include <sys/prctl.h>

#include <cmath>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/metric_series.h"

namespace squall {
namespace {

constexpr char kUp[] = "up";

}  // namespace

MetricsReader::MetricsReader(Page page, HttpGetter::Where where, Sink sink)
    : page_(std::move(page)), where_(std::move(where)), sink_(std::move(sink)) {
  thread_ = std::thread([this] { Run(); });
}

MetricsReader::~MetricsReader() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

void MetricsReader::Run() {
  prctl(PR_SET_NAME, "metrics");
  const auto stopped = [this] {
    absl::MutexLock lock(&mutex_);
    return stop_;
  };
  HttpGetter getter(where_, {.timeout = kTimeout, .most_bytes = kMostBytes, .stopped = stopped});
  for (absl::Time next = absl::Now();;) {
    const int64_t asked_ns = BootNanos();
    const absl::StatusOr<HttpGetter::Answer> page = getter.Get(page_.url);
    const int64_t answered_ns = BootNanos();
    if (stopped()) return;
    // Somewhere in between the page said how things were.
    const bool read = page.ok() && page->status < 400;
    if (read) Take(page->body, asked_ns + (answered_ns - asked_ns) / 2);
    Tell(kUp, read ? 1 : 0, answered_ns);
    // A read that took longer than its turn gives up the turns that it missed.
    next = std::max(next + kEvery, absl::Now());
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(&stop_), next);
    if (stop_) return;
  }
}

void MetricsReader::Take(absl::string_view text, int64_t at_ns) {
  size_t series = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    // Most lines are of other metrics: their names are compared before they are parsed.
    const size_t name = line.find_first_of("{ \t");
    if (name == absl::string_view::npos || page_.metrics.count(std::string(line.substr(0, name))) == 0)
      continue;
    const std::optional<MetricLine> parsed = ParseMetricLine(line);
    if (!parsed || std::isnan(parsed->value)) continue;
    if (++series > kMostSeries) return;
    Tell(parsed->series.Text(), parsed->value, at_ns);
  }
}

void MetricsReader::Tell(const std::string& series, double value, int64_t at_ns) {
  const auto last = last_.find(series);
  if (last != last_.end() && last->second == value) return;
  if (last == last_.end() && last_.size() > kMostSeries) return;
  last_[series] = value;
  Record record;
  MetricSample& sample = *record.mutable_metric();
  sample.set_service(page_.service);
  sample.set_at_ns(at_ns);
  sample.set_series(series);
  sample.set_value(value);
  sink_(std::move(record));
}

}  // namespace squall
