#include "agent/metrics/metrics_reader.h"

#include <curl/curl.h>
#include <sys/prctl.h>

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/metric_series.h"

namespace squall {
namespace {

constexpr char kUp[] = "up";

// Another size than was offered makes curl give up.
size_t Append(char* data, size_t size, size_t count, void* text) {
  std::string& page = *static_cast<std::string*>(text);
  if (page.size() + size * count > MetricsReader::kMostBytes) return 0;
  page.append(data, size * count);
  return size * count;
}

curl_socket_t OpenInside(void* ns, curlsocktype, curl_sockaddr* address) {
  absl::StatusOr<Fd> fd =
      static_cast<const NetNamespace*>(ns)->Socket(address->family, address->socktype, address->protocol);
  return fd.ok() ? fd->Release() : CURL_SOCKET_BAD;
}

int WhetherToEnd(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return (*static_cast<std::function<bool()>*>(stopped))() ? 1 : 0;
}

}  // namespace

MetricsReader::MetricsReader(Page page, NetNamespace ns, Sink sink)
    : page_(std::move(page)), ns_(std::move(ns)), sink_(std::move(sink)) {
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
  std::function<bool()> stopped = [this] {
    absl::MutexLock lock(&mutex_);
    return stop_;
  };
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), &curl_easy_cleanup);
  std::string text;
  curl_easy_setopt(curl.get(), CURLOPT_URL, page_.url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(kTimeout)));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETFUNCTION, &OpenInside);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETDATA, &ns_);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, &WhetherToEnd);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &stopped);
  for (absl::Time next = absl::Now();;) {
    text.clear();
    const int64_t asked_ns = BootNanos();
    const bool read = curl_easy_perform(curl.get()) == CURLE_OK;
    const int64_t answered_ns = BootNanos();
    if (stopped()) return;
    // Somewhere in between the page said how things were.
    if (read) Take(text, asked_ns + (answered_ns - asked_ns) / 2);
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
