#include "agent/net/http2.h"

#include <algorithm>
#include <cstring>

namespace squall {

Http2::Http2(ConversationParts& parts, absl::string_view begun) : parts_(parts), preface_seen_(begun.size()) {}

size_t Http2::HeldFrame::Size() const {
  size_t size = 64 + payload.size();
  for (const HeaderField& field : fields) size += 96 + field.name.size() + field.value.size();
  return size;
}

bool Http2::Writable(const Input& in) {
  if (in.in_block && (in.block_raw || in.block_frames.empty())) return false;  // a block is on its way
  return in.head_size == 0 || !(in.raw || (in.begun && in.pass));
}

void Http2::FromService(absl::string_view bytes, int64_t now_ns) {
  now_ns_ = now_ns;
  if (preface_seen_ < kHttp2Preface.size() && state_ == State::kFollowed) {
    const size_t size = std::min(bytes.size(), kHttp2Preface.size() - preface_seen_);
    parts_.to_dependency.append(bytes.data(), size);
    if (kHttp2Preface.substr(preface_seen_, size) != bytes.substr(0, size)) GiveUp();
    preface_seen_ += size;
    bytes.remove_prefix(size);
  }
  const size_t used = Feed(up_, bytes);
  if (state_ == State::kOpaque) parts_.to_dependency.append(bytes.data() + used, bytes.size() - used);
}

void Http2::FromDependency(absl::string_view bytes, int64_t now_ns) {
  now_ns_ = now_ns;
  if (!waiting_.empty()) {
    waiting_.append(bytes.data(), bytes.size());
    return GoOnDown();
  }
  const size_t used = Feed(down_, bytes);
  if (state_ == State::kOpaque) {
    parts_.to_service.append(bytes.data() + used, bytes.size() - used);
  } else if (state_ == State::kFollowed) {
    waiting_.append(bytes.data() + used, bytes.size() - used);
  }
}

// Parses; returns how many bytes were disposed of. Fewer than all: it gave up, or the rest has to wait.
size_t Http2::Feed(Input& in, absl::string_view bytes) {
  size_t used = 0;
  while (state_ == State::kFollowed) {
    if (in.head_size < kFrameHeaderSize) {
      if (used == bytes.size()) return used;
      if (in.head_size == 0) {
        in.begun = in.pass = in.kept = in.collect = false;
        in.payload.clear();
        // What has begun to pass passes to its end.
        in.raw = in.in_block ? in.block_raw : !changed_ && !(IsUp(in) && parts_.FaultsActive());
        if (!in.in_block) in.block_begin_ns = now_ns_;
      }
      const size_t size = std::min(kFrameHeaderSize - in.head_size, bytes.size() - used);
      memcpy(in.head + in.head_size, bytes.data() + used, size);
      if (in.raw) Out(in).append(bytes.data() + used, size);
      in.head_size += size;
      used += size;
      if (in.head_size < kFrameHeaderSize) return used;
    }
    if (!in.begun) {
      in.frame = ParseFrame(in.Head());
      in.left = in.frame.length;
      const Begin begin = BeginFrame(in);
      if (begin == Begin::kWait) return used;
      if (begin == Begin::kMalformed) {
        GiveUp();
        return used;
      }
      in.begun = true;
    }
    const absl::string_view piece = bytes.substr(used, in.left);
    if (in.raw || in.pass) Out(in).append(piece.data(), piece.size());
    if (in.collect) in.payload.append(piece.data(), piece.size());
    in.left -= static_cast<uint32_t>(piece.size());
    used += piece.size();
    if (in.left > 0) return used;
    if (!EndFrame(in)) {
      GiveUp();
      return used;
    }
    in.head_size = 0;
    in.payload.clear();
    if (IsUp(in)) {
      RunDue();
      if (!pending_up_.empty() && Writable(up_)) ToDependency("");
    } else {
      down_begun_ = true;
      FlushPending();
    }
  }
  return used;
}

Http2::Begin Http2::BeginFrame(Input& in) {
  const Frame& frame = in.frame;
  const bool continues = frame.type == kContinuation;
  if (in.in_block != continues || (continues && frame.stream != in.block_stream)) return Begin::kMalformed;
  const bool block = frame.type == kHeaders || frame.type == kPushPromise || continues;
  if (block || frame.type == kSettings || frame.type == kWindowUpdate || frame.type == kRstStream ||
      frame.type == kGoaway) {
    if (frame.length > kMaxFrame) return Begin::kMalformed;
    in.collect = true;
  }
  if (block && !continues) {
    in.block.clear();
    in.block_frames.clear();
    in.block_size = 0;
    in.block_raw = in.raw;
    in.block_type = frame.type;
    in.block_stream = frame.stream;
    in.block_ends_stream = frame.type == kHeaders && frame.Has(kEndStream);
  }
  return IsUp(in) ? BeginUp() : BeginDown();
}

bool Http2::EndFrame(Input& in) {
  const Frame& frame = in.frame;
  if (frame.type == kHeaders || frame.type == kPushPromise || frame.type == kContinuation) {
    if (!TakeBlockFragment(in)) return false;
    if (in.in_block) return true;
    if (!(IsUp(in) ? EndUpBlock() : EndDownBlock())) return false;
    in.block_frames.clear();
    return true;
  }
  return IsUp(in) ? EndUp() : EndDown();
}

bool Http2::TakeBlockFragment(Input& in) {
  absl::string_view fragment;
  if (!BlockFragment(in.frame, in.payload, fragment)) return false;
  in.block_size += kFrameHeaderSize + in.frame.length;
  if (in.block_size > kMaxBlock) return false;
  in.block.append(fragment.data(), fragment.size());
  if (!in.raw && !in.pass) {
    in.block_frames.append(in.head, in.head_size);
    in.block_frames += in.payload;
    in.kept = true;
  }
  in.in_block = !in.frame.Has(kEndHeaders);
  return true;
}

// What was kept of a block or a frame goes on as it came.
void Http2::Flush(Input& in, std::string& out) {
  out += in.block_frames;
  if (in.head_size > 0 && !in.raw && !in.pass && !in.kept) {
    out.append(in.head, in.head_size);
    out += in.payload;
  }
  in.block_frames.clear();
  in.payload.clear();
  in.head_size = 0;
}

void Http2::GiveUp() {
  if (state_ != State::kFollowed) return;
  if (changed_) {
    state_ = State::kBroken;
    return;
  }
  state_ = State::kOpaque;
  Flush(up_, parts_.to_dependency);
  streams_.clear();
}

void Http2::ServiceEnded(int64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ != State::kFollowed) return;
  if (!changed_) return Flush(up_, parts_.to_dependency);
  // Half a frame, of which nothing more comes: it is dropped.
  up_ = Input();
  RunDue();
}

