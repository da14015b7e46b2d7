#include "agent/load/tcp.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace squall {

absl::StatusOr<std::vector<TcpRequest>> MakeTcpRequests(const Tcp& tcp) {
  std::vector<TcpRequest> requests;
  for (const WeightedTcp& request : tcp.requests()) {
    requests.push_back({request.send().empty() ? tcp.send() : request.send(), request.until().empty() ? tcp.until() : request.until()});
  }
  if (requests.empty()) requests.push_back({tcp.send(), tcp.until()});
  for (const TcpRequest& request : requests) {
    if (request.until.empty()) {
      return absl::InvalidArgumentError("a tcp load needs `until`: what an answer contains once it is complete");
    }
    if (request.until.size() > kMatchedBody) return absl::InvalidArgumentError("`until` of a tcp load is longer than 64 KiB");
  }
  return requests;
}

absl::string_view TcpDialogue::Begin(Exchange& exchange) {
  exchange_ = &exchange;
  tail_.clear();
  return requests_[exchange.request.kind].send;
}

Dialogue::Turn TcpDialogue::Read(absl::string_view bytes) {
  const std::string& until = requests_[exchange_->request.kind].until;
  Answer& answer = exchange_->answer;
  bytes = bytes.substr(0, kTcpAnswer - exchange_->answer_bytes);
  exchange_->answer_bytes += bytes.size();
  if (answer.body.size() < kMatchedBody) absl::StrAppend(&answer.body, bytes.substr(0, kMatchedBody - answer.body.size()));
  absl::StrAppend(&tail_, bytes);
  if (tail_.find(until) != tail_.npos) return reconnect_ ? Turn::kAnsweredLast : Turn::kAnswered;
  if (exchange_->answer_bytes == kTcpAnswer) return Turn::kBroken;
  tail_.erase(0, tail_.size() - std::min(tail_.size(), until.size() - 1));
  return Turn::kMore;
}

std::string TcpDialogue::Why() const {
  return "the first MiB of an answer does not contain what ends it (until)";
}

}  // namespace squall
