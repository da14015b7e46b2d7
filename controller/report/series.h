#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/timeline.h"

// A timeline as series over time, ready to be drawn. Pure functions over plain data.

namespace squall {

// Divides a run into bins of equal width, a whole number of seconds. The last bin takes the rest of the run,
// so it is between half and one and a half times as wide: a sliver of a second would look like a change of
// rate.
struct TimeBins {
  int64_t width_ns = 1'000'000'000;
  int count = 1;
  int64_t end_ns = 1'000'000'000;

  // The bin of a moment; moments outside the run count for the nearest bin.
  int Index(int64_t ns) const;
  int64_t Start(int bin) const { return bin * width_ns; }
  int64_t End(int bin) const { return bin + 1 == count ? end_ns : (bin + 1) * width_ns; }
  double Seconds(int bin) const { return static_cast<double>(End(bin) - Start(bin)) / 1e9; }
};

// Bins of one second or of the least longer width with which there are at most `at_most`. REQUIRES: at_most >
// 0
TimeBins MakeBins(int64_t end_ns, int at_most = 600);

using Series = std::vector<double>;  // one value a bin; NaN: nothing is known of that bin

// What became of the requests of one load. Rates are per second, by the intended start of the request, so
// that the outcomes of a bin add up to what was sent in it.
struct LoadSeries {
  Series offered;  // due, whether or not they were sent
  Series sent;
  Series ok, degraded, rejected, errors, abandoned;
  // Percentiles of what the client waited from the intended start, whatever the answer, without what was
  // abandoned. In nanoseconds; NaN where there was no request.
  Series p50, p95, p99;
  // Over the whole run.
  int64_t total_offered = 0, total_sent = 0;
  int64_t total_ok = 0, total_degraded = 0, total_rejected = 0, total_errors = 0, total_abandoned = 0;
};
LoadSeries MakeLoadSeries(const std::vector<Request>& requests, const LoadTotals& totals,
                          const TimeBins& bins);

// Calls at an edge per second, by their start.
struct EdgeSeries {
  Series answered;
  Series failed;       // answered with 500 or more, or cut off by the dependency
  Series caller_left;  // the service hung up first
  Series refused;      // connects that the dependency did not accept
  Series other;        // connections without a call that can be judged, and calls open at the end
  int64_t total_answered = 0, total_failed = 0, total_caller_left = 0, total_refused = 0, total_other = 0;
};
// A refused connect may be seen as a call, in the counters, or in both: whichever saw more of them is taken.
EdgeSeries MakeEdgeSeries(const std::vector<Call>& calls, const std::vector<EdgeStats>& stats,
                          const TimeBins& bins);

struct HostSeries {
  Series cpu_busy, cpu_steal;  // percent of all cores
  Series stalled;              // seconds in the bin for which the machine stood still
};
HostSeries MakeHostSeries(const std::vector<HostSample>& samples, const std::vector<Stall>& stalls,
                          const TimeBins& bins);

// The mean of `cpu` and the highest of the others in each bin. Where samples are missing there is a gap.
struct ServiceSeries {
  Series cpu;  // percent of one core
  Series rss_bytes, threads, fds;
};
ServiceSeries MakeServiceSeries(const std::vector<ServiceSample>& samples, const TimeBins& bins);

// The value at the nearest rank: q = 0.99 of 100 values is the 99th. NaN when there are none. Reorders
// `values`.
double Percentile(std::vector<double>& values, double q);

// `total` over [from_ns, to_ns), spread evenly, added to the bins as counts. Without length: all in one bin.
void Spread(double total, int64_t from_ns, int64_t to_ns, const TimeBins& bins, Series& counts);

// The largest finite value; `otherwise` when there is none.
double Highest(const Series& series, double otherwise);

}  // namespace squall
