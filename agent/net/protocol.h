#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/net/request_faults.h"
#include "agent/net/seen_call.h"

// What the protocols of a conversation have in common. Used by conversation.cc and its protocols only. Not thread-safe.
namespace squall {

// No time at all.
constexpr int64_t kNothingDue = std::numeric_limits<int64_t>::max();

// The calls of one connection that are not over.
class OpenCalls {
 public:
  explicit OpenCalls(CallObserver observer) : observer_(std::move(observer)) {}

  uint64_t Begin(int64_t start_ns);
  // What is known of it so far; null when it is over.
  SeenCall* Find(uint64_t id);
  // It is over once so many bytes of the connection have been passed on to the service.
  void EndAt(uint64_t id, CallResult result, uint64_t bytes_to_service, int64_t now_ns);
  void End(uint64_t id, CallResult result, int64_t now_ns);
  void EndAll(CallResult result, int64_t now_ns);
  // Those whose answer is not known to be whole.
  void EndUnanswered(CallResult result, int64_t now_ns);
  // So many bytes of the connection have been passed on to the service.
  void Written(uint64_t bytes_to_service, int64_t now_ns);
  size_t size() const { return open_.size(); }
  uint64_t begun() const { return next_ - 1; }

 private:
  struct Mark {
    uint64_t at;
    uint64_t id;
    CallResult result;
  };
  CallObserver observer_;
  std::map<uint64_t, SeenCall> open_;
  std::deque<Mark> marks_;
  uint64_t written_ = 0;
  uint64_t next_ = 1;
};

// What a protocol works on.
struct ConversationParts {
  ConversationParts(RequestFaults* of_edge, CallObserver observer, std::string deadline)
      : faults(of_edge), calls(std::move(observer)), deadline_header(std::move(deadline)) {}

  // Bytes to pass on; the owner takes them away.
  std::string to_dependency;
  std::string to_service;
  uint64_t taken_to_service = 0;  // of all that was ever in to_service
  bool end_to_service = false;    // the connection is closed towards the service after what is in to_service
  RequestFaults* faults;          // of the edge; may be null
  RequestFaults::Touched touched;
  OpenCalls calls;
  const std::string deadline_header;  // in lower case; empty: none

  bool FaultsActive() const { return faults != nullptr && faults->Active(); }
  uint64_t OffsetToService() const { return taken_to_service + to_service.size(); }
};

// One protocol, spoken by both sides of a connection.
class Protocol {
 public:
  enum class State {
    kFollowed,
    kOpaque,  // no longer understood: everything taken so far has been passed on, and so is all that comes
    kBroken,  // no longer understood, and it was changed before: the connection cannot go on
  };
  virtual ~Protocol() = default;

  // All bytes are taken. Those that turn the state to kOpaque have been passed on.
  virtual void FromService(absl::string_view bytes, int64_t now_ns) = 0;
  virtual void FromDependency(absl::string_view bytes, int64_t now_ns) = 0;
  // No more bytes will come from that side.
  virtual void ServiceEnded(int64_t now_ns) = 0;
  virtual void DependencyEnded(int64_t now_ns) = 0;
  // Does what is due.
  virtual void OnTime(int64_t now_ns) = 0;
  virtual int64_t NextDueNs() const = 0;
  // The fault is over: what was held back for it goes on.
  virtual void Forget(RequestFaults::Kind kind, int64_t now_ns) = 0;

  // A request is held back for a fault of this kind.
  virtual bool HoldsFor(RequestFaults::Kind kind) const = 0;

  virtual size_t HeldToDependency() const = 0;  // bytes, and what is kept with them
  virtual size_t HeldToService() const = 0;
  virtual size_t OwnToService() const = 0;  // of those, what we say
  // An answer is yet to be given on which the service would not wait if it were told that the dependency closed.
  virtual bool OwesAnswer() const = 0;
  // No call is open and none has begun.
  virtual bool Idle() const = 0;

  State state() const { return state_; }

 protected:
  State state_ = State::kFollowed;
};

}  // namespace squall
