#include "agent/net/packet.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <cstring>

extern "C" {  // which the header leaves to us
#include <libnetfilter_queue/libnetfilter_queue_udp.h>
}

namespace squall {
namespace {

template <typename Header>
std::optional<Header> At(absl::string_view bytes, size_t offset) {
  Header header;
  if (bytes.size() < offset + sizeof(header)) return std::nullopt;
  memcpy(&header, bytes.data() + offset, sizeof(header));
  return header;
}

bool ParseIpv4(absl::string_view bytes, Packet& packet) {
  const auto ip = At<iphdr>(bytes, 0);
  if (!ip || ip->ihl < 5 || (ntohs(ip->frag_off) & (IP_MF | IP_OFFMASK)) != 0) return false;
  packet.size = ntohs(ip->tot_len);
  packet.transport = ip->ihl * 4u;
  packet.protocol = ip->protocol;
  for (Address* each : {&packet.source, &packet.destination}) each->ip.s6_addr[10] = each->ip.s6_addr[11] = 0xff;
  memcpy(packet.source.ip.s6_addr + 12, &ip->saddr, 4);
  memcpy(packet.destination.ip.s6_addr + 12, &ip->daddr, 4);
  return true;
}

bool ParseIpv6(absl::string_view bytes, Packet& packet) {
  const auto ip = At<ip6_hdr>(bytes, 0);
  if (!ip) return false;
  packet.size = sizeof(ip6_hdr) + ntohs(ip->ip6_plen);
  packet.source.ip = ip->ip6_src;
  packet.destination.ip = ip->ip6_dst;
  packet.transport = sizeof(ip6_hdr);
  packet.protocol = ip->ip6_nxt;
  // Extension headers that a whole packet may have: each says its length in 8 bytes beyond the first 8.
  while (packet.protocol == IPPROTO_HOPOPTS || packet.protocol == IPPROTO_ROUTING || packet.protocol == IPPROTO_DSTOPTS) {
    const auto extension = At<ip6_ext>(bytes, packet.transport);
    if (!extension) return false;
    packet.protocol = extension->ip6e_nxt;
    packet.transport += (extension->ip6e_len + 1u) * 8u;
  }
  return true;
}

// The checksum after one 16-bit word of what it covers has changed (RFC 1624, equation 3).
uint16_t Carry(uint16_t checksum, uint16_t before, uint16_t after) {
  uint32_t sum = static_cast<uint16_t>(~checksum) + static_cast<uint32_t>(static_cast<uint16_t>(~before)) + after;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

// The 16-bit word at an even distance from the start of the transport header in which `offset` lies; as it stands in memory.
uint16_t WordAround(const std::string& bytes, const Packet& packet, size_t offset) {
  const size_t start = offset - (offset - packet.transport) % 2;
  char word[2] = {bytes[start], start + 1 < packet.size ? bytes[start + 1] : '\0'};
  uint16_t value;
  memcpy(&value, word, sizeof(value));
  return value;
}

}  // namespace

std::optional<Packet> ParsePacket(absl::string_view bytes) {
  if (bytes.empty()) return std::nullopt;
  Packet packet;
  const int version = static_cast<unsigned char>(bytes[0]) >> 4;
  if (!(version == 4 ? ParseIpv4(bytes, packet) : version == 6 && ParseIpv6(bytes, packet))) return std::nullopt;
  bytes = bytes.substr(0, packet.size);
  if (packet.protocol == IPPROTO_TCP) {
    const auto tcp = At<tcphdr>(bytes, packet.transport);
    if (!tcp || tcp->doff < 5) return std::nullopt;
    packet.source.port = ntohs(tcp->source);
    packet.destination.port = ntohs(tcp->dest);
    packet.payload = packet.transport + tcp->doff * 4u;
    packet.opens = tcp->syn && !tcp->ack;
  } else if (packet.protocol == IPPROTO_UDP) {
    const auto udp = At<udphdr>(bytes, packet.transport);
    if (!udp) return std::nullopt;
    packet.source.port = ntohs(udp->source);
    packet.destination.port = ntohs(udp->dest);
    packet.payload = packet.transport + sizeof(udphdr);
  } else {
    return std::nullopt;
  }
  if (packet.payload > packet.size) return std::nullopt;
  return packet;
}

void FlipBit(std::string& bytes, const Packet& packet, size_t bit, bool right_checksum) {
  const bool udp = packet.protocol == IPPROTO_UDP;
  const size_t at = packet.transport + (udp ? offsetof(udphdr, check) : offsetof(tcphdr, check));
  uint16_t checksum;
  memcpy(&checksum, &bytes[at], sizeof(checksum));
  const bool without = udp && checksum == 0;
  if (without && !right_checksum) {
    auto* header = reinterpret_cast<udphdr*>(&bytes[packet.transport]);
    if (bytes[0] >> 4 == 4) {
      nfq_udp_compute_checksum_ipv4(header, reinterpret_cast<iphdr*>(bytes.data()));
    } else {
      nfq_udp_compute_checksum_ipv6(header, reinterpret_cast<ip6_hdr*>(bytes.data()));
    }
  }
  const size_t byte = packet.payload + bit / 8;
  const uint16_t before = WordAround(bytes, packet, byte);
  bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << (bit % 8)));
  if (!right_checksum || without) return;
  checksum = Carry(checksum, before, WordAround(bytes, packet, byte));
  if (udp && checksum == 0) checksum = 0xffff;  // 0 says that there is none
  memcpy(&bytes[at], &checksum, sizeof(checksum));
}

}  // namespace squall
