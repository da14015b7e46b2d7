#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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
// with an acknowledgement (RFC 9293, 3.10.7.4). The far end learns of the reset when it sends next. Thread-safe.
class LiveReject {
 public:
  // Begins with these connections; others than TCP are left out. `ns`: theirs. An error, and nothing is changed.
  static absl::StatusOr<std::unique_ptr<LiveReject>> Start(const NetNamespace& ns, const std::vector<LiveSocket>& connections);
  // How many of them were reset so far.
  int64_t Cut();
  // Takes the rules away, and looks whether they are gone. Cut() keeps its last answer. Idempotent.
  absl::Status Stop();

 private:
  explicit LiveReject(std::unique_ptr<NftTable> table) : table_(std::move(table)) {}
  const std::unique_ptr<NftTable> table_;
  absl::Mutex mutex_;
  int64_t cut_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace squall
