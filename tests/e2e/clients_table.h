#pragma once

#include <string>
#include <vector>

#include "tests/e2e/client_runner.h"
#include "tests/e2e/client_servers.h"

namespace squall {

// What a client is expected to see.
struct Sees {
  enum What {
    kNotApplicable,
    kAnswer,   // the right answer, every byte of it
    kSays,     // it ends with a code, and says something
    kWaits,    // it says nothing and waits on, until the test kills it; one that stays gets its answer once the fault is over
    kDamaged,  // whatever it is, not the right answer
  };
  What what = kNotApplicable;
  std::string exit;  // kSays; empty: a client that stays is not asked for it
  std::string text;  // kSays: a regular expression that what it prints must contain; kNotApplicable: why
  double at_least = 0, at_most = 5;  // seconds
};

// One fault, and what each client sees of it.
struct Row {
  std::string name;
  // As in a scenario, EDGE in the place of the edge.
  std::string fault;
  // Through an edge that is redirected, which needs root, or through a relay's own address.
  bool redirected = true, relay_at = true;
  Size size = Size::kSmall;
  // How long the clients that have such a thing wait, in seconds.
  double patience = 1.5;
  // Clients that are started during the fault. curl stands for IPv4 and IPv6.
  Sees curl, wrk, redis, psql, grpc;
  // Clients that were connected before, and ask during the fault.
  Sees kept_redis, kept_psql, kept_grpc;

  const Sees& For(Client client) const;
  const Sees& Kept(Client client) const;
};

const std::vector<Row>& NetworkRows();
// TLS handshakes: of those who speak TLS from the first byte.
const std::vector<Row>& TlsRows();
// Answers of the resolver: EDGE is not there, and hosts are asked for by name.
const std::vector<Row>& DnsRows();

// How what was seen differs from what is expected; empty: not at all. `right`: the right answer; empty: wrk's figures.
std::string Difference(const Sees& expected, const Ran& ran, const std::string& right);

}  // namespace squall
