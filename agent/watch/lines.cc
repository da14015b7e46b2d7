#include "agent/watch/lines.h"

#include <algorithm>

#include "absl/strings/strip.h"

namespace squall {
namespace {

void Pass(absl::string_view line, const LineSplitter::Each& each) {
  each(absl::StripSuffix(line.substr(0, LineSplitter::kMostBytes), "\r"));
}

}  // namespace

void LineSplitter::Add(absl::string_view piece, const Each& each) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    const absl::string_view part = piece.substr(0, end);
    if (end != absl::string_view::npos && begun_.empty()) {
      Pass(part, each);
    } else {
      begun_.append(part.data(), std::min(part.size(), kMostBytes - begun_.size()));
      if (end == absl::string_view::npos) return;
      Pass(begun_, each);
      begun_.clear();
    }
    piece.remove_prefix(end + 1);
  }
}

void LineSplitter::End(const Each& each) {
  if (begun_.empty()) return;
  Pass(begun_, each);
  begun_.clear();
}

}  // namespace squall
