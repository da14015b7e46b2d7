#include "base/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace squall {
namespace {

constexpr int kSubBits = 7;

int32_t BucketOf(int64_t value) {
  const uint64_t v = static_cast<uint64_t>(std::max<int64_t>(value, 0));
  if (v < (1u << kSubBits)) return static_cast<int32_t>(v);
  const int shift = std::bit_width(v) - 1 - kSubBits;
  return ((shift + 1) << kSubBits) + static_cast<int32_t>((v >> shift) - (1u << kSubBits));
}

// The middle of the bucket.
int64_t ValueOf(int32_t bucket) {
  if (bucket < (1 << kSubBits)) return bucket;
  const int shift = (bucket >> kSubBits) - 1;
  const int64_t low = ((bucket & ((1 << kSubBits) - 1)) + (int64_t{1} << kSubBits)) << shift;
  return low + ((int64_t{1} << shift) >> 1);
}

}  // namespace

void Histogram::Add(int64_t value) {
  ++buckets_[BucketOf(value)];
  ++count_;
}

void Histogram::Merge(const Histogram& other) {
  for (const auto& [bucket, count] : other.buckets_) buckets_[bucket] += count;
  count_ += other.count_;
}

int64_t Histogram::Quantile(double q) const {
  if (count_ == 0) return 0;
  const int64_t rank = std::clamp<int64_t>(static_cast<int64_t>(std::ceil(q * static_cast<double>(count_))), 1, count_);
  int64_t seen = 0;
  for (const auto& [bucket, count] : buckets_) {
    seen += count;
    if (seen >= rank) return ValueOf(bucket);
  }
  return 0;
}

}  // namespace squall
