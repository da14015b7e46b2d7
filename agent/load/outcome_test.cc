#include "agent/load/outcome.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>

namespace squall {
namespace {

Match MakeMatch(std::vector<int> statuses, std::vector<std::pair<std::string, std::string>> headers,
                std::string body, std::vector<std::string> grpc = {}) {
  Match match;
  for (const int status : statuses) match.add_status(status);
  for (const auto& [name, value] : headers) (*match.mutable_headers())[name] = value;
  match.set_body(std::move(body));
  for (const std::string& name : grpc) match.add_grpc_status(name);
  return match;
}

const Answer kFallback{200, {{"content-type", "text/plain"}, {"X-Fallback", "true"}}, "instead of an answer"};

Answer Grpc(int status, std::string body = "") { return {200, {}, std::move(body), status}; }

struct MatchCase {
  Match match;
  bool matches;
};

TEST(Matches, WhenEveryPartThatIsGivenMatches) {
  const MatchCase cases[] = {
      {MakeMatch({}, {}, ""), false},
      {MakeMatch({200}, {}, ""), true},
      {MakeMatch({429, 200}, {}, ""), true},
      {MakeMatch({429, 503}, {}, ""), false},
      {MakeMatch({}, {{"x-fallback", "true"}}, ""), true},
      {MakeMatch({}, {{"x-fallback", "TRUE"}}, ""), false},
      {MakeMatch({}, {{"x-fallback", "tru"}}, ""), false},
      {MakeMatch({}, {{"x-other", "true"}}, ""), false},
      {MakeMatch({}, {{"x-fallback", "true"}, {"x-other", "true"}}, ""), false},
      {MakeMatch({}, {}, "instead"), true},
      {MakeMatch({}, {}, "Instead"), false},
      {MakeMatch({200}, {{"x-fallback", "true"}}, "instead"), true},
      {MakeMatch({503}, {{"x-fallback", "true"}}, "instead"), false},
      {MakeMatch({200}, {{"x-fallback", "true"}}, "absent"), false},
  };
  for (const MatchCase& c : cases)
    EXPECT_EQ(Matches(c.match, kFallback), c.matches) << c.match.ShortDebugString();
}

TEST(Matches, LooksAtTheFirst64KiBOfABodyOnly) {
  Answer answer{200, {}, std::string(kMatchedBody - 4, '.') + "tail"};
  EXPECT_TRUE(Matches(MakeMatch({}, {}, "tail"), answer));
  answer.body.insert(0, ".");
  EXPECT_FALSE(Matches(MakeMatch({}, {}, "tail"), answer));
}

TEST(Matches, GoesByTheStatusOfGrpcForGrpcAndByThatOfHttpForHttp) {
  EXPECT_TRUE(Matches(MakeMatch({}, {}, "", {"NOT_FOUND", "UNAVAILABLE"}), Grpc(14)));
  EXPECT_FALSE(Matches(MakeMatch({}, {}, "", {"NOT_FOUND", "UNAVAILABLE"}), Grpc(13)));
  EXPECT_FALSE(Matches(MakeMatch({200}, {}, ""), Grpc(0)));
  EXPECT_FALSE(Matches(MakeMatch({}, {}, "", {"OK"}), Answer{200}));
  EXPECT_TRUE(Matches(MakeMatch({503}, {}, "cached", {"OK"}), Grpc(0, "a cached one")));
}

TEST(ClassifyAnswer, GoesByMatchesFirstAndByStatusThen) {
  const Match rejected = MakeMatch({429}, {}, "");
  const Match degraded = MakeMatch({}, {{"x-fallback", "true"}}, "");
  const Match never;
  EXPECT_EQ(ClassifyAnswer({rejected, never, never}, kFallback), OK);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, never}, kFallback), DEGRADED);
  EXPECT_EQ(ClassifyAnswer({rejected, never, never}, {429, {}, ""}), REJECTED);
  EXPECT_EQ(ClassifyAnswer({never, never, never}, {429, {}, ""}), ERROR);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, never}, {429, kFallback.headers, ""}), REJECTED);
  for (const auto& [status, outcome] : {std::pair(200, OK), std::pair(302, OK), std::pair(399, OK), std::pair(400, ERROR),
                                        std::pair(503, ERROR), std::pair(199, ERROR), std::pair(101, ERROR)}) {
    EXPECT_EQ(ClassifyAnswer({rejected, degraded, never}, {status, {}, ""}), outcome) << status;
  }
}

