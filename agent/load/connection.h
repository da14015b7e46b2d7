// One TCP connection of a load, with or without TLS.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/load/outcome.h"
#include "agent/load/target.h"

namespace squall {

// Connects, address by address, makes TLS and passes bytes, and never waits. Not thread-safe. Target and epoll outlive it.
class Connection {
 public:
  // How it ended.
  struct Gone {
    Failure failure;
    std::string why;
    bool orderly = false;  // the target closed its side after what it sent
  };

  // `id` is the data of its events.
  Connection(Target& target, int epoll, uint64_t id) : target_(target), epoll_(epoll), id_(id) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Begins to connect; again when a lookup has ended that it waits for.
  void Start();
  // Sends it when it can.
  void Send(absl::string_view bytes);
  // Moves on after an event of its own, and appends what arrived to `in`.
  void HandleEvent(uint32_t events, std::string& in);

  // Ready for bytes: connected, and secured if it is to be.
  bool IsOpen() const { return state_ == State::kOpen; }
  bool IsWaitingForAddress() const { return state_ == State::kNew; }
  const std::optional<Gone>& gone() const { return gone_; }
  // What ALPN chose; empty without TLS, or when the server chose nothing.
  std::string Protocol() const;

 private:
  enum class State { kNew, kConnecting, kSecuring, kOpen };

  void ConnectNext();
  void Connected();
  void Secure();
  void Opened();
  void Receive(std::string& in);
  // Takes what came for TLS in, and appends what it says to `in`.
  void Decrypt(absl::string_view bytes, std::string& in);
  void Flush();
  void Watch(bool writable);
  void End(Failure failure, std::string why, bool orderly = false);
  // The side of the target ended: by a close, or by an errno.
  void Lost(int error);

  Target& target_;
  const int epoll_;
  const uint64_t id_;
  State state_ = State::kNew;
  Fd fd_;
  SslPtr ssl_;
  std::vector<Address> addresses_;
  size_t next_address_ = 0;
  std::string waiting_;  // until it is open
  std::string out_;      // to the socket
  size_t out_sent_ = 0;
  bool cannot_send_ = false;  // the socket said so; what the target said before is still read
  bool watched_ = false, watches_writable_ = false;
  std::optional<Gone> gone_;
};

}  // namespace squall
