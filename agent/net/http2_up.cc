// From the service to the dependency: requests, and what becomes of them.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "agent/net/call_headers.h"
#include "agent/net/grpc_text.h"
#include "agent/net/http2.h"

namespace squall {

Http2::Begin Http2::BeginUp() {
  Input& in = up_;
  const Frame& frame = in.frame;
  if (in.raw || frame.type == kHeaders || frame.type == kContinuation) return Begin::kGoOn;
  if (!changed_) {
    parts_.to_dependency.append(in.head, in.head_size);
    in.pass = true;
    return Begin::kGoOn;
  }
  if (frame.type == kPriority || frame.type == kPriorityUpdate) return Begin::kGoOn;  // dropped
  if (frame.type == kWindowUpdate || frame.type == kRstStream) return Begin::kGoOn;   // when it is whole
  if (frame.stream == 0 || frame.stream % 2 == 0) {
    if (frame.length <= kMaxFrame) {  // whole, as below
      in.collect = true;
      return Begin::kGoOn;
    }
    parts_.to_dependency.append(in.head, in.head_size);
    in.pass = true;
    return Begin::kGoOn;
  }
  const auto found = streams_.find(frame.stream);
  if (found == streams_.end() || found->second.state == Stream::kAnswered || found->second.state == Stream::kDrained) {
    return Begin::kGoOn;  // dropped
  }
  // Whole, so that it never stands in the way of what is due; but a frame that is larger than any should be passes as it comes.
  if (frame.length <= kMaxFrame) {
    in.collect = true;
  } else if (found->second.state == Stream::kOpen) {
    AppendFrameHeader(parts_.to_dependency, {frame.length, frame.type, frame.flags, found->second.dependency_id});
    in.pass = true;
  } else {
    return Begin::kMalformed;
  }
  return Begin::kGoOn;
}

bool Http2::EndUp() {
  const Frame frame = up_.frame;
  const auto found = streams_.find(frame.stream);
  const bool kept = changed_ && up_.collect && !up_.raw && !up_.pass;
  const bool rewritten = frame.type == kWindowUpdate || frame.type == kRstStream || frame.type == kPriority ||
                         frame.type == kPriorityUpdate;
  if (kept && !rewritten && frame.stream % 2 == 0) {
    AppendFrame(parts_.to_dependency, frame.type, frame.flags, frame.stream, up_.payload);
  }
  switch (frame.type) {
    case kSettings:
      if (frame.Has(kEndStream)) {  // ACK
        up_sizes_.Acknowledged();
        up_decoder_.SetLimit(up_sizes_.Most());
      } else {
        ServiceSettings();
      }
      return state_ == State::kFollowed;
    case kWindowUpdate:
      if (frame.length != 4) return false;
      ServiceWindow(ReadUint32(up_.payload) & 0x7fffffff);
      return true;
    case kRstStream:
      if (frame.length != 4) return false;
      ServiceReset(frame.stream);
      return true;
    default:
      break;
  }
  if (found == streams_.end()) {
    // Closed, or never known to the dependency: the service gets back what it spent of the window.
    const bool dropped = changed_ && frame.stream % 2 == 1 && !up_.raw && !up_.pass;
    if (dropped && frame.type == kData) GiveBack(frame.stream, nullptr, frame.length);
    return state_ == State::kFollowed;
  }
  Stream& stream = found->second;
  const bool ends = frame.type == kData && frame.Has(kEndStream);
  if (kept && stream.state == Stream::kOpen) {
    AppendFrame(parts_.to_dependency, frame.type, frame.flags, stream.dependency_id, up_.payload);
  } else if (kept && stream.state == Stream::kHeld) {
    stream.held.push_back({frame.type, frame.flags, std::move(up_.payload), {}});
    up_.payload.clear();
    held_bytes_ += stream.held.back().Size();
  }
  if (ends) stream.request_ended = true;
  if (frame.type == kData && (stream.state == Stream::kAnswered || stream.state == Stream::kDrained)) {
    GiveBack(frame.stream, &stream, frame.length);
  }
  if (ends) {
    if (stream.response_ended) CloseStream(found);
  }
  return state_ == State::kFollowed;
}

// A few bytes of a block may stand for 64 KiB of fields, and one read has thousands of blocks.
bool Http2::EndUpBlock() {
  return TakeUpBlock() && (!changed_ || held_bytes_ + parts_.to_dependency.size() <= kMaxUp);
}

bool Http2::TakeUpBlock() {
  const bool keep = changed_ || !up_.block_raw;
  std::vector<HeaderField> fields;
  const uint32_t id = up_.block_stream;
  if (up_.block_type != kHeaders) return false;
  const bool is_new = id > last_id_ && id % 2 == 1;
  Stream fresh;
  CallHeaders headers(parts_.deadline_header);
  const bool decoded = up_decoder_.Decode(up_.block, [&](absl::string_view name, absl::string_view value, bool never) {
    if (is_new && name == "content-type") fresh.grpc = IsGrpc(value);
    if (is_new) headers.Add(name, value);
    if (is_new && name == ":method") fresh.head = value == "HEAD";
    if (keep) fields.push_back({std::string(name), std::string(value), never});
  });
  if (!decoded) return false;
  if (is_new) {
    if (streams_.size() >= kMaxStreams) return false;
    last_id_ = id;
    fresh.request_ended = up_.block_ends_stream;
    fresh.call = parts_.calls.Begin(up_.block_begin_ns);
    headers.Fill(fresh.grpc, *parts_.calls.Find(fresh.call));
    streams_.emplace(id, std::move(fresh));
    return NewRequest(id, std::move(fields), /*decided=*/up_.block_raw);
  }
  // Trailers.
  const auto found = streams_.find(id);
  if (!changed_) {
    if (!up_.block_raw) parts_.to_dependency += up_.block_frames;
  } else if (found != streams_.end() && found->second.state == Stream::kOpen) {
    SendHeaders(found->second, fields, up_.block_ends_stream);
  } else if (found != streams_.end() && found->second.state == Stream::kHeld) {
    const uint8_t flags = up_.block_ends_stream ? kEndStream : 0;
    found->second.held.push_back({kHeaders, flags, "", std::move(fields)});
    held_bytes_ += found->second.held.back().Size();
  }
  if (found != streams_.end() && up_.block_ends_stream) {
    found->second.request_ended = true;
    if (found->second.response_ended) CloseStream(found);
  }
  return true;
}

// `decided`: its frames have been passed on already.
bool Http2::NewRequest(uint32_t id, std::vector<HeaderField> fields, bool decided) {
  Stream& stream = streams_.at(id);
  if (!decided && parts_.FaultsActive()) {
    RequestView view;
    view.grpc = stream.grpc;
    for (const HeaderField& field : fields) {
      if (field.name == ":method") view.method = field.value;
      if (field.name == ":path") view.path = field.value;
      if (field.name == ":authority") view.headers.emplace_back("host", field.value);
      if (!field.name.empty() && field.name[0] != ':') view.headers.emplace_back(field.name, field.value);
    }
    stream.decision = parts_.faults->Decide(view, parts_.touched);
  }
  if (stream.decision.Hits()) {
    Change();
    const uint8_t flags = stream.request_ended ? kEndStream : 0;
    stream.held.push_back({kHeaders, flags, "", std::move(fields)});
    held_bytes_ += stream.held.back().Size();
    Hold(id, stream);
    if (stream.due_ns <= now_ns_) Release(id, /*natural=*/false);
    return state_ == State::kFollowed;
  }
  if (!AllotId(id, stream)) return false;
  if (changed_) {
    SendHeaders(stream, fields, stream.request_ended);
  } else if (!decided) {
    parts_.to_dependency += up_.block_frames;
  }
  return true;
}

// From here on the connection is not what the service wrote.
void Http2::Change() {
  if (changed_) return;
  changed_ = true;
  encoder_ = std::make_unique<HeaderEncoder>(up_sizes_.Least());
}

void Http2::Hold(uint32_t id, Stream& stream) {
  stream.state = Stream::kHeld;
  stream.since_ns = now_ns_;
  stream.due_ns = now_ns_ + stream.decision.DelayNs();
  due_.insert({stream.due_ns, id});
}

void Http2::Unhold(uint32_t id, Stream& stream) {
  due_.erase({stream.due_ns, id});
  for (const HeldFrame& frame : stream.held) held_bytes_ -= frame.Size();
  stream.held.clear();
}

void Http2::RunDue() {
  while (state_ == State::kFollowed && !due_.empty() && due_.begin()->first <= now_ns_ && Writable(up_)) {
    Release(due_.begin()->second, /*natural=*/true);
  }
}

// What was kept of a frame or block goes on as it came, and so does the rest of it.
void Http2::PassHalf() {
  if (changed_ || up_.raw || parts_.FaultsActive() || state_ != State::kFollowed) return;
  parts_.to_dependency += up_.block_frames;
  up_.block_frames.clear();
  up_.block_raw = true;
  if (up_.head_size == 0 || up_.pass) return;
  parts_.to_dependency.append(up_.head, up_.head_size);
  parts_.to_dependency += up_.payload;
  up_.raw = true;
}

void Http2::Forget(RequestFaults::Kind kind, int64_t now_ns) {
  now_ns_ = now_ns;
  PassHalf();
  std::vector<uint32_t> free;
  for (auto& [id, stream] : streams_) {
    if (stream.state != Stream::kHeld || !stream.decision.hit[kind]) continue;
    stream.decision.Forget(kind);
    due_.erase({stream.due_ns, id});
    stream.due_ns = stream.since_ns + stream.decision.DelayNs();
    due_.insert({stream.due_ns, id});
    if (stream.due_ns <= now_ns) free.push_back(id);
  }
  for (const uint32_t id : free) {
    if (state_ == State::kFollowed && Writable(up_)) Release(id, /*natural=*/false);
  }
}

// Goes to the dependency, or is answered.
void Http2::Release(uint32_t id, bool natural) {
  Stream& stream = streams_.at(id);
  if (natural) parts_.faults->NoteHeld(stream.decision, now_ns_ - stream.since_ns);
  if (stream.decision.Answer() == nullptr) return SendHeld(id, stream);
  const uint32_t spent = Spent(stream);
  Unhold(id, stream);
  stream.state = Stream::kAnswered;
  stream.answer = stream.decision.Answer();
  ++owed_;
  GiveBack(id, &stream, spent);
  StartAnswer(id);
}

void Http2::SendHeld(uint32_t id, Stream& stream) {
  if (going_away_) return Refuse(id);  // the dependency would not look at it
  const std::vector<HeldFrame> held = std::move(stream.held);
  stream.held.clear();
  due_.erase({stream.due_ns, id});
  for (const HeldFrame& frame : held) held_bytes_ -= frame.Size();
  stream.state = Stream::kOpen;
  if (!AllotId(id, stream)) return GiveUp();
  for (const HeldFrame& frame : held) {
    if (frame.type == kHeaders) {
      SendHeaders(stream, frame.fields, (frame.flags & kEndStream) != 0);
    } else {
      AppendFrame(parts_.to_dependency, frame.type, frame.flags, stream.dependency_id, frame.payload);
    }
  }
}

// The dependency is not going to see it: the service may try elsewhere.
void Http2::Refuse(uint32_t id) {
  const auto found = streams_.find(id);
  const uint32_t spent = Spent(found->second);
  parts_.calls.End(found->second.call, PEER_LEFT, now_ns_);
  CloseStream(found);
  GiveBack(id, nullptr, spent);
  std::string frame;
  AppendRstStream(frame, id, kRefusedStream);
  ToService(frame);
}

uint32_t Http2::Spent(const Stream& stream) {
  uint32_t spent = 0;
  for (const HeldFrame& frame : stream.held) {
    if (frame.type == kData) spent += static_cast<uint32_t>(frame.payload.size());
  }
  return spent;
}

// The service gets back what it spent of the windows on DATA that the dependency never sees. `stream`: null when it is closed.
void Http2::GiveBack(uint32_t id, const Stream* stream, uint32_t spent) {
  if (spent == 0) return;
  std::string updates;
  AppendWindowUpdate(updates, 0, spent);
  if (stream != nullptr && !stream->request_ended) AppendWindowUpdate(updates, id, spent);
  ToService(updates);
}

// The id that a stream has towards the dependency: its own as long as ids rise by that. False: there is none left.
bool Http2::AllotId(uint32_t id, Stream& stream) {
  uint32_t allotted = id;
  if (last_dependency_id_ != 0 && id <= last_dependency_id_) allotted = last_dependency_id_ + 2;
  if (allotted > 0x7fffffff) return false;
  if (allotted != id && !translated_) {
    translated_ = true;
    identical_until_ = last_dependency_id_;
  }
  if (translated_) service_ids_[allotted] = id;
  last_dependency_id_ = allotted;
  stream.dependency_id = allotted;
  return true;
}

void Http2::SendHeaders(Stream& stream, const std::vector<HeaderField>& fields, bool end_stream) {
  AppendHeaderBlock(parts_.to_dependency, stream.dependency_id, end_stream, encoder_->Encode(fields));
}

void Http2::ServiceSettings() {
  std::vector<uint32_t> sizes;
  std::optional<uint32_t> window;
  for (size_t i = 0; i + 6 <= up_.payload.size(); i += 6) {
    const absl::string_view entry = absl::string_view(up_.payload).substr(i, 6);
    const uint32_t id = ReadUint32(entry) >> 16;
    const uint32_t value = ReadUint32(entry.substr(2));
    if (id == kHeaderTableSize) sizes.push_back(value);
    if (id == kInitialWindowSize) window = value;
  }
  if (!down_sizes_.Announced(sizes)) return GiveUp();
  new_windows_.push_back(window);
  down_decoder_.SetLimit(down_sizes_.Most());
}

void Http2::ServiceWindow(uint32_t increment) {
  const uint32_t id = up_.frame.stream;
  const auto found = streams_.find(id);
  if (found != streams_.end()) {
    found->second.window = std::min<int64_t>(found->second.window + increment, int64_t{1} << 40);
    if (found->second.state == Stream::kAnswered) answering_.insert(id);
  }
  if (id == 0) window_ = std::min<int64_t>(window_ + increment, int64_t{1} << 40);
  if (changed_ && !up_.raw && !up_.pass) {
    std::string update;
    if (id == 0) {
      const auto ours = static_cast<uint32_t>(std::min<int64_t>(debt_, increment));
      debt_ -= ours;
      if (increment > ours || increment == 0) AppendWindowUpdate(update, 0, increment - ours);
    } else if (id % 2 == 0) {
      AppendWindowUpdate(update, id, increment);
    } else if (found != streams_.end() && found->second.state == Stream::kOpen) {
      AppendWindowUpdate(update, found->second.dependency_id, increment);
    } else if (found != streams_.end() && found->second.state == Stream::kHeld) {
      found->second.held.push_back({kWindowUpdate, 0, up_.payload, {}});
      held_bytes_ += found->second.held.back().Size();
    }
    parts_.to_dependency += update;
  }
  PumpAnswers();
  GoOnDown();
}

void Http2::ServiceReset(uint32_t id) {
  const auto found = streams_.find(id);
  const bool rewrite = changed_ && !up_.raw && !up_.pass;
  if (found == streams_.end()) {
    // The answer is there, and is held back on its way.
    if (const auto held = unwritten_.find(id); held != unwritten_.end()) parts_.calls.End(held->second, CALLER_LEFT, now_ns_);
    if (rewrite && id % 2 == 0) AppendFrame(parts_.to_dependency, kRstStream, 0, id, up_.payload);
    return;
  }
  Stream& stream = found->second;
  if (rewrite && stream.state == Stream::kOpen) {
    AppendFrame(parts_.to_dependency, kRstStream, 0, stream.dependency_id, up_.payload);
  }
  const uint32_t spent = Spent(stream);
  parts_.calls.End(stream.call, CALLER_LEFT, now_ns_);
  CloseStream(found);
  GiveBack(id, nullptr, spent);
}

}  // namespace squall
