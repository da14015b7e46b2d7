#include "controller/report/series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace squall {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kSecond = 1'000'000'000;

Series Zeros(const TimeBins& bins) { return Series(bins.count, 0.0); }

void ToRates(const TimeBins& bins, Series& counts) {
  for (int i = 0; i < bins.count; ++i) counts[i] /= bins.Seconds(i);
}

// Gathers samples into one value a bin. Samples must be added in the order of time.
class Gauge {
 public:
  explicit Gauge(const TimeBins& bins)
      : bins_(bins), sums_(Zeros(bins)), highest_(Zeros(bins)), counts_(bins.count) {}

  void Add(int64_t at_ns, double value) {
    const int bin = bins_.Index(at_ns);
    sums_[bin] += value;
    highest_[bin] = counts_[bin] == 0 ? value : std::max(highest_[bin], value);
    ++counts_[bin];
    if (last_ns_) intervals_.push_back(static_cast<double>(at_ns - *last_ns_));
    last_ns_ = at_ns;
  }
  Series Means() const {
    Series means(bins_.count, kNone);
    for (int i = 0; i < bins_.count; ++i) {
      if (counts_[i] > 0) means[i] = sums_[i] / counts_[i];
    }
    return Bridged(std::move(means));
  }
  Series Peaks() const {
    Series peaks(bins_.count, kNone);
    for (int i = 0; i < bins_.count; ++i) {
      if (counts_[i] > 0) peaks[i] = highest_[i];
    }
    return Bridged(std::move(peaks));
  }

 private:
  // Empty bins between samples that came as often as usual, or with one missing, say nothing; longer gaps do.
  Series Bridged(Series series) const {
    std::vector<double> intervals = intervals_;
    const double usual = intervals.empty() ? 0 : Percentile(intervals, 0.5);
    const double longest = std::max(2.0, 2.5 * usual / static_cast<double>(bins_.width_ns));  // in bins
    int known = -1;
    for (int i = 0; i < bins_.count; ++i) {
      if (std::isnan(series[i])) continue;
      const int apart = i - known;
      for (int gap = known + 1; known >= 0 && apart <= longest && gap < i; ++gap) {
        series[gap] = series[known] + (series[i] - series[known]) * (gap - known) / apart;
      }
      known = i;
    }
    return series;
  }

  const TimeBins& bins_;
  Series sums_, highest_;
  std::vector<int> counts_;
  std::optional<int64_t> last_ns_;
  std::vector<double> intervals_;
};

// The series and the total that an outcome counts for.
void CountOutcome(Outcome outcome, int bin, LoadSeries& load) {
  switch (outcome) {
    case OK:
      ++load.ok[bin];
      ++load.total_ok;
      return;
    case DEGRADED:
      ++load.degraded[bin];
      ++load.total_degraded;
      return;
    case REJECTED:
      ++load.rejected[bin];
      ++load.total_rejected;
      return;
    case ABANDONED:
      ++load.abandoned[bin];
      ++load.total_abandoned;
      return;
    default:
      ++load.errors[bin];
      ++load.total_errors;
  }
}

void AddWaits(const std::vector<Request>& requests, const TimeBins& bins, LoadSeries& load) {
  std::vector<std::vector<double>> waits(bins.count);
  for (const Request& request : requests) {
    if (request.outcome == ABANDONED) continue;
    waits[bins.Index(request.intended_ns)].push_back(static_cast<double>(request.LatencyNs()));
  }
  for (int i = 0; i < bins.count; ++i) {
    load.p50.push_back(Percentile(waits[i], 0.50));
    load.p95.push_back(Percentile(waits[i], 0.95));
    load.p99.push_back(Percentile(waits[i], 0.99));
  }
}

}  // namespace

int TimeBins::Index(int64_t ns) const {
  return static_cast<int>(std::clamp<int64_t>(ns / width_ns, 0, count - 1));
}

TimeBins MakeBins(int64_t end_ns, int at_most) {
  static constexpr int64_t kWidths[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600};
  TimeBins bins;
  bins.end_ns = std::max<int64_t>(end_ns, 1);
  const int64_t least = (bins.end_ns + at_most - 1) / at_most;
  const auto* width = std::find_if(std::begin(kWidths), std::end(kWidths),
                                   [&](int64_t seconds) { return seconds * kSecond >= least; });
  bins.width_ns = width != std::end(kWidths)
                      ? *width * kSecond
                      : (least + 3600 * kSecond - 1) / (3600 * kSecond) * 3600 * kSecond;
  // A rest of half a width and more is a bin of its own.
  bins.count = static_cast<int>(std::max<int64_t>(1, (bins.end_ns + bins.width_ns / 2) / bins.width_ns));
  return bins;
}

