#include "agent/net/packet_queue.h"

#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/net/measured_delay.h"
#include "agent/net/packet.h"
#include "agent/net/packet_dice.h"
#include "agent/net/raw_sender.h"
#include "agent/process/cgroup.h"
#include "agent/process/thread_priority.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/lately.h"

namespace squall {
namespace {

constexpr uint16_t kFirstNumber = 7447;  // of the queue: the first that nobody reads is taken
constexpr int kNumbersTried = 1000;
constexpr uint32_t kMostQueued = 65536;         // packets
constexpr int kSocketBuffer = 64 << 20;
constexpr size_t kMessageSize = (64 << 10) + 4096;  // a packet and what netlink adds
constexpr int kReadAtOnce = 64;                 // packets, before their verdicts are sent
constexpr size_t kMostFlows = 65536;
constexpr absl::Duration kReleaseWithin = absl::Seconds(5);
constexpr char kNoQueue[] = "cannot read a packet queue (CONFIG_NETFILTER_NETLINK_QUEUE)";

bool Matches(const PacketAction& action, int protocol, bool outgoing, const Address& remote) {
  if (action.protocol != protocol || !(outgoing ? action.on_request : action.on_response)) return false;
  return std::any_of(action.to.begin(), action.to.end(), [&](const Address& to) {
    return to == remote || (to.IsAny() && to.port == remote.port);
  });
}

bool Draws(PacketAction::What what) { return what != PacketAction::What::kDelay; }

}  // namespace

class PacketQueue::Reader {
 public:
  Reader(const NetNamespace& ns, Target target) : ns_(ns), target_(std::move(target)) {}
  ~Reader() {
    absl::MutexLock lock(&changing_);
    Close().IgnoreError();
  }

  absl::Status Set(const std::string& name, PacketAction action) {
    absl::MutexLock changing(&changing_);
    auto fault = std::make_shared<FaultState>(std::move(action));
    absl::Status status = thread_.joinable() ? absl::OkStatus() : Open();
    if (!status.ok()) {
      Close().IgnoreError();
      return status;
    }
    {
      absl::MutexLock lock(&mutex_);
      faults_[name] = fault;  // before its rules, so that none of its packets is passed on as a stranger's
    }
    status = table_->SetRules(Rules());
    if (status.ok()) return status;
    {
      absl::MutexLock lock(&mutex_);
      faults_.erase(name);
    }
    CloseIfUnused().IgnoreError();
    return status;
  }

  absl::Status Change(const std::string& name, const std::function<void(PacketAction&)>& change) {
    absl::MutexLock lock(&mutex_);
    const auto found = faults_.find(name);
    if (found == faults_.end() || !found->second->set) return absl::NotFoundError("no such fault acts on packets");
    FaultState& fault = *found->second;
    change(fault.action);
    for (PacketDice& dice : fault.dice) dice.SetPercent(fault.action.percent);
    fault.achieved.Changed();
    fault.lately.Changed(fault.seen[kRequest] + fault.seen[kResponse], fault.hit[kRequest] + fault.hit[kResponse]);
    return absl::OkStatus();
  }

  absl::Status SetRemotes(const std::string& name, std::vector<Address> to) {
    absl::MutexLock changing(&changing_);
    const auto swap = [&] {
      absl::MutexLock lock(&mutex_);
      const auto found = faults_.find(name);
      if (found == faults_.end() || !found->second->set || found->second->action.to == to) return false;
      found->second->action.to.swap(to);
      return true;
    };
    if (!swap()) return absl::OkStatus();
    const absl::Status status = table_->SetRules(Rules());
    if (!status.ok()) swap();
    return status;
  }

