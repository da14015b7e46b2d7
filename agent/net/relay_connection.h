#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "agent/net/http_tap.h"
#include "agent/net/upstream.h"
#include "base/fd.h"
#include "base/histogram.h"
#include "proto/fault.pb.h"

// What the relay keeps of its edges and connections. Used by relay.cc only, on the relay's thread.
namespace squall {

// Holds bytes back. One for an edge while a latency fault is on.
struct LatencyState {
  int64_t delay_ns = 0;
  int64_t jitter_ns = 0;
  bool on_request = false;
  bool on_response = false;
  std::mt19937_64 random;

  int64_t Draw() {
    if (jitter_ns == 0) return delay_ns;
    return delay_ns + std::uniform_int_distribution<int64_t>(-jitter_ns, jitter_ns)(random);
  }
};

struct LatencyCount {
  int64_t connections = 0;
  int64_t calls = 0;
  int64_t bytes = 0;
  int64_t requested_ns = 0;
  Histogram achieved;
};

// One direction of a connection: what was read from one socket and not yet written to the other.
struct Pipe {
  struct Chunk {
    std::string bytes;
    size_t written = 0;
    int64_t read_ns = 0;
    int64_t release_ns = 0;
    bool delayed = false;
    bool end = false;  // the sender closed its side
  };
  std::deque<Chunk> chunks;
  size_t held_bytes = 0;
  int64_t last_release_ns = 0;  // keeps the order under jitter
  bool read_closed = false;     // the sender's FIN was read
  bool write_closed = false;    // and passed on
};

struct RelayEdge;

struct Connection {
  Connection(RelayEdge* of, bool parse, int64_t now, HttpTap::Observer observer)
      : edge(of), tap(parse, now, std::move(observer)) {}
  uint64_t id = 0;
  RelayEdge* edge;
  Fd service;     // accepted
  Fd dependency;  // connected
  Address to;
  uint32_t source_pid = 0;  // the process that connected; 0: not known
  Upstream* upstream = nullptr;
  bool connected = false;
  bool touched = false;    // counted in LatencyCount::connections
  bool held_back = false;  // something of the calls that are open was held back
  uint32_t service_events = 0;  // what epoll watches; 0: not in epoll
  uint32_t dependency_events = 0;
  Pipe to_dependency;
  Pipe to_service;
  HttpTap tap;
};

struct Listener {
  Fd fd;
  Address at;
};

struct RelayEdge {
  std::string name;
  bool parse_http = true;
  std::optional<Address> relay_at;
  Intercept* intercept = nullptr;
  const NetNamespace* ns = nullptr;
  std::vector<Upstream> upstreams;
  std::vector<bool> refusing;
  std::vector<Listener> listeners;
  std::optional<LatencyState> latency;
  LatencyCount count;
  EdgeStats stats;
};

}  // namespace squall
