#include "agent/net/bucket.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace squall {
namespace {

constexpr double kSecond = 1e9;
constexpr double kSegment = 1500;

double RateOf(int64_t rate) { return static_cast<double>(std::max<int64_t>(1, rate)); }
double BurstOf(double rate, int64_t burst) { return burst > 0 ? static_cast<double>(burst) : std::max(rate / 100, kSegment); }
double GrainOf(double rate, double burst) { return std::clamp(std::floor(rate / 1000), 1.0, burst); }

}  // namespace

Bucket::Bucket(int64_t rate, int64_t burst, int64_t now_ns)
    : rate_(RateOf(rate)), burst_(BurstOf(rate_, burst)), grain_(GrainOf(rate_, burst_)), tokens_(burst_), filled_ns_(now_ns) {}

void Bucket::SetRate(int64_t rate, int64_t burst, int64_t now_ns) {
  Fill(now_ns);
  rate_ = RateOf(rate);
  burst_ = BurstOf(rate_, burst);
  grain_ = GrainOf(rate_, burst_);
  tokens_ = std::min(tokens_, burst_);
  fresh_ = 2;  // the one under way, and a whole one
}

void Bucket::Fill(int64_t now_ns) {
  if (now_ns <= filled_ns_) return;
  tokens_ = std::min(burst_, tokens_ + rate_ * static_cast<double>(now_ns - filled_ns_) / kSecond);
  filled_ns_ = now_ns;
}

size_t Bucket::Grant(uint64_t connection, size_t wanted, int64_t now_ns) {
  Fill(now_ns);
  const bool its_turn = line_.empty() || line_.front() == connection;
  const double most = std::min(static_cast<double>(wanted), std::max(grain_, kSegment));
  if (its_turn && tokens_ >= std::min(grain_, most)) return static_cast<size_t>(std::min(most, std::floor(tokens_)));
  if (place_.count(connection) == 0) {
    if (line_.empty()) {
      second_ns_ = now_ns;
      second_bytes_ = 0;
    }
    place_[connection] = line_.insert(line_.end(), connection);
  }
  return 0;
}

void Bucket::Took(uint64_t connection, size_t bytes, bool more, int64_t now_ns) {
  tokens_ -= static_cast<double>(bytes);
  if (!line_.empty() && now_ns - second_ns_ >= static_cast<int64_t>(kSecond)) {
    const double seconds = static_cast<double>(now_ns - second_ns_) / kSecond;
    const auto achieved = static_cast<int64_t>(static_cast<double>(second_bytes_) / seconds);
    achieved_rate_ = fresh_ > 0 ? achieved : std::max(achieved_rate_, achieved);
    fresh_ = std::max(0, fresh_ - 1);
    second_ns_ = now_ns;
    second_bytes_ = 0;
  }
  second_bytes_ += static_cast<int64_t>(bytes);
  const auto found = place_.find(connection);
  if (found == place_.end()) return;
  if (more) {
    line_.splice(line_.end(), line_, found->second);
  } else {
    Leave(connection);
  }
}

void Bucket::Leave(uint64_t connection) {
  const auto found = place_.find(connection);
  if (found == place_.end()) return;
  line_.erase(found->second);
  place_.erase(found);
}

uint64_t Bucket::Turn(int64_t now_ns) {
  Fill(now_ns);
  return line_.empty() || tokens_ < grain_ ? 0 : line_.front();
}

int64_t Bucket::WakeAt() const {
  if (line_.empty()) return std::numeric_limits<int64_t>::max();
  const double missing = std::max(0.0, grain_ - tokens_);
  return filled_ns_ + static_cast<int64_t>(std::ceil(missing / rate_ * kSecond));
}

}  // namespace squall
