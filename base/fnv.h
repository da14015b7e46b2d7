#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace squall {

// FNV-1a of 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): the same on every host and in every version, unlike std::hash.
// `seed`: texts that are alike have other hashes with another one.
constexpr uint64_t Fnv1a(absl::string_view text, uint64_t seed = 0) {
  uint64_t hash = 14695981039346656037u ^ seed;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace squall
