#include "agent/net/packets.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/bpf.h"
#include "agent/net/packets.bpf.h"
#include "agent/net/packets.skel.h"
#include "base/clock.h"
#include "base/lately.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLeastPackets = 100;  // of which a share says something

uint64_t Share(double percent) { return static_cast<uint64_t>(std::llround(percent / 100 * 4294967296.0)); }

packet_remote ToRemote(const Address& address, bool udp) {
  packet_remote remote = {};
  memcpy(remote.ip, &address.ip, sizeof(remote.ip));
  remote.port = htons(address.port);
  remote.protocol = udp ? IPPROTO_UDP : IPPROTO_TCP;
  return remote;
}

bool operator<(const packet_remote& a, const packet_remote& b) { return memcmp(&a, &b, sizeof(a)) < 0; }
struct Less {
  bool operator()(const packet_remote& a, const packet_remote& b) const { return a < b; }
};

packet_rule ToBpf(const PacketRule& rule) {
  packet_rule out = {};
  out.seed = rule.seed;
  out.since_ns = static_cast<uint64_t>(BootNanos());
  out.correlation = Share(rule.correlation);
  out.connections = rule.connections == Partition::CONNECTIONS_NEW           ? PACKETS_NEW
                    : rule.connections == Partition::CONNECTIONS_ESTABLISHED ? PACKETS_ESTABLISHED
                                                                             : PACKETS_ALL;
  out.direction[PACKETS_EGRESS] = rule.direction != DIRECTION_RESPONSE;
  out.direction[PACKETS_INGRESS] = rule.direction != DIRECTION_REQUEST;
  out.refuse = rule.refuse;
  out.reset = rule.reset;
  return out;
}

int64_t SeenOf(const packet_rule& rule) { return static_cast<int64_t>(rule.seen[0] + rule.seen[1]); }
int64_t HitOf(const packet_rule& rule) { return static_cast<int64_t>(rule.hit[0] + rule.hit[1]); }

Evidence ToEvidence(const packet_rule& rule, double requested_percent, const Lately& lately) {
  Evidence evidence;
  const auto count = [](uint64_t value) { return static_cast<int64_t>(value); };
  evidence.set_packets_to_dependency(count(rule.seen[PACKETS_EGRESS]));
  evidence.set_packets_to_service(count(rule.seen[PACKETS_INGRESS]));
  evidence.set_hit_to_dependency(count(rule.hit[PACKETS_EGRESS]));
  evidence.set_hit_to_service(count(rule.hit[PACKETS_INGRESS]));
  evidence.set_refused(count(rule.refused));
  if (requested_percent == 100) return evidence;
  evidence.set_requested_percent(requested_percent);
  evidence.set_achieved_percent(lately.Percent(SeenOf(rule), HitOf(rule)));
  return evidence;
}

class BpfPackets : public Packets {
 public:
  explicit BpfPackets(BpfPrograms<packets> programs) : skeleton_(std::move(programs)) {}
  ~BpfPackets() override { Detach(); }

  // Sockets are marked before a packet of theirs is looked at.
  absl::Status AttachAll(int cgroup_fd) {
    const auto& programs = skeleton_->progs;
    return links_.Attach(cgroup_fd, {programs.sock_create, programs.note_begin, programs.connect4, programs.connect6,
                                     programs.egress, programs.ingress});
  }