double Percentile(std::vector<double>& values, double q) {
  if (values.empty()) return kNone;
  const auto rank = static_cast<int64_t>(std::ceil(q * static_cast<double>(values.size())));
  const auto nth = values.begin() + std::clamp<int64_t>(rank - 1, 0, static_cast<int64_t>(values.size()) - 1);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

void Spread(double total, int64_t from_ns, int64_t to_ns, const TimeBins& bins, Series& counts) {
  if (to_ns <= from_ns) {
    counts[bins.Index(from_ns)] += total;
    return;
  }
  const double length = static_cast<double>(to_ns - from_ns);
  const int last = bins.Index(to_ns - 1);
  for (int i = bins.Index(from_ns); i <= last; ++i) {
    // What lies outside the run counts for the outermost bins.
    const int64_t start = i == 0 ? from_ns : std::max(from_ns, bins.Start(i));
    const int64_t end = i + 1 == bins.count ? to_ns : std::min(to_ns, bins.End(i));
    counts[i] += total * static_cast<double>(end - start) / length;
  }
}

double Highest(const Series& series, double otherwise) {
  double highest = kNone;
  for (const double value : series) {
    if (std::isfinite(value) && !(highest >= value)) highest = value;
  }
  return std::isnan(highest) ? otherwise : highest;
}

LoadSeries MakeLoadSeries(const std::vector<Request>& requests, const LoadTotals& totals,
                          const TimeBins& bins) {
  LoadSeries load;
  for (Series* series :
       {&load.offered, &load.sent, &load.ok, &load.degraded, &load.rejected, &load.errors, &load.abandoned}) {
    *series = Zeros(bins);
  }
  for (const Request& request : requests) {
    const int bin = bins.Index(request.intended_ns);
    CountOutcome(request.outcome, bin, load);
    ++load.sent[bin];
  }
  load.total_sent = static_cast<int64_t>(requests.size());
  // Requests that were due and never sent leave no record of their own: only the counters know them.
  load.offered = load.sent;
  int64_t from_ns = requests.empty() ? 0 : requests.front().intended_ns;
  int64_t not_sent = 0;
  for (const LoadStats& stats : totals.series) {
    Spread(static_cast<double>(stats.not_sent()), from_ns, stats.at_ns(), bins, load.offered);
    not_sent += stats.not_sent();
    from_ns = stats.at_ns();
  }
  load.total_offered = load.total_sent + not_sent;
  for (Series* series :
       {&load.offered, &load.sent, &load.ok, &load.degraded, &load.rejected, &load.errors, &load.abandoned}) {
    ToRates(bins, *series);
  }
  AddWaits(requests, bins, load);
  return load;
}

EdgeSeries MakeEdgeSeries(const std::vector<Call>& calls, const std::vector<EdgeStats>& stats,
                          const TimeBins& bins) {
  EdgeSeries edge;
  for (Series* series : {&edge.answered, &edge.failed, &edge.caller_left, &edge.refused, &edge.other}) {
    *series = Zeros(bins);
  }
  for (const Call& call : calls) {
    const int bin = bins.Index(call.start_ns);
    switch (call.result) {
      case ANSWERED:
        ++edge.answered[bin];
        ++edge.total_answered;
        break;
      case FAILED:
      case PEER_LEFT:
        ++edge.failed[bin];
        ++edge.total_failed;
        break;
      case CALLER_LEFT:
        ++edge.caller_left[bin];
        ++edge.total_caller_left;
        break;
      case CONNECT_REFUSED:
        ++edge.refused[bin];
        ++edge.total_refused;
        break;
      default:
        ++edge.other[bin];
        ++edge.total_other;
    }
  }
  Series counted = Zeros(bins);
  int64_t counter = 0, from_ns = 0;
  for (const EdgeStats& newest : stats) {
    Spread(static_cast<double>(newest.refused() - counter), from_ns, newest.at_ns(), bins, counted);
    counter = newest.refused();
    from_ns = newest.at_ns();
  }
  if (counter > edge.total_refused) {
    edge.total_refused = counter;
    edge.refused = std::move(counted);
  }
  for (Series* series : {&edge.answered, &edge.failed, &edge.caller_left, &edge.refused, &edge.other}) {
    ToRates(bins, *series);
  }
  return edge;
}

HostSeries MakeHostSeries(const std::vector<HostSample>& samples, const std::vector<Stall>& stalls,
                          const TimeBins& bins) {
  std::map<std::string, std::pair<Gauge, Gauge>> gauges;  // busy and stolen, by agent
  for (const HostSample& sample : samples) {
    auto& [busy, steal] = gauges.try_emplace(sample.agent(), bins, bins).first->second;
    busy.Add(sample.at_ns(), sample.cpu_busy());
    steal.Add(sample.at_ns(), sample.cpu_steal());
  }
  // Of several hosts the one that is worst off at a time.
  HostSeries host{Gauge(bins).Means(), Gauge(bins).Means(), Zeros(bins)};
  const auto keep_highest = [](const Series& one, Series& highest) {
    for (size_t i = 0; i < highest.size(); ++i) highest[i] = std::fmax(highest[i], one[i]);  // NaN loses
  };
  for (auto& [agent, gauge] : gauges) {
    keep_highest(gauge.first.Means(), host.cpu_busy);
    keep_highest(gauge.second.Means(), host.cpu_steal);
  }
  for (const Stall& stall : stalls) {
    Spread(static_cast<double>(stall.length_ns()) / 1e9, stall.start_ns(),
           stall.start_ns() + stall.length_ns(), bins, host.stalled);
  }
  return host;
}

ServiceSeries MakeServiceSeries(const std::vector<ServiceSample>& samples, const TimeBins& bins) {
  Gauge cpu(bins), rss(bins), threads(bins), fds(bins);
  for (const ServiceSample& sample : samples) {
    cpu.Add(sample.at_ns(), sample.cpu());
    rss.Add(sample.at_ns(), static_cast<double>(sample.rss_bytes()));
    threads.Add(sample.at_ns(), sample.threads());
    fds.Add(sample.at_ns(), sample.fds());
  }
  return {cpu.Means(), rss.Peaks(), threads.Peaks(), fds.Peaks()};
}

}  // namespace squall
