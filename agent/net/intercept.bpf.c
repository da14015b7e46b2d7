// Redirects the connects of one cgroup (or of chosen processes in it) that go to an edge's address to a relay in the same
// network namespace, and remembers where each one wanted to go.
//
// connect4/6: rewrites the destination and keeps the original by socket cookie; when the dependency does not accept, gives
//   ECONNREFUSED as the dependency would, and so when a fault says so. Counts every attempt.
// sockops: once the source port is known, before the SYN, files the original under the source address, where the relay
//   looks it up.
// getpeername4/6: tells the target the address that it asked for.
// sock_create: for a service that squall did not start: marks the sockets that its processes make from now on.

#include "address.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define ECONNREFUSED 111
#define E2BIG 7
#define LOOPBACK_DEVICE 1

struct relay {
  __u16 port4;    // network order; on 127.0.0.1
  __u16 port6;    // network order; on ::1
  __u8 refusing;  // the dependency does not accept
  __u8 zero[3];
};

struct original {
  struct address to;
  __u32 process;  // that connects
};

// An address of all zeros is any address with that port.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8192);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct address);
  __type(value, struct relay);
} edges SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, struct original);
} by_cookie SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct address);
  __type(value, struct original);
} by_source SEC(".maps");

// The sockets that are redirected with by_process: those that `processes` made.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, __u64);
  __type(value, __u8);
} marked SEC(".maps");

struct attempt {
  struct address to;
  __u32 process;
};

// Connects turned away because the dependency did not accept, by edge address and the process that tried.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct attempt);
  __type(value, __u64);
} refused SEC(".maps");

struct door_process {
  __u16 door;  // port4 of the relay
  __u16 zero;
  __u32 process;
};

// Connects that were meant for a relay, by its door and the process that tried.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct door_process);
  __type(value, __u64);
} attempts SEC(".maps");

struct refusal {
  __u64 count;  // of connects, since it was switched on
  __u8 on;
  __u8 zero[7];
};

// A fault turns connects away, by the door to which they would go.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 256);
  __type(key, __u16);
  __type(value, struct refusal);
} refusals SEC(".maps");

static __always_inline void count_attempt(__u16 door, __u32 process) {
  struct door_process attempt = {};
  attempt.door = door;
  attempt.process = process;
  __u64 none = 0;
  __u64* count = bpf_map_lookup_elem(&attempts, &attempt);
  if (!count) {
    // Full: as for `refused`.
    if (bpf_map_update_elem(&attempts, &attempt, &none, BPF_NOEXIST) == -E2BIG) attempt.process = 0;
    count = bpf_map_lookup_elem(&attempts, &attempt);
  }
  if (count) __sync_fetch_and_add(count, 1);
}

static __always_inline void count_refused(const struct address* to, __u32 process) {
  struct attempt attempt = {};
  attempt.to = *to;
  attempt.process = process;
  __u64 none = 0;
  __u64* count = bpf_map_lookup_elem(&refused, &attempt);
  if (!count) {
    // Full: counted for process 0, for which there has been room since the redirection was set up.
    if (bpf_map_update_elem(&refused, &attempt, &none, BPF_NOEXIST) == -E2BIG) attempt.process = 0;
    count = bpf_map_lookup_elem(&refused, &attempt);
  }
  if (count) __sync_fetch_and_add(count, 1);
}

// The edge to which `to` belongs: the address itself before any address with its port. *key is the entry that was found.
static __always_inline struct relay* find_edge(const struct address* to, struct address* key) {
  *key = *to;
  struct relay* relay = bpf_map_lookup_elem(&edges, key);
  if (relay) return relay;
  key->ip[0] = key->ip[1] = key->ip[2] = key->ip[3] = 0;
  return bpf_map_lookup_elem(&edges, key);
}

