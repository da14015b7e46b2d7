#include "agent/net/dns_message.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

#include <ldns/ldns.h>  // last: it defines true and false as macros

namespace squall {
namespace {

constexpr uint16_t kId = 0xbeef;

struct QueryOptions {
  ldns_rr_type type = LDNS_RR_TYPE_A;
  int edns_size = 0;  // 0: no EDNS
};

std::string Query(const std::string& name, const QueryOptions& options = {}) {
  ldns_pkt* packet = ldns_pkt_query_new(ldns_dname_new_frm_str(name.c_str()), options.type, LDNS_RR_CLASS_IN, LDNS_RD | LDNS_CD);
  ldns_pkt_set_id(packet, kId);
  if (options.edns_size > 0) {
    ldns_pkt_set_edns_udp_size(packet, static_cast<uint16_t>(options.edns_size));
    ldns_pkt_set_edns_do(packet, true);
  }
  uint8_t* bytes = nullptr;
  size_t size = 0;
  EXPECT_EQ(ldns_pkt2wire(&bytes, packet, &size), LDNS_STATUS_OK);
  std::string wire(reinterpret_cast<char*>(bytes), size);
  free(bytes);
  ldns_pkt_free(packet);
  return wire;
}

using Packet = std::unique_ptr<ldns_pkt, void (*)(ldns_pkt*)>;

Packet Parse(const std::string& wire) {
  ldns_pkt* packet = nullptr;
  EXPECT_EQ(ldns_wire2pkt(&packet, reinterpret_cast<const uint8_t*>(wire.data()), wire.size()), LDNS_STATUS_OK);
  return Packet(packet, &ldns_pkt_free);
}

std::string Text(const ldns_rdf* rdf) {
  char* text = ldns_rdf2str(rdf);
  std::string copy = text;
  free(text);
  return copy;
}

// "A 192.0.2.1 0" for each record of the answer: type, address, TTL.
std::vector<std::string> Records(const ldns_pkt& packet) {
  std::vector<std::string> records;
  const ldns_rr_list* list = ldns_pkt_answer(&packet);
  for (size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
    const ldns_rr* rr = ldns_rr_list_rr(list, i);
    records.push_back((ldns_rr_get_type(rr) == LDNS_RR_TYPE_A ? "A " : "AAAA ") + Text(ldns_rr_rdf(rr, 0)) + " " +
                      std::to_string(ldns_rr_ttl(rr)));
  }
  return records;
}

Dns Fault(Dns::Answer answer, const std::vector<std::string>& names = {"*"}) {
  Dns dns;
  dns.set_answer(answer);
  dns.mutable_names()->Assign(names.begin(), names.end());
  return dns;
}

bool Hits(const std::string& pattern, const std::string& name, Dns::RecordType type = Dns::RECORD_TYPE_ANY,
          ldns_rr_type asked = LDNS_RR_TYPE_A) {
  Dns dns = Fault(Dns::ANSWER_NXDOMAIN, {pattern});
  dns.set_type(type);
  const DnsQuestion question = ReadQuestion(Query(name, {asked}), false);
  EXPECT_EQ(question.kind, DnsQuestion::kQuestion);
  return Matches(dns, question);
}

TEST(DnsQuestion, IsReadInLowerCaseWithItsType) {
  const DnsQuestion question = ReadQuestion(Query("Recommend.TEST.", {LDNS_RR_TYPE_AAAA}), false);
  EXPECT_EQ(question.kind, DnsQuestion::kQuestion);
  EXPECT_EQ(question.ToString(), "recommend.test AAAA");
  EXPECT_EQ(ReadQuestion(Query("."), false).ToString(), ". A");
}

TEST(DnsQuestion, OfAnswersIsReadOnlyWhereAnAnswerIsExpected) {
  const std::string answer = AnswerTo(Fault(Dns::ANSWER_EMPTY), Query("recommend.test"), true);
  EXPECT_EQ(ReadQuestion(answer, true).ToString(), "recommend.test A");
  EXPECT_EQ(ReadQuestion(answer, false).kind, DnsQuestion::kNoise);
  EXPECT_EQ(ReadQuestion(Query("recommend.test"), true).kind, DnsQuestion::kNoise);
}

TEST(DnsQuestion, OfAnythingButOneOrdinaryQuestionIsLeftToTheServer) {
  std::string update = Query("recommend.test");
  update[2] = static_cast<char>(update[2] | 5 << 3);  // UPDATE
  EXPECT_EQ(ReadQuestion(update, false).kind, DnsQuestion::kOther);
  std::string none = Query("recommend.test");
  none[5] = 0;
  EXPECT_EQ(ReadQuestion(none, false).kind, DnsQuestion::kOther);
}

TEST(DnsQuestion, CutOffAnywhereIsNoiseOrBroken) {
  const std::string query = Query("recommend.test");
  for (size_t size = 0; size < query.size(); ++size) {
    EXPECT_EQ(ReadQuestion(query.substr(0, size), false).kind, size < 12 ? DnsQuestion::kNoise : DnsQuestion::kBroken) << size;
  }
}

TEST(DnsQuestion, WithANamePointingAtItselfIsBrokenAndAnsweredFormerr) {
  std::string query = Query("recommend.test").substr(0, 12) + std::string("\xc0\x0c\x00\x01\x00\x01", 6);
  ASSERT_EQ(ReadQuestion(query, false).kind, DnsQuestion::kBroken);
  const Packet reply = Parse(FormatError(query));
  EXPECT_EQ(ldns_pkt_get_rcode(reply.get()), LDNS_RCODE_FORMERR);
  EXPECT_EQ(ldns_pkt_id(reply.get()), kId);
  EXPECT_TRUE(ldns_pkt_qr(reply.get()));
}

TEST(DnsQuestion, SurvivesWhateverBytesCome) {
  std::mt19937 random(20240611);
  const std::string seed = Query("recommend.test", {LDNS_RR_TYPE_A, 4096});
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = seed;
    for (unsigned changes = random() % 6 + 1; changes > 0; --changes) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    const DnsQuestion question = ReadQuestion(bytes, false);
    if (question.kind == DnsQuestion::kQuestion) AnswerTo(Fault(Dns::ANSWER_SERVFAIL), bytes, true);
    if (question.kind == DnsQuestion::kBroken) {
      EXPECT_FALSE(FormatError(bytes).empty());
    }
  }
}

TEST(DnsNames, MatchWholeInAnyCase) {
  EXPECT_TRUE(Hits("recommend.test", "reCommend.Test"));
  EXPECT_TRUE(Hits("Recommend.TEST", "recommend.test"));
  EXPECT_FALSE(Hits("recommend.test", "a.recommend.test"));
  EXPECT_FALSE(Hits("recommend.test", "recommend.tes"));
}

TEST(DnsNames, MatchAllBelowAStarredSuffixButNotItself) {
  EXPECT_TRUE(Hits("*.Example.org", "a.example.ORG"));
  EXPECT_TRUE(Hits("*.example.org", "a.b.example.org"));
  EXPECT_FALSE(Hits("*.example.org", "example.org"));
  EXPECT_FALSE(Hits("*.example.org", "anexample.org"));
  EXPECT_FALSE(Hits("*.example.org", "a\\.example.org")) << "a point inside of a label ends no label";
  EXPECT_TRUE(Hits("*", "whatever.example"));
  EXPECT_TRUE(Hits("*", "."));
}

TEST(DnsNames, MatchByRecordType) {
  EXPECT_TRUE(Hits("*", "a.test", Dns::RECORD_TYPE_A, LDNS_RR_TYPE_A));
  EXPECT_FALSE(Hits("*", "a.test", Dns::RECORD_TYPE_A, LDNS_RR_TYPE_AAAA));
  EXPECT_TRUE(Hits("*", "a.test", Dns::RECORD_TYPE_AAAA, LDNS_RR_TYPE_AAAA));
  EXPECT_FALSE(Hits("*", "a.test", Dns::RECORD_TYPE_AAAA, LDNS_RR_TYPE_A));
  EXPECT_TRUE(Hits("*", "a.test", Dns::RECORD_TYPE_ANY, LDNS_RR_TYPE_MX));
}

TEST(DnsAnswer, HasTheCodeThatWasAskedFor) {
  for (const auto& [answer, code] : {std::pair{Dns::ANSWER_NXDOMAIN, LDNS_RCODE_NXDOMAIN},
                                     {Dns::ANSWER_SERVFAIL, LDNS_RCODE_SERVFAIL},
                                     {Dns::ANSWER_REFUSED, LDNS_RCODE_REFUSED},
                                     {Dns::ANSWER_EMPTY, LDNS_RCODE_NOERROR}}) {
    const Packet reply = Parse(AnswerTo(Fault(answer), Query("recommend.test"), true));
    EXPECT_EQ(ldns_pkt_get_rcode(reply.get()), code);
    EXPECT_TRUE(ldns_pkt_qr(reply.get()));
    EXPECT_TRUE(ldns_pkt_rd(reply.get()));
    EXPECT_TRUE(ldns_pkt_ra(reply.get()));
    EXPECT_TRUE(ldns_pkt_cd(reply.get()));
    EXPECT_EQ(ldns_pkt_id(reply.get()), kId);
    EXPECT_TRUE(Records(*reply).empty());
    EXPECT_EQ(ldns_pkt_nscount(reply.get()), 0) << "no SOA: nothing that a cache may keep";
  }
  EXPECT_EQ(AnswerTo(Fault(Dns::ANSWER_TIMEOUT), Query("recommend.test"), true), "");
}

TEST(DnsAnswer, EchoesTheQuestionInTheCaseInWhichItWasAsked) {
  const std::string query = Query("rEcOmMeNd.TeSt");
  const std::string reply = AnswerTo(Fault(Dns::ANSWER_NXDOMAIN), query, true);
  EXPECT_EQ(reply.substr(12), query.substr(12));
}

TEST(DnsAnswer, GivesWrongAddressesOfTheKindThatIsAskedForAndForNoTime) {
  Dns dns = Fault(Dns::ANSWER_WRONG_ADDRESS);
  for (const char* address : {"192.0.2.1", "2001:db8::1", "192.0.2.2"}) dns.add_addresses(address);
  const auto records = [&](ldns_rr_type type) { return Records(*Parse(AnswerTo(dns, Query("recommend.test", {type}), true))); };
  EXPECT_EQ(records(LDNS_RR_TYPE_A), (std::vector<std::string>{"A 192.0.2.1 0", "A 192.0.2.2 0"}));
  EXPECT_EQ(records(LDNS_RR_TYPE_AAAA), (std::vector<std::string>{"AAAA 2001:db8::1 0"}));
  EXPECT_EQ(records(LDNS_RR_TYPE_ANY).size(), 3u);
  EXPECT_TRUE(records(LDNS_RR_TYPE_MX).empty());
}

TEST(DnsAnswer, KeepsEdnsWhereTheQueryHasIt) {
  const Packet with = Parse(AnswerTo(Fault(Dns::ANSWER_EMPTY), Query("recommend.test", {LDNS_RR_TYPE_A, 4096}), true));
  EXPECT_TRUE(ldns_pkt_edns(with.get()));
  EXPECT_EQ(ldns_pkt_edns_udp_size(with.get()), 1232);
  EXPECT_TRUE(ldns_pkt_edns_do(with.get()));
  EXPECT_EQ(ldns_pkt_edns_version(with.get()), 0);
  EXPECT_FALSE(ldns_pkt_edns(Parse(AnswerTo(Fault(Dns::ANSWER_EMPTY), Query("recommend.test"), true)).get()));
}

TEST(DnsAnswer, IsGivenAlsoWhereWhatFollowsTheQuestionCannotBeRead) {
  std::string query = Query("recommend.test", {LDNS_RR_TYPE_A, 4096});
  query.resize(query.size() - 4);
  const Packet reply = Parse(AnswerTo(Fault(Dns::ANSWER_NXDOMAIN), query, true));
  EXPECT_EQ(ldns_pkt_get_rcode(reply.get()), LDNS_RCODE_NXDOMAIN);
  EXPECT_FALSE(ldns_pkt_edns(reply.get()));
}

TEST(DnsAnswer, ThatIsTooLongForADatagramIsTruncatedAndWholeOverTcp) {
  Dns dns = Fault(Dns::ANSWER_WRONG_ADDRESS);
  for (int i = 0; i < 40; ++i) dns.add_addresses("192.0.2." + std::to_string(i));
  const std::string query = Query("recommend.test");
  const Packet datagram = Parse(AnswerTo(dns, query, /*over_udp=*/true));
  EXPECT_TRUE(ldns_pkt_tc(datagram.get()));
  EXPECT_TRUE(Records(*datagram).empty());
  EXPECT_EQ(ldns_pkt_qdcount(datagram.get()), 1);
  const Packet stream = Parse(AnswerTo(dns, query, /*over_udp=*/false));
  EXPECT_FALSE(ldns_pkt_tc(stream.get()));
  EXPECT_EQ(Records(*stream).size(), 40u);
  const Packet roomy = Parse(AnswerTo(dns, Query("recommend.test", {LDNS_RR_TYPE_A, 4096}), /*over_udp=*/true));
  EXPECT_EQ(Records(*roomy).size(), 40u);
}

TEST(CheckDns, RefusesWhatIsNoNameOrNoAddress) {
  Dns dns = Fault(Dns::ANSWER_WRONG_ADDRESS, {"recommend.test", "*.example.org", "*"});
  dns.add_addresses("192.0.2.1");
  dns.add_addresses("2001:db8::1");
  EXPECT_TRUE(CheckDns(dns).ok());
  dns.add_addresses("192.0.2.256");
  EXPECT_EQ(CheckDns(dns).message(), "'192.0.2.256' is not an IP address");
  EXPECT_EQ(CheckDns(Fault(Dns::ANSWER_EMPTY, {"a..b"})).message(), "'a..b' is not a name");
  EXPECT_FALSE(CheckDns(Fault(Dns::ANSWER_EMPTY, {})).ok());
  EXPECT_FALSE(CheckDns(Fault(Dns::ANSWER_EMPTY, {"*."})).ok());
}

}  // namespace
}  // namespace squall
