#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

// How squall writes records to files that may end anywhere: length (4 bytes, little endian), CRC-32 of the payload (4 bytes,
// little endian), payload.
namespace squall {

inline constexpr size_t kFrameBytes = 8;  // before each payload

struct FrameHead {
  uint32_t length = 0;
  uint32_t crc = 0;
};

void AppendFrame(absl::string_view payload, std::string& out);
// REQUIRES: bytes.size() == kFrameBytes.
FrameHead ParseFrameHead(absl::string_view bytes);
bool IsWhole(const FrameHead& head, absl::string_view payload);

}  // namespace squall