  absl::Status Clear(const std::string& name) {
    absl::MutexLock changing(&changing_);
    std::shared_ptr<FaultState> fault;
    {
      absl::MutexLock lock(&mutex_);
      const auto found = faults_.find(name);
      if (found == faults_.end()) return absl::OkStatus();
      fault = found->second;
      fault->set = false;
    }
    // Nothing is left. Else all of it once more, also for a fault that was cleared: that may not have been confirmed.
    if (table_ == nullptr && !thread_.joinable()) return absl::OkStatus();
    const absl::Status status = table_->SetRules(Rules());  // while packets go on
    {
      absl::MutexLock lock(&mutex_);
      LetGo(fault);
      Wake();
      const auto none_is_due = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return held_.empty() || held_.begin()->second.release_ns > 0;
      };
      if (!mutex_.AwaitWithTimeout(absl::Condition(&none_is_due), kReleaseWithin)) {
        return absl::FailedPreconditionError("packets are still held back");
      }
    }
    const absl::Status closed = CloseIfUnused();
    return status.ok() ? closed : status;
  }

  Evidence EvidenceOf(const std::string& name) {
    absl::MutexLock lock(&mutex_);
    Evidence evidence;
    const auto found = faults_.find(name);
    if (found == faults_.end()) return evidence;
    const FaultState& fault = *found->second;
    evidence.set_packets_to_dependency(fault.seen[kRequest]);
    evidence.set_packets_to_service(fault.seen[kResponse]);
    evidence.set_hit_to_dependency(fault.hit[kRequest]);
    evidence.set_hit_to_service(fault.hit[kResponse]);
    if (Draws(fault.action.what)) {
      const int64_t seen = fault.seen[kRequest] + fault.seen[kResponse];
      evidence.set_requested_percent(fault.action.percent);
      if (seen > 0) evidence.set_achieved_percent(fault.lately.Percent(seen, fault.hit[kRequest] + fault.hit[kResponse]));
    } else {
      evidence.set_requested_ns(fault.action.requested_ns);
      evidence.set_achieved_p50_ns(fault.achieved.Quantile(0.5));
      evidence.set_achieved_p99_ns(fault.achieved.Quantile(0.99));
      evidence.set_direct_reached(static_cast<int64_t>(fault.flows.size()));
    }
    return evidence;
  }

 private:
  enum Way { kRequest = 0, kResponse = 1 };

  struct FaultState {
    explicit FaultState(PacketAction of)
        : action(std::move(of)),
          // Each way its own dice: what is drawn does not depend on how requests and responses interleave.
          dice{PacketDice(action.seed, action.percent, action.correlation),
               PacketDice(~action.seed, action.percent, action.correlation)},
          connections(action.seed, action.share, 0) {}
    PacketAction action;
    PacketDice dice[2];
    PacketDice connections;
    bool set = true;
    int64_t seen[2] = {};
    int64_t hit[2] = {};
    MeasuredDelay achieved;
    Lately lately{100};                    // hit, of those seen
    std::set<Flow> flows;                  // that it touched
    std::map<Flow, bool> chosen;           // kDelay with a share: whether the connection is slow
    std::map<Flow, int64_t> last_out[2];   // kDelay: keeps the order
  };

  struct Copy {
    std::shared_ptr<FaultState> fault;
    Way way;
    std::string bytes;
    Address to;
    uint32_t interface;
  };

  struct Held {
    uint32_t id = 0;
    int64_t arrived_ns = 0;
    int64_t release_ns = 0;
    struct Stage {
      std::shared_ptr<FaultState> fault;
      int64_t for_ns = 0;
      int asked = 0;  // as MeasuredDelay's
    };
    std::vector<Stage> stages;
    std::string damaged;  // what it is passed on as; empty: as it came
    std::vector<Copy> copies;
  };

