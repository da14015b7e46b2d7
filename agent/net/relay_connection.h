#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/net/address.h"
#include "agent/net/conversation.h"
#include "agent/net/intercept.h"
#include "agent/net/netns.h"
#include "agent/net/relay.h"
#include "agent/net/shaper.h"
#include "agent/net/upstream.h"
#include "base/fd.h"
#include "proto/timeline.pb.h"

// What the relay keeps of its edges and connections. Used on the relay's thread only.
namespace squall {

struct Listener {
  Fd fd;
  Address at;
  bool paused = false;  // no descriptors were left to accept with
};

// One address of an edge. Connections keep it beyond its place in the edge.
struct EdgeUpstream {
  Upstream watch;
  bool refusing = false;    // the connect hook knows
  int64_t used_ns = 0;      // when a connection was made to it last
};

struct RelayEdge {
  std::string name;
  bool parse_http = true;
  std::string deadline_header;  // in lower case
  std::optional<Address> relay_at;
  Intercept* intercept = nullptr;
  const NetNamespace* ns = nullptr;
  std::vector<std::shared_ptr<EdgeUpstream>> upstreams;
  std::vector<uint16_t> any_ports;  // any address with one of these is an upstream once it is called
  uint16_t port4 = 0, port6 = 0;    // where redirected connects arrive; 0: not listened there
  size_t next_look = 0;             // at the upstreams, where there are too many to look at all of them
  std::vector<Listener> listeners;
  RequestFaults requests;
  EdgeShape shape;
  bool refuse = false;  // a fault: nobody is accepted
  int64_t failed_before = 0;  // connects of the network namespace that had failed when it began
  Relay::Taker taker;  // who gets new connections instead of the dependency; null: nobody
  EdgeStats stats;
};

struct RelayConnection {
  RelayConnection(RelayEdge* of, uint64_t number, bool parse, int64_t now, CallObserver observer)
      : id(number), opened_ns(now), edge(of), shape(&of->shape, number), 
        conversation(parse, now, &of->requests, std::move(observer), of->deadline_header) {}
  // What is on its way there.
  Shaper& Toward(Way way) { return shape.Toward(way); }
  // The socket that bytes of that way are written to. Empty: it was reset, or is not connected yet.
  Fd& SocketOf(Way way) { return way == Way::kToService ? service : dependency; }

  const uint64_t id;
  const int64_t opened_ns;
  RelayEdge* edge;
  Fd service;     // accepted
  Fd dependency;  // connected
  uint32_t source_pid = 0;  // the process that connected; 0: not known
  std::shared_ptr<EdgeUpstream> upstream;
  bool connected = false;
  // Closed in order by squall: what still comes is read and thrown away, until both sides have closed too or until then.
  int64_t lingers_until_ns = 0;  // 0: it goes on
  uint32_t service_events = 0;  // what epoll watches; 0: not in epoll
  uint32_t dependency_events = 0;
  int64_t wake_ns = kNever;  // when the loop looks at it again
  ConnectionShape shape;
  Conversation conversation;
};

}  // namespace squall
