// Redirects the DNS queries of one cgroup (or of chosen processes in it) to a resolver in the same network namespace.
//
// The resolver has several doors: for each name server that is asked there is one, so that the door says which server was
// meant, for datagrams and connections alike, without anything to be looked up by source.
//
// connect4/6: TCP and connected UDP. sendmsg4/6: unconnected UDP, IPv4 over an IPv6 socket included.
// recvmsg4/6: answers come from the server that was asked. getpeername4/6: and so the target is told.

#include "address.bpf.h"

#define PROTO_TCP 6
#define PROTO_UDP 17
#define LOOPBACK_DEVICE 1
#define DOORS 16

struct door {
  __u16 port;  // network order; on 127.0.0.1 or ::1
  __u8 tcp;
  __u8 v6;
};

const volatile __u32 nameserver_ip[4] = {};  // as in struct address
const volatile __u16 nameserver_port = 0;    // network order; 0: whatever is asked on port 53
volatile __u64 left_alone = 0;               // asked of more servers than there are doors

// Ports of doors, in network order, by ((tcp * 2) + v6) * DOORS + number; 0: no such door.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, DOORS * 4);
  __type(key, __u32);
  __type(value, __u32);
} ports SEC(".maps");

// The number of a server, by its address.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, DOORS);
  __type(key, struct address);
  __type(value, __u32);
} numbers SEC(".maps");

// And the other way round: a number belongs to the server that entered first.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, DOORS);
  __type(key, __u32);
  __type(value, struct address);
} servers SEC(".maps");

// The number of a door, by its port.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, DOORS * 4);
  __type(key, struct door);
  __type(value, __u32);
} doors SEC(".maps");

static __always_inline int is_meant(const struct address* to) {
  if (!nameserver_port) return to->port == bpf_htons(53);
  return to->port == nameserver_port && to->ip[0] == nameserver_ip[0] && to->ip[1] == nameserver_ip[1] &&
         to->ip[2] == nameserver_ip[2] && to->ip[3] == nameserver_ip[3];
}

// DOORS: none is left.
static __always_inline __u32 number_of(const struct address* to) {
  __u32* known = bpf_map_lookup_elem(&numbers, to);
  if (known) return *known;
  for (__u32 number = 0; number < DOORS; ++number) {
    __u32 key = number;
    if (bpf_map_update_elem(&servers, &key, to, BPF_NOEXIST)) continue;
    // Two that ask the same new server at once may enter it twice: the second entry is never used.
    bpf_map_update_elem(&numbers, to, &key, BPF_NOEXIST);
    known = bpf_map_lookup_elem(&numbers, to);
    return known ? *known : DOORS;
  }
  __sync_fetch_and_add(&left_alone, 1);
  return DOORS;
}

// The port to go to instead of `to`; 0: it is left alone.
static __always_inline __u16 door_for(struct bpf_sock_addr* ctx, const struct address* to, int v6) {
  if (ctx->protocol != PROTO_UDP && ctx->protocol != PROTO_TCP) return 0;
  if (!is_meant(to)) return 0;
  if (netns_cookie == 0 || bpf_get_netns_cookie(ctx) != netns_cookie) return 0;
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  if (by_process && !bpf_map_lookup_elem(&processes, &process)) return 0;
  // A socket that may only use one device would not get to the loopback.
  struct bpf_sock* sk = ctx->sk;
  if (sk && sk->bound_dev_if && sk->bound_dev_if != LOOPBACK_DEVICE) return 0;
  __u32 number = number_of(to);
  if (number >= DOORS) return 0;
  __u32 index = ((ctx->protocol == PROTO_TCP ? 2 : 0) + (v6 ? 1 : 0)) * DOORS + number;
  __u32* port = bpf_map_lookup_elem(&ports, &index);
  return port ? *port : 0;
}

// The server behind the door at `from`, if it is one.
static __always_inline struct address* behind(struct bpf_sock_addr* ctx, int v6) {
  struct door door = {};
  door.port = ctx->user_port;
  door.tcp = ctx->protocol == PROTO_TCP;
  door.v6 = v6;
  __u32* number = bpf_map_lookup_elem(&doors, &door);
  if (!number || netns_cookie == 0 || bpf_get_netns_cookie(ctx) != netns_cookie) return 0;
  return bpf_map_lookup_elem(&servers, number);
}

static __always_inline int go4(struct bpf_sock_addr* ctx) {
  struct address to = user_address4(ctx);
  __u16 port = door_for(ctx, &to, 0);
  if (port) {
    ctx->user_ip4 = bpf_htonl(0x7f000001);
    ctx->user_port = port;
  }
  return 1;
}

static __always_inline int go6(struct bpf_sock_addr* ctx) {
  struct address to = user_address6(ctx);
  // The scope of a link-local address is not to be seen here, and without it the server cannot be asked.
  if ((to.ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000)) return 1;
  int mapped = is_mapped(&to);
  __u16 port = door_for(ctx, &to, !mapped);
  if (!port) return 1;
  ctx->user_port = port;
  if (mapped) {
    ctx->user_ip6[3] = bpf_htonl(0x7f000001);
  } else {
    ctx->user_ip6[0] = 0;
    ctx->user_ip6[1] = 0;
    ctx->user_ip6[2] = 0;
    ctx->user_ip6[3] = bpf_htonl(1);
  }
  return 1;
}

static __always_inline int back4(struct bpf_sock_addr* ctx) {
  if (ctx->user_ip4 != bpf_htonl(0x7f000001)) return 1;
  struct address* server = behind(ctx, 0);
  if (server) {
    ctx->user_ip4 = server->ip[3];
    ctx->user_port = server->port;
  }
  return 1;
}

static __always_inline int back6(struct bpf_sock_addr* ctx) {
  __u32 a = ctx->user_ip6[0], b = ctx->user_ip6[1], c = ctx->user_ip6[2], d = ctx->user_ip6[3];
  int mapped = !a && !b && c == bpf_htonl(0xffff) && d == bpf_htonl(0x7f000001);
  if (!mapped && (a || b || c || d != bpf_htonl(1))) return 1;
  struct address* server = behind(ctx, !mapped);
  if (server) {
    ctx->user_ip6[0] = server->ip[0];
    ctx->user_ip6[1] = server->ip[1];
    ctx->user_ip6[2] = server->ip[2];
    ctx->user_ip6[3] = server->ip[3];
    ctx->user_port = server->port;
  }
  return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) { return go4(ctx); }
SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) { return go6(ctx); }
SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr* ctx) { return go4(ctx); }
SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr* ctx) { return go6(ctx); }
SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr* ctx) { return back4(ctx); }
SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr* ctx) { return back6(ctx); }
SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr* ctx) { return back4(ctx); }
SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr* ctx) { return back6(ctx); }

char _license[] SEC("license") = "Apache-2.0";
