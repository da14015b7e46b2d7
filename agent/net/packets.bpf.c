// Drops packets of one service, by rules on the far end of each packet.
//
// sock_create: marks the service's sockets when they are made; those that it has already are marked from outside, through their
//   descriptors. A mark is inherited by what is accepted from a marked listener. With by_process the programs are attached where
//   they see the packets of everybody, and only marked sockets are looked at; without, all in the cgroup are.
// egress, ingress: count the packets of an edge and drop what the rules say.
// sockops: notes when a connection begins, either way, so that new ones can be told from those that were there.
// connect4/6: refuse connects where a rule says so.

#include "address.bpf.h"
#include "packets.bpf.h"

#define AF_INET 2
#define AF_INET6 10
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define TCP_SYN_SENT 2
#define TCP_LISTEN 10
#define ECONNREFUSED 111
#define LOOPBACK 1  // the index of its interface, in every network namespace

volatile __u32 rules_on = 0;  // 0: every packet passes at once
// Of the packets of each rule, by slot: the share that is hit, in 2^-32. Changed while the rule counts.
volatile __u64 shares[PACKETS_RULES] = {};

struct mark {
  __u64 began_ns;  // when its connection began; 0: before anybody looked
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
  __type(key, int);
  __type(value, struct mark);
} marks SEC(".maps");

// The number of an edge, by the far end.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 4096);
  __type(key, struct packet_remote);
  __type(value, __u32);
} numbers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PACKETS_EDGES);
  __type(key, __u32);
  __type(value, struct packet_edge);
} edges SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, PACKETS_RULES);
  __type(key, __u32);
  __type(value, struct packet_rule);
} rules SEC(".maps");

struct flow {
  __u64 socket;  // its cookie
  struct packet_remote remote;
  __u32 zero;
};

// When the first datagram of a flow was seen.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 65536);
  __type(key, struct flow);
  __type(value, __u64);
} flows SEC(".maps");

struct ends {
  struct packet_remote local;
  struct packet_remote remote;
  int reset;  // TCP with RST
};

// 0: neither TCP nor UDP. First fragments only: a datagram is whole at both hooks.
static __always_inline int read_ends(struct __sk_buff* skb, int direction, struct ends* out) {
  __u32 from[4] = {}, to[4] = {};
  __u32 at = 0;
  __u8 protocol = 0;
  if (skb->protocol == bpf_htons(ETH_P_IP)) {
    __u8 length = 0;
    if (bpf_skb_load_bytes(skb, 0, &length, 1) || bpf_skb_load_bytes(skb, 9, &protocol, 1)) return 0;
    from[2] = to[2] = bpf_htonl(0xffff);
    if (bpf_skb_load_bytes(skb, 12, &from[3], 4) || bpf_skb_load_bytes(skb, 16, &to[3], 4)) return 0;
    at = (length & 15) * 4;
  } else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
    if (bpf_skb_load_bytes(skb, 6, &protocol, 1)) return 0;
    if (bpf_skb_load_bytes(skb, 8, from, 16) || bpf_skb_load_bytes(skb, 24, to, 16)) return 0;
    at = 40;
    // Hop-by-hop, routing and destination options.
    for (int i = 0; i < 4 && (protocol == 0 || protocol == 43 || protocol == 60); ++i) {
      __u8 header[2];
      if (bpf_skb_load_bytes(skb, at, header, 2)) return 0;
      protocol = header[0];
      at += (header[1] + 1) * 8;
    }
  } else {
    return 0;
  }
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP) return 0;
  __u16 ports[2];
  if (bpf_skb_load_bytes(skb, at, ports, 4)) return 0;
  __u8 flags = 0;
  if (protocol == IPPROTO_TCP && bpf_skb_load_bytes(skb, at + 13, &flags, 1)) return 0;
  out->reset = flags >> 2 & 1;
  struct packet_remote* source = direction == PACKETS_EGRESS ? &out->local : &out->remote;
  struct packet_remote* target = direction == PACKETS_EGRESS ? &out->remote : &out->local;
  __builtin_memcpy(source->ip, from, sizeof(from));
  __builtin_memcpy(target->ip, to, sizeof(to));
  source->port = ports[0];
  target->port = ports[1];
  source->protocol = target->protocol = protocol;
  return 1;
}

enum owner { SOMEBODY_ELSE, OWN, OWN_IF_LOCAL };

