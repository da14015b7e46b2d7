// reset: connections are reset.
//
// What and to whom: both sides of the chosen share of an edge's connections, through its relay, get a RST (a close with
//   SO_LINGER 0) once the time is over and so many bytes of the dependency have passed. With `existing`, so do the connections that
//   an attached service has from before the run, which no relay carries: an nft rule answers what they send with a RST (LiveReject).
// Proof: connections that were reset, and the calls that were open on them.
// Undo while the agent lives: no more connections are reset, and the rules are taken away. Those that were reset stay so.
// Undo when the agent was killed: the redirection is made of BPF links, which die with it; the relay's connections are reset. The
//   rules are in an nft table that belongs to the agent's socket and vanishes with it.

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "agent/faults/queued_edges.h"
#include "agent/faults/relay_fault.h"
#include "agent/net/live_reject.h"
#include "agent/net/packet_dice.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(20);
constexpr int kLeastRest = 10;  // times as long as looking took
constexpr size_t kMostRemotes = 256;  // that the kernel looks through

// Connections that do not go through the relay. Those that are due when the fault begins are reset before Inject returns.
class DirectReset {
 public:
  DirectReset(const Reset& reset, const FaultContext& context) : reset_(reset), context_(context) {}
  ~DirectReset() { Heal().IgnoreError(); }

  absl::Status Inject() {
    absl::StatusOr<QueuedEdges::Direct> direct = context_.queued_edges->DirectConnections(reset_.edge(), /*bytes=*/true);
    if (!direct.ok()) return direct.status();
    ns_ = std::move(direct->ns);
    std::vector<LiveSocket>& all = direct->connections;
    std::sort(all.begin(), all.end(), [](const LiveSocket& a, const LiveSocket& b) { return a.local.port < b.local.port; });
    PacketDice dice(context_.seed, reset_.share() > 0 ? reset_.share() : 100, 0);
    for (const LiveSocket& each : all) {
      if (dice.Roll()) waiting_.push_back(each);
    }
    if (waiting_.empty()) return absl::OkStatus();
    const absl::Time from = absl::Now() + ToDuration(reset_.after());
    if (ToDuration(reset_.after()) > absl::ZeroDuration() || reset_.after_bytes() > 0) {
      thread_ = std::thread([this, from] { Wait(from); });
      return absl::OkStatus();
    }
    return ResetThem(std::exchange(waiting_, {}));
  }

  absl::Status Heal() {
    if (!over_.HasBeenNotified()) over_.Notify();
    if (thread_.joinable()) thread_.join();
    absl::MutexLock lock(&mutex_);
    absl::Status status;
    for (const auto& each : rejecting_) status.Update(each->Stop());
    return status;
  }

  int64_t Cut() {
    absl::MutexLock lock(&mutex_);
    int64_t cut = 0;
    for (const auto& each : rejecting_) cut += each->Cut();
    return cut;
  }
  // Connections that were due, and could not be reset.
  int64_t Failed() {
    absl::MutexLock lock(&mutex_);
    return failed_;
  }

 private:
  absl::Status ResetThem(const std::vector<LiveSocket>& due) {
    if (due.empty()) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<LiveReject>> rejecting = LiveReject::Start(*ns_, due);
    if (!rejecting.ok()) return rejecting.status();
    absl::MutexLock lock(&mutex_);
    rejecting_.push_back(*std::move(rejecting));
    return absl::OkStatus();
  }

  void Wait(absl::Time from) {
    if (over_.WaitForNotificationWithTimeout(from - absl::Now())) return;
    for (absl::Duration rest = absl::ZeroDuration(); !over_.WaitForNotificationWithTimeout(rest);) {
      const absl::Time start = absl::Now();
      const absl::StatusOr<std::vector<LiveSocket>> now = Now();
      std::vector<LiveSocket> due, waiting;
      for (const LiveSocket& then : waiting_) {
        // Whoever has the same ends by now, but another cookie, is none of those that were chosen.
        const auto same = [&](const LiveSocket& each) { return each.cookie == then.cookie; };
        const auto found = now.ok() ? std::find_if(now->begin(), now->end(), same) : now->end();
        if (now.ok() && found == now->end()) continue;
        const bool is_due = !now.ok() || found->bytes_from_remote - then.bytes_from_remote >= reset_.after_bytes();
        (is_due ? due : waiting).push_back(then);
      }
      waiting_ = std::move(waiting);
      const absl::Status status = now.ok() ? ResetThem(due) : now.status();
      if (!status.ok()) {
        absl::MutexLock lock(&mutex_);
        failed_ += static_cast<int64_t>(due.size());
      }
      if (waiting_.empty()) return;
      rest = std::max(kLookEvery, kLeastRest * (absl::Now() - start));
    }
  }

  // Those that wait, and who else is connected to where they are.
  absl::StatusOr<std::vector<LiveSocket>> Now() {
    absl::StatusOr<SocketDiag> diag = SocketDiag::Open(*ns_);
    if (!diag.ok()) return diag.status();
    SocketFilter filter;
    filter.udp = false;
    filter.bytes = reset_.after_bytes() > 0;
    for (const LiveSocket& each : waiting_) {
      std::vector<Address>& remotes = filter.remotes;
      if (std::find(remotes.begin(), remotes.end(), each.remote) == remotes.end()) remotes.push_back(each.remote);
    }
    if (filter.remotes.size() > kMostRemotes) filter.remotes.clear();
    return diag->List(filter);
  }

  const Reset reset_;
  const FaultContext context_;
  std::unique_ptr<NetNamespace> ns_;
  std::vector<LiveSocket> waiting_;  // of Inject, then of the thread only
  absl::Notification over_;
  std::thread thread_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<LiveReject>> rejecting_ ABSL_GUARDED_BY(mutex_);
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
};

class ResetFault : public ActiveFault {
 public:
  ResetFault(const Reset& reset, const Fault& fault, const FaultContext& context)
      : relayed_(reset.edge(), fault, context) {
    const bool has_direct = context.queued_edges != nullptr && context.queued_edges->HasDirect(reset.edge());
    if (has_direct && reset.existing()) direct_ = std::make_unique<DirectReset>(reset, context);
  }

  absl::Status Inject() override {
    const absl::Status status = relayed_.Inject();
    if (!status.ok() || direct_ == nullptr) return status;
    const absl::Status direct = direct_->Inject();
    if (!direct.ok()) Heal(HealFor::kFaultOver).IgnoreError();
    return direct;
  }
  absl::Status Heal(HealFor reason) override {
    absl::Status status = relayed_.Heal(reason);
    if (direct_ != nullptr) status.Update(direct_->Heal());
    return status;
  }
  Evidence Seen() override {
    Evidence evidence = relayed_.Seen();
    if (direct_ == nullptr) return evidence;
    const int64_t cut = direct_->Cut();
    evidence.set_cut(evidence.cut() + cut);
    evidence.set_direct_reached(cut);
    evidence.set_direct_unreached(direct_->Failed());
    return evidence;
  }

 private:
  RelayFault relayed_;
  std::unique_ptr<DirectReset> direct_;
};

}  // namespace

std::unique_ptr<ActiveFault> MakeReset(const Reset& reset, const FaultContext& context) {
  Fault fault;
  *fault.mutable_reset() = reset;
  return std::make_unique<ResetFault>(reset, fault, context);
}

}  // namespace squall
