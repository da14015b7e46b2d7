#include "agent/net/shaper.h"

#include <algorithm>
#include <utility>

#include "base/durations.h"

namespace squall {

LatencyStage::LatencyStage(const Latency& latency, uint64_t seed)
    : delay_ns(absl::ToInt64Nanoseconds(ToDuration(latency.delay()))),
      jitter_ns(absl::ToInt64Nanoseconds(ToDuration(latency.jitter()))),
      on_request(latency.direction() != DIRECTION_RESPONSE),
      on_response(latency.direction() != DIRECTION_REQUEST),
      random(seed) {}

int64_t LatencyStage::Draw() {
  if (jitter_ns == 0) return delay_ns;
  return delay_ns + std::uniform_int_distribution<int64_t>(-jitter_ns, jitter_ns)(random);
}

bool Shaper::Put(absl::string_view bytes, int64_t now_ns) {
  Chunk chunk;
  chunk.bytes = std::string(bytes);
  held_bytes_ += bytes.size();
  return Take(std::move(chunk), now_ns);
}

bool Shaper::PutEnd(int64_t now_ns) {
  Chunk chunk;
  chunk.end = true;
  end_read_ = true;
  return Take(std::move(chunk), now_ns);
}

bool Shaper::Take(Chunk chunk, int64_t now_ns) {
  chunk.read_ns = now_ns;
  if (edge_->latency && edge_->latency->Acts(way_)) {
    chunk.release_ns = std::max(last_release_ns_, now_ns + edge_->latency->Draw());
    chunk.delayed = true;
    Evidence& seen = edge_->counts[Fault::kLatency].seen;
    seen.set_bytes(seen.bytes() + static_cast<int64_t>(chunk.bytes.size()));
  } else if (last_release_ns_ > now_ns) {
    chunk.release_ns = last_release_ns_;  // never overtakes
  }
  last_release_ns_ = chunk.release_ns;
  held_.push_back(std::move(chunk));
  return held_.back().delayed;
}

Shaper::Ready Shaper::Next(int64_t now_ns) const {
  if (held_.empty() || held_.front().release_ns > now_ns) return {};
  const Chunk& chunk = held_.front();
  return {absl::string_view(chunk.bytes).substr(chunk.written), chunk.end};
}

void Shaper::Wrote(size_t bytes, int64_t now_ns) {
  Chunk& chunk = held_.front();
  if (chunk.written == 0 && chunk.delayed) edge_->counts[Fault::kLatency].achieved.Add(now_ns - chunk.read_ns);
  chunk.written += bytes;
  held_bytes_ -= bytes;
  if (chunk.written == chunk.bytes.size()) held_.pop_front();
}

void Shaper::WroteEnd() {
  held_.pop_front();
  end_written_ = true;
}

void Shaper::ReleaseLatency() {
  for (Chunk& chunk : held_) {
    chunk.release_ns = 0;
    chunk.delayed = false;  // cut short: says nothing of the delay achieved
  }
  last_release_ns_ = 0;
}

}  // namespace squall
