#include "base/frames.h"

#include <zlib.h>

namespace squall {
namespace {

uint32_t Crc32(absl::string_view bytes) {
  return static_cast<uint32_t>(
      crc32(0L, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

void PutLittleEndian(uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

uint32_t GetLittleEndian(const char* bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

void AppendFrame(absl::string_view payload, std::string& out) {
  PutLittleEndian(static_cast<uint32_t>(payload.size()), out);
  PutLittleEndian(Crc32(payload), out);
  out.append(payload.data(), payload.size());
}

FrameHead ParseFrameHead(absl::string_view bytes) {
  return {GetLittleEndian(bytes.data()), GetLittleEndian(bytes.data() + 4)};
}

bool IsWhole(const FrameHead& head, absl::string_view payload) {
  return payload.size() == head.length && Crc32(payload) == head.crc;
}

}  // namespace squall
