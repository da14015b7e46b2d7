#include "agent/net/protocol.h"

#include <set>
#include <utility>
#include <vector>

namespace squall {

uint64_t OpenCalls::Begin(int64_t start_ns) {
  open_[next_].start_ns = start_ns;
  return next_++;
}

SeenCall* OpenCalls::Find(uint64_t id) {
  const auto found = open_.find(id);
  return found == open_.end() ? nullptr : &found->second;
}

void OpenCalls::EndAt(uint64_t id, CallResult result, uint64_t bytes_to_service, int64_t now_ns) {
  if (bytes_to_service <= written_) return End(id, result, now_ns);
  marks_.push_back({bytes_to_service, id, result});
}

void OpenCalls::End(uint64_t id, CallResult result, int64_t now_ns) {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  SeenCall call = found->second;
  open_.erase(found);
  call.end_ns = now_ns;
  call.result = result;
  observer_(call);
}

void OpenCalls::EndAll(CallResult result, int64_t now_ns) {
  while (!open_.empty()) End(open_.begin()->first, result, now_ns);
  marks_.clear();
}

void OpenCalls::EndUnanswered(CallResult result, int64_t now_ns) {
  std::set<uint64_t> answered;
  for (const Mark& mark : marks_) answered.insert(mark.id);
  std::vector<uint64_t> others;
  for (const auto& [id, call] : open_) {
    if (answered.count(id) == 0) others.push_back(id);
  }
  for (const uint64_t id : others) End(id, result, now_ns);
}

void OpenCalls::Written(uint64_t bytes_to_service, int64_t now_ns) {
  written_ = bytes_to_service;
  while (!marks_.empty() && marks_.front().at <= written_) {
    const Mark mark = marks_.front();
    marks_.pop_front();
    End(mark.id, mark.result, now_ns);
  }
}

}  // namespace squall
