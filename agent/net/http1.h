#pragma once

#include <http_parser.h>

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/net/protocol.h"

namespace squall {

// HTTP/1.0 and 1.1, pipelined or not, told apart by http_parser. A request that a fault is to hit is withheld from its first
// byte, so one that had begun when the fault was set passes. While a request is held back, so is what follows it. Answers of our own
// stand among the dependency's in the order of the requests.
class Http1 : public Protocol {
 public:
  static constexpr size_t kMaxOpenCalls = 1024;
  static constexpr size_t kMaxOwnOutput = 1 << 20;  // of our own answers that wait, for their turn or to be taken away

  // `begun`: the first bytes of the first request, fewer than a line, which have been passed on already.
  Http1(ConversationParts& parts, absl::string_view begun, int64_t begun_ns);

  void FromService(absl::string_view bytes, int64_t now_ns) override;
  void FromDependency(absl::string_view bytes, int64_t now_ns) override;
  void ServiceEnded(int64_t now_ns) override;
  void DependencyEnded(int64_t now_ns) override;
  void OnTime(int64_t now_ns) override;
  int64_t NextDueNs() const override { return blocked_ ? due_ns_ : kNothingDue; }
  void Forget(RequestFaults::Kind kind, int64_t now_ns) override;
  bool HoldsFor(RequestFaults::Kind kind) const override {
    return blocked_ ? decision_.hit[kind] : !undecided_.empty() && !parts_.FaultsActive();
  }
  size_t HeldToDependency() const override;
  size_t HeldToService() const override { return 0; }
  size_t OwnToService() const override { return 0; }
  bool OwesAnswer() const override;
  bool Idle() const override { return calls_.empty() && boundary_; }

 private:
  enum class Fate { kPass, kUndecided, kDrop };
  struct Call {
    uint64_t id = 0;
    bool head = false;
    bool connect = false;
    bool upgrade = false;
    bool own = false;    // the dependency will not answer it
    bool ready = false;  // and `answer` may be given
    bool close = false;
    std::shared_ptr<const OwnAnswer> answer;
  };
  // Of the header of the request at hand; what comes after that is none.
  struct Collected {
    bool open = true;
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    bool in_value = false;
  };

  static Http1* Self(http_parser* parser) { return static_cast<Http1*>(parser->data); }
  static const http_parser_settings& RequestSettings();
  static const http_parser_settings& ResponseSettings();
  int OnRequestHeaders();
  int OnResponseHeaders();

  size_t Requests(absl::string_view bytes);
  void Dispose(absl::string_view bytes);
  bool Stopped() const { return blocked_ || parts_.to_service.size() + owed_bytes_ > kMaxOwnOutput; }
  void Decide();
  void Release(bool natural);
  void GoOn();
  void PassHalf();
  void AnswerReady();
  void WriteAnswer(const Call& call);
  void OnResponseComplete();
  // Stops parsing. True: the rest may be passed on as it is, and what was held back of a request has been.
  bool GiveUp();
  // And what waits, where that is not what is being parsed.
  void PassWaiting();

  ConversationParts& parts_;
  http_parser request_;
  http_parser response_;
  int64_t now_ns_ = 0;

  // Requests.
  bool boundary_ = true;  // no byte of the next request was seen
  Fate fate_ = Fate::kPass;
  int64_t begin_ns_ = 0;
  bool headers_complete_ = false;
  bool message_complete_ = false;
  Collected collected_;
  std::string undecided_;   // of the request at hand
  std::string waiting_;     // what follows it, from waiting_from_
  size_t waiting_from_ = 0;
  bool blocked_ = false;    // the request at hand is held back
  int64_t since_ns_ = 0;
  int64_t due_ns_ = 0;
  RequestFaults::Decision decision_;
  bool upgrading_ = false;  // the answer decides what the bytes of the service are
  bool unparsed_ = false;   // and some have been passed on meanwhile
  bool service_ended_ = false;
  bool hung_up_ = false;    // we closed the connection: what still comes is dropped

  // Answers.
  bool answer_complete_ = false;
  std::deque<Call> calls_;
  size_t owed_bytes_ = 0;  // of answers of ours that wait for their turn
};

}  // namespace squall
