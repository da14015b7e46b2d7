#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/net/dns_redirect.h"
#include "agent/net/netns.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// Answers the DNS queries of one service wrongly, late or not at all, as its faults say, and forwards all others byte for byte to
// the server that was asked: datagrams as datagrams, connections over a connection of their own. It never asks again and never
// gives up for the service: retries and timeouts stay the service's. Without a fault everything is forwarded.
//
// One epoll thread. What it keeps is bounded: 1,024 queries and 256 connections under way, 4,096 answers and 16 MiB held back;
// beyond that the oldest query or connection goes, and answers are dropped, as an overloaded server would.
//
// What it does not mirror: a server that refuses datagrams (ICMP) is seen as one that says nothing, and one that refuses
// connections as one that accepts and resets.
//
// Thread-safe.
class Resolver {
 public:
  struct Options {
    std::optional<Address> at;          // listen here, and forward to `nameserver`
    std::optional<Address> nameserver;  // required with `at`
    DnsRedirect* redirect = nullptr;    // without `at`: doors are opened for it; outlives the resolver
    // Called with what a server answered, before it is passed on. Optional.
    std::function<void(const std::string& name, const std::vector<Address>& addresses)> on_answer = nullptr;
  };
  // Opens its sockets inside `ns`, which outlives it.
  static absl::StatusOr<std::unique_ptr<Resolver>> Open(const NetNamespace& ns, const Options& options);
  ~Resolver();

  // From now on queries are answered as `dns` says. Of several faults that are about a query the first injected counts.
  // ALREADY_EXISTS, or INVALID_ARGUMENT for what cannot be carried out; then nothing is changed.
  absl::Status Inject(const std::string& fault, const Dns& dns);
  // Answers that are held back are held back for so long from now on. NOT_FOUND: the fault is not injected.
  absl::Status ChangeDelay(const std::string& fault, absl::Duration delay);
  // Queries are answered rightly again. Right answers that are held back go out at once, and queries whose wrong answer was
  // still due are forwarded. Idempotent.
  absl::Status Heal(const std::string& fault);
  // What the fault did since Inject, also after Heal.
  Evidence EvidenceOf(const std::string& fault);

  // Waits up to `limit` until nothing is under way. To be called once no more queries are redirected.
  void Drain(absl::Duration limit);

 private:
  class Loop;
  explicit Resolver(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace squall
