#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// Frames of HTTP/2 (RFC 9113, section 4). Pure functions.
namespace squall {

constexpr absl::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFrameHeaderSize = 9;
constexpr size_t kLeastMaxFrame = 16384;  // every peer takes frames of this size

enum FrameType : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
  kPriorityUpdate = 16,
};

enum FrameFlag : uint8_t {
  kEndStream = 0x1,  // and ACK
  kEndHeaders = 0x4,
  kPadded = 0x8,
  kHasPriority = 0x20,
};

enum SettingsId : uint16_t { kHeaderTableSize = 1, kInitialWindowSize = 4 };
enum Http2Error : uint32_t { kRefusedStream = 7 };

struct Frame {
  uint32_t length = 0;  // of the payload
  uint8_t type = 0;
  uint8_t flags = 0;
  uint32_t stream = 0;

  bool Has(FrameFlag flag) const { return (flags & flag) != 0; }
};

uint32_t ReadUint32(absl::string_view bytes);
void AppendUint32(std::string& out, uint32_t value);

// Of kFrameHeaderSize bytes.
Frame ParseFrame(absl::string_view head);
void AppendFrameHeader(std::string& out, const Frame& frame);
void AppendFrame(std::string& out, uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload);
// HEADERS, and CONTINUATIONs where one frame is too small.
void AppendHeaderBlock(std::string& out, uint32_t stream, bool end_stream, absl::string_view block);
void AppendWindowUpdate(std::string& out, uint32_t stream, uint32_t increment);
void AppendRstStream(std::string& out, uint32_t stream, uint32_t error);

// The part of a header block that a HEADERS, PUSH_PROMISE or CONTINUATION frame carries: without padding, priority and promised
// stream. False: the frame is malformed.
bool BlockFragment(const Frame& frame, absl::string_view payload, absl::string_view& fragment);

}  // namespace squall
