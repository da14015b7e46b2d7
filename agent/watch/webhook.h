#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/fd.h"

namespace squall {

// Listens where others POST to, on a thread of its own: a request a connection, on any path. It takes 8 connections at a time, 5 s
// for each, and bodies up to 1 MiB.
class WebhookReceiver {
 public:
  static constexpr size_t kMostConnections = 8;
  static constexpr absl::Duration kTimeout = absl::Seconds(5);
  static constexpr size_t kMostBytes = 1 << 20;

  // Called on the receiver's thread with the body of a POST: an error is answered with 400 and its message.
  using Handler = std::function<absl::Status(absl::string_view body)>;

  // A socket that listens at "HOST:PORT". The error says what is in the way.
  static absl::StatusOr<Fd> Listen(const std::string& address);

  WebhookReceiver(Fd listener, Handler handler);
  // Cuts what is under way.
  ~WebhookReceiver();
  WebhookReceiver(const WebhookReceiver&) = delete;
  WebhookReceiver& operator=(const WebhookReceiver&) = delete;

 private:
  struct Connection;
  void Run();
  void Accept();
  // Reads on, and answers what is complete. False: it is over.
  bool Serve(Connection& connection);

  const Fd listener_;
  const Handler handler_;
  const Fd stop_;
  std::map<int, std::unique_ptr<Connection>> connections_;  // of the thread only
  std::thread thread_;
};

}  // namespace squall
