#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "agent/callers.h"
#include "agent/front_wire.h"
#include "base/fd.h"
#include "base/tls.h"

namespace squall {

struct FrontOptions {
  std::vector<Fd> listeners;
  TlsIdentity identity;
  // Takes what a peer with a certificate of the CA sends and is sent, decrypted: a connected, non-blocking unix socket. Called on
  // one thread.
  std::function<void(Fd connection, const Caller& caller)> on_connection;
  std::function<void(const std::string& line)> log;
};

// squall-front, the program beside this one that speaks to the network in its place: it accepts connections, does mutual TLS 1.3
// and passes the bytes on. It has no privileges, so that whoever breaks into it through what strangers may send has won nothing of
// this host. This class starts it, starts it again when it dies or hangs (the listening sockets are kept here) and takes its
// connections. What it says is looked at with distrust, and no descriptor is taken from it. Thread-safe.
class Front {
 public:
  // Waits until it is ready to serve. The error says what to do.
  static absl::StatusOr<std::unique_ptr<Front>> Start(FrontOptions options);
  // Passes on what is on its way to the peers, for at most a second, and ends the program.
  ~Front();

  // Of the program; 0 while it is being replaced.
  pid_t pid() const { return pid_; }

 private:
  struct Child {
    pid_t pid = 0;
    Fd pidfd, control;
  };

  explicit Front(FrontOptions options);
  // Starts it and starts it again, until it is to stop.
  void Run();
  // One life of it; says how it ended.
  absl::Status Live();
  absl::StatusOr<Child> Spawn() const;
  // What it said, all of it; false: it has nothing more to say, ever.
  absl::StatusOr<bool> Listen(const Child& child);
  absl::Status Heed(const Child& child, const FromFront& message);
  absl::Status Connect(const Child& child, const FromFront& message);
  // Waits for its end, and brings it about after `patience`; how it ended, in words.
  static std::string End(const Child& child, absl::Duration patience);

  const FrontOptions options_;
  const Fd stop_;  // an eventfd
  std::atomic<pid_t> pid_ = 0;
  absl::Status first_;  // of the first start, when it is over
  absl::Notification started_;
  bool is_ready_ = false;   // of the running thread, as are the following
  std::string complaint_;   // of the program, about why it ends
  std::thread thread_;
};

}  // namespace squall
