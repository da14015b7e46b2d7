#include "controller/report/charts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/direct_traffic.h"
#include "controller/network_faults.h"
#include "controller/report/breaker_chart.h"
#include "controller/report/chart.h"
#include "controller/report/escape.h"
#include "controller/report/limiter.h"
#include "controller/report/ribbon.h"
#include "controller/report/series.h"
#include "controller/report/words.h"

namespace squall {
namespace {

std::string PerSecond(double value) { return HumanRate(value); }
std::string Nanos(double value) { return HumanNanos(std::llround(value)); }
std::string Percent(double value) { return HumanPercent(value); }
std::string Bytes(double value) { return HumanBytes(std::llround(value)); }
std::string Whole(double value) { return Thousands(std::llround(value)); }

struct LegendItem {
  std::string name;
  std::string swatch;  // CSS classes: of a layer, of a curve with "curve ", or "mark"
  std::string figure;
};

std::string Swatch(absl::string_view css_class) {
  const absl::string_view shape = absl::StartsWith(css_class, "curve") ? "<path d=\"M0 7h14\""
                                  : css_class == "mark" || css_class == "probe" ? "<path d=\"M7 1l6 12h-12z\""
                                                        : "<rect width=\"14\" height=\"14\" rx=\"2\"";
  return absl::StrCat("<svg class=\"swatch\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">", shape, " class=\"",
                      css_class, "\"/></svg>");
}

std::string Legend(const std::vector<LegendItem>& items) {
  std::string out = "<ul class=\"legend\">";
  for (const LegendItem& item : items) {
    absl::StrAppend(&out, "<li>", Swatch(item.swatch), Escape(item.name), " <b>", Escape(item.figure),
                    "</b></li>");
  }
  return absl::StrCat(out, "</ul>");
}

// A chart under its heading. What stands in `head` stays in view when a narrow page scrolls the chart
// sideways.
std::string Figure(absl::string_view heading, absl::string_view unit, absl::string_view head,
                   absl::string_view svg) {
  return absl::StrCat("<figure><figcaption><h3>", Escape(heading), " <span class=\"unit\">", Escape(unit),
                      "</span></h3>", head, "</figcaption>", svg, "</figure>\n");
}

// The deadlines that are asserted for a load: one line for each value, with the names of its assertions.
std::vector<TimeChart::Limit> Deadlines(const Scenario& scenario, const std::string& load) {
  std::map<double, std::vector<std::string>> names;
  for (const Assertion& assertion : scenario.assertions()) {
    if (!assertion.has_timeout() || assertion.timeout().load() != load) continue;
    const auto& deadline = assertion.timeout().deadline();
    names[static_cast<double>(deadline.seconds()) * 1e9 + deadline.nanos()].push_back(assertion.name());
  }
  std::vector<TimeChart::Limit> limits;
  for (const auto& [value, assertions] : names) {
    limits.push_back({absl::StrCat("deadline ", Nanos(value)), value});
  }
  return limits;
}

// What one step of a chart stands for, where it is not a second.
std::string StepNote(const TimeBins& bins) {
  return bins.width_ns == 1'000'000'000 ? "" : absl::StrCat(", in steps of ", HumanNanos(bins.width_ns));
}

std::string RequestsFigure(const std::string& name, const std::string& id, const LoadSeries& load,
                           const TimeFrame& frame) {
  TimeChart chart;
  chart.id = id;
  chart.title = absl::StrCat("Requests per second of ", name);
  chart.description = absl::StrCat(
      "Of ", Count(load.total_offered, "request", "requests"), " due, ", Thousands(load.total_sent),
      " were sent: ", Thousands(load.total_ok), " ok, ", Thousands(load.total_degraded), " degraded, ",
      Thousands(load.total_rejected), " rejected, ", Thousands(load.total_errors), " errors.");
  chart.format = PerSecond;
  chart.layers = {{"ok", "ok", load.ok},
                  {"degraded", "degraded", load.degraded},
                  {"rejected", "rejected", load.rejected},
                  {"errors", "errors", load.errors},
                  {"abandoned", "other", load.abandoned}};
  chart.curves = {{"sent", "sent", load.sent, true}, {"offered", "offered", load.offered, true}};
  std::vector<LegendItem> items = {{"offered", "curve curve-offered", Thousands(load.total_offered)},
                                   {"sent", "curve curve-sent", Thousands(load.total_sent)},
                                   {"ok", "layer-ok", Thousands(load.total_ok)},
                                   {"degraded", "layer-degraded", Thousands(load.total_degraded)},
                                   {"rejected", "layer-rejected", Thousands(load.total_rejected)},
                                   {"errors", "layer-errors", Thousands(load.total_errors)}};
  if (load.total_abandoned > 0) {
    items.push_back({"abandoned", "layer-other", Thousands(load.total_abandoned)});
  }
  return Figure(absl::StrCat("Requests: ", name), absl::StrCat("per second", StepNote(frame.bins)),
                Legend(items), RenderChart(chart, frame, ChartSize()));
}

std::string LatencyFigure(const std::string& name, const std::string& id, const LoadSeries& load,
                          const Scenario& scenario, const TimeFrame& frame) {
  TimeChart chart;
  chart.id = id;
  chart.title = absl::StrCat("Latency of ", name);
  chart.logarithmic = true;
  chart.format = Nanos;
  chart.curves = {{"p99", "p99", load.p99}, {"p95", "p95", load.p95}, {"p50", "p50", load.p50}};
  chart.limits = Deadlines(scenario, name);
  std::vector<std::string> limits;
  for (const auto& limit : chart.limits) limits.push_back(limit.name);
  const double highest = Highest(load.p99, 0);
  chart.description = absl::StrCat(
      "Percentiles of what clients waited, counted from the intended start. Highest p99: ", Nanos(highest),
      limits.empty() ? "." : ". Asserted: ", absl::StrJoin(limits, ", "), limits.empty() ? "" : ".");
  ChartSize size;
  size.plot = 190;
  return Figure(
      absl::StrCat("Latency: ", name),
      absl::StrCat("percentiles", StepNote(frame.bins), "; waited from the intended start, logarithmic"), "",
      RenderChart(chart, frame, size));
}

// `direct`: what did not go through the relay; may be empty.
std::string EdgeFigure(const Edge& edge, const std::string& id, const EdgeSeries& series, const std::string& direct,
                       const TimeFrame& frame) {
  TimeChart chart;
  chart.id = id;
  chart.title = absl::StrCat("Arrivals at ", edge.name());
  const std::string left = absl::StrCat(edge.from().empty() ? "the caller" : edge.from(), " hung up");
  chart.description = absl::StrCat(
      "Calls from ", edge.from(), " to ", EdgeAddress(edge), ": ", Thousands(series.total_answered), " answered, ",
      Thousands(series.total_caller_left), " given up by the caller, ", Thousands(series.total_failed),
      " failed, ", Thousands(series.total_refused), " connects refused.");
  chart.format = PerSecond;
  chart.layers = {{"answered", "ok", series.answered},
                  {left, "degraded", series.caller_left},
                  {"failed or cut off", "errors", series.failed},
                  {"connects refused", "rejected", series.refused},
                  {"other connections", "other", series.other}};
  std::vector<LegendItem> items = {{"answered", "layer-ok", Thousands(series.total_answered)},
                                   {left, "layer-degraded", Thousands(series.total_caller_left)},
                                   {"failed or cut off", "layer-errors", Thousands(series.total_failed)},
                                   {"connects refused", "layer-rejected", Thousands(series.total_refused)}};
  if (series.total_other > 0) {
    items.push_back({"other connections", "layer-other", Thousands(series.total_other)});
  }
  ChartSize size;
  size.plot = 130;
  return Figure(absl::StrCat("Arrivals: ", edge.name()),
                absl::StrCat("calls per second from ", edge.from().empty() ? "its caller" : edge.from(),
                             " to ", EdgeAddress(edge), StepNote(frame.bins), direct.empty() ? "" : "; not shown: ", direct),
                Legend(items), RenderChart(chart, frame, size));
}

std::string BreakerFigure(const BreakerChart& chart) {
  const std::vector<LegendItem> items = {{"closed", "state state-closed", ""},
                                         {"open", "state state-open", ""},
                                         {"half-open", "state state-half-open", ""},
                                         {"probes", "probe", Thousands(chart.probes)}};
  return Figure(absl::StrCat("Circuit breaker: ", chart.name),
                absl::StrCat("its state, and below it the share of the usual calls over ", chart.edge,
                             chart.note.empty() ? "" : "; ", chart.note),
                Legend(items), absl::StrCat(chart.states, chart.calls));
}

std::vector<TimeChart::Mark> StallMarks(const Series& stalled, const TimeBins& bins) {
  std::vector<TimeChart::Mark> marks;
  for (int i = 0; i < bins.count; ++i) {
    if (stalled[i] <= 0) continue;
    marks.push_back({(bins.Start(i) + bins.End(i)) / 2,
                     absl::StrCat("stood still for ", HumanNanos(std::llround(stalled[i] * 1e9)))});
  }
  return marks;
}

std::string HostFigure(const Timeline& timeline, const TimeFrame& frame) {
  const HostSeries host = MakeHostSeries(timeline.host, timeline.stalls, frame.bins);
  int64_t stalled_ns = 0;
  for (const Stall& stall : timeline.stalls) stalled_ns += stall.length_ns();
  const std::string stalls = timeline.stalls.empty()
                                 ? "none"
                                 : absl::StrCat(Thousands(static_cast<int64_t>(timeline.stalls.size())), ", ",
                                                HumanNanos(stalled_ns), " in all");
  TimeChart chart;
  chart.id = "host";
  chart.title = "Processors of the host";
  chart.description = absl::StrCat("Busy at most ", Percent(Highest(host.cpu_busy, 0)), ", stolen at most ",
                                   Percent(Highest(host.cpu_steal, 0)),
                                   " of all cores. Moments in which the machine stood still: ", stalls, ".");
  chart.format = Percent;
  chart.top_at_least = 100;
  chart.curves = {{"busy", "busy", host.cpu_busy, false, true},
                  {"stolen", "stolen", host.cpu_steal, false, false}};
  chart.marks = StallMarks(host.stalled, frame.bins);
  ChartSize size;
  size.plot = 90;
  return Figure(absl::StrCat("Host", timeline.header.host().empty() ? "" : ": ", timeline.header.host()),
                absl::StrCat("percent of all cores", StepNote(frame.bins)),
                Legend({{"busy, at most", "curve curve-busy", Percent(Highest(host.cpu_busy, 0))},
                        {"stolen by the hypervisor, at most", "curve curve-stolen",
                         Percent(Highest(host.cpu_steal, 0))},
                        {"machine stood still:", "mark", stalls}}),
                RenderChart(chart, frame, size));
}

// The largest of 1 B, 1 KiB, 1 MiB, ... that is not above `bytes`.
double BinaryUnit(double bytes) {
  double unit = 1;
  while (unit * 1024 <= bytes) unit *= 1024;
  return unit;
}

// One of the small charts of a service.
std::string SmallFigure(const std::string& service, const std::string& id, const std::string& what,
                        const std::string& of, const Series& series,
                        std::function<std::string(double)> format, bool whole, double unit,
                        const TimeFrame& frame) {
  TimeChart chart;
  chart.id = id;
  chart.title = absl::StrCat(what, " of ", service);
  const std::string most = std::isnan(Highest(series, NAN)) ? "no samples" : format(Highest(series, 0));
  chart.description = absl::StrCat("At most ", most, ".");
  chart.format = std::move(format);
  chart.whole = whole;
  chart.unit = unit;
  chart.curves = {{"", "busy", series, false, true}};
  ChartSize size;
  size.width = 264;
  size.left = 60;
  size.right = 16;
  size.top = 8;
  size.plot = 74;
  size.time_ticks = 4;
  size.value_ticks = 2;
  size.names_faults = false;
  return absl::StrCat("<figure class=\"small\"><figcaption><h4>", Escape(what), " <span class=\"unit\">",
                      Escape(of), "</span></h4><span class=\"most\">at most <b>", Escape(most),
                      "</b></span></figcaption>", RenderChart(chart, frame, size), "</figure>\n");
}

std::string ServiceFigures(const std::string& name, const std::string& id,
                           const std::vector<ServiceSample>& samples, const TimeFrame& frame) {
  const ServiceSeries series = MakeServiceSeries(samples, frame.bins);
  return absl::StrCat(
      "<section class=\"service\"><h3>Service: ", Escape(name), "</h3><div class=\"multiples\">",
      SmallFigure(name, id + "-cpu", "CPU", "of one core", series.cpu, Percent, false, 1, frame),
      SmallFigure(name, id + "-rss", "Memory", "resident", series.rss_bytes, Bytes, true,
                  BinaryUnit(Highest(series.rss_bytes, 0)), frame),
      SmallFigure(name, id + "-threads", "Threads", "", series.threads, Whole, true, 1, frame),
      SmallFigure(name, id + "-fds", "Descriptors", "open", series.fds, Whole, true, 1, frame),
      "</div></section>\n");
}

template <typename Map>
const typename Map::mapped_type& Find(const Map& map, const std::string& key) {
  static const auto& none = *new typename Map::mapped_type();
  const auto found = map.find(key);
  return found == map.end() ? none : found->second;
}

}  // namespace

std::string ChartPatterns() {
  return "<svg width=\"0\" height=\"0\" class=\"patterns\" aria-hidden=\"true\"><defs>"
         "<pattern id=\"hatch-errors\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
         "patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" class=\"plain-errors\"/>"
         "<rect width=\"2\" height=\"6\" class=\"hatch\"/></pattern>"
         "<pattern id=\"dots-rejected\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">"
         "<rect width=\"6\" height=\"6\" class=\"plain-rejected\"/><circle cx=\"3\" cy=\"3\" r=\"1.3\" "
         "class=\"hatch\"/></pattern>"
         "</defs></svg>\n";
}

std::string ChartsHtml(const RunResult& result, const Timeline& timeline) {
  const Scenario& scenario = timeline.header.scenario();
  const TimeFrame frame = MakeTimeFrame(timeline);
  std::string shared = Figure("Course of the run", "time since its start", "",
                              RenderRibbon(result, timeline, frame, ChartSize()));
  int number = 0;
  for (const Load& load : scenario.load()) {
    const std::string id = absl::StrCat("load", ++number);
    const LoadSeries series =
        MakeLoadSeries(Find(timeline.requests, load.name()), Find(timeline.loads, load.name()), frame.bins);
    absl::StrAppend(&shared, RequestsFigure(load.name(), id, series, frame),
                    LatencyFigure(load.name(), absl::StrCat(id, "-latency"), series, scenario, frame));
  }
  number = 0;
  for (const Edge& edge : scenario.edges()) {
    const EdgeSeries series =
        MakeEdgeSeries(Find(timeline.calls, edge.name()), Find(timeline.edge_stats, edge.name()), frame.bins);
    absl::StrAppend(&shared, EdgeFigure(edge, absl::StrCat("edge", ++number), series,
                                        DirectTraffic(timeline, edge.name()), frame));
  }
  for (const BreakerChart& chart : BreakerCharts(timeline, frame)) absl::StrAppend(&shared, BreakerFigure(chart));
  absl::StrAppend(&shared, HostFigure(timeline, frame));
  std::string limiters;
  for (const Assertion& assertion : scenario.assertions()) {
    if (assertion.has_rate_limiter()) absl::StrAppend(&limiters, LimiterFigures(assertion, timeline));
  }
  std::string services;
  number = 0;
  for (const auto& [name, samples] : timeline.samples) {
    absl::StrAppend(&services, ServiceFigures(name, absl::StrCat("service", ++number), samples, frame));
  }
  return absl::StrCat(limiters, "<div class=\"charts\" tabindex=\"0\" role=\"group\" aria-label=\"Charts over time\">",
                      shared, "</div>\n", services);
}

}  // namespace squall
