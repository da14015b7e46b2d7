#pragma once

#include <cstddef>
#include <cstdint>

namespace squall {

// Reads the bytes as records, each with its length (2 bytes, little endian) in front, as a timeline with sound checksums would hold them,
// and judges what comes of them. True when it was judged.
bool JudgeScript(const uint8_t* data, size_t size);

}  // namespace squall
