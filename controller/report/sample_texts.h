#pragma once

#include "absl/strings/string_view.h"

// The sample run's header and result, as text of protobuf.

namespace squall {

inline constexpr absl::string_view kSampleHeader = R"pb(
  scenario {
    squall: 1
    name: "recommend-slow-then-gone"
    description: "Orders must keep answering while recommend is slow, and after it dies."
    tags: "nightly"
    seed: 4711
    services {
      name: "orders"
      run: "bin/orders"
      run: "--port=8080"
      run: "--recommend=127.0.0.1:9090"
      env { key: "TRACE" value: "all" }
      ready {
        http { url: "http://127.0.0.1:8080/healthz" }
        within { seconds: 10 }
      }
    }
    services { name: "recommend" run: "bin/recommend" run: "--port=9090" }
    edges { name: "recommend" from: "orders" to: "127.0.0.1:9090" protocol: PROTOCOL_HTTP }
    load {
      name: "checkout"
      http { url: "http://127.0.0.1:8080/order" method: "POST" body: "{\"sku\": 7}" }
      rate: 200
      give_up_after { seconds: 5 }
      rejected_when { status: 429 }
      max_in_flight: 4000
    }
    steady { errors: 1 }
    faults {
      name: "slow"
      latency {
        edge: "recommend"
        delay { nanos: 500000000 }
        jitter { nanos: 50000000 }
        direction: DIRECTION_RESPONSE
      }
      for { seconds: 10 }
    }
    faults {
      name: "gone"
      kill {
        service: "recommend"
        signal: "SIGKILL"
        restart_after { seconds: 4 }
      }
      after: "slow"
    }
    assertions {
      name: "timeout"
      timeout {
        load: "checkout"
        fault: "slow"
        deadline { nanos: 300000000 }
        at_least: 20
      }
    }
    assertions {
      name: "back-in-time"
      recovery {
        load: "checkout"
        fault: "gone"
        within { seconds: 10 }
        latency_factor: 1.2
        latency_slack { nanos: 5000000 }
        errors_slack: 0.5
        goodput: 95
        windows: 10
      }
    }
    assertions {
      name: "breaker"
      circuit_breaker {
        edge: "recommend"
        load: "checkout"
        fault: "slow"
        open_time { seconds: 2 }
      }
    }
  }
  run_id: "recommend-slow-then-gone-20260301-101502"
  started_unix_ns: 1772360102000000000
  seed: 4711
  squall_version: "0.1.0"
  host: "build-7"
  edge_mechanisms { key: "recommend" value: "connects of orders redirected by cgroup BPF" }
)pb";

inline constexpr absl::string_view kSampleResult = R"pb(
  scenario: "recommend-slow-then-gone"
  description: "Orders must keep answering while recommend is slow, and after it dies."
  run_id: "recommend-slow-then-gone-20260301-101502"
  started: "2026-03-01T10:15:02Z"
  seconds: 45.3
  seed: 4711
  result: FAIL
  exit_code: 1
  ending: COMPLETED
  squall_version: "0.1.0"
  verdicts {
    assertion: "timeout"
    kind: "timeout"
    result: PASS
    reason: "Of 1,998 requests that ran into the deadline of 300 ms, the slowest took 331 ms and 99.9 % took at most 318 ms."
    measured: "331 ms"
    limit: "at most 402 ms"
    margin: "71 ms"
    samples: 1998
    details { name: "deadline" value: "300 ms" }
    details { name: "margin m" value: "51.2 ms" }
    details { name: "p99.9" value: "318 ms of at most 351 ms" }
    details { name: "answered too early" value: "0" }
  }
  verdicts {
    assertion: "back-in-time"
    kind: "recovery"
    result: FAIL
    reason: "checkout was back in its band 16.6 s after gone was injected, and 10 s were allowed: p95 was still 980 ms then, where at most 13.1 ms is in band. SLOW: it recovered by itself."
    measured: "16.6 s"
    limit: "at most 10 s"
    margin: "-6.57 s"
    samples: 20
    first_broken_ns: 31030000000
    examples: "4bf92f3577b34da60000000000001b7c"
    examples: "4bf92f3577b34da60000000000001b7d"
    examples: "4bf92f3577b34da60000000000001b80"
    details { name: "baseline p50" value: "4.1 ms" }
    details { name: "baseline p95" value: "8.1 ms" }
    details { name: "counted from" value: "the injection of gone at 21.03 s" }
    details { name: "flaps" value: "0" }
  }
  verdicts {
    assertion: "breaker"
    kind: "circuit_breaker"
    result: INCONCLUSIVE
    reason: "18 calls at recommend failed during slow, and 20 are needed to say whether a breaker opens."
    advice: "Raise `rate` above 200/s, or let slow last longer than 10 s."
    measured: "18 failed calls"
    limit: "at least 20"
    margin: "-2"
    samples: 18
  }
  faults {
    name: "slow"
    kind: "latency"
    what: "450 ms to 550 ms on every response over recommend"
    injected_ns: 11020000000
    healed_ns: 21023000000
    healing_took_ns: 3100000
    evidence {
      connections: 12
      calls: 1998
      bytes: 812345
      requested_ns: 500000000
      achieved_p50_ns: 501300000
      achieved_p99_ns: 549800000
    }
    seen: "1,998 calls on 12 connections held back; achieved p50 501.3 ms, p99 549.8 ms of 500 ms asked"
  }
  faults {
    name: "gone"
    kind: "kill"
    what: "SIGKILL to recommend, started again after 4 s"
    injected_ns: 21030000000
    healed_ns: 25180000000
    healing_took_ns: 148000000
    evidence { signalled: 2 gone: 2 pids: 40123 pids: 40124 restarts: 1 }
    seen: "2 of 2 processes gone, started again once"
  }
  notes: "The heartbeat saw the machine stand still 3 times, 61 ms in all: those windows are left out."
  notes: "recommend answered 500 to 12 calls right after its restart."
)pb";

}  // namespace squall
