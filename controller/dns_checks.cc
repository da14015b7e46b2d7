#include "controller/dns_checks.h"

#include <arpa/inet.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr size_t kLongestName = 253;
constexpr size_t kLongestLabel = 63;

bool IsLabel(absl::string_view label) {
  return !label.empty() && label.size() <= kLongestLabel && std::all_of(label.begin(), label.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

bool IsPattern(absl::string_view pattern) {
  if (pattern == "*") return true;
  if (pattern.size() > kLongestName) return false;
  absl::ConsumePrefix(&pattern, "*.");
  const std::vector<absl::string_view> labels = absl::StrSplit(pattern, '.');
  return std::all_of(labels.begin(), labels.end(), IsLabel);
}

bool IsAddress(const std::string& text) {
  in6_addr address;
  return inet_pton(AF_INET, text.c_str(), &address) == 1 || inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

bool Covers(absl::string_view pattern, absl::string_view other) {
  if (pattern == "*") return true;
  if (absl::EqualsIgnoreCase(pattern, other)) return true;
  return absl::ConsumePrefix(&pattern, "*") && absl::EndsWithIgnoreCase(other, pattern);
}

}  // namespace

void CheckDns(const Dns& dns, const std::string& path, Reading& reading) {
  for (int i = 0; i < dns.names_size(); ++i) {
    if (IsPattern(dns.names(i))) continue;
    reading.Report(ItemPath(path + ".names", i),
                   absl::StrCat(Quoted(dns.names(i)),
                                " is no name; write recommend.test without a final dot, \"*.example.org\" for all below it, "
                                "or \"*\" for all"));
  }
  for (int i = 0; i < dns.addresses_size(); ++i) {
    if (IsAddress(dns.addresses(i))) continue;
    reading.Report(ItemPath(path + ".addresses", i),
                   absl::StrCat(Quoted(dns.addresses(i)),
                                " is no IP address; write for example 192.0.2.1 or \"2001:db8::1\", without a port"));
  }
  if (!reading.Sound(path)) return;
  const bool wrong_address = dns.answer() == Dns::ANSWER_WRONG_ADDRESS;
  if (wrong_address && dns.addresses().empty()) {
    reading.ReportAt(path + ".addresses", reading.At(path + ".answer"),
                     "wrong_address needs the addresses; write for example addresses: [192.0.2.1, \"2001:db8::1\"]");
  }
  if (!wrong_address && !dns.addresses().empty()) {
    reading.Report(path + ".addresses",
                   "addresses go with answer: wrong_address only; leave them out, or write that answer");
  }
  const bool waits = dns.delay().seconds() > 0 || dns.delay().nanos() > 0;
  if (dns.answer() == Dns::ANSWER_DELAYED && !waits) {
    reading.ReportAt(path + ".delay", reading.At(path + ".answer"),
                     "delayed needs to know how long; write for example delay: 2s");
  }
  if (dns.answer() == Dns::ANSWER_TIMEOUT && waits) {
    reading.Report(path + ".delay", "timeout never answers; leave out delay, or write answer: delayed");
  }
}

std::string NameOfBoth(const Dns& first, const Dns& second) {
  if (first.service() != second.service()) return "";
  const bool types_differ = first.type() != second.type() && first.type() != Dns::RECORD_TYPE_ANY &&
                            second.type() != Dns::RECORD_TYPE_ANY;
  if (types_differ) return "";
  for (const std::string& a : first.names()) {
    for (const std::string& b : second.names()) {
      if (Covers(a, b)) return b;
      if (Covers(b, a)) return a;
    }
  }
  return "";
}

}  // namespace squall
