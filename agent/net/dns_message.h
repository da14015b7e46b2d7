#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/net/address.h"
#include "proto/fault.pb.h"

// DNS messages (RFC 1035, RFC 6891) as the fault resolver reads and writes them, through ldns. Pure functions, thread-safe.
namespace squall {

// What a DNS message asks, or answers.
struct DnsQuestion {
  enum Kind {
    kNoise,     // no DNS message, or not of the expected direction: to be ignored
    kBroken,    // a query whose question cannot be read: FORMERR
    kOther,     // not one question of an ordinary query: only the server itself knows what to say
    kQuestion,
  };
  Kind kind = kNoise;
  std::string name;  // lower case, without the final dot, odd bytes escaped; empty: the root
  uint16_t type = 0;

  // "recommend.test A".
  std::string ToString() const;
};

// Reads the question of a query or, with `answer`, of an answer to one.
DnsQuestion ReadQuestion(absl::string_view message, bool answer);

// The addresses that an answer holds, with port 0: A and AAAA records, whatever the names on the way there.
std::vector<Address> AddressesIn(absl::string_view answer);

// Whether the fault can be carried out at all: patterns that are names, addresses that are addresses.
absl::Status CheckDns(const Dns& dns);

// Whether the fault is about this question. REQUIRES: kind is kQuestion.
bool Matches(const Dns& dns, const DnsQuestion& question);

// The fault's answer to `query`, which must be a kQuestion: the question as it was asked, EDNS where the query has it, and
// nothing that a cache may keep beyond the fault (addresses have a TTL of 0; negative answers carry no SOA, RFC 2308). Over
// UDP an answer that is too long for the asker is truncated. Empty for `timeout`. REQUIRES: the answer is not `delayed`.
std::string AnswerTo(const Dns& dns, absl::string_view query, bool over_udp);

// FORMERR to a kBroken query.
std::string FormatError(absl::string_view query);

}  // namespace squall
