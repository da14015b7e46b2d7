// From the dependency to the service: responses, and our own answers among them.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/net/grpc_text.h"
#include "agent/net/http2.h"

namespace squall {

uint32_t Http2::ServiceId(uint32_t dependency_id) const {
  if (!translated_ || dependency_id % 2 == 0 || dependency_id <= identical_until_) return dependency_id;
  const auto found = service_ids_.find(dependency_id);
  return found == service_ids_.end() ? 0 : found->second;
}

Http2::Begin Http2::BeginDown() {
  Input& in = down_;
  const Frame& frame = in.frame;
  if (frame.type == kData) {
    // Our answers have taken from a window of which the dependency thinks that it is all its own.
    if (!in.raw && debt_ > 0 && int64_t{frame.length} > window_) return Begin::kWait;
    window_ -= frame.length;
  }
  if (in.raw) return Begin::kGoOn;
  if (frame.type == kGoaway) return Begin::kGoOn;  // when it is whole
  const uint32_t id = ServiceId(frame.stream);
  if (frame.stream != 0 && id == 0) {
    if (frame.type == kHeaders || frame.type == kPushPromise || frame.type == kContinuation) return Begin::kMalformed;
    return Begin::kGoOn;  // of a stream that is closed: dropped
  }
  AppendFrameHeader(parts_.to_service, {frame.length, frame.type, frame.flags, id});
  in.pass = true;
  return Begin::kGoOn;
}

bool Http2::EndDown() {
  const Frame frame = down_.frame;
  switch (frame.type) {
    case kData:
      if (!down_.raw && !down_.pass) {
        window_ += frame.length;
        std::string update;
        if (frame.length > 0) AppendWindowUpdate(update, 0, frame.length);
        ToDependency(update);
      } else if (frame.Has(kEndStream)) {
        ResponseEnded(ServiceId(frame.stream));
      }
      return true;
    case kSettings:
      if (frame.Has(kEndStream)) {  // ACK
        const std::optional<uint32_t> size = down_sizes_.Acknowledged();
        if (size && *size < down_decoder_.TableSize()) resize_ = std::min(*size, resize_.value_or(*size));
        down_decoder_.SetLimit(down_sizes_.Most());
        if (!new_windows_.empty()) {
          initial_window_ = new_windows_.front().value_or(static_cast<uint32_t>(initial_window_));
          new_windows_.pop_front();
          for (const auto& [id, stream] : streams_) {
            if (stream.state == Stream::kAnswered) answering_.insert(id);
          }
          PumpAnswers();
        }
      } else {
        DependencySettings();
      }
      return state_ == State::kFollowed;
    case kRstStream:
      DependencyReset(frame.stream);
      return true;
    case kGoaway:
      return Goaway();
    default:
      return true;
  }
}

bool Http2::EndDownBlock() {
  const uint32_t id = ServiceId(down_.block_stream);
  const auto found = streams_.find(id);
  SeenCall* call = found == streams_.end() || found->second.response_ended ? nullptr : parts_.calls.Find(found->second.call);
  const bool decoded = down_decoder_.Decode(down_.block, [&](absl::string_view name, absl::string_view value, bool) {
    int status = 0;
    if (call == nullptr) return;
    if (name == ":status" && absl::SimpleAtoi(value, &status) && status >= 200 && status <= 999) call->status = status;
    if (found->second.grpc && name == "grpc-status") call->grpc_status = ParseGrpcStatus(value);
  });
  if (!decoded) return false;
  resize_.reset();
  if (down_.block_type == kHeaders && down_.block_ends_stream) ResponseEnded(id);
  return true;
}

void Http2::ResponseEnded(uint32_t id) {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.response_ended) return;
  Stream& stream = found->second;
  if (const SeenCall* call = parts_.calls.Find(stream.call); call != nullptr) {
    bool failed = call->status >= 500;
    // Without a status of its own, a gRPC client takes it for UNKNOWN.
    if (stream.grpc) failed |= IsServersFault(call->grpc_status.value_or(2));
    parts_.calls.EndAt(stream.call, failed ? FAILED : ANSWERED, parts_.OffsetToService(), now_ns_);
  }
  stream.response_ended = true;
  if (stream.request_ended) CloseStream(found);
}

void Http2::DependencySettings() {
  std::vector<uint32_t> sizes;
  for (size_t i = 0; i + 6 <= down_.payload.size(); i += 6) {
    const absl::string_view entry = absl::string_view(down_.payload).substr(i, 6);
    if (ReadUint32(entry) >> 16 == kHeaderTableSize) sizes.push_back(ReadUint32(entry.substr(2)));
  }
  if (!up_sizes_.Announced(sizes)) return GiveUp();
  up_decoder_.SetLimit(up_sizes_.Most());
  if (encoder_ != nullptr) encoder_->Lower(up_sizes_.Least());
}

void Http2::DependencyReset(uint32_t dependency_id) {
  const auto found = streams_.find(ServiceId(dependency_id));
  if (found == streams_.end() || found->second.state != Stream::kOpen) return;
  if (!found->second.response_ended) parts_.calls.End(found->second.call, PEER_LEFT, now_ns_);
  CloseStream(found);
}

