#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/net/protocol.h"

namespace squall {

// What the two sides of one connection say to each other: tells its calls apart, and lets the faults on requests of its edge act
// on them. It has no socket and no clock: bytes that were read go in with their time, bytes to be written come out.
//
// What it speaks is seen by the first bytes of the service: the preface of HTTP/2, a request of HTTP/1, or something else (TLS
// included), which makes the connection one call. Without a fault that hits a request, what comes out is what went in, byte for
// byte and at once. What is no longer understood passes as it is, unless something was changed on the connection before: then it
// is Broken().
//
// Bounded: it keeps no more than kMaxHeld of either direction and one read beyond, if its owner heeds Wants; per connection there
// are at most Http1::kMaxOpenCalls or Http2::kMaxStreams calls, and tables of HeaderDecoder::kMaxTable each way. Each byte
// is looked at a bounded number of times. Not thread-safe.
class Conversation {
 public:
  static constexpr size_t kMaxHeld = 1 << 20;

  // With `parse` false every connection is one call. `faults` are the edge's, may be null, and outlive this. `deadline_header`: of the
  // edge, in lower case.
  Conversation(bool parse, int64_t opened_ns, RequestFaults* faults, CallObserver observer, std::string deadline_header = "");
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  // Bytes from the service or the dependency, as they are read; empty: it has closed its side.
  void FromService(absl::string_view bytes, int64_t now_ns);
  void FromDependency(absl::string_view bytes, int64_t now_ns);

  struct Output {
    std::string bytes;
    bool end = false;  // and no more after these; told once
  };
  // What is to be passed on. To be taken after every call that gives a time, or later where it cannot go on.
  Output TakeToDependency();
  Output TakeToService();
  // So many more bytes of those for the service were written: calls end then.
  void Written(size_t bytes, int64_t now_ns);

  // Whether more may be read from there: false while too much is held.
  bool WantsFromService() const;
  bool WantsFromDependency() const;

  // When something is due, kNothingDue: nothing is; and does it.
  int64_t NextDueNs() const;
  void OnTime(int64_t now_ns);
  // A fault is over: what was held back for it goes on.
  void Forget(RequestFaults::Kind kind, int64_t now_ns);

  bool HoldsFor(RequestFaults::Kind kind) const;

  // The service has closed its side, though what it said before that cannot be taken yet: it waits for no answer any longer.
  void CallerLeft(int64_t now_ns) { parts_.calls.EndAll(CALLER_LEFT, now_ns); }

  // The connection is over: calls that are open end with `result`.
  void OnClose(CallResult result, int64_t now_ns);

  // It cannot go on: both sides are to be reset.
  bool Broken() const { return protocol_ != nullptr && protocol_->state() == Protocol::State::kBroken; }
  int OpenCalls() const { return static_cast<int>(parts_.calls.size()); }
  int64_t Requests() const { return static_cast<int64_t>(parts_.calls.begun()); }
  // No call is open and none has begun: closing now breaks nothing. Never true for what is no HTTP.
  bool Idle() const;

 private:
  enum class Kind { kUnknown, kProtocol, kOpaque };
  void Recognize(absl::string_view bytes, int64_t now_ns);
  void LookAtProtocol(int64_t now_ns);
  bool OutputWaits() const;  // more is to be taken than may be held

  ConversationParts parts_;
  Kind kind_ = Kind::kUnknown;
  std::unique_ptr<Protocol> protocol_;
  int64_t opened_ns_;
  int64_t begun_ns_ = 0;
  std::string first_;         // the first bytes, as long as they do not tell
  bool first_passed_ = false;
  std::string early_;         // of the dependency, meanwhile; they have been passed on
  bool service_ended_ = false;
  bool dependency_ended_ = false;
  bool told_dependency_ = false;  // Output::end
  bool told_service_ = false;
  bool closed_ = false;
  uint64_t written_ = 0;
};

}  // namespace squall
