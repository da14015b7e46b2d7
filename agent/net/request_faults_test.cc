#include "agent/net/request_faults.h"

#include <gtest/gtest.h>

#include "agent/net/grpc_text.h"

namespace squall {
namespace {

HttpFault Half(double percent = 50) {
  HttpFault fault;
  fault.set_percent(percent);
  fault.set_status(503);
  return fault;
}

std::string Schedule(uint64_t seed, int requests = 200) {
  RequestFaults faults;
  faults.Set(Half(), seed);
  RequestFaults::Touched touched;
  std::string schedule;
  for (int i = 0; i < requests; ++i) schedule += faults.Decide({"GET", "/", {}, false}, touched).Hits() ? '1' : '0';
  return schedule;
}

TEST(RequestFaults, SameSeedGivesTheSameScheduleOfHits) {
  EXPECT_EQ(Schedule(7), Schedule(7));
  EXPECT_NE(Schedule(7), Schedule(8));
}

TEST(RequestFaults, RequestsThatDoNotMatchDoNotMoveTheSchedule) {
  RequestFaults faults;
  HttpFault fault = Half();
  fault.set_path("/a");
  faults.Set(fault, 7);
  RequestFaults::Touched touched;
  std::string schedule;
  for (int i = 0; i < 200; ++i) {
    EXPECT_FALSE(faults.Decide({"GET", "/b", {}, false}, touched).Hits());
    schedule += faults.Decide({"GET", "/a", {}, false}, touched).Hits() ? '1' : '0';
  }
  EXPECT_EQ(schedule, Schedule(7));
}

TEST(RequestFaults, SmallSharesAreHitAsOftenAsAsked) {
  for (const double percent : {0.1, 1.0, 10.0, 99.9}) {
    int hits = 0;
    for (int i = 0; i < 1'000'000; ++i) hits += HitByChance(42, i, percent);
    EXPECT_NEAR(hits / 10'000.0, percent, 0.1) << percent;
  }
}

bool Matches(const HttpFault& fault, const RequestView& request) {
  RequestFaults faults;
  faults.Set(fault, 1);
  RequestFaults::Touched touched;
  return faults.Decide(request, touched).Hits();
}

TEST(RequestFaults, MatchByMethodPathAndHeaders) {
  HttpFault fault = Half(100);
  fault.set_method("GET");
  fault.set_path("/api/*");
  (*fault.mutable_headers())["X-Tenant"] = "a";
  const RequestView wanted = {"GET", "/api/x?y=1", {{"x-tenant", "b"}, {"x-tenant", "a"}}, false};
  EXPECT_TRUE(Matches(fault, wanted));
  RequestView other = wanted;
  other.method = "PUT";
  EXPECT_FALSE(Matches(fault, other));
  other = wanted;
  other.path = "/apis";
  EXPECT_FALSE(Matches(fault, other));
  other = wanted;
  other.headers = {{"x-tenant", "A"}};
  EXPECT_FALSE(Matches(fault, other));
}

TEST(RequestFaults, WholePathIsComparedWithoutQuery) {
  HttpFault fault = Half(100);
  fault.set_path("/a");
  EXPECT_TRUE(Matches(fault, {"GET", "/a?b=/c", {}, false}));
  EXPECT_TRUE(Matches(fault, {"GET", "http://host:80/a", {}, false}));
  EXPECT_FALSE(Matches(fault, {"GET", "/a/b", {}, false}));
}

TEST(RequestFaults, GrpcFaultsHitGrpcCallsAlone) {
  RequestFaults faults;
  GrpcFault fault;
  fault.set_percent(100);
  fault.set_code(GrpcFault::CODE_UNAVAILABLE);
  faults.Set(fault, 1);
  RequestFaults::Touched touched;
  EXPECT_FALSE(faults.Decide({"POST", "/s/M", {}, false}, touched).Hits());
  EXPECT_TRUE(faults.Decide({"POST", "/s/M", {}, true}, touched).Hits());
}

TEST(RequestFaults, BothKindsStack) {
  RequestFaults faults;
  HttpFault slow;
  slow.set_percent(100);
  slow.mutable_delay()->set_nanos(5);
  GrpcFault wrong;
  wrong.set_percent(100);
  wrong.set_code(GrpcFault::CODE_INTERNAL);
  wrong.mutable_delay()->set_nanos(7);
  faults.Set(slow, 1);
  faults.Set(wrong, 1);
  RequestFaults::Touched touched;
  RequestFaults::Decision decision = faults.Decide({"POST", "/s/M", {}, true}, touched);
  EXPECT_EQ(decision.DelayNs(), 12);
  EXPECT_EQ(decision.Answer()->grpc_status, 13);
  faults.NoteHeld(decision, 13);
  EXPECT_EQ(faults.EvidenceOf(RequestFaults::kHttp).achieved_p50_ns(), 6);
  EXPECT_EQ(faults.EvidenceOf(RequestFaults::kGrpc).achieved_p50_ns(), 8);
  decision.Forget(RequestFaults::kGrpc);
  EXPECT_EQ(decision.DelayNs(), 5);
  EXPECT_EQ(decision.Answer(), nullptr);
}

TEST(RequestFaults, EvidenceCountsMatchingRequestsAndConnections) {
  RequestFaults faults;
  faults.Set(Half(), 7);
  RequestFaults::Touched one, other;
  for (int i = 0; i < 100; ++i) faults.Decide({"GET", "/", {}, false}, i % 2 ? one : other);
  const Evidence evidence = faults.EvidenceOf(RequestFaults::kHttp);
  EXPECT_EQ(evidence.connections(), 2);
  EXPECT_EQ(evidence.requested_percent(), 50);
  EXPECT_EQ(evidence.achieved_percent(), static_cast<double>(evidence.calls()));
}

TEST(RequestFaults, ChangedHitAnotherShareLaterAndCountOn) {
  RequestFaults faults;
  EXPECT_FALSE(faults.Change(Half()));
  faults.Set(Half(10), 7);
  RequestFaults::Touched touched;
  const auto hits = [&] {
    int count = 0;
    for (int i = 0; i < 1000; ++i) count += faults.Decide({"GET", "/", {}, false}, touched).Hits();
    return count;
  };
  const int before = hits();
  EXPECT_NEAR(before, 100, 50);
  HttpFault next = Half(80);
  next.mutable_delay()->set_nanos(5);
  ASSERT_TRUE(faults.Change(next));
  EXPECT_EQ(faults.Decide({"POST", "/", {}, false}, touched).delay_ns[RequestFaults::kGrpc], 0);
  const int after = hits();
  EXPECT_NEAR(after, 800, 60);
  ASSERT_TRUE(faults.Change(next));
  ASSERT_TRUE(faults.Change(next));
  const int held = hits();
  const Evidence evidence = faults.EvidenceOf(RequestFaults::kHttp);
  EXPECT_NEAR(static_cast<double>(evidence.calls()), before + after + held, 1);
  EXPECT_EQ(evidence.requested_percent(), 80);
  EXPECT_EQ(evidence.requested_ns(), 5);
  EXPECT_NEAR(evidence.achieved_percent(), 80, 6) << "lately, not of all";
  faults.Clear(RequestFaults::kHttp);
  EXPECT_FALSE(faults.Change(next));
}

TEST(GrpcText, TimeoutsInAllUnits) {
  EXPECT_EQ(ParseGrpcTimeout("2H"), 7'200'000);
  EXPECT_EQ(ParseGrpcTimeout("3M"), 180'000);
  EXPECT_EQ(ParseGrpcTimeout("1S"), 1000);
  EXPECT_EQ(ParseGrpcTimeout("250m"), 250);
  EXPECT_EQ(ParseGrpcTimeout("1500u"), 2);
  EXPECT_EQ(ParseGrpcTimeout("99999999n"), 100);
  for (const char* wrong : {"", "S", "1", "1s", "-1S", "1 S", "123456789S", "1.5S"}) {
    EXPECT_EQ(ParseGrpcTimeout(wrong), std::nullopt) << wrong;
  }
}

TEST(GrpcText, MessagesArePercentEncoded) {
  EXPECT_EQ(EncodeGrpcMessage("100 % \xc3\xa4\n"), "100 %25 %C3%A4%0A");
}

TEST(GrpcText, ContentTypesOfGrpc) {
  for (const char* is : {"application/grpc", "application/grpc+proto", "application/grpc;charset=x"}) EXPECT_TRUE(IsGrpc(is));
  for (const char* is_not : {"application/grpc-web", "application/json", ""}) EXPECT_FALSE(IsGrpc(is_not));
}

}  // namespace
}  // namespace squall
