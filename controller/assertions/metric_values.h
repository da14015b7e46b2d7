#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// What is known of one series. Plain data.
struct MetricValues {
  std::string series;
  // A value holds until another is read, or nothing can be.
  struct Value {
    int64_t from_ns = 0;
    int64_t to_ns = 0;
    double value = 0;
  };
  std::vector<Value> values;
  // By how much a counter had grown when it was read. One that fell was reset, and one that appears on a page that had been read
  // before was made since: both count from 0.
  struct Growth {
    int64_t at_ns = 0;
    double by = 0;
  };
  std::vector<Growth> growths;
};

// What a page or a monitor told of the metric that is meant.
struct MetricStory {
  std::string told_by;   // "the metrics page of orders", "monitor prometheus"
  std::string asked;     // the metric with its labels, or the query
  int64_t every_ns = 0;  // between two readings
  struct Readable {
    int64_t from_ns = 0;
    int64_t to_ns = 0;
  };
  std::vector<Readable> readable;
  std::vector<MetricValues> series;
  std::vector<std::string> others;  // of the same name, with other labels

  // For how much of this time it could be read.
  int64_t ReadableWithin(int64_t begin_ns, int64_t end_ns) const;
};

MetricStory ReadMetric(const MetricBound& spec, const Timeline& timeline);

// What a monitor is asked: the spec's query, or its metric with its labels. MetricSample::series begins with it.
std::string QueryOf(const MetricBound& spec);

}  // namespace squall