TEST(ClassifyAnswer, HoldsWhatIsNotAsOkWhenSaysForAnError) {
  const Match ok = MakeMatch({}, {}, "\"total\"");
  const Match rejected = MakeMatch({429}, {}, ""), degraded = MakeMatch({}, {{"x-fallback", "true"}}, "");
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, ok}, {200, {}, "{\"total\": 7}"}), OK);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, ok}, {200, {}, ""}), ERROR);
  // Not by its status, then.
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, ok}, {500, {}, "{\"total\": 7}"}), OK);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, ok}, {429, {}, "{\"total\": 7}"}), REJECTED);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, ok}, {200, {{"x-fallback", "true"}}, ""}), DEGRADED);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, MakeMatch({404}, {}, "")}, {404}), OK);
  EXPECT_EQ(ClassifyAnswer({rejected, degraded, MakeMatch({404}, {}, "")}, {200}), ERROR);
}

TEST(ClassifyAnswer, OfGrpcGoesByItsStatus) {
  Load load;
  load.mutable_grpc();
  const Matchers matchers = MatchersOf(load);
  EXPECT_EQ(ClassifyAnswer(matchers, Grpc(0)), OK);
  EXPECT_EQ(ClassifyAnswer(matchers, Grpc(8)), REJECTED);
  EXPECT_EQ(ClassifyAnswer(matchers, Grpc(14)), ERROR);
  load.mutable_ok_when()->add_grpc_status("NOT_FOUND");
  EXPECT_EQ(ClassifyAnswer(MatchersOf(load), Grpc(5)), OK);
  EXPECT_EQ(ClassifyAnswer(MatchersOf(load), Grpc(0)), ERROR);
}

TEST(ClassifyAnswer, OfPlainTcpIsOkUnlessAMatchSaysOtherwise) {
  Load load;
  load.mutable_tcp();
  EXPECT_EQ(ClassifyAnswer(MatchersOf(load), {0, {}, "+PONG"}), OK);
  load.mutable_rejected_when()->set_body("-BUSY");
  EXPECT_EQ(ClassifyAnswer(MatchersOf(load), {0, {}, "-BUSY\r\n"}), REJECTED);
  EXPECT_EQ(ClassifyAnswer(MatchersOf(load), {0, {}, "+PONG"}), OK);
}

TEST(MatchersOf, RejectedDefaultsTo429AndCanBeSwitchedOff) {
  Load load;
  EXPECT_EQ(MatchersOf(load).rejected.ShortDebugString(), "status: 429");
  *load.mutable_rejected_when() = MakeMatch({503}, {}, "");
  EXPECT_EQ(MatchersOf(load).rejected.ShortDebugString(), "status: 503");
  load.mutable_rejected_when()->Clear();
  EXPECT_EQ(MatchersOf(load).rejected.ShortDebugString(), "");
}

TEST(MatchersOf, SaysWhatOfAnAnswerIsNeeded) {
  Load load;
  EXPECT_FALSE(MatchersOf(load).NeedHeaders() || MatchersOf(load).NeedBody());
  load.mutable_ok_when()->set_body("x");
  EXPECT_TRUE(MatchersOf(load).NeedBody());
  EXPECT_FALSE(MatchersOf(load).NeedHeaders());
  (*load.mutable_degraded_when()->mutable_headers())["x"] = "y";
  EXPECT_TRUE(MatchersOf(load).NeedHeaders());
}

TEST(ClassifyConnect, TellsTheTargetsFaultsFromOurOwn) {
  for (const auto& [error, failure] :
       {std::pair(ECONNREFUSED, Failure::kNotAccepted), std::pair(EHOSTUNREACH, Failure::kNotAccepted),
        std::pair(ECONNRESET, Failure::kNotAccepted), std::pair(ETIMEDOUT, Failure::kTimedOut),
        std::pair(EADDRNOTAVAIL, Failure::kNeverSent), std::pair(EMFILE, Failure::kNeverSent)}) {
    EXPECT_EQ(ClassifyConnect(error), failure) << error;
  }
}

TEST(ToOutcome, KeepsTheWordsOfTheTimeline) {
  EXPECT_EQ(ToOutcome(Failure::kTimedOut), TIMED_OUT);
  EXPECT_EQ(ToOutcome(Failure::kNotAccepted), REFUSED);
  EXPECT_EQ(ToOutcome(Failure::kDied), RESET);
  EXPECT_EQ(ToOutcome(Failure::kNotSecured), ERROR);
  EXPECT_EQ(ToOutcome(Failure::kNotUnderstood), ERROR);
  EXPECT_EQ(ToOutcome(Failure::kUnresolvable), ERROR);
}

}  // namespace
}  // namespace squall