// Whether the socket that would get a packet for the far end, if that is of this host, is marked: the service talks to itself.
// One that is bound to no address would get them for any: whether the far end is of this host has to be known otherwise.
static __always_inline enum owner owner_of(void* ctx, const struct ends* ends) {
  struct bpf_sock_tuple tuple = {};
  __u32 size;
  const struct packet_remote *local = &ends->local, *remote = &ends->remote;
  if (!remote->ip[0] && !remote->ip[1] && remote->ip[2] == bpf_htonl(0xffff)) {
    tuple.ipv4.saddr = local->ip[3];
    tuple.ipv4.daddr = remote->ip[3];
    tuple.ipv4.sport = local->port;
    tuple.ipv4.dport = remote->port;
    size = sizeof(tuple.ipv4);
  } else {
    __builtin_memcpy(tuple.ipv6.saddr, local->ip, 16);
    __builtin_memcpy(tuple.ipv6.daddr, remote->ip, 16);
    tuple.ipv6.sport = local->port;
    tuple.ipv6.dport = remote->port;
    size = sizeof(tuple.ipv6);
  }
  struct bpf_sock* sk = remote->protocol == IPPROTO_TCP ? bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0)
                                                        : bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
  if (!sk) return SOMEBODY_ELSE;
  enum owner owner = SOMEBODY_ELSE;
  if (bpf_sk_storage_get(&marks, sk, 0, 0)) {
    int bound = sk->family == AF_INET ? sk->src_ip4 != 0 : (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3]) != 0;
    owner = bound ? OWN : OWN_IF_LOCAL;
  }
  bpf_sk_release(sk);
  return owner;
}

// What a host sends to itself goes over loopback, by whichever of its addresses.
static __always_inline int is_own(struct __sk_buff* skb, const struct ends* ends) {
  return skb->ifindex == LOOPBACK && owner_of(skb, ends) != SOMEBODY_ELSE;
}

static __always_inline __u32 edge_of(const struct packet_remote* remote) {
  __u32* number = bpf_map_lookup_elem(&numbers, remote);
  if (number) return *number;
  struct packet_remote any = {};
  any.port = remote->port;
  any.protocol = remote->protocol;
  number = bpf_map_lookup_elem(&numbers, &any);
  return number ? *number : 0;
}

static __always_inline int is_meant(const struct packet_rule* rule, __u64 began_ns) {
  if (rule->connections == PACKETS_ALL) return 1;
  return (rule->connections == PACKETS_NEW) == (began_ns >= rule->since_ns);
}

// Functions that are not static are verified once and by themselves, and not for each of their callers' states.
__noinline int is_hit(__u64 seed, __u64 share, __u64 correlation, __u64 number) {
  return packet_is_hit(seed, share, correlation, number);
}

// Asks the rules of one edge in turn: 0 passes, 1 is dropped whole, 2 is one of a share that is dropped.
__noinline int ask(__u32 number, __u64 began_ns, int direction, int reset) {
  struct packet_edge* edge = bpf_map_lookup_elem(&edges, &number);
  if (!edge) return 0;
  direction &= 1;
  for (int i = 0; i < PACKETS_ON_AN_EDGE; ++i) {
    __u32 slot = edge->rules[i];
    if (slot == 0) break;
    --slot;
    struct packet_rule* rule = bpf_map_lookup_elem(&rules, &slot);
    if (!rule || !rule->direction[direction] || !is_meant(rule, began_ns)) continue;
    if (rule->reset && reset && direction == PACKETS_INGRESS) continue;
    __u64 packet = __sync_fetch_and_add(&rule->seen[direction], 1);
    __u64 share = shares[slot & (PACKETS_RULES - 1)];
    if (!is_hit(rule->seed + direction, share, rule->correlation, packet)) continue;
    __sync_fetch_and_add(&rule->hit[direction], 1);
    return share >> 32 ? 1 : 2;
  }
  return 0;
}

static __always_inline __u64 flow_began(struct __sk_buff* skb, const struct packet_remote* remote) {
  struct flow flow = {};
  flow.socket = bpf_get_socket_cookie(skb);
  flow.remote = *remote;
  __u64* known = bpf_map_lookup_elem(&flows, &flow);
  if (known) return *known;
  __u64 now = bpf_ktime_get_boot_ns();
  bpf_map_update_elem(&flows, &flow, &now, BPF_NOEXIST);
  return now;
}

// Where the socket's peer is as the service knows it: the host may have translated the packet's address (DNAT) by now. Else, of
// sockets without a peer, the packet's.
static __always_inline void far_end(struct bpf_sock* sk, const struct ends* ends, struct packet_remote* out) {
  *out = ends->remote;
  if (sk->state == TCP_LISTEN || !sk->dst_port) return;
  // All are read whichever is used: the verifier takes no pointer to one or the other.
  const volatile struct bpf_sock* peer = sk;
  const __u32 v4 = peer->dst_ip4, v6 = peer->dst_ip6[3];
  if (sk->family != AF_INET) {
    out->ip[0] = peer->dst_ip6[0];
    out->ip[1] = peer->dst_ip6[1];
    out->ip[2] = peer->dst_ip6[2];
  }
  out->ip[3] = sk->family == AF_INET ? v4 : v6;
  out->port = sk->dst_port;
}

enum fate { PASSES, LOST, LOST_AS_IF_BY_CONGESTION };

