#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/net/address.h"

// What squall reads of IP packets, and how it damages them. Pure functions.
namespace squall {

struct Packet {
  int protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP
  Address source;
  Address destination;
  size_t transport = 0;  // where the TCP or UDP header begins
  size_t payload = 0;    // and what it carries
  size_t size = 0;       // of the packet, as its header says
  bool opens = false;    // TCP: SYN without ACK
};

// An IPv4 or IPv6 packet with a TCP or UDP header. Nothing for others, for fragments and where a header is cut short. `bytes` may
// end before the packet does.
std::optional<Packet> ParsePacket(absl::string_view bytes);

// Turns one bit of the payload over: number `bit` counted from its start. With `right_checksum` the checksum is carried along:
// it fits afterwards if it did before. Without, the receiver's kernel notices: a UDP datagram that had no checksum
// gets that of its old payload.
// REQUIRES: `packet` is what ParsePacket says of `bytes`, which is all of it, and bit < 8 * (packet.size - packet.payload).
void FlipBit(std::string& bytes, const Packet& packet, size_t bit, bool right_checksum);

}  // namespace squall