// What to do with a connect to `to`: 0 leave it, 1 redirect (*out is the relay), 2 refuse.
static __always_inline int decide(struct bpf_sock_addr* ctx, struct address* to, struct relay* out) {
  if (ctx->type != SOCK_STREAM) return 0;
  if (netns_cookie == 0 || bpf_get_netns_cookie(ctx) != netns_cookie) return 0;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  if (by_process && !bpf_map_lookup_elem(&marked, &cookie)) return 0;
  bpf_map_delete_elem(&by_cookie, &cookie);  // where it was connected before, if it was
  // A socket that may only use one device, or asks for an address of one link, would not get to the loopback.
  struct bpf_sock* sk = ctx->sk;
  if (sk && sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_DEVICE) return 0;
  if ((to->ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)) return 0;
  struct address key;
  struct relay* relay = find_edge(to, &key);
  if (!relay) return 0;
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  __u16 door = relay->port4;
  count_attempt(door, process);
  struct refusal* refusal = bpf_map_lookup_elem(&refusals, &door);
  if (refusal && refusal->on) {
    __sync_fetch_and_add(&refusal->count, 1);
    return 2;
  }
  if (relay->refusing) {
    count_refused(&key, process);
    return 2;
  }
  struct original original = {};
  original.to = *to;
  original.process = process;
  bpf_map_update_elem(&by_cookie, &cookie, &original, BPF_ANY);
  *out = *relay;
  return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) {
  struct address to = user_address4(ctx);
  struct relay relay = {};
  int what = decide(ctx, &to, &relay);
  if (what == 2) {
    bpf_set_retval(-ECONNREFUSED);
    return 0;
  }
  if (what == 1 && relay.port4) {
    ctx->user_ip4 = bpf_htonl(0x7f000001);
    ctx->user_port = relay.port4;
  }
  return 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) {
  struct address to = user_address6(ctx);
  int mapped = is_mapped(&to);
  struct relay relay = {};
  int what = decide(ctx, &to, &relay);
  if (what == 2) {
    bpf_set_retval(-ECONNREFUSED);
    return 0;
  }
  if (what == 1 && mapped && relay.port4) {
    ctx->user_ip6[3] = bpf_htonl(0x7f000001);
    ctx->user_port = relay.port4;
  } else if (what == 1 && !mapped && relay.port6) {
    ctx->user_ip6[0] = 0;
    ctx->user_ip6[1] = 0;
    ctx->user_ip6[2] = 0;
    ctx->user_ip6[3] = bpf_htonl(1);
    ctx->user_port = relay.port6;
  }
  return 1;
}

SEC("sockops")
int file_by_source(struct bpf_sock_ops* ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB) return 1;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct original* original = bpf_map_lookup_elem(&by_cookie, &cookie);
  if (!original) return 1;
  struct address source = {};
  // A v4-mapped socket has family AF_INET6 and speaks IPv4: the relay sees an IPv4 peer.
  __u32 s0 = ctx->local_ip6[0], s1 = ctx->local_ip6[1], s2 = ctx->local_ip6[2], s3 = ctx->local_ip6[3];
  if (ctx->family == AF_INET6 && !(s0 == 0 && s1 == 0 && s2 == bpf_htonl(0xffff))) {
    source.ip[0] = s0;
    source.ip[1] = s1;
    source.ip[2] = s2;
    source.ip[3] = s3;
  } else {
    source.ip[2] = bpf_htonl(0xffff);
    source.ip[3] = ctx->local_ip4;
  }
  source.port = bpf_htons((__u16)ctx->local_port);
  bpf_map_update_elem(&by_source, &source, original, BPF_ANY);
  return 1;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr* ctx) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct original* original = bpf_map_lookup_elem(&by_cookie, &cookie);
  if (original) {
    ctx->user_ip4 = original->to.ip[3];
    ctx->user_port = original->to.port;
  }
  return 1;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr* ctx) {
  __u64 cookie = bpf_get_socket_cookie(ctx);
  struct original* original = bpf_map_lookup_elem(&by_cookie, &cookie);
  if (original) {
    ctx->user_ip6[0] = original->to.ip[0];
    ctx->user_ip6[1] = original->to.ip[1];
    ctx->user_ip6[2] = original->to.ip[2];
    ctx->user_ip6[3] = original->to.ip[3];
    ctx->user_port = original->to.port;
  }
  return 1;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock* ctx) {
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  if (!bpf_map_lookup_elem(&processes, &process)) return 1;
  __u64 cookie = bpf_get_socket_cookie(ctx);
  __u8 one = 1;
  bpf_map_update_elem(&marked, &cookie, &one, BPF_ANY);
  return 1;
}

char _license[] SEC("license") = "Apache-2.0";