  absl::Status SetProcesses(const std::vector<ProcessId>& processes) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::OkStatus();
    std::set<pid_t> pids;
    for (const ProcessId& process : processes) pids.insert(process.pid);
    // What they make from here on is marked when it is made; then what they made before.
    const absl::Status status = processes_.Set(skeleton_->maps.processes, pids);
    std::set<uint64_t> inodes;
    for (const ProcessId& process : processes) MarkSocketsOf(process, inodes);
    marked_ = std::move(inodes);
    looked_ = true;
    return status;
  }

  absl::Status SetEdge(const std::string& name, const Edge& edge) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::FailedPreconditionError("the hooks on packets are gone");
    std::set<packet_remote, Less> remotes;
    for (const Address& address : edge.remotes) remotes.insert(ToRemote(address, edge.udp));
    for (const auto& [other, known] : edges_) {
      for (const packet_remote& remote : known.remotes) {
        if (other != name && remotes.count(remote) > 0) {
          return absl::InvalidArgumentError(absl::StrCat("an address of edge ", name, " belongs to edge ", other, " too"));
        }
      }
    }
    if (edges_.count(name) == 0 && edges_.size() + 1 >= PACKETS_EDGES) {
      return absl::ResourceExhaustedError(absl::StrCat("more than ", PACKETS_EDGES - 1, " edges of one service"));
    }
    KnownEdge& known = edges_.try_emplace(name, KnownEdge{static_cast<uint32_t>(edges_.size() + 1), {}}).first->second;
    const int map = bpf_map__fd(skeleton_->maps.numbers);
    for (const packet_remote& remote : remotes) {
      if (bpf_map_update_elem(map, &remote, &known.number, BPF_ANY) != 0) {
        return absl::ErrnoToStatus(errno, "cannot write a BPF map");
      }
    }
    for (const packet_remote& remote : known.remotes) {
      if (remotes.count(remote) == 0) bpf_map_delete_elem(map, &remote);
    }
    known.remotes = std::move(remotes);
    return absl::OkStatus();
  }

  absl::StatusOr<int> Add(const PacketRule& rule) override {
    absl::MutexLock lock(&mutex_);
    if (skeleton_ == nullptr) return absl::FailedPreconditionError("the hooks on packets are gone");
    uint32_t number = 0;
    if (!rule.edge.empty()) {
      const auto found = edges_.find(rule.edge);
      if (found == edges_.end()) return absl::NotFoundError(absl::StrCat("no packets of edge ", rule.edge, " are looked at"));
      number = found->second.number;
    }
    const uint32_t slot = FreeSlot();
    std::vector<uint32_t> slots = SlotsOf(number);
    if (slot >= PACKETS_RULES || slots.size() >= PACKETS_ON_AN_EDGE) {
      return absl::ResourceExhaustedError(absl::StrCat("more than ", PACKETS_ON_AN_EDGE, " faults on the packets of one edge"));
    }
    const packet_rule entry = ToBpf(rule);
    skeleton_->bss->shares[slot] = Share(rule.percent);
    if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.rules), &slot, &entry, BPF_ANY) != 0) {
      return absl::ErrnoToStatus(errno, "cannot write a BPF map");
    }
    slots.push_back(slot);
    const absl::Status status = WriteSlots(number, slots);
    if (!status.ok()) return status;
    const int id = next_++;
    added_[id] = {slot, number, rule.percent, true, Lately(kLeastPackets), {}};
    skeleton_->bss->rules_on = Active();
    return id;
  }

  absl::Status SetPercent(int rule, double percent) override {
    absl::MutexLock lock(&mutex_);
    const auto found = added_.find(rule);
    if (found == added_.end() || !found->second.active || skeleton_ == nullptr) {
      return absl::NotFoundError("no such rule drops packets");
    }
    Added& added = found->second;
    packet_rule now = {};
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.rules), &added.slot, &now) != 0) {
      return absl::ErrnoToStatus(errno, "cannot read a BPF map");
    }
    added.lately.Changed(SeenOf(now), HitOf(now));
    added.percent = percent;
    skeleton_->bss->shares[added.slot] = Share(percent);
    return absl::OkStatus();
  }

  absl::Status Remove(int rule) override {
    absl::MutexLock lock(&mutex_);
    const auto found = added_.find(rule);
    if (found == added_.end() || !found->second.active) return absl::OkStatus();
    Added& added = found->second;
    if (skeleton_ != nullptr) {
      std::vector<uint32_t> slots = SlotsOf(added.number);
      slots.erase(std::remove(slots.begin(), slots.end(), added.slot), slots.end());
      const absl::Status status = WriteSlots(added.number, slots);
      if (!status.ok()) return status;
      added.seen = Read(added);
    }
    added.active = false;
    if (skeleton_ != nullptr) skeleton_->bss->rules_on = Active();
    return absl::OkStatus();
  }

  Evidence Seen(int rule) override {
    absl::MutexLock lock(&mutex_);
    const auto found = added_.find(rule);
    if (found == added_.end()) return {};
    return found->second.active && skeleton_ != nullptr ? Read(found->second) : found->second.seen;
  }

  void Detach() override {
    absl::MutexLock lock(&mutex_);
    links_.Detach();
    if (skeleton_ == nullptr) return;
    for (auto& [id, added] : added_) {
      if (added.active) added.seen = Read(added);
    }
    skeleton_.reset();
  }

 private:
  struct KnownEdge {
    uint32_t number = 0;
    std::set<packet_remote, Less> remotes;
  };
  struct Added {
    uint32_t slot = 0;
    uint32_t number = 0;  // of the edge
    double percent = 0;
    bool active = false;
    Lately lately{kLeastPackets};
    Evidence seen;  // when it is no longer active
  };

  void MarkSocketsOf(const ProcessId& process, std::set<uint64_t>& inodes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Fd pidfd;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(absl::StrCat("/proc/", process.pid, "/fd"), error)) {
      const std::string link = fs::read_symlink(entry.path(), error).string();
      absl::string_view text = link;
      uint64_t inode = 0;
      int number = 0;
      if (!absl::ConsumePrefix(&text, "socket:[") || !absl::ConsumeSuffix(&text, "]") || !absl::SimpleAtoi(text, &inode) ||
          !absl::SimpleAtoi(entry.path().filename().string(), &number)) {
        continue;
      }
      if (inodes.count(inode) > 0) continue;
      if (marked_.count(inode) == 0) {
        if (!pidfd) pidfd = Fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
        if (!pidfd) return;
        const Fd socket(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), number, 0)));
        // The descriptor may be another by now: its inode says which socket this is.
        struct stat file;
        if (!socket || fstat(socket.get(), &file) != 0 || !S_ISSOCK(file.st_mode)) continue;
        inode = file.st_ino;
        const int key = socket.get();
        // What is there when squall comes is established; what turns up later began since the last look.
        const uint64_t began_ns = looked_ ? static_cast<uint64_t>(BootNanos()) : 0;
        // One that the programs have marked already keeps the time of its beginning.
        if (bpf_map_update_elem(bpf_map__fd(skeleton_->maps.marks), &key, &began_ns, BPF_NOEXIST) != 0 && errno != EEXIST) {
          continue;
        }
      }
      inodes.insert(inode);
    }
  }

  uint32_t FreeSlot() const {
    uint32_t slot = 0;
    const auto taken = [&](const auto& entry) { return entry.second.active && entry.second.slot == slot; };
    while (slot < PACKETS_RULES && std::any_of(added_.begin(), added_.end(), taken)) ++slot;
    return slot;
  }

  uint32_t Active() const {
    return static_cast<uint32_t>(std::count_if(added_.begin(), added_.end(), [](const auto& entry) { return entry.second.active; }));
  }

  std::vector<uint32_t> SlotsOf(uint32_t number) const {
    std::vector<uint32_t> slots;
    for (const auto& [id, added] : added_) {
      if (added.active && added.number == number) slots.push_back(added.slot);
    }
    return slots;
  }

  // And looks whether the kernel has what was written.
  absl::Status WriteSlots(uint32_t number, const std::vector<uint32_t>& slots) {
    packet_edge edge = {}, read = {};
    for (size_t i = 0; i < slots.size(); ++i) edge.rules[i] = slots[i] + 1;
    const int map = bpf_map__fd(skeleton_->maps.edges);
    if (bpf_map_update_elem(map, &number, &edge, BPF_ANY) != 0 || bpf_map_lookup_elem(map, &number, &read) != 0) {
      return absl::ErrnoToStatus(errno, "cannot write a BPF map");
    }
    return memcmp(&edge, &read, sizeof(edge)) == 0 ? absl::OkStatus() : absl::InternalError("the BPF map holds something else");
  }

  Evidence Read(const Added& added) const {
    packet_rule rule = {};
    if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.rules), &added.slot, &rule) != 0) return {};
    return ToEvidence(rule, added.percent, added.lately);
  }

  absl::Mutex mutex_;
  BpfPrograms<packets> skeleton_;
  BpfLinks links_;
  BpfProcesses processes_;
  std::set<uint64_t> marked_;  // inodes of sockets
  bool looked_ = false;        // for them
  std::map<std::string, KnownEdge> edges_;
  std::map<int, Added> added_;  // by number, and so in the order in which they came
  int next_ = 1;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Packets>> Packets::Attach(const std::string& cgroup_path, bool by_process) {
  const absl::StatusOr<Fd> cgroup = OpenCgroup(cgroup_path);
  if (!cgroup.ok()) return cgroup.status();
  absl::StatusOr<BpfPrograms<packets>> programs =
      LoadBpf<packets>([&](packets& opened) { opened.rodata->by_process = by_process ? 1 : 0; });
  if (!programs.ok()) return programs.status();
  auto packets = std::make_unique<BpfPackets>(*std::move(programs));
  const absl::Status status = packets->AttachAll(cgroup->get());
  if (!status.ok()) return status;
  return packets;
}

}  // namespace squall
