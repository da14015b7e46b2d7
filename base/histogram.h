#pragma once

#include <cstdint>
#include <map>

namespace squall {

// A log-linear histogram of non-negative nanoseconds: 128 buckets for each power of two, so that a quantile is off by less
// than 0.8 %. Merges. Not thread-safe.
class Histogram {
 public:
  void Add(int64_t value);
  void Merge(const Histogram& other);
  int64_t count() const { return count_; }
  // The value below which the share `q` (0 to 1) lies; 0 when empty.
  int64_t Quantile(double q) const;

 private:
  std::map<int32_t, int64_t> buckets_;
  int64_t count_ = 0;
};

}  // namespace squall
