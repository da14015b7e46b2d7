#include "agent/net/dns_message.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

#include <ldns/ldns.h>  // last: it defines true and false as macros

namespace squall {
namespace {

constexpr size_t kHeaderSize = 12;
constexpr size_t kPlainUdpSize = 512;  // without EDNS, RFC 1035
constexpr uint16_t kOurUdpSize = 1232;
constexpr uint16_t kTypeAny = 255;

struct Free {
  void operator()(ldns_rdf* rdf) const { ldns_rdf_deep_free(rdf); }
  void operator()(ldns_rr* rr) const { ldns_rr_free(rr); }
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
  void operator()(char* text) const { std::free(text); }
  void operator()(uint8_t* bytes) const { std::free(bytes); }
};
template <typename T>
using Owned = std::unique_ptr<T, Free>;

const uint8_t* Bytes(absl::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

uint16_t Id(absl::string_view message) { return static_cast<uint16_t>(Bytes(message)[0] << 8 | Bytes(message)[1]); }
int QuestionCount(absl::string_view message) { return Bytes(message)[4] << 8 | Bytes(message)[5]; }
bool IsAnswer(absl::string_view message) { return (Bytes(message)[2] & 0x80) != 0; }
int Opcode(absl::string_view message) { return Bytes(message)[2] >> 3 & 0xf; }
bool RecursionDesired(absl::string_view message) { return (Bytes(message)[2] & 1) != 0; }
bool CheckingDisabled(absl::string_view message) { return (Bytes(message)[3] & 0x10) != 0; }

// Null: it cannot be read. REQUIRES: at least a header.
Owned<ldns_rr> QuestionOf(absl::string_view message) {
  ldns_rr* rr = nullptr;
  size_t position = kHeaderSize;
  if (ldns_wire2rr(&rr, Bytes(message), message.size(), &position, LDNS_SECTION_QUESTION) != LDNS_STATUS_OK) rr = nullptr;
  return Owned<ldns_rr>(rr);
}

Owned<ldns_rdf> NameOf(absl::string_view text) {
  return Owned<ldns_rdf>(ldns_dname_new_frm_str(text.empty() ? "." : std::string(text).c_str()));
}

bool PatternMatches(absl::string_view pattern, const ldns_rdf* name) {
  if (pattern == "*") return true;
  const bool below = absl::ConsumePrefix(&pattern, "*.");
  const Owned<ldns_rdf> named = NameOf(pattern);
  if (named == nullptr) return false;
  return below ? ldns_dname_is_subdomain(name, named.get()) : ldns_dname_compare(name, named.get()) == 0;
}

// Takes over `question`.
Owned<ldns_pkt> ReplyTo(absl::string_view query, ldns_rr* question, ldns_pkt_rcode code) {
  Owned<ldns_pkt> reply(ldns_pkt_new());
  ldns_pkt_set_id(reply.get(), Id(query));
  ldns_pkt_set_qr(reply.get(), true);
  ldns_pkt_set_opcode(reply.get(), static_cast<ldns_pkt_opcode>(Opcode(query)));
  ldns_pkt_set_rd(reply.get(), RecursionDesired(query));
  ldns_pkt_set_cd(reply.get(), CheckingDisabled(query));
  ldns_pkt_set_ra(reply.get(), true);
  ldns_pkt_set_rcode(reply.get(), static_cast<uint8_t>(code));
  if (question != nullptr) ldns_pkt_push_rr(reply.get(), LDNS_SECTION_QUESTION, question);
  return reply;
}

std::string ToWire(const ldns_pkt* packet) {
  uint8_t* bytes = nullptr;
  size_t size = 0;
  if (ldns_pkt2wire(&bytes, packet, &size) != LDNS_STATUS_OK) return "";
  const Owned<uint8_t> owned(bytes);
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

// Null for an address that is not of the type.
ldns_rr* AddressRecord(const ldns_rr* question, const std::string& address, ldns_rr_type type) {
  ldns_rdf* data = ldns_rdf_new_frm_str(type == LDNS_RR_TYPE_A ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA, address.c_str());
  if (data == nullptr) return nullptr;
  ldns_rr* record = ldns_rr_new();
  ldns_rr_set_owner(record, ldns_rdf_clone(ldns_rr_owner(question)));
  ldns_rr_set_class(record, ldns_rr_get_class(question));
  ldns_rr_set_type(record, type);
  ldns_rr_set_ttl(record, 0);
  ldns_rr_push_rdf(record, data);
  return record;
}

void AddAddresses(const Dns& dns, const ldns_rr* question, ldns_pkt* reply) {
  const ldns_rr_type asked = ldns_rr_get_type(question);
  for (const std::string& address : dns.addresses()) {
    for (const ldns_rr_type type : {LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA}) {
      if (asked != type && asked != kTypeAny) continue;
      if (ldns_rr* record = AddressRecord(question, address, type)) ldns_pkt_push_rr(reply, LDNS_SECTION_ANSWER, record);
    }
  }
}

ldns_pkt_rcode CodeOf(Dns::Answer answer) {
  switch (answer) {
    case Dns::ANSWER_NXDOMAIN:
      return LDNS_RCODE_NXDOMAIN;
    case Dns::ANSWER_SERVFAIL:
      return LDNS_RCODE_SERVFAIL;
    case Dns::ANSWER_REFUSED:
      return LDNS_RCODE_REFUSED;
    default:
      return LDNS_RCODE_NOERROR;
  }
}

}  // namespace

std::string DnsQuestion::ToString() const {
  const Owned<char> text(ldns_rr_type2str(static_cast<ldns_rr_type>(type)));
  return absl::StrCat(name.empty() ? "." : name, " ", text == nullptr ? "?" : text.get());
}

DnsQuestion ReadQuestion(absl::string_view message, bool answer) {
  DnsQuestion question;
  if (message.size() < kHeaderSize || IsAnswer(message) != answer) return question;
  question.kind = DnsQuestion::kOther;
  if (Opcode(message) != LDNS_PACKET_QUERY || QuestionCount(message) != 1) return question;
  const Owned<ldns_rr> rr = QuestionOf(message);
  const Owned<char> name(rr == nullptr ? nullptr : ldns_rdf2str(ldns_rr_owner(rr.get())));
  if (name == nullptr) {
    question.kind = answer ? DnsQuestion::kOther : DnsQuestion::kBroken;
    return question;
  }
  question.kind = DnsQuestion::kQuestion;
  question.name = absl::AsciiStrToLower(absl::StripSuffix(name.get(), "."));
  question.type = static_cast<uint16_t>(ldns_rr_get_type(rr.get()));
  return question;
}

absl::Status CheckDns(const Dns& dns) {
  if (dns.names().empty()) return absl::InvalidArgumentError("no names");
  for (absl::string_view pattern : dns.names()) {
    if (pattern == "*") continue;
    absl::ConsumePrefix(&pattern, "*.");
    if (pattern.empty() || NameOf(pattern) == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("'", pattern, "' is not a name"));
    }
  }
  for (const std::string& address : dns.addresses()) {
    const Owned<ldns_rdf> v4(ldns_rdf_new_frm_str(LDNS_RDF_TYPE_A, address.c_str()));
    const Owned<ldns_rdf> v6(ldns_rdf_new_frm_str(LDNS_RDF_TYPE_AAAA, address.c_str()));
    if (v4 == nullptr && v6 == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("'", address, "' is not an IP address"));
    }
  }
  return absl::OkStatus();
}

std::vector<Address> AddressesIn(absl::string_view answer) {
  std::vector<Address> addresses;
  ldns_pkt* read = nullptr;
  if (ldns_wire2pkt(&read, Bytes(answer), answer.size()) != LDNS_STATUS_OK) return addresses;
  const Owned<ldns_pkt> packet(read);
  const ldns_rr_list* records = ldns_pkt_answer(packet.get());
  for (size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
    const ldns_rr* record = ldns_rr_list_rr(records, i);
    const ldns_rdf* data = ldns_rr_rd_count(record) == 1 ? ldns_rr_rdf(record, 0) : nullptr;
    Address address;
    if (ldns_rr_get_type(record) == LDNS_RR_TYPE_A && data != nullptr && ldns_rdf_size(data) == 4) {
      address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
      memcpy(&address.ip.s6_addr[12], ldns_rdf_data(data), 4);
    } else if (ldns_rr_get_type(record) == LDNS_RR_TYPE_AAAA && data != nullptr && ldns_rdf_size(data) == 16) {
      memcpy(&address.ip, ldns_rdf_data(data), 16);
    } else {
      continue;
    }
    addresses.push_back(address);
  }
  return addresses;
}

bool Matches(const Dns& dns, const DnsQuestion& question) {
  if (dns.type() == Dns::RECORD_TYPE_A && question.type != LDNS_RR_TYPE_A) return false;
  if (dns.type() == Dns::RECORD_TYPE_AAAA && question.type != LDNS_RR_TYPE_AAAA) return false;
  const Owned<ldns_rdf> name = NameOf(question.name);
  return name != nullptr && std::any_of(dns.names().begin(), dns.names().end(), [&](const std::string& pattern) {
           return PatternMatches(pattern, name.get());
         });
}

std::string AnswerTo(const Dns& dns, absl::string_view query, bool over_udp) {
  if (dns.answer() == Dns::ANSWER_TIMEOUT) return "";
  Owned<ldns_rr> question = QuestionOf(query);
  if (question == nullptr) return "";
  const Owned<ldns_pkt> reply = ReplyTo(query, ldns_rr_clone(question.get()), CodeOf(dns.answer()));
  // What follows the question may be beyond ldns: then the answer has no EDNS.
  size_t limit = kPlainUdpSize;
  ldns_pkt* whole = nullptr;
  if (ldns_wire2pkt(&whole, Bytes(query), query.size()) == LDNS_STATUS_OK) {
    const Owned<ldns_pkt> owned(whole);
    if (ldns_pkt_edns(whole)) {
      limit = std::max<size_t>(limit, ldns_pkt_edns_udp_size(whole));
      ldns_pkt_set_edns_udp_size(reply.get(), kOurUdpSize);
      ldns_pkt_set_edns_do(reply.get(), ldns_pkt_edns_do(whole));
    }
  }
  if (dns.answer() == Dns::ANSWER_WRONG_ADDRESS) AddAddresses(dns, question.get(), reply.get());
  std::string wire = ToWire(reply.get());
  if (!over_udp || wire.size() <= limit) return wire;
  ldns_rr_list_deep_free(ldns_pkt_answer(reply.get()));
  ldns_pkt_set_answer(reply.get(), ldns_rr_list_new());
  ldns_pkt_set_ancount(reply.get(), 0);
  ldns_pkt_set_tc(reply.get(), true);
  return ToWire(reply.get());
}

std::string FormatError(absl::string_view query) {
  return ToWire(ReplyTo(query, nullptr, LDNS_RCODE_FORMERR).get());
}

}  // namespace squall
