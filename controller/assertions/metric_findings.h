#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controller/assertions/during.h"
#include "controller/assertions/metric_values.h"
#include "controller/assertions/stalls.h"
#include "proto/assertion.pb.h"
#include "proto/verdict.pb.h"

namespace squall {

// What is asked of each series, and where. Points to what must outlive it.
struct MetricScene {
  const MetricBound& spec;
  const MetricStory& story;
  const Stalls& stalls;
  Span part;
  std::vector<std::pair<int64_t, int64_t>> rests;  // loads offered less than their rates

  bool Below(double value) const { return spec.has_at_least() && value < spec.at_least(); }
  bool Above(double value) const { return spec.has_at_most() && value > spec.at_most(); }
  // How far it is inside of the nearer bound.
  double Margin(double value) const;
  // A reading may come late by a turn, so that what it tells may be as old as two.
  int64_t SlackNs() const { return 2 * story.every_ns; }
  // With `reached_within`. The machine's own halts are no fault of the service.
  int64_t ReachedByNs() const;
};

// What was found of one series.
struct MetricFinding {
  std::string series = {};
  Verdict::Result result = Verdict::INCONCLUSIVE;
  bool final = false;
  bool seen = false;  // what was read proves it, whatever was not read
  std::string measured = {};
  std::string reason = {};  // empty: nothing is known of it
  double margin = 0;
  std::optional<int64_t> broken_ns = {};
};

MetricFinding JudgeSeries(const MetricScene& scene, const MetricValues& values);

// FAIL over INCONCLUSIVE over PASS; then the one that is nearer to its bound.
bool Worse(const MetricFinding& a, const MetricFinding& b);

// When loads offered less than their rates.
std::vector<std::pair<int64_t, int64_t>> RestsOf(const Timeline& timeline);

// "1,200", "0.25".
std::string Figure(double value);

}  // namespace squall
