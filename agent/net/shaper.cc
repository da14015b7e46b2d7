#include "agent/net/shaper.h"

#include <algorithm>
#include <utility>

#include "base/durations.h"

namespace squall {
namespace {

size_t Index(Way way) { return static_cast<size_t>(way); }

int64_t Nanos(const google::protobuf::Duration& duration) { return absl::ToInt64Nanoseconds(ToDuration(duration)); }

// `by_default` is what a direction that is not set means.
bool Covers(Direction direction, Direction by_default, Way way) {
  if (direction == DIRECTION_UNSPECIFIED) direction = by_default;
  return direction == DIRECTION_BOTH || (direction == DIRECTION_RESPONSE) == (way == Way::kToService);
}

bool Covers(const StallFault& stall, Way way) { return Covers(stall.direction(), DIRECTION_RESPONSE, way); }
bool Covers(const LimitData& limit, Way way) { return Covers(limit.direction(), DIRECTION_RESPONSE, way); }
bool Covers(const Slice& slice, Way way) { return Covers(slice.direction(), DIRECTION_RESPONSE, way); }

// In percent; not set means all.
double ShareOf(const Fault& fault) {
  double share = 100;
  if (fault.has_latency()) share = fault.latency().share();
  if (fault.has_stall()) share = fault.stall().share();
  if (fault.has_reset()) share = fault.reset().share();
  return share > 0 ? share : 100;
}

}  // namespace

std::optional<Stage> StageOf(Fault::KindCase kind) {
  const auto found = std::find(kKinds.begin(), kKinds.end(), kind);
  if (found == kKinds.end()) return std::nullopt;
  return static_cast<Stage>(found - kKinds.begin());
}

void EdgeShape::Set(const Fault& fault, uint64_t seed, int64_t now_ns) {
  const Stage stage = *StageOf(fault.kind_case());
  std::optional<Active>& active = stages[static_cast<size_t>(stage)];
  active.emplace();
  active->fault = fault;
  active->random.seed(seed);
  FaultCount& count = Count(stage);
  count = FaultCount();
  if (fault.has_latency()) count.seen.set_requested_ns(Nanos(fault.latency().delay()));
  if (fault.has_bandwidth()) count.seen.set_requested_rate(fault.bandwidth().rate());
  for (const Way way : kBothWays) {
    const auto index = Index(way);
    if (fault.has_latency() && Covers(fault.latency().direction(), DIRECTION_RESPONSE, way)) {
      active->delays[index].emplace(fault.latency(), seed + 1 + index);
    }
    if (fault.has_bandwidth() && Covers(fault.bandwidth().direction(), DIRECTION_BOTH, way)) {
      active->buckets[index].emplace(fault.bandwidth().rate(), fault.bandwidth().burst(), now_ns);
    }
  }
}

void EdgeShape::Change(const Fault& fault, int64_t now_ns) {
  const Stage stage = *StageOf(fault.kind_case());
  Active& active = *Get(stage);
  active.fault = fault;
  FaultCount& count = Count(stage);
  count.achieved.Changed();
  if (fault.has_latency()) count.seen.set_requested_ns(Nanos(fault.latency().delay()));
  if (fault.has_bandwidth()) count.seen.set_requested_rate(fault.bandwidth().rate());
  for (std::optional<Delays>& delays : active.delays) {
    if (delays) delays->SetDelay(fault.latency());
  }
  for (std::optional<Bucket>& bucket : active.buckets) {
    if (bucket) bucket->SetRate(fault.bandwidth().rate(), fault.bandwidth().burst(), now_ns);
  }
}

void EdgeShape::Clear(Stage stage) { stages[static_cast<size_t>(stage)].reset(); }

Bucket* EdgeShape::BucketOf(Way way) {
  Active* bandwidth = Get(Stage::kBandwidth);
  return bandwidth == nullptr || !bandwidth->buckets[Index(way)] ? nullptr : &*bandwidth->buckets[Index(way)];
}

void Shaper::Put(absl::string_view bytes, int64_t now_ns) {
  if (end_read_ || bytes.empty()) return;
  Chunk chunk;
  chunk.bytes = std::string(bytes);
  held_bytes_ += bytes.size();
  put_ += static_cast<int64_t>(bytes.size());
  Take(std::move(chunk), now_ns);
}

void Shaper::PutEnd(End end, int64_t now_ns) {
  if (end_read_ && end == End::kFin) return;
  // A reset may follow a FIN; where that is still held it takes its place.
  if (!held_.empty() && held_.back().end != End::kNone) held_.pop_back();
  released_ = std::min(released_, held_.size());
  Chunk chunk;
  chunk.end = end;
  end_read_ = true;
  Take(std::move(chunk), now_ns);
}

void Shaper::Take(Chunk chunk, int64_t now_ns) {
  chunk.read_ns = now_ns;
  EdgeShape::Active* latency = of_->Acting(Stage::kLatency);
  if (latency != nullptr && latency->delays[Index(way_)]) {
    chunk.release_ns = std::max(last_release_ns_, now_ns + latency->delays[Index(way_)]->Draw());
    chunk.delayed = true;
    chunk.asked = of_->edge_->Count(Stage::kLatency).achieved.asked();
    of_->Touch(Stage::kLatency);
    Evidence& seen = of_->edge_->Count(Stage::kLatency).seen;
    seen.set_bytes(seen.bytes() + static_cast<int64_t>(chunk.bytes.size()));
  } else if (last_release_ns_ > now_ns) {
    chunk.release_ns = last_release_ns_;  // never overtakes
  }
  last_release_ns_ = chunk.release_ns;
  held_.push_back(std::move(chunk));
}

Shaper::Ready Shaper::Next(int64_t now_ns) {
  wake_ns_ = kNever;
  NoteReleased(now_ns);
  const Ready ready = Look(now_ns);
  if (!ready.bytes.empty() || ready.end != End::kNone) {
    wake_ns_ = 0;
  } else if (released_ < held_.size()) {
    wake_ns_ = std::min(wake_ns_, held_[released_].release_ns);
  }
  return ready;
}

// What latency has let go may wait for other faults, which is not its doing.
void Shaper::NoteReleased(int64_t now_ns) {
  for (; released_ < held_.size() && held_[released_].release_ns <= now_ns; ++released_) {
    const Chunk& chunk = held_[released_];
    if (chunk.delayed && chunk.end == End::kNone) {
      of_->edge_->Count(Stage::kLatency).achieved.Add(chunk.asked, now_ns - chunk.read_ns);
    }
  }
}

void Shaper::Pop() {
  held_.pop_front();
  if (released_ > 0) --released_;
}

Shaper::Ready Shaper::Look(int64_t now_ns) {
  Bucket* bucket = of_->edge_->BucketOf(way_);
  // Whatever else holds the bytes back, they do not stand in line for it.
  const auto nothing_until = [&](int64_t at_ns) {
    wake_ns_ = at_ns;
    if (bucket != nullptr) bucket->Leave(of_->id_);
    return Ready();
  };
  if (held_.empty()) return nothing_until(kNever);
  const Chunk& chunk = held_.front();
  if (chunk.release_ns > now_ns) return nothing_until(chunk.release_ns);
  int64_t left = Left(now_ns);
  if (left == 0) return nothing_until(kNever);
  if (chunk.end != End::kNone) {
    nothing_until(0);
    return {{}, chunk.end};
  }
  left = std::min(left, static_cast<int64_t>(chunk.bytes.size() - chunk.written));
  EdgeShape::Active* slice = of_->Acting(Stage::kSlice);
  const bool sliced = slice != nullptr && Covers(slice->fault.slice(), way_);
  if (sliced) {
    if (next_piece_ns_ > now_ns) {
      of_->Touch(Stage::kSlice);
      return nothing_until(next_piece_ns_);
    }
    if (piece_left_ == 0) {
      const int64_t size = slice->fault.slice().size(), variation = slice->fault.slice().variation();
      piece_left_ = std::max<int64_t>(
          1, variation == 0 ? size : std::uniform_int_distribution<int64_t>(size - variation, size + variation)(slice->random));
    }
    left = std::min(left, piece_left_);
  }
  if (bucket != nullptr) {
    left = static_cast<int64_t>(bucket->Grant(of_->id_, static_cast<size_t>(left), now_ns));
    if (left == 0) {
      waited_ = true;
      of_->Touch(Stage::kBandwidth);
      return {};
    }
  }
  return {absl::string_view(chunk.bytes).substr(chunk.written, static_cast<size_t>(left)), End::kNone, sliced};
}

int64_t Shaper::Left(int64_t now_ns) {
  int64_t left = kNever;
  if (of_->Acting(Stage::kBlackhole) != nullptr) {
    Hold(Stage::kBlackhole);
    return 0;
  }
  const EdgeShape::Active* stall = of_->Acting(Stage::kStall);
  if (stall != nullptr && Covers(stall->fault.stall(), way_)) {
    left = stall->fault.stall().after_bytes() - of_->Passed(Stage::kStall, way_);
    if (left <= 0) {
      Hold(Stage::kStall);
      return 0;
    }
  }
  if (held_.front().end != End::kNone) return left;
  // What they do when nothing is left is up to WhatBecomes().
  const EdgeShape::Active* limit = of_->Acting(Stage::kLimitData);
  if (limit != nullptr && Covers(limit->fault.limit_data(), way_)) {
    int64_t passed = 0;
    for (const Way way : kBothWays) {
      if (Covers(limit->fault.limit_data(), way)) passed += of_->Passed(Stage::kLimitData, way);
    }
    left = std::min(left, limit->fault.limit_data().bytes() - passed);
  }
  const EdgeShape::Active* reset = of_->Acting(Stage::kReset);
  if (reset != nullptr && way_ == Way::kToService &&
      now_ns - of_->LotOf(Stage::kReset).since_ns >= Nanos(reset->fault.reset().after())) {
    left = std::min(left, reset->fault.reset().after_bytes() - of_->Passed(Stage::kReset, way_));
  }
  return std::max<int64_t>(0, left);
}

void Shaper::Hold(Stage stage) {
  of_->Touch(stage);
  int64_t& counted_to = of_->LotOf(stage).counted_to[Index(way_)];
  Evidence& seen = of_->edge_->Count(stage).seen;
  seen.set_bytes(seen.bytes() + put_ - std::max(counted_to, written_));
  counted_to = put_;
}

void Shaper::Wrote(size_t bytes, int64_t now_ns) {
  EdgeShape& edge = *of_->edge_;
  const auto size = static_cast<int64_t>(bytes);
  Chunk& chunk = held_.front();
  chunk.written += bytes;
  held_bytes_ -= bytes;
  written_ += size;
  const bool chunk_over = chunk.written == chunk.bytes.size();
  EdgeShape::Active* slice = of_->Acting(Stage::kSlice);
  if (slice != nullptr && Covers(slice->fault.slice(), way_)) {
    piece_left_ -= size;
    // What is no longer than a piece, and waits for none, passes as it came.
    if (piece_left_ <= 0 && !chunk_over) of_->Touch(Stage::kSlice);
    Evidence& seen = edge.Count(Stage::kSlice).seen;
    seen.set_bytes(seen.bytes() + size);
    if (piece_left_ <= 0 || chunk_over) {
      seen.set_pieces(seen.pieces() + 1);
      piece_left_ = 0;
      next_piece_ns_ = now_ns + Nanos(slice->fault.slice().delay());
    }
  }
  if (chunk_over) Pop();
  if (Bucket* bucket = edge.BucketOf(way_)) {
    bucket->Took(of_->id_, bytes, held_bytes_ > 0, now_ns);
    Evidence& seen = edge.Count(Stage::kBandwidth).seen;
    if (waited_) seen.set_bytes(seen.bytes() + size);
    int64_t achieved = bucket->AchievedRate();
    for (const Way way : kBothWays) {
      if (const Bucket* other = edge.BucketOf(way)) achieved = std::max(achieved, other->AchievedRate());
    }
    seen.set_achieved_rate(achieved);
  }
  if (held_bytes_ == 0) waited_ = false;
}

void Shaper::WroteEnd() {
  Pop();
  end_written_ = true;
}

void Shaper::Blocked() {
  if (Bucket* bucket = of_->edge_->BucketOf(way_)) bucket->Leave(of_->id_);
}

void Shaper::Drop() {
  Blocked();
  held_.clear();
  released_ = 0;
  held_bytes_ = 0;
  wake_ns_ = kNever;
}

ConnectionShape::~ConnectionShape() {
  for (Shaper& shaper : ways_) shaper.Blocked();
}

void ConnectionShape::Enroll(Stage stage, bool existing, int64_t now_ns) {
  EdgeShape::Active* active = edge_->Get(stage);
  if (active == nullptr) return;
  Lot& lot = LotOf(stage);
  lot = Lot();
  lot.since_ns = now_ns;
  lot.from = {ways_[0].written_, ways_[1].written_};
  const double share = ShareOf(active->fault);
  lot.chosen = share >= 100 || std::uniform_real_distribution<double>(0, 100)(active->random) < share;
  if (existing && stage == Stage::kReset && !active->fault.reset().existing()) lot.chosen = false;
  if (stage != Stage::kSlice) return;
  for (Shaper& shaper : ways_) shaper.piece_left_ = shaper.next_piece_ns_ = 0;
}

void ConnectionShape::EnrollNew(int64_t now_ns) {
  for (size_t stage = 0; stage < kStages; ++stage) Enroll(static_cast<Stage>(stage), /*existing=*/false, now_ns);
}

EdgeShape::Active* ConnectionShape::Acting(Stage stage) { return LotOf(stage).chosen ? edge_->Get(stage) : nullptr; }

int64_t ConnectionShape::Passed(Stage stage, Way way) const {
  return ways_[Index(way)].written_ - lots_[static_cast<size_t>(stage)].from[Index(way)];
}

ConnectionShape::Fate ConnectionShape::WhatBecomes(int64_t now_ns) {
  Fate fate;
  if (const EdgeShape::Active* reset = Acting(Stage::kReset)) {
    if (Passed(Stage::kReset, Way::kToService) >= reset->fault.reset().after_bytes()) {
      fate = {Ending::kReset, LotOf(Stage::kReset).since_ns + Nanos(reset->fault.reset().after())};
    }
  }
  if (const EdgeShape::Active* limit = Acting(Stage::kLimitData)) {
    int64_t passed = 0;
    for (const Way way : kBothWays) {
      if (Covers(limit->fault.limit_data(), way)) passed += Passed(Stage::kLimitData, way);
    }
    if (fate.at_ns > now_ns && passed >= limit->fault.limit_data().bytes()) fate = {Ending::kClose, now_ns};
  }
  return fate;
}

void ConnectionShape::Ended(Ending ending) {
  const Stage stage = ending == Ending::kReset ? Stage::kReset : Stage::kLimitData;
  Touch(stage);
  Evidence& seen = edge_->Count(stage).seen;
  seen.set_cut(seen.cut() + 1);
}

void ConnectionShape::Touch(Stage stage) {
  Lot& lot = LotOf(stage);
  Evidence& seen = edge_->Count(stage).seen;
  if (!lot.counted) seen.set_connections(seen.connections() + 1);
  lot.counted = lot.in_call = true;
}

void ConnectionShape::CallEnded(bool last) {
  for (size_t i = 0; i < kStages; ++i) {
    if (!lots_[i].in_call) continue;
    Evidence& seen = edge_->Count(static_cast<Stage>(i)).seen;
    seen.set_calls(seen.calls() + 1);
    if (last) lots_[i].in_call = false;
  }
}

void ConnectionShape::ReleaseLatency() {
  for (Shaper& shaper : ways_) {
    for (Shaper::Chunk& chunk : shaper.held_) {
      chunk.release_ns = 0;
      chunk.delayed = false;  // cut short: says nothing of the delay achieved
    }
    shaper.last_release_ns_ = 0;
  }
}

bool ConnectionShape::HeldByLatency() const {
  for (const Shaper& shaper : ways_) {
    for (const Shaper::Chunk& chunk : shaper.held_) {
      if (chunk.release_ns > 0) return true;
    }
  }
  return false;
}

}  // namespace squall
