#include "agent/load/trace.h"

#include "absl/strings/str_cat.h"

namespace squall {
namespace {

// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// FNV-1a: unlike absl::Hash the same in every process.
uint64_t Hash(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// An id of zeros is invalid.
uint64_t NotZero(uint64_t x) { return x == 0 ? 1 : x; }

}  // namespace

uint64_t TracePrefix(absl::string_view run_id, absl::string_view load, uint64_t seed) {
  return NotZero(Mix(Mix(Hash(run_id) ^ seed) ^ Hash(load)));
}

std::string Traceparent(uint64_t prefix, int64_t number) {
  const uint64_t n = static_cast<uint64_t>(number);
  return absl::StrCat("00-", absl::Hex(prefix, absl::kZeroPad16), absl::Hex(n, absl::kZeroPad16), "-",
                      absl::Hex(NotZero(Mix(prefix ^ Mix(n))), absl::kZeroPad16), "-01");
}

}  // namespace squall
