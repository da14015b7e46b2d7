#pragma once

// Scenarios without mistakes, for tests.
namespace squall {

// The least that a user needs.
inline constexpr char kMinimalScenario[] = R"(squall: 1
name: recommend-slow
services:
  orders: {attach: {listen: 8080}}
edges:
  recommend: {to: "127.0.0.1:9090"}
load:
  checkout: {http: {url: "http://127.0.0.1:8080/order"}, rate: 200/s}
faults:
  - latency: {delay: 500ms}
    for: 10s
assert:
  - timeout: {deadline: 300ms}
  - circuit_breaker: {open_time: 2s}
  - recovery: {within: 10s}
)";

// All that there is.
inline constexpr char kFullScenario[] = R"(squall: 1
name: recommend-slow-then-gone
description: Orders must keep answering while recommend is slow, and after it dies.
tags: [nightly, checkout]
vars: {rate: 200/s, body: '{"sku": 7}'}
seed: 42
services:
  orders:
    run: [bin/orders, --port=8080, "--recommend=${edges.recommend.address}"]
    env: {GOTRACEBACK: all, PORT: 8080}
    cwd: .
    user: nobody
    ready: {http: {url: "http://127.0.0.1:8080/healthz"}, within: 5s}
  recommend:
    run: [bin/recommend, --port=9090]
edges:
  recommend: {from: orders, to: "127.0.0.1:9090", protocol: http, relay_at: "127.0.0.1:19090"}
load:
  checkout:
    http: {url: "http://127.0.0.1:8080/order", method: POST, body: "${vars.body}", headers: {x-cost: "$${5}"}}
    rate: ${vars.rate}
    give_up_after: 2s
    rejected_when: {status: [429, 503]}
    degraded_when: {headers: {x-fallback: "yes"}}
  browse:
    http: {url: "http://127.0.0.1:8080/"}
    steps: [{rate: 6000/min, for: 10s}, {rate: 50/s, for: 10s}]
steady: {errors: 0%, p99: 100ms}
faults:
  - name: slow
    latency: {edge: recommend, delay: 500ms, jitter: 50ms, direction: both}
    for: 12s
  - kill: {service: recommend, signal: SIGTERM, restart_after: 4s}
    at: 1m
    after: slow
  - kill: {service: recommend}
    at: 2m
guardrails:
  - error_rate: {load: checkout, above: 80%, for: 10s}
assert:
  - timeout: {load: checkout, deadline: 300ms, margin: 10ms}
  - recovery: {load: checkout, fault: kill, within: 10s}
  - {name: after-slow, recovery: {load: browse, fault: slow, within: 10s}}
  - recovery: {load: browse, within: 10s}
)";

}  // namespace squall
