#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "agent/net/live_sockets.h"
#include "agent/net/netns.h"
#include "agent/net/nft_table.h"

namespace squall {

// Resets TCP connections that are there, as a firewall does that rejects (nft `reject with tcp reset`): what their sockets here
// send is dropped and answered with a RST, so that their owner sees ECONNRESET. The rules name both ends of each connection and
// touch no other; they are in a table of the agent's own and vanish with it, however it dies.
//
// A connection that is idle, or only listens, sends nothing to answer. So each is made to: it is sent two empty segments from
// the other end's address with sequence numbers half their range apart. One at least is out of its window, and TCP answers that
// with an acknowledgement (RFC 9293, 3.10.7.4). The far end learns of the reset when it sends next.
//
// The rules go as soon as each has matched, after a second at the latest: later connections may get the same ends, and the
// kernel's own answers to the far ends are RSTs that the rules would drop. Thread-safe.
class LiveReject {
 public:
  // Why it would not work on this host; empty: it would. Found out in a network namespace made for that.
  static std::string WhyNot();
  // Begins with these connections, however many; others than TCP are left out. `ns`: theirs, outlives this. An error, and nothing
  // is changed.
  static absl::StatusOr<std::unique_ptr<LiveReject>> Start(const NetNamespace& ns, const std::vector<LiveSocket>& connections);
  ~LiveReject() { Stop().IgnoreError(); }
  // How many of them were reset so far.
  int64_t Cut();
  // Takes the rules away, and looks whether they are gone. Cut() keeps its last answer. Idempotent.
  absl::Status Stop();

 private:
  struct Batch {
    std::unique_ptr<NftTable> table;  // null: its rules are gone
    size_t rules = 0;
    size_t cut = 0;
  };
  LiveReject() = default;
  void Watch();
  void Count(Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Remove(Batch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  absl::Notification over_;
  std::thread thread_;
  absl::Mutex stopping_ ABSL_ACQUIRED_BEFORE(mutex_);
  absl::Mutex mutex_;
  std::vector<Batch> batches_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
