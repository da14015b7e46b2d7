#include "agent/net/live_reject.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "absl/time/clock.h"
#include "agent/net/raw_sender.h"

extern "C" {  // which the header leaves to us
#include <libnetfilter_queue/libnetfilter_queue_tcp.h>
}

namespace squall {
namespace {

// In one table: what fits into one transaction with some room.
constexpr size_t kMostRules = 1000;
constexpr absl::Duration kLongest = absl::Seconds(1);
constexpr absl::Duration kLookEvery = absl::Milliseconds(50);

// An acknowledgement without payload, as if the remote had sent it.
std::string Segment(const LiveSocket& of, uint32_t sequence) {
  tcphdr tcp = {};
  tcp.source = htons(of.remote.port);
  tcp.dest = htons(of.local.port);
  tcp.seq = htonl(sequence);
  tcp.doff = sizeof(tcp) / 4;
  tcp.ack = 1;
  std::string packet;
  if (of.local.IsV4()) {
    iphdr ip = {};
    ip.version = 4;
    ip.ihl = sizeof(ip) / 4;
    ip.tot_len = htons(sizeof(ip) + sizeof(tcp));
    ip.ttl = 64;
    ip.protocol = IPPROTO_TCP;
    memcpy(&ip.saddr, of.remote.ip.s6_addr + 12, 4);
    memcpy(&ip.daddr, of.local.ip.s6_addr + 12, 4);
    packet.assign(reinterpret_cast<const char*>(&ip), sizeof(ip));
    packet.append(reinterpret_cast<const char*>(&tcp), sizeof(tcp));
    nfq_tcp_compute_checksum_ipv4(reinterpret_cast<tcphdr*>(&packet[sizeof(ip)]), reinterpret_cast<iphdr*>(&packet[0]));
  } else {
    ip6_hdr ip = {};
    ip.ip6_flow = htonl(6u << 28);
    ip.ip6_plen = htons(sizeof(tcp));
    ip.ip6_nxt = IPPROTO_TCP;
    ip.ip6_hlim = 64;
    ip.ip6_src = of.remote.ip;
    ip.ip6_dst = of.local.ip;
    packet.assign(reinterpret_cast<const char*>(&ip), sizeof(ip));
    packet.append(reinterpret_cast<const char*>(&tcp), sizeof(tcp));
    nfq_tcp_compute_checksum_ipv6(reinterpret_cast<tcphdr*>(&packet[sizeof(ip)]), reinterpret_cast<ip6_hdr*>(&packet[0]));
  }
  return packet;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LiveReject>> LiveReject::Start(const NetNamespace& ns,
                                                              const std::vector<LiveSocket>& connections) {
  std::vector<LiveSocket> wanted;
  for (const LiveSocket& each : connections) {
    if (each.protocol == IPPROTO_TCP && each.remote.port != 0) wanted.push_back(each);
  }
  const absl::StatusOr<RawSender> sender = RawSender::Open(ns);
  if (!sender.ok()) return sender.status();
  std::unique_ptr<LiveReject> reject(new LiveReject());
  absl::MutexLock lock(&reject->mutex_);
  for (size_t at = 0; at < wanted.size(); at += kMostRules) {
    std::vector<NftRule> rules;
    for (size_t i = at; i < std::min(wanted.size(), at + kMostRules); ++i) {
      NftRule rule;
      rule.protocol = IPPROTO_TCP;
      rule.remote = wanted[i].remote;
      rule.local = wanted[i].local;
      rule.verdict = NftRule::Verdict::kReset;
      rules.push_back(std::move(rule));
    }
    absl::StatusOr<std::unique_ptr<NftTable>> table = NftTable::Make(ns, /*queue=*/0);
    if (!table.ok()) return table.status();
    const absl::Status status = (*table)->SetRules(rules);
    if (!status.ok()) return status;
    reject->batches_.push_back({*std::move(table), rules.size()});
  }
  for (const LiveSocket& each : wanted) {
    for (const uint32_t sequence : {0u, 1u << 31}) sender->Send(Segment(each, sequence), each.local, each.interface);
  }
  reject->thread_ = std::thread([reject = reject.get()] { reject->Watch(); });
  return reject;
}

std::string LiveReject::WhyNot() {
  std::string why_not;
  // A thread of its own, in a network namespace of its own: nothing of the host's is touched, and all of it ends with it.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) {
      why_not = "resetting connections needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN)";
      return;
    }
    const auto probe = [&]() -> absl::Status {
      const absl::StatusOr<NetNamespace> ns = NetNamespace::Own();
      if (!ns.ok()) return ns.status();
      LiveSocket nobody;
      nobody.protocol = IPPROTO_TCP;
      nobody.local = nobody.remote = ParseAddress("127.0.0.1:1").value();
      const absl::StatusOr<std::unique_ptr<LiveReject>> reject = Start(*ns, {nobody});
      return reject.ok() ? (*reject)->Stop() : reject.status();
    };
    const absl::Status status = probe();
    if (!status.ok()) why_not = std::string(status.message());
  }).join();
  return why_not;
}

void LiveReject::Watch() {
  const absl::Time until = absl::Now() + kLongest;
  absl::Duration wait = absl::Milliseconds(2);
  for (bool left = true; left && !over_.WaitForNotificationWithTimeout(wait); wait = std::min(2 * wait, kLookEvery)) {
    absl::MutexLock lock(&mutex_);
    left = false;
    for (Batch& batch : batches_) {
      Count(batch);
      if (batch.cut == batch.rules || absl::Now() >= until) Remove(batch).IgnoreError();  // Stop tries again
      left |= batch.table != nullptr;
    }
  }
}

void LiveReject::Count(Batch& batch) {
  if (batch.table == nullptr) return;
  const absl::StatusOr<std::vector<int64_t>> matched = batch.table->Matched();
  if (!matched.ok()) return;
  batch.cut = static_cast<size_t>(std::count_if(matched->begin(), matched->end(), [](int64_t packets) { return packets > 0; }));
}

absl::Status LiveReject::Remove(Batch& batch) {
  if (batch.table == nullptr) return absl::OkStatus();
  const absl::Status status = batch.table->Remove();
  if (status.ok()) batch.table.reset();
  return status;
}

int64_t LiveReject::Cut() {
  absl::MutexLock lock(&mutex_);
  int64_t cut = 0;
  for (Batch& batch : batches_) {
    Count(batch);
    cut += static_cast<int64_t>(batch.cut);
  }
  return cut;
}

absl::Status LiveReject::Stop() {
  absl::MutexLock stopping(&stopping_);
  if (!over_.HasBeenNotified()) over_.Notify();
  if (thread_.joinable()) thread_.join();
  absl::MutexLock lock(&mutex_);
  absl::Status status;
  for (Batch& batch : batches_) {
    Count(batch);
    status.Update(Remove(batch));
  }
  return status;
}

}  // namespace squall