  absl::Status Open() ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_) {
    absl::StatusOr<Fd> fd = ns_.Socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
    if (!fd.ok()) return absl::IsPermissionDenied(fd.status()) ? fd.status() : absl::UnimplementedError(kNoQueue);
    fd_ = *std::move(fd);
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof(kSocketBuffer));
    const int send_bytes = 4 << 20, one = 1;
    setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &send_bytes, sizeof(send_bytes));
    setsockopt(fd_.get(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one));
    absl::StatusOr<RawSender> sender = RawSender::Open(ns_);
    if (!sender.ok()) return sender.status();
    sender_ = *std::move(sender);
    const absl::Status bound = Bind();
    if (!bound.ok()) return bound;
    absl::StatusOr<std::unique_ptr<NftTable>> table = NftTable::Make(ns_, number_);
    if (!table.ok()) return table.status();
    table_ = *std::move(table);
    wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    stop_ = false;
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  absl::Status CloseIfUnused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_) {
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [name, fault] : faults_) {
        if (fault->set) return absl::OkStatus();
      }
    }
    return Close();
  }

  // The rules first, then whatever they have sent here meanwhile, then the table and the queue: when a table goes with its hooks,
  // the kernel drops whatever is queued (nf_queue_nf_hook_drop).
  absl::Status Close() ABSL_EXCLUSIVE_LOCKS_REQUIRED(changing_) {
    if (table_ != nullptr) table_->SetRules({}).IgnoreError();  // removing the table tells what is wrong
    if (thread_.joinable()) {
      stop_ = true;
      Wake();
      thread_.join();
    }
    const absl::Status status = table_ == nullptr ? absl::OkStatus() : table_->Remove();
    if (status.ok()) table_.reset();
    fd_.Reset();
    wake_.Reset();
    sender_ = RawSender();
    return status;
  }

  absl::Status Bind() {
    int error = 0;
    for (int i = 0; i < kNumbersTried; ++i) {
      number_ = static_cast<uint16_t>(kFirstNumber + i);
      error = Configure([](nlmsghdr* header) { nfq_nlmsg_cfg_put_cmd(header, AF_UNSPEC, NFQNL_CFG_CMD_BIND); });
      if (error != EBUSY && error != EPERM) break;  // EPERM: somebody else reads it
    }
    if (error == EPERM) return absl::PermissionDeniedError("cannot read a packet queue (needs root)");
    // What a kernel answers that knows no queues.
    if (error == EINVAL || error == EPROTONOSUPPORT || error == EOPNOTSUPP) return absl::UnimplementedError(kNoQueue);
    if (error == 0) {
      error = Configure([](nlmsghdr* header) {
        nfq_nlmsg_cfg_put_params(header, NFQNL_COPY_PACKET, 0xffff);
        nfq_nlmsg_cfg_put_qmaxlen(header, kMostQueued);
        // Without NFQA_CFG_F_GSO: packets come as they go over the wire, with checksums that are complete.
        mnl_attr_put_u32(header, NFQA_CFG_FLAGS, htonl(NFQA_CFG_F_FAIL_OPEN));
        mnl_attr_put_u32(header, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO));
      });
    }
    return error == 0 ? absl::OkStatus() : absl::ErrnoToStatus(error, kNoQueue);
  }

  template <typename Fill>
  int Configure(Fill fill) {
    char buffer[4096];
    nlmsghdr* header = nfq_nlmsg_put(buffer, NFQNL_MSG_CONFIG, number_);
    header->nlmsg_flags |= NLM_F_ACK;
    fill(header);
    if (send(fd_.get(), header, header->nlmsg_len, 0) < 0) return errno;
    const ssize_t size = recv(fd_.get(), buffer, sizeof(buffer), 0);
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return EIO;
    return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header))->error;
  }

  std::vector<NftRule> Rules() ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    std::vector<NftRule> wanted;
    for (const auto& [name, fault] : faults_) {
      if (!fault->set) continue;
      for (const Address& to : fault->action.to) {
        for (const bool outgoing : {true, false}) {
          if (!(outgoing ? fault->action.on_request : fault->action.on_response)) continue;
          NftRule rule;
          rule.outgoing = outgoing;
          rule.protocol = fault->action.protocol;
          rule.remote = to;
          rule.cgroup = target_.cgroup;
          wanted.push_back(std::move(rule));
        }
      }
    }
    return wanted;
  }

  void Wake() {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  // What the fault alone holds is due at once; what others hold too, when they say.
  void LetGo(const std::shared_ptr<FaultState>& fault) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::multimap<int64_t, Held> held;
    held.swap(held_);
    for (auto& [release, packet] : held) {
      const auto of_fault = [&](const Held::Stage& stage) { return stage.fault == fault; };
      for (const Held::Stage& stage : packet.stages) packet.release_ns -= of_fault(stage) ? stage.for_ns : 0;
      packet.stages.erase(std::remove_if(packet.stages.begin(), packet.stages.end(), of_fault), packet.stages.end());
      if (packet.stages.empty()) packet.release_ns = 0;
      const auto copied = std::remove_if(packet.copies.begin(), packet.copies.end(),
                                         [&](const Copy& copy) { return copy.fault == fault; });
      packet.copies.erase(copied, packet.copies.end());
      const int64_t at = packet.release_ns;
      held_.emplace(at, std::move(packet));
    }
  }

  void Run() {
    RaiseThreadPriority();  // what is late here is late for the target
    prctl(PR_SET_NAME, "packet-queue");
    std::vector<char> buffer(kMessageSize);
    while (!stop_) {
      pollfd fds[2] = {{fd_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      const int64_t wait = UntilDue();
      const timespec timeout = {wait / 1'000'000'000, wait % 1'000'000'000};
      ppoll(fds, 2, &timeout, nullptr);
      uint64_t count;
      if (fds[1].revents != 0) (void)!read(wake_.get(), &count, sizeof(count));
      Read(buffer);
      Release(/*all=*/false);
    }
    // The rules are gone. A packet that had passed them by then may still be on its way here.
    for (int i = 0; i < 2; ++i) {
      Read(buffer);
      Release(/*all=*/true);
      absl::SleepFor(absl::Milliseconds(1));
    }
    Read(buffer);
    Release(/*all=*/true);
  }

  int64_t UntilDue() {
    absl::MutexLock lock(&mutex_);
    if (held_.empty()) return 1'000'000'000;
    return std::clamp<int64_t>(held_.begin()->first - BootNanos(), 0, 1'000'000'000);
  }

  void Read(std::vector<char>& buffer) {
    for (int i = 0; i < kReadAtOnce; ++i) {
      const ssize_t size = recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (size < 0) break;
      int left = static_cast<int>(size);
      for (auto* each = reinterpret_cast<nlmsghdr*>(buffer.data()); mnl_nlmsg_ok(each, left);
           each = mnl_nlmsg_next(each, &left)) {
        // An error is the answer to a verdict on a packet that is gone, as with its interface.
        if (each->nlmsg_type >= NLMSG_MIN_TYPE) Take(each);
      }
    }
    Flush();
  }

  void Take(const nlmsghdr* message) {
    nlattr* attributes[64] = {};
    if (nfq_nlmsg_parse(message, attributes) != MNL_CB_OK || attributes[NFQA_PACKET_HDR] == nullptr) return;
    const auto* header = static_cast<const nfqnl_msg_packet_hdr*>(mnl_attr_get_payload(attributes[NFQA_PACKET_HDR]));
    Held held;
    held.id = ntohl(header->packet_id);
    held.arrived_ns = held.release_ns = BootNanos();
    const bool outgoing = header->hook == NF_INET_LOCAL_OUT;
    if (attributes[NFQA_PAYLOAD] != nullptr) {
      const absl::string_view bytes(static_cast<const char*>(mnl_attr_get_payload(attributes[NFQA_PAYLOAD])),
                                    mnl_attr_get_payload_len(attributes[NFQA_PAYLOAD]));
      const nlattr* interface = attributes[outgoing ? NFQA_IFINDEX_OUTDEV : NFQA_IFINDEX_INDEV];
      if (const std::optional<Packet> packet = ParsePacket(bytes)) {
        absl::MutexLock lock(&mutex_);
        Act(*packet, bytes, outgoing, interface == nullptr ? 0 : ntohl(mnl_attr_get_u32(interface)), held);
        if (!held.stages.empty()) {
          const int64_t at = held.release_ns;
          held_.emplace(at, std::move(held));
          return;
        }
      }
    }
    Pass(std::move(held));
  }

  // Everything that the faults do to one packet, in their order.
  void Act(const Packet& packet, absl::string_view bytes, bool outgoing, uint32_t interface, Held& held)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Way way = outgoing ? kRequest : kResponse;
    const Flow flow = {packet.protocol, outgoing ? packet.source : packet.destination,
                       outgoing ? packet.destination : packet.source};
    bool asked = target_.flows == nullptr;
    using What = PacketAction::What;
    for (const What what : {What::kCorrupt, What::kDuplicate, What::kDelay, What::kReorder}) {
      for (const auto& [name, fault] : faults_) {
        if (!fault->set || fault->action.what != what || !Matches(fault->action, flow.protocol, outgoing, flow.remote)) continue;
        if (!asked && !target_.flows->Owns(flow, packet.opens && outgoing)) return;
        asked = true;
        ActOne(fault, packet, bytes, flow, way, interface, held);
      }
    }
  }

  void ActOne(const std::shared_ptr<FaultState>& fault, const Packet& packet, absl::string_view bytes, const Flow& flow, Way way,
              uint32_t interface, Held& held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    using What = PacketAction::What;
    const PacketAction& action = fault->action;
    // Of a packet of 65,532 bytes and more, as loopback has them, netlink cannot carry all.
    const bool whole = packet.size <= bytes.size();
    const bool can = action.what == What::kCorrupt     ? whole && packet.size > packet.payload
                     : action.what == What::kDuplicate ? whole
                                                       : true;
    if (!can) return;
    ++fault->seen[way];
    if (Draws(action.what) ? !fault->dice[way].Roll() : !IsSlow(*fault, flow)) return;
    if (fault->flows.size() < kMostFlows) fault->flows.insert(flow);
    if (action.what != What::kDuplicate) ++fault->hit[way];
    switch (action.what) {
      case What::kCorrupt:
        if (held.damaged.empty()) held.damaged = std::string(bytes.substr(0, packet.size));
        FlipBit(held.damaged, packet, fault->dice[way].Below(8 * (packet.size - packet.payload)), action.right_checksum);
        return;
      case What::kDuplicate:  // hit once its copy is out
        held.copies.push_back(
            {fault, way, held.damaged.empty() ? std::string(bytes.substr(0, packet.size)) : held.damaged,
             packet.destination, interface});
        return;
      case What::kDelay: {
        const int64_t now = held.release_ns;
        std::map<Flow, int64_t>& last_out = fault->last_out[way];
        if (last_out.size() >= kMostFlows) {
          for (auto it = last_out.begin(); it != last_out.end();) it = it->second < now ? last_out.erase(it) : std::next(it);
        }
        int64_t& last = last_out[flow];
        last = std::max(last, now + std::max<int64_t>(0, action.delay_ns()));
        held.stages.push_back({fault, last - now, fault->achieved.asked()});
        held.release_ns = last;
        return;
      }
      case What::kReorder: {
        const int64_t delay = std::max<int64_t>(0, action.delay_ns());
        held.stages.push_back({fault, delay, fault->achieved.asked()});
        held.release_ns += delay;
        return;
      }
    }
  }

  static bool IsSlow(FaultState& fault, const Flow& flow) {
    if (fault.action.share >= 100) return true;
    if (fault.chosen.size() >= kMostFlows) fault.chosen.clear();
    const auto [found, is_new] = fault.chosen.emplace(flow, false);
    if (is_new) found->second = fault.connections.Roll();
    return found->second;
  }

  void Release(bool all) {
    std::vector<Held> due;
    {
      absl::MutexLock lock(&mutex_);
      const int64_t now = BootNanos();
      while (!held_.empty() && (all || held_.begin()->first <= now)) {
        due.push_back(std::move(held_.begin()->second));
        held_.erase(held_.begin());
      }
      for (const Held& held : due) {
        int64_t for_ns = 0;
        for (const Held::Stage& stage : held.stages) for_ns += stage.for_ns;
        for (const Held::Stage& stage : held.stages) {
          if (!all) stage.fault->achieved.Add(stage.asked, std::max<int64_t>(0, now - held.arrived_ns - (for_ns - stage.for_ns)));
        }
      }
    }
    for (Held& held : due) Pass(std::move(held));
    Flush();
  }

  // Adds the verdict to those that Flush sends: many in one call, each its own. Its copies go out behind it.
  void Pass(Held held) {
    const size_t needed = held.damaged.size() + 256;
    if (verdicts_.size() < kMessageSize * 4) verdicts_.resize(kMessageSize * 4);
    if (verdicts_used_ + needed > verdicts_.size()) Flush();
    nlmsghdr* header = nfq_nlmsg_put(verdicts_.data() + verdicts_used_, NFQNL_MSG_VERDICT, number_);
    if (!held.damaged.empty()) nfq_nlmsg_verdict_put_pkt(header, held.damaged.data(), static_cast<uint32_t>(held.damaged.size()));
    nfq_nlmsg_verdict_put(header, static_cast<int>(held.id), NF_ACCEPT);
    verdicts_used_ += MNL_ALIGN(header->nlmsg_len);
    if (held.copies.empty()) return;
    Flush();  // a copy comes right behind its packet, not behind those that were read with it
    Send(held.copies);
  }

  void Flush() {
    if (verdicts_used_ > 0) (void)!send(fd_.get(), verdicts_.data(), verdicts_used_, 0);
    verdicts_used_ = 0;
  }

  void Send(const std::vector<Copy>& copies) {
    for (const Copy& copy : copies) {
      if (!sender_.Send(copy.bytes, copy.to, copy.interface)) continue;
      absl::MutexLock lock(&mutex_);
      ++copy.fault->hit[copy.way];
    }
  }

  const NetNamespace& ns_;
  const Target target_;
  absl::Mutex changing_ ABSL_ACQUIRED_BEFORE(mutex_);  // held by calls that change what is set
  Fd fd_;
  Fd wake_;
  RawSender sender_;
  uint16_t number_ = 0;
  std::unique_ptr<NftTable> table_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;

  absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<FaultState>> faults_ ABSL_GUARDED_BY(mutex_);
  std::multimap<int64_t, Held> held_ ABSL_GUARDED_BY(mutex_);  // by release; equal ones in the order of their coming

  // Of the thread only.
  std::vector<char> verdicts_;
  size_t verdicts_used_ = 0;
};

std::string PacketQueue::WhyNot() {
  std::string why_not;
  // A thread of its own, in a network namespace of its own: nothing of the host's is touched, and all of it ends with it.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why_not = "taking packets out of the kernel needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)";
      return;
    }
    const auto probe = [&]() -> absl::Status {
      const absl::StatusOr<NetNamespace> ns = NetNamespace::Own();
      if (!ns.ok()) return ns.status();
      Target target;
      const absl::StatusOr<std::string> mount = CgroupV2Mount();
      if (!mount.ok()) return mount.status();
      const absl::StatusOr<CgroupMatch> root = MatchCgroup(*mount);
      if (!root.ok()) return root.status();
      target.cgroup = *root;
      PacketQueue queue(*ns, target);
      PacketAction action;
      action.to = {Address{{}, 1}};
      action.protocol = IPPROTO_UDP;
      action.on_request = action.on_response = true;
      const absl::Status set = queue.Set("probe", std::move(action));
      return set.ok() ? queue.Clear("probe") : set;
    };
    const absl::Status status = probe();
    if (!status.ok()) why_not = std::string(status.message());
  }).join();
  return why_not;
}

PacketQueue::PacketQueue(const NetNamespace& ns, Target target) : reader_(std::make_unique<Reader>(ns, std::move(target))) {}
PacketQueue::~PacketQueue() = default;

absl::Status PacketQueue::Set(const std::string& fault, PacketAction action) { return reader_->Set(fault, std::move(action)); }
absl::Status PacketQueue::Change(const std::string& fault, const std::function<void(PacketAction&)>& change) {
  return reader_->Change(fault, change);
}
absl::Status PacketQueue::SetRemotes(const std::string& fault, std::vector<Address> to) {
  return reader_->SetRemotes(fault, std::move(to));
}
absl::Status PacketQueue::Clear(const std::string& fault) { return reader_->Clear(fault); }
Evidence PacketQueue::EvidenceOf(const std::string& fault) { return reader_->EvidenceOf(fault); }

}  // namespace squall
