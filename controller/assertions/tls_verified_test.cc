#include "controller/assertions/tls_verified.h"

#include "controller/assertions/timeline_builder.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

using Answers = std::map<std::string, int64_t>;

Judgement Judged(TlsFault::How how, const Answers& answers, int at_least = 1) {
  TlsVerified spec;
  spec.set_fault("spoilt");
  spec.set_at_least(at_least);
  return JudgeTlsVerified(spec, TimelineBuilder().Tls("spoilt", 12, 22, how, answers).Build());
}

TEST(TlsVerified, PassesWhenEveryHandshakeIsRefused) {
  const Judgement judgement = Judged(TlsFault::HOW_UNTRUSTED, {{"unknown_ca", 39}, {"closed", 1}});
  EXPECT_EQ(judgement.verdict.result(), Verdict::PASS) << judgement.verdict.reason();
  EXPECT_EQ(judgement.verdict.reason(),
            "refused all 40 TLS handshakes with a certificate of a CA that nobody knows (39 unknown_ca, 1 closed)");
  EXPECT_EQ(judgement.verdict.samples(), 40);
  EXPECT_TRUE(judgement.final);
}

TEST(TlsVerified, FailsWhenOneOfManyIsCompleted) {
  const Verdict verdict = Judged(TlsFault::HOW_EXPIRED, {{"certificate_expired", 1000}, {"completed", 1}}).verdict;
  EXPECT_EQ(verdict.result(), Verdict::FAIL);
  EXPECT_EQ(verdict.reason(), "completed 1 of 1,001 TLS handshakes with a certificate that has expired, which it must refuse");
  EXPECT_EQ(verdict.measured(), "1 of 1,001 completed");
  EXPECT_EQ(verdict.first_broken_ns(), TimelineBuilder::Ns(12));
}

TEST(TlsVerified, FailsEvenWhenFewerWereTriedThanNeeded) {
  EXPECT_EQ(Judged(TlsFault::HOW_WRONG_NAME, {{"completed", 1}}, 20).verdict.result(), Verdict::FAIL);
}

TEST(TlsVerified, IsInconclusiveOneHandshakeShort) {
  EXPECT_EQ(Judged(TlsFault::HOW_EXPIRED, {{"bad_certificate", 20}}, 20).verdict.result(), Verdict::PASS);
  const Judgement judgement = Judged(TlsFault::HOW_EXPIRED, {{"bad_certificate", 19}}, 20);
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_EQ(judgement.verdict.reason(),
            "only 19 TLS handshakes over recommend came to an answer that tells while spoilt acted; at least 20 are needed (19 "
            "bad_certificate)");
  EXPECT_TRUE(judgement.final);
}

TEST(TlsVerified, CountsAHandshakeThatIsDroppedAfterItsEndAsRefused) {
  EXPECT_EQ(Judged(TlsFault::HOW_WRONG_NAME, {{"closed_unused", 5}}).verdict.result(), Verdict::PASS);
}

TEST(TlsVerified, DoesNotTakeWhatHasOtherReasonsForARefusal) {
  for (const char* answer : {"no_hello", "not_tls", "timeout", "unfinished", "turned_away", "no_common_cipher", "malformed",
                             "protocol_version", "handshake_failure", "decode_error"}) {
    EXPECT_EQ(Judged(TlsFault::HOW_UNTRUSTED, {{answer, 50}}).verdict.result(), Verdict::INCONCLUSIVE) << answer;
  }
}

TEST(TlsVerified, DoesNotTakeARefusalOfTheCaForOneOfTheDateOrTheName) {
  for (const TlsFault::How how : {TlsFault::HOW_EXPIRED, TlsFault::HOW_WRONG_NAME}) {
    const Verdict verdict = Judged(how, {{"unknown_ca", 50}}).verdict;
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("the certificate was refused for its CA"));
    EXPECT_THAT(verdict.advice(), HasSubstr("name the CA that the service trusts"));
  }
}

TEST(TlsVerified, KnowsARefusalOfAnOldVersionFromOneOfItsCertificate) {
  for (const char* answer : {"protocol_version", "internal_error", "closed"}) {
    EXPECT_EQ(Judged(TlsFault::HOW_OLD_VERSION, {{answer, 3}}).verdict.result(), Verdict::PASS) << answer;
  }
  for (const char* answer : {"unknown_ca", "bad_certificate", "closed_unused", "completed"}) {
    const Verdict verdict = Judged(TlsFault::HOW_OLD_VERSION, {{answer, 3}}).verdict;
    EXPECT_EQ(verdict.result(), Verdict::FAIL) << answer;
    EXPECT_EQ(verdict.reason(), "went on with TLS 1.1, which it must refuse, in 3 of 3 TLS handshakes");
  }
}

TEST(TlsVerified, IsInconclusiveWhenTheFaultTouchedNothing) {
  const Judgement judgement = Judged(TlsFault::HOW_UNTRUSTED, {});
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(judgement.verdict.reason(), HasSubstr("touched no traffic"));
}

TEST(TlsVerified, SaysThatWhatCameWasNoTls) {
  const Verdict verdict = Judged(TlsFault::HOW_UNTRUSTED, {{"not_tls", 12}}).verdict;
  EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_THAT(verdict.reason(), HasSubstr("12 not_tls"));
}

TEST(TlsVerified, IsNotFinalWhileTheFaultActs) {
  TimelineBuilder builder;
  builder.Tls("spoilt", 12, 22, TlsFault::HOW_UNTRUSTED, {{"unknown_ca", 3}});
  builder.Event("spoilt", FaultEvent::HEALED).set_state(FaultEvent::HEALING_NOT_CONFIRMED);
  TlsVerified spec;
  spec.set_fault("spoilt");
  spec.set_at_least(1);
  const Judgement judgement = JudgeTlsVerified(spec, builder.StillRunningAt(23).Build());
  EXPECT_EQ(judgement.verdict.result(), Verdict::INCONCLUSIVE);
  EXPECT_FALSE(judgement.final);
}

TEST(TlsVerified, DoesNotJudgeFaultsThatEveryClientRefuses) {
  for (const TlsFault::How how : {TlsFault::HOW_ALERT, TlsFault::HOW_CUT}) {
    const Verdict verdict = Judged(how, {{"closed", 9}}).verdict;
    EXPECT_EQ(verdict.result(), Verdict::INCONCLUSIVE);
    EXPECT_THAT(verdict.reason(), HasSubstr("shows nothing that only a client with proper checks refuses"));
  }
}

}  // namespace
}  // namespace squall
