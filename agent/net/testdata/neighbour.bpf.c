// Another user of connect hooks, for tests: counts connects and translates one port into another, as a service mesh on the host
// translates the address of a service into that of a backend.

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

volatile __u64 connects = 0;
volatile __u16 from_port = 0;  // host order; 0: nothing is translated
volatile __u16 to_port = 0;
volatile __u32 to_ip4 = 0;  // network order; 0: the host stays

static __always_inline int translates(struct bpf_sock_addr* ctx) {
  __sync_fetch_and_add(&connects, 1);
  return from_port != 0 && ctx->user_port == bpf_htons(from_port);
}

SEC("cgroup/connect4")
int neighbour4(struct bpf_sock_addr* ctx) {
  if (!translates(ctx)) return 1;
  ctx->user_port = bpf_htons(to_port);
  if (to_ip4) ctx->user_ip4 = to_ip4;
  return 1;
}

SEC("cgroup/connect6")
int neighbour6(struct bpf_sock_addr* ctx) {
  if (translates(ctx)) ctx->user_port = bpf_htons(to_port);
  return 1;
}

char _license[] SEC("license") = "Apache-2.0";
