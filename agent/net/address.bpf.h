// What the BPF programs share: addresses as agent/net/bpf.h has them, and the processes that they are about.
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct address {
  __u32 ip[4];  // network order; IPv4 as ::ffff:a.b.c.d
  __u16 port;   // network order
  __u16 zero;
};

const volatile __u8 by_process = 0;  // 1: only what belongs to `processes`
volatile __u64 netns_cookie = 0;     // whose processes are redirected; 0: none yet

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, __u32);
  __type(value, __u8);
} processes SEC(".maps");

// Where a connect or a datagram of an IPv4 socket goes. 0.0.0.0 means this host.
static __always_inline struct address user_address4(const struct bpf_sock_addr* ctx) {
  struct address to = {};
  to.ip[2] = bpf_htonl(0xffff);
  to.ip[3] = ctx->user_ip4;
  if (to.ip[3] == 0) to.ip[3] = bpf_htonl(0x7f000001);
  to.port = ctx->user_port;
  return to;
}

// And of an IPv6 socket. :: means this host.
static __always_inline struct address user_address6(const struct bpf_sock_addr* ctx) {
  struct address to = {};
  to.ip[0] = ctx->user_ip6[0];
  to.ip[1] = ctx->user_ip6[1];
  to.ip[2] = ctx->user_ip6[2];
  to.ip[3] = ctx->user_ip6[3];
  if (!to.ip[0] && !to.ip[1] && !to.ip[2] && !to.ip[3]) to.ip[3] = bpf_htonl(1);
  to.port = ctx->user_port;
  return to;
}

static __always_inline int is_mapped(const struct address* address) {
  return !address->ip[0] && !address->ip[1] && address->ip[2] == bpf_htonl(0xffff);
}