// The dependency will not answer streams after `last`, in its own ids.
bool Http2::Goaway() {
  if (down_.payload.size() < 8) return false;
  const uint32_t last = ReadUint32(down_.payload) & 0x7fffffff;
  going_away_ = true;
  uint32_t last_of_service = last;
  if (translated_ && last < 0x7fffffff) {
    last_of_service = std::min(last, identical_until_);
    for (const auto& [dependency_id, id] : service_ids_) {
      if (dependency_id <= last) last_of_service = std::max(last_of_service, id);
    }
  }
  std::vector<uint32_t> lost;
  for (const auto& [id, stream] : streams_) {
    if (stream.state == Stream::kOpen && stream.dependency_id > last && !stream.response_ended) lost.push_back(id);
  }
  for (const uint32_t id : lost) {
    parts_.calls.End(streams_.at(id).call, PEER_LEFT, now_ns_);
    CloseStream(streams_.find(id));
  }
  if (down_.raw) return true;
  std::string payload;
  AppendUint32(payload, last_of_service);
  payload += down_.payload.substr(4);
  AppendFrame(parts_.to_service, kGoaway, 0, 0, payload);
  // Those that would be taken for answered, and are not.
  std::string frames;
  for (const uint32_t id : lost) {
    if (id <= last_of_service) AppendRstStream(frames, id, kRefusedStream);
  }
  parts_.to_service += frames;
  return true;
}

// Goes on with what the dependency sent, if the window has room for it.
void Http2::GoOnDown() {
  if (waiting_.empty() && !(down_.head_size == kFrameHeaderSize && !down_.begun)) return;
  if (debt_ > 0 && int64_t{down_.frame.length} > window_) return;
  waiting_from_ += Feed(down_, absl::string_view(waiting_).substr(waiting_from_));
  if (waiting_from_ * 2 < waiting_.size()) return;
  waiting_.erase(0, waiting_from_);
  waiting_from_ = 0;
}

void Http2::StartAnswer(uint32_t id) {
  Stream& stream = streams_.at(id);
  const OwnAnswer& answer = *stream.answer;
  std::vector<HeaderField> fields = {{":status", absl::StrCat(answer.status), false}};
  const bool no_body = answer.status == 204 || answer.status == 304;
  if (answer.grpc_status) {
    fields.push_back({"content-type", "application/grpc", false});
    fields.push_back({"grpc-status", absl::StrCat(*answer.grpc_status), false});
    fields.push_back({"grpc-message", EncodeGrpcMessage(answer.grpc_message), false});
  } else if (!no_body) {
    fields.push_back({"content-type", "text/plain; charset=utf-8", false});
    fields.push_back({"content-length", absl::StrCat(answer.body.size()), false});
  }
  if (SeenCall* call = parts_.calls.Find(stream.call); call != nullptr) {
    call->status = answer.status;
    call->grpc_status = answer.grpc_status;
  }
  const bool ends = answer.body.empty() || no_body || stream.head;
  std::string frames;
  AppendHeaderBlock(frames, id, ends, EncodeWithoutTable(fields, resize_));
  resize_.reset();
  ToService(frames);
  if (state_ != State::kFollowed) return;
  if (ends) return FinishAnswer(id);
  answering_.insert(id);
  PumpAnswers();
}

// A service may enforce its old window until its SETTINGS are acknowledged, or the new one at once.
int64_t Http2::InitialWindow() const {
  int64_t least = initial_window_;
  for (const std::optional<uint32_t>& window : new_windows_) least = std::min<int64_t>(least, window.value_or(least));
  return least;
}

// Sends as much of our answers' bodies as the service's windows take.
void Http2::PumpAnswers() {
  while (!answering_.empty() && window_ > 0 && pending_.size() + parts_.to_service.size() < kMaxOwnOutput &&
         state_ == State::kFollowed) {
    const uint32_t id = *answering_.begin();
    Stream& stream = streams_.at(id);
    const std::string& body = stream.answer->body;
    const int64_t room = std::min({InitialWindow() + stream.window - static_cast<int64_t>(stream.sent), window_,
                                   static_cast<int64_t>(kLeastMaxFrame)});
    if (room <= 0) {
      answering_.erase(id);
      continue;
    }
    const absl::string_view piece = absl::string_view(body).substr(stream.sent, static_cast<size_t>(room));
    stream.sent += piece.size();
    window_ -= static_cast<int64_t>(piece.size());
    debt_ += static_cast<int64_t>(piece.size());
    const bool ends = stream.sent == body.size();
    std::string frame;
    AppendFrame(frame, kData, ends ? kEndStream : 0, id, piece);
    ToService(frame);
    if (ends) FinishAnswer(id);
  }
}

// The whole answer was given.
void Http2::FinishAnswer(uint32_t id) {
  const auto found = streams_.find(id);
  Stream& stream = found->second;
  bool failed = stream.answer->status >= 500;
  if (stream.answer->grpc_status) failed |= IsServersFault(*stream.answer->grpc_status);
  const CallResult result = failed ? FAILED : ANSWERED;
  if (pending_.empty()) {
    parts_.calls.EndAt(stream.call, result, parts_.OffsetToService(), now_ns_);
  } else {
    pending_endings_.push_back({pending_.size(), stream.call, result});
  }
  stream.response_ended = true;
  if (stream.request_ended) return CloseStream(found);
  stream.state = Stream::kDrained;
  answering_.erase(id);
  --owed_;
}

}  // namespace squall