void Http2::OnTime(int64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ != State::kFollowed) return;
  RunDue();
  PumpAnswers();
}

size_t Http2::HeldToDependency() const {
  return held_bytes_ + up_.block_frames.size() + up_.payload.size() + pending_up_.size();
}

bool Http2::HoldsFor(RequestFaults::Kind kind) const {
  return std::any_of(streams_.begin(), streams_.end(), [kind](const auto& each) {
    return each.second.state == Stream::kHeld && (each.second.decision.hit[kind] || !each.second.decision.Hits());
  });
}

bool Http2::OwesAnswer() const {
  size_t others = 0;
  size_t owed = owed_;
  for (const auto& [id, stream] : streams_) {
    if (stream.state == Stream::kHeld && stream.decision.Answer() != nullptr) {
      ++owed;
    } else if (stream.state != Stream::kAnswered && !stream.response_ended) {
      ++others;
    }
  }
  return owed > 0 && others == 0;
}

void Http2::CloseStream(Streams::iterator stream) {
  if (stream->second.state == Stream::kHeld) Unhold(stream->first, stream->second);
  const uint32_t dependency_id = stream->second.dependency_id;
  if (translated_ && service_ids_.count(dependency_id) > 0) {
    closed_.push_back(dependency_id);
    if (closed_.size() > kMaxClosed) {
      service_ids_.erase(closed_.front());
      closed_.pop_front();
    }
  }
  if (stream->second.state == Stream::kAnswered) --owed_;
  answering_.erase(stream->first);
  if (parts_.calls.Find(stream->second.call) != nullptr) unwritten_[stream->first] = stream->second.call;
  if (unwritten_.size() > 2 * parts_.calls.size() + 16) {
    std::erase_if(unwritten_, [this](const auto& each) { return parts_.calls.Find(each.second) == nullptr; });
  }
  streams_.erase(stream);
}

// Frames of ours towards the dependency, now or once its direction is between frames.
void Http2::ToDependency(absl::string_view frames) {
  if (!Writable(up_)) {
    pending_up_.append(frames.data(), frames.size());
    return;
  }
  parts_.to_dependency += pending_up_;
  pending_up_.clear();
  parts_.to_dependency.append(frames.data(), frames.size());
}

// And towards the service.
void Http2::ToService(absl::string_view frames) {
  pending_.append(frames.data(), frames.size());
  if (pending_.size() > 2 * kMaxOwnOutput) return GiveUp();  // bodies wait, and nothing more is read from the service
  FlushPending();
}

void Http2::FlushPending() {
  if (!down_begun_ || !Writable(down_)) return;
  const uint64_t base = parts_.OffsetToService();
  parts_.to_service += pending_;
  pending_.clear();
  for (const Ending& ending : pending_endings_) {
    parts_.calls.EndAt(ending.call, ending.result, base + ending.offset, now_ns_);
  }
  pending_endings_.clear();
}

}  // namespace squall
