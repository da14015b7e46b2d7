#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"

namespace squall {

// Watches whether a dependency accepts connections, so that the relay can refuse what the dependency would refuse.
// For an address of the same network namespace the kernel is asked for a listener (sock_diag), without a packet; else one
// connect tells, and only after a connect of the service was refused. Not thread-safe.
class Upstream {
 public:
  // `like`, when it is not null, is one of the same namespace: the kernel is asked through its socket.
  static absl::StatusOr<Upstream> Watch(const NetNamespace& ns, const Address& address, const Upstream* like = nullptr);

  // Looks. Call it every few milliseconds.
  bool Accepts();
  // What the last look or refusal said.
  bool Accepted() const { return accepts_; }
  // A connect was refused: believed until a look says otherwise.
  void NoteRefused() { accepts_ = false; }

  const Address& address() const { return address_; }
  bool IsLocal() const { return local_; }

 private:
  Upstream() = default;
  bool HasListener();
  bool Probe();

  Address address_;
  bool local_ = false;
  bool accepts_ = true;
  std::shared_ptr<const Fd> diag_;  // null: the kernel cannot be asked
  Fd probe_;
  int64_t next_probe_ns_ = 0;
  const NetNamespace* ns_ = nullptr;  // outlives this
};

}  // namespace squall