static __always_inline enum fate look(struct __sk_buff* skb, int direction) {
  struct bpf_sock* sk = skb->sk;
  if (!sk) return PASSES;
  sk = bpf_sk_fullsock(sk);
  if (!sk) return PASSES;
  struct mark* mark = bpf_sk_storage_get(&marks, sk, 0, 0);
  if (by_process && !mark) return PASSES;
  if (!rules_on && sk->protocol != IPPROTO_UDP) return PASSES;
  struct ends ends = {};
  if (!read_ends(skb, direction, &ends)) return PASSES;
  struct packet_remote remote = {};
  far_end(sk, &ends, &remote);
  __u64 began_ns = 0;
  if (remote.protocol == IPPROTO_UDP) {
    began_ns = flow_began(skb, &remote);
    if (!rules_on) return PASSES;
  } else if (sk->state == TCP_LISTEN) {
    began_ns = bpf_ktime_get_boot_ns();  // a handshake
  } else if (mark) {
    began_ns = mark->began_ns;
  }
  int what = 0;
  __u32 everybody = 0;
  struct packet_edge* isolated = bpf_map_lookup_elem(&edges, &everybody);
  if (isolated && isolated->rules[0] && !is_own(skb, &ends)) what = ask(0, began_ns, direction, ends.reset);
  __u32 number = edge_of(&remote);
  if (!what && number) what = ask(number, began_ns, direction, ends.reset);
  if (!what) return PASSES;
  if (ends.remote.protocol != IPPROTO_TCP) return LOST_AS_IF_BY_CONGESTION;
  return what == 1 || sk->state == TCP_SYN_SENT || sk->state == TCP_LISTEN ? LOST : LOST_AS_IF_BY_CONGESTION;
}

// What is lost here has to look as if it were lost on the way. TCP is told -EPERM (0), which it takes for a loss, keeps to
// itself and answers with its usual timeouts; told of congestion (2), it would try twice a second and give up within
// seconds. Of a share that is lost it is told as of congestion, so that it slows down. A sender of datagrams would be given
// EPERM, and of congestion hears nothing.
SEC("cgroup_skb/egress")
int egress(struct __sk_buff* skb) {
  enum fate fate = look(skb, PACKETS_EGRESS);
  return fate == PASSES ? 1 : fate == LOST ? 0 : 2;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff* skb) { return look(skb, PACKETS_INGRESS) == PASSES; }

SEC("sockops")
int note_begin(struct bpf_sock_ops* ctx) {
  if (ctx->op != BPF_SOCK_OPS_TCP_CONNECT_CB && ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) return 1;
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 1;
  struct mark* mark = bpf_sk_storage_get(&marks, sk, 0, by_process ? 0 : BPF_SK_STORAGE_GET_F_CREATE);
  if (mark) mark->began_ns = bpf_ktime_get_boot_ns();
  return 1;
}

SEC("cgroup/sock_create")
int sock_create(struct bpf_sock* ctx) {
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  if (by_process && !bpf_map_lookup_elem(&processes, &process)) return 1;
  bpf_sk_storage_get(&marks, ctx, 0, BPF_SK_STORAGE_GET_F_CREATE);
  return 1;
}

// Counts and tells whether a rule of the edge refuses connects.
__noinline int refuses(__u32 number) {
  struct packet_edge* edge = bpf_map_lookup_elem(&edges, &number);
  if (!edge) return 0;
  for (int i = 0; i < PACKETS_ON_AN_EDGE; ++i) {
    __u32 slot = edge->rules[i];
    if (slot == 0) break;
    --slot;
    struct packet_rule* rule = bpf_map_lookup_elem(&rules, &slot);
    if (!rule || !rule->refuse) continue;
    __sync_fetch_and_add(&rule->refused, 1);
    return 1;
  }
  return 0;
}

// 0: the connect is refused.
static __always_inline int judge_connect(struct bpf_sock_addr* ctx, const struct address* to) {
  if (!rules_on || ctx->protocol != IPPROTO_TCP || !ctx->sk) return 1;
  if (by_process && !bpf_sk_storage_get(&marks, ctx->sk, 0, 0)) return 1;
  struct ends ends = {};
  __builtin_memcpy(ends.remote.ip, to->ip, sizeof(to->ip));
  ends.remote.port = to->port;
  ends.remote.protocol = IPPROTO_TCP;
  __u32 everybody = 0;
  struct packet_edge* isolated = bpf_map_lookup_elem(&edges, &everybody);
  // A far end of which it is not known here whether it is of this host is left to egress.
  int refused = isolated && isolated->rules[0] && owner_of(ctx, &ends) == SOMEBODY_ELSE && refuses(0);
  __u32 number = edge_of(&ends.remote);
  if (!refused && number) refused = refuses(number);
  if (refused) bpf_set_retval(-ECONNREFUSED);
  return !refused;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr* ctx) {
  struct address to = user_address4(ctx);
  return judge_connect(ctx, &to);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr* ctx) {
  struct address to = user_address6(ctx);
  return judge_connect(ctx, &to);
}

char _license[] SEC("license") = "Apache-2.0";
