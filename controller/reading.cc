#include "controller/reading.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace squall {
namespace {

bool Precedes(const Mistake& a, const Mistake& b) {
  return std::tie(a.line, a.column) < std::tie(b.line, b.column);
}

// The path of what contains the thing at `path`; empty: the scenario.
std::string Parent(const std::string& path) {
  const size_t end = path.find_last_of(".[");
  return end == std::string::npos ? "" : path.substr(0, end);
}

}  // namespace

void Reading::Place(const std::string& path, Position at) { positions_.emplace(path, at); }

void Reading::Report(const std::string& path, std::string message) {
  ReportAt(path, At(path), std::move(message));
}

void Reading::ReportAt(const std::string& path, Position at, std::string message) {
  if (broken_.insert(path).second) Add(at, std::move(message));
}

void Reading::Add(Position at, std::string message) {
  mistakes_.push_back({at.line, at.column, std::move(message)});
}

bool Reading::Sound(const std::string& path) const {
  for (std::string outer = path; !outer.empty(); outer = Parent(outer)) {
    if (broken_.count(outer) > 0) return false;
  }
  for (auto inner = broken_.lower_bound(path); inner != broken_.end() && absl::StartsWith(*inner, path);
       ++inner) {
    if (inner->size() > path.size() &&
        (path.empty() || (*inner)[path.size()] == '.' || (*inner)[path.size()] == '[')) {
      return false;
    }
  }
  return true;
}

Position Reading::At(const std::string& path) const {
  for (std::string outer = path; !outer.empty(); outer = Parent(outer)) {
    const auto found = positions_.find(outer);
    if (found != positions_.end()) return found->second;
  }
  const auto root = positions_.find("");
  return root == positions_.end() ? Position() : root->second;
}

std::vector<Mistake> Reading::Mistakes() const {
  std::vector<Mistake> sorted = mistakes_;
  std::stable_sort(sorted.begin(), sorted.end(), Precedes);
  if (sorted.size() > kMostMistakes) {
    const size_t others = sorted.size() - kMostMistakes;
    sorted.resize(kMostMistakes + 1);
    sorted.back().message =
        absl::StrCat("and ", others, " more mistake", others == 1 ? "" : "s", " from here on");
  }
  return sorted;
}

}  // namespace squall
