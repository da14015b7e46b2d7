#include "agent/net/http2_frames.h"

#include <algorithm>

namespace squall {

uint32_t ReadUint32(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

void AppendUint32(std::string& out, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift & 0xff));
}

Frame ParseFrame(absl::string_view head) {
  Frame frame;
  frame.length = ReadUint32(head) >> 8;
  frame.type = static_cast<uint8_t>(head[3]);
  frame.flags = static_cast<uint8_t>(head[4]);
  frame.stream = ReadUint32(head.substr(5)) & 0x7fffffff;
  return frame;
}

void AppendFrameHeader(std::string& out, const Frame& frame) {
  AppendUint32(out, frame.length << 8 | frame.type);
  out.push_back(static_cast<char>(frame.flags));
  AppendUint32(out, frame.stream);
}

void AppendFrame(std::string& out, uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload) {
  AppendFrameHeader(out, {static_cast<uint32_t>(payload.size()), type, flags, stream});
  out.append(payload.data(), payload.size());
}

void AppendHeaderBlock(std::string& out, uint32_t stream, bool end_stream, absl::string_view block) {
  uint8_t type = kHeaders;
  uint8_t flags = end_stream ? kEndStream : 0;
  do {
    const absl::string_view piece = block.substr(0, kLeastMaxFrame);
    block.remove_prefix(piece.size());
    if (block.empty()) flags |= kEndHeaders;
    AppendFrame(out, type, flags, stream, piece);
    type = kContinuation;
    flags = 0;
  } while (!block.empty());
}

void AppendWindowUpdate(std::string& out, uint32_t stream, uint32_t increment) {
  AppendFrameHeader(out, {4, kWindowUpdate, 0, stream});
  AppendUint32(out, increment);
}

void AppendRstStream(std::string& out, uint32_t stream, uint32_t error) {
  AppendFrameHeader(out, {4, kRstStream, 0, stream});
  AppendUint32(out, error);
}

bool BlockFragment(const Frame& frame, absl::string_view payload, absl::string_view& fragment) {
  fragment = payload;
  if (frame.type == kContinuation) return true;
  size_t padding = 0;
  if (frame.Has(kPadded)) {
    if (fragment.empty()) return false;
    padding = static_cast<unsigned char>(fragment[0]);
    fragment.remove_prefix(1);
  }
  size_t before = frame.type == kPushPromise ? 4 : 0;
  if (frame.type == kHeaders && frame.Has(kHasPriority)) before = 5;
  if (fragment.size() < before + padding) return false;
  fragment.remove_prefix(before);
  fragment.remove_suffix(padding);
  return true;
}

}  // namespace squall
