// What packets.bpf.c and those who load it share: the layout of the maps, and which packets are hit.
#pragma once

#include <linux/types.h>

#define PACKETS_EDGES 64      // that one service can have; number 0 stands for everybody
#define PACKETS_RULES 64      // at one time; a power of two
#define PACKETS_ON_AN_EDGE 8  // rules, at one time
#define PACKETS_EGRESS 0      // from the service
#define PACKETS_INGRESS 1

// The far end of a packet. The zero address stands for any.
struct packet_remote {
  __u32 ip[4];     // network order; IPv4 as ::ffff:a.b.c.d
  __u16 port;      // network order
  __u16 protocol;  // IPPROTO_TCP or IPPROTO_UDP
};

enum packet_connections { PACKETS_ALL, PACKETS_NEW, PACKETS_ESTABLISHED };

struct packet_rule {
  __u64 seed;
  __u64 since_ns;      // CLOCK_BOOTTIME; what began before it is established
  __u64 correlation;   // with this probability, in 2^-32, a packet's fate is that of the one before
  __u32 connections;   // enum packet_connections
  __u8 direction[2];   // whether it acts on what leaves, and on what comes in
  __u8 refuse;         // connects are refused
  __u8 reset;          // connections are reset by somebody else: RSTs come in
  // Counted by the program.
  __u64 seen[2];
  __u64 hit[2];
  __u64 refused;
};

// Slot + 1 of each rule that acts on an edge, in the order in which they are asked. 0: none.
struct packet_edge {
  __u32 rules[PACKETS_ON_AN_EDGE];
};

// splitmix64 (Vigna, public domain) as a function of the position: 32 of its bits.
static inline __attribute__((always_inline)) __u64 packet_draw(__u64 seed, __u64 number) {
  __u64 z = seed + (number + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (z ^ (z >> 31)) >> 32;
}

// Whether packet `number`, counted from 0, is hit: a function of its arguments alone, so that a seed gives the same schedule
// however packets are spread over processors. With a correlation the fate is that of the last packet that had one of its own;
// whoever had none for 512 packets (99 %: one run in 170) gets one.
static inline __attribute__((always_inline)) int packet_is_hit(__u64 seed, __u64 share, __u64 correlation, __u64 number) {
  for (int back = 0; back < 512 && number > 0; ++back, --number) {
    if (packet_draw(~seed, number) >= correlation) break;
  }
  return packet_draw(seed, number) < share;
}
