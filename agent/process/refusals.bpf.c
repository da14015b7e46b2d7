// Counts, by error, the system calls that end in one of a few errors in the processes that are watched. It is asked at the end of
// every system call of the host: what did not fail is let go at once.

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>

#include "refusals.bpf.h"

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u32);
  __type(value, __u8);
} watched SEC(".maps");

// Everything in this cgroup is watched too, where there is one: a child that lives for milliseconds is gone before anybody could add
// it to `watched`.
struct {
  __uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, __u32);
} cgroup SEC(".maps");

__u64 counts[REFUSALS_ERRORS] = {};

SEC("raw_tp/sys_exit")
int count_refusals(struct bpf_raw_tracepoint_args* ctx) {
  __s64 result = (__s64)ctx->args[1];
  if (result >= 0) return 0;
  __u32 which;
  switch (result) {
    case -REFUSALS_EMFILE:
      which = 0;
      break;
    case -REFUSALS_ENFILE:
      which = 1;
      break;
    case -REFUSALS_ENOSPC:
      which = 2;
      break;
    case -REFUSALS_EDQUOT:
      which = 3;
      break;
    default:
      return 0;
  }
  __u32 process = bpf_get_current_pid_tgid() >> 32;
  if (bpf_map_lookup_elem(&watched, &process) || bpf_current_task_under_cgroup(&cgroup, 0) == 1) {
    __sync_fetch_and_add(&counts[which], 1);
  }
  return 0;
}

char _license[] SEC("license") = "Apache-2.0";
