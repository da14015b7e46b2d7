#include "agent/load/exclusive.h"

#include <utility>
#include <vector>

namespace squall {

void ExclusiveTransport::Send(Exchange& exchange) {
  Line* line = TakeIdle(exchange.request.sent_ns);
  if (line == nullptr) {
    const uint64_t id = next_id_++;
    auto fresh = std::make_unique<Line>(target_, epoll_, id);
    fresh->dialogue = make_dialogue_();
    exchange.connection = id;
    line = fresh.get();
    lines_[id] = std::move(fresh);
  } else {
    exchange.connection = idle_.back();
    idle_.pop_back();
  }
  exchange.request.reused = line->answered;
  line->exchange = &exchange;
  line->connection.Send(line->dialogue->Begin(exchange));
  if (!line->answered) line->connection.Start();
  EndIfGone(exchange.connection, *line);
}

ExclusiveTransport::Line* ExclusiveTransport::TakeIdle(int64_t now_ns) {
  for (; !idle_.empty(); idle_.pop_back()) {
    const auto found = lines_.find(idle_.back());
    if (found == lines_.end()) continue;
    if (now_ns - found->second->idle_since_ns < kIdleNs) return found->second.get();
    lines_.erase(found);
  }
  return nullptr;
}

void ExclusiveTransport::Abandon(Exchange& exchange, bool) {
  // An answer may still come on it.
  lines_.erase(exchange.connection);
}

void ExclusiveTransport::HandleEvent(uint64_t id, uint32_t events) {
  const auto found = lines_.find(id);
  if (found == lines_.end()) return;
  Line& line = *found->second;
  in_.clear();
  line.connection.HandleEvent(events, in_);
  if (line.exchange == nullptr) {
    if (line.connection.gone() || (!in_.empty() && !line.dialogue->MaySpeakUnasked())) lines_.erase(found);
    return;
  }
  if (!in_.empty()) {
    Settle(id, line, line.dialogue->Read(in_));
  } else {
    EndIfGone(id, line);
  }
}

void ExclusiveTransport::Settle(uint64_t id, Line& line, Dialogue::Turn turn) {
  switch (turn) {
    case Dialogue::Turn::kMore:
      return EndIfGone(id, line);
    case Dialogue::Turn::kAnswered:
      Answered(*std::exchange(line.exchange, nullptr));
      if (line.connection.gone()) {
        lines_.erase(id);
        return;
      }
      line.answered = true;
      line.idle_since_ns = BootNanos();
      idle_.push_back(id);
      return;
    case Dialogue::Turn::kAnsweredLast:
      Answered(*line.exchange);
      break;
    case Dialogue::Turn::kBroken:
      Failed(*line.exchange, Failure::kNotUnderstood, line.dialogue->Why());
      break;
  }
  lines_.erase(id);
}

void ExclusiveTransport::EndIfGone(uint64_t id, Line& line) {
  if (!line.connection.gone()) return;
  const Connection::Gone gone = *line.connection.gone();
  const Dialogue::Turn turn = gone.orderly ? line.dialogue->ReadEnd() : Dialogue::Turn::kMore;
  if (turn != Dialogue::Turn::kMore) return Settle(id, line, turn);
  Failed(*line.exchange, gone.failure, gone.why);
  lines_.erase(id);
}

void ExclusiveTransport::HandleAddresses() {
  std::vector<uint64_t> waiting;
  for (const auto& [id, line] : lines_) {
    if (line->connection.IsWaitingForAddress()) waiting.push_back(id);
  }
  for (const uint64_t id : waiting) {
    Line& line = *lines_.at(id);
    line.connection.Start();
    EndIfGone(id, line);
  }
}

void ExclusiveTransport::Tidy(int64_t now_ns) {
  for (; !idle_.empty(); idle_.pop_front()) {
    const auto found = lines_.find(idle_.front());
    if (found == lines_.end()) continue;
    if (now_ns - found->second->idle_since_ns < kIdleNs) return;
    lines_.erase(found);
  }
}

}  // namespace squall
