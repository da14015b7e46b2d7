#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <string>

#include "agent/net/dns_redirect.h"
#include "agent/net/measured_delay.h"
#include "base/fd.h"
#include "proto/fault.pb.h"

// What the resolver keeps. Used by resolver.cc only.
namespace squall {

// A socket where queries come in.
struct OpenDoor {
  Fd fd;
  DnsDoor door;
};

// Who is to be answered: an address at a door or, if `stream` is not 0, a connection.
struct Asker {
  size_t door = 0;
  sockaddr_storage from = {};
  socklen_t from_length = 0;
  uint64_t stream = 0;
};

// Queries under way over UDP from one socket of the service to one server. Closed once all are answered.
struct Flow {
  std::string key;
  Asker asker;
  Fd server;
  int waiting = 0;
  int64_t last_ns = 0;
};

// A TCP connection of the service, and the one to the server that it needs.
struct Stream {
  size_t door = 0;
  Fd service;
  Fd server;  // opened with the first query that is forwarded
  std::string from_service, to_service, from_server, to_server;
  bool service_ended = false;  // it sends no more
  bool server_ended = false;
  bool end_passed_on = false;  // the service's end, to the server
  int held = 0;                // answers to it that are held back
  uint32_t service_events = 0, server_events = 0;  // what epoll watches
  int64_t last_ns = 0;
};

struct Rule {
  std::string fault;
  Dns dns;
  int64_t delay_ns = 0;
};

struct DnsCount {
  std::map<std::string, int64_t> answered;
  int64_t forwarded = 0;
  int64_t requested_ns = 0;
  MeasuredDelay achieved;
};

// Something that is due later.
struct Held {
  Asker asker;
  std::string fault;
  std::string what;  // "recommend.test A"
  std::string message;
  bool is_query = false;  // to be answered by the fault; else a right answer
  int64_t since_ns = 0;
  int asked = 0;  // as MeasuredDelay's
};

}  // namespace squall
