// Requests that have a connection for themselves: HTTP/1.1, and plain TCP.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "agent/load/connection.h"
#include "agent/load/target.h"
#include "agent/load/transport.h"

namespace squall {

// What is said on one connection: one request, its answer, the next.
class Dialogue {
 public:
  enum class Turn {
    kMore,       // the answer is not through
    kAnswered,   // and the connection can be used again
    kAnsweredLast,
    kBroken,     // Why() says how
  };
  virtual ~Dialogue() = default;

  // The bytes of a request, until the next call; its answer goes into the exchange.
  virtual absl::string_view Begin(Exchange& exchange) = 0;
  virtual Turn Read(absl::string_view bytes) = 0;
  // The target closed the connection in an orderly way: whether that ends the answer.
  virtual Turn ReadEnd() = 0;
  // Whether bytes may arrive that nobody waits for.
  virtual bool MaySpeakUnasked() const = 0;
  virtual std::string Why() const = 0;
};

// Keeps connections that answered, and uses the one that answered last first. Not thread-safe. Target and epoll outlive it.
class ExclusiveTransport : public Transport {
 public:
  using MakeDialogue = std::function<std::unique_ptr<Dialogue>()>;
  ExclusiveTransport(Target& target, int epoll, MakeDialogue make_dialogue)
      : target_(target), epoll_(epoll), make_dialogue_(std::move(make_dialogue)) {}

  void Send(Exchange& exchange) override;
  void Abandon(Exchange& exchange, bool out_of_patience) override;
  void HandleEvent(uint64_t id, uint32_t events) override;
  void HandleAddresses() override;
  void Tidy(int64_t now_ns) override;

 private:
  struct Line {
    Line(Target& target, int epoll, uint64_t id) : connection(target, epoll, id) {}
    Connection connection;
    std::unique_ptr<Dialogue> dialogue;
    Exchange* exchange = nullptr;  // null: idle
    bool answered = false;
    int64_t idle_since_ns = 0;
  };

  Line* TakeIdle(int64_t now_ns);
  // What the dialogue, or the end of the connection, means for the request. The line may be gone then.
  void Settle(uint64_t id, Line& line, Dialogue::Turn turn);
  void EndIfGone(uint64_t id, Line& line);

  Target& target_;
  const int epoll_;
  const MakeDialogue make_dialogue_;
  uint64_t next_id_ = kFirstConnection;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Line>> lines_;
  std::deque<uint64_t> idle_;  // longest idle first; some are gone
  std::string in_;
};

}  // namespace squall
