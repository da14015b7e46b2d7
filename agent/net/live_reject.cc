#include "agent/net/live_reject.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "agent/net/raw_sender.h"

extern "C" {  // which the header leaves to us
#include <libnetfilter_queue/libnetfilter_queue_tcp.h>
}

namespace squall {
namespace {

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
  std::vector<NftRule> wanted;
  for (const LiveSocket& each : connections) {
    if (each.protocol != IPPROTO_TCP || each.remote.port == 0) continue;
    NftRule rule;
    rule.protocol = IPPROTO_TCP;
    rule.remote = each.remote;
    rule.local = each.local;
    rule.verdict = NftRule::Verdict::kReset;
    wanted.push_back(std::move(rule));
  }
  const absl::StatusOr<RawSender> sender = RawSender::Open(ns);
  if (!sender.ok()) return sender.status();
  absl::StatusOr<std::unique_ptr<NftTable>> table = NftTable::Make(ns, /*queue=*/0);
  if (!table.ok()) return table.status();
  const absl::Status status = (*table)->SetRules(wanted);
  if (!status.ok()) return status;
  for (const LiveSocket& each : connections) {
    if (each.protocol != IPPROTO_TCP || each.remote.port == 0) continue;
    for (const uint32_t sequence : {0u, 1u << 31}) sender->Send(Segment(each, sequence), each.local, each.interface);
  }
  return std::unique_ptr<LiveReject>(new LiveReject(*std::move(table)));
}

int64_t LiveReject::Cut() {
  absl::MutexLock lock(&mutex_);
  const absl::StatusOr<std::vector<int64_t>> matched = table_->Matched();
  if (matched.ok()) cut_ = std::count_if(matched->begin(), matched->end(), [](int64_t packets) { return packets > 0; });
  return cut_;
}

absl::Status LiveReject::Stop() {
  Cut();
  return table_->Remove();
}

}  // namespace squall
