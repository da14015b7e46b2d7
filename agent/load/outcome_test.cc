#include "agent/load/outcome.h"

#include <curl/curl.h>
#include <errno.h>
#include <gtest/gtest.h>

#include <string>

namespace squall {
namespace {

Match MakeMatch(std::vector<int> statuses, std::vector<std::pair<std::string, std::string>> headers,
                std::string body) {
  Match match;
  for (const int status : statuses) match.add_status(status);
  for (const auto& [name, value] : headers) (*match.mutable_headers())[name] = value;
  match.set_body(std::move(body));
  return match;
}

const Answer kFallback{200, {{"content-type", "text/plain"}, {"X-Fallback", "true"}}, "instead of an answer"};

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

TEST(ClassifyAnswer, GoesByMatchesFirstAndByStatusThen) {
  const Match rejected = MakeMatch({429}, {}, "");
  const Match degraded = MakeMatch({}, {{"x-fallback", "true"}}, "");
  const Match never;
  EXPECT_EQ(ClassifyAnswer(rejected, never, kFallback), OK);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, kFallback), DEGRADED);
  EXPECT_EQ(ClassifyAnswer(rejected, never, {429, {}, ""}), REJECTED);
  EXPECT_EQ(ClassifyAnswer(never, never, {429, {}, ""}), ERROR);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {429, kFallback.headers, ""}), REJECTED);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {200, {}, ""}), OK);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {302, {}, ""}), OK);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {399, {}, ""}), OK);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {400, {}, ""}), ERROR);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {503, {}, ""}), ERROR);
  EXPECT_EQ(ClassifyAnswer(rejected, degraded, {199, {}, ""}), ERROR);
}

TEST(RejectedWhen, DefaultsTo429AndCanBeSwitchedOff) {
  Load load;
  EXPECT_EQ(RejectedWhen(load).ShortDebugString(), "status: 429");
  *load.mutable_rejected_when() = MakeMatch({503}, {}, "");
  EXPECT_EQ(RejectedWhen(load).ShortDebugString(), "status: 503");
  load.mutable_rejected_when()->Clear();
  EXPECT_EQ(RejectedWhen(load).ShortDebugString(), "");
}

struct FailureCase {
  CURLcode code;
  int error;
  Failure failure;
};

TEST(ClassifyFailure, TellsTheTargetsFaultsFromOurOwn) {
  const FailureCase cases[] = {
      {CURLE_OPERATION_TIMEDOUT, 0, Failure::kTimedOut},
      {CURLE_COULDNT_CONNECT, ECONNREFUSED, Failure::kNotAccepted},
      {CURLE_COULDNT_CONNECT, EHOSTUNREACH, Failure::kNotAccepted},
      {CURLE_COULDNT_CONNECT, ETIMEDOUT, Failure::kTimedOut},
      {CURLE_COULDNT_CONNECT, EADDRNOTAVAIL, Failure::kNeverSent},
      {CURLE_COULDNT_CONNECT, EMFILE, Failure::kNeverSent},
      {CURLE_COULDNT_RESOLVE_HOST, 0, Failure::kUnresolvable},
      {CURLE_OUT_OF_MEMORY, 0, Failure::kNeverSent},
      {CURLE_SEND_ERROR, 0, Failure::kDied},
      {CURLE_RECV_ERROR, 0, Failure::kDied},
      {CURLE_GOT_NOTHING, 0, Failure::kDied},
      {CURLE_PARTIAL_FILE, 0, Failure::kDied},
      {CURLE_ABORTED_BY_CALLBACK, 0, Failure::kDied},
      {CURLE_WEIRD_SERVER_REPLY, 0, Failure::kNoHttp},
      {CURLE_UNSUPPORTED_PROTOCOL, 0, Failure::kNoHttp},
  };
  for (const FailureCase& c : cases)
    EXPECT_EQ(ClassifyFailure(c.code, c.error), c.failure) << c.code << " " << c.error;
}

TEST(ToOutcome, KeepsTheWordsOfTheTimeline) {
  EXPECT_EQ(ToOutcome(Failure::kTimedOut), TIMED_OUT);
  EXPECT_EQ(ToOutcome(Failure::kNotAccepted), REFUSED);
  EXPECT_EQ(ToOutcome(Failure::kDied), RESET);
  EXPECT_EQ(ToOutcome(Failure::kNoHttp), ERROR);
  EXPECT_EQ(ToOutcome(Failure::kUnresolvable), ERROR);
}

}  // namespace
}  // namespace squall
