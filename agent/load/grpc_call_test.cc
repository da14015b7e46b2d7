#include "agent/load/grpc_call.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "agent/load/grpc_types.h"
#include "agent/load/test_certificates.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string kFrameOf3("\0\0\0\0\3", 5);

TEST(GrpcCall, FramesAMessage) {
  EXPECT_EQ(FrameGrpc(""), std::string(5, '\0'));
  EXPECT_EQ(FrameGrpc("abc"), kFrameOf3 + "abc");
  EXPECT_THAT(FrameGrpc(std::string(0x010203, 'x')), StartsWith(std::string("\0\0\1\2\3x", 6)));
}

TEST(GrpcCall, SaysTheDeadlineInEightDigitsAtMost) {
  EXPECT_EQ(GrpcTimeout(absl::Milliseconds(250)), "250m");
  EXPECT_EQ(GrpcTimeout(absl::Microseconds(1500)), "1500u");
  EXPECT_EQ(GrpcTimeout(absl::Nanoseconds(1500)), "2u");
  EXPECT_EQ(GrpcTimeout(absl::Seconds(99)), "99000m");
  EXPECT_EQ(GrpcTimeout(absl::Minutes(10)), "600000m");
  EXPECT_EQ(GrpcTimeout(absl::Minutes(10) + absl::Microseconds(1)), "600001m");
}

TEST(GrpcCall, ReadsStatuses) {
  EXPECT_EQ(ReadGrpcStatus("0"), 0);
  EXPECT_EQ(ReadGrpcStatus("14"), 14);
  for (const char* text : {"", "x", "-1", "99999"}) EXPECT_EQ(ReadGrpcStatus(text), 2) << text;
}

Answer Finished(int http, std::optional<int> status, const std::string& body) {
  Answer answer = {http, {}, body, status};
  FinishGrpcAnswer(answer, body.size());
  return answer;
}

TEST(GrpcCall, AnswersAreOkWithOneWholeMessageOnly) {
  EXPECT_EQ(Finished(200, 0, kFrameOf3 + "abc").grpc_status, 0);
  EXPECT_EQ(Finished(200, 0, kFrameOf3 + "abc").body, "abc");
  for (const std::string& body : {std::string(), kFrameOf3.substr(0, 3), kFrameOf3 + "ab", kFrameOf3 + "abcd"}) {
    EXPECT_EQ(Finished(200, 0, body).grpc_status, 13) << body.size();
  }
  EXPECT_EQ(Finished(200, 5, "").grpc_status, 5);
}

TEST(GrpcCall, AnswersWithoutAStatusGoByThatOfHttp) {
  EXPECT_EQ(Finished(503, std::nullopt, "busy").grpc_status, 14);
  EXPECT_EQ(Finished(404, std::nullopt, "").grpc_status, 12);
  EXPECT_EQ(Finished(200, std::nullopt, kFrameOf3 + "abc").grpc_status, 2);
}

constexpr char kShop[] = R"(
syntax = "proto3";
package shop;
import "google/protobuf/duration.proto";
import "parts/item.proto";
service Orders {
  rpc Place(Order) returns (Item);
  rpc Watch(Order) returns (stream Item);
}
message Order { int32 sku = 1; google.protobuf.Duration wait_for = 2; Item item = 3; }
)";

class GrpcFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = WriteTestFile("shop.proto", kShop);
    folder_.resize(folder_.rfind('/'));
    ASSERT_EQ(system(("mkdir -p " + folder_ + "/parts").c_str()), 0);
    WriteTestFile("parts/item.proto", "syntax = \"proto3\"; package shop; message Item { string name = 1; }");
  }
  absl::StatusOr<std::vector<HttpRequest>> Make(const Grpc& grpc, const std::string& file = "shop.proto") {
    const absl::StatusOr<std::unique_ptr<GrpcTypes>> types = TypesFromFile(file, folder_);
    if (!types.ok()) return types.status();
    return MakeGrpcRequests(grpc, "run-1", (*types)->pool());
  }
  std::string folder_;
};

TEST_F(GrpcFile, MakesJsonBinary) {
  Grpc grpc;
  grpc.set_method("shop.Orders/Place");
  grpc.set_body(R"({"sku": 7, "wait_for": "1.5s", "item": {"name": "x"}})");
  grpc.mutable_deadline()->set_nanos(250'000'000);
  (*grpc.mutable_headers())["authorization"] = "Bearer t";
  for (const std::string& file : {std::string("shop.proto"), folder_ + "/shop.proto", std::string("./shop.proto")}) {
    const auto requests = Make(grpc, file);
    ASSERT_TRUE(requests.ok()) << requests.status();
    const HttpRequest& request = (*requests)[0];
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/shop.Orders/Place");
    EXPECT_EQ(request.body, FrameGrpc("\x08\x07\x12\x08\x08\x01\x10\x80\xCA\xB5\xEE\x01\x1A\x03\x0A\x01x"));
    EXPECT_EQ(*FindHeader(request.headers, "authorization"), "Bearer t");
    EXPECT_EQ(*FindHeader(request.headers, "content-type"), "application/grpc");
    EXPECT_EQ(*FindHeader(request.headers, "te"), "trailers");
    EXPECT_EQ(*FindHeader(request.headers, "grpc-timeout"), "250m");
    EXPECT_EQ(*FindHeader(request.headers, "x-squall-run"), "run-1");
  }
}

TEST_F(GrpcFile, OfSeveralTakesFromTheLoadWhatACallLeavesOut) {
  Grpc grpc;
  grpc.set_method("shop.Orders/Place");
  grpc.set_body(R"({"sku": 7})");
  grpc.add_requests();
  grpc.add_requests()->set_body(R"({"sku": 8})");
  const auto requests = Make(grpc);
  ASSERT_TRUE(requests.ok()) << requests.status();
  EXPECT_EQ((*requests)[0].body, FrameGrpc("\x08\x07"));
  EXPECT_EQ((*requests)[1].body, FrameGrpc("\x08\x08"));
}

struct BadCall {
  std::string method, body, message;
};

TEST_F(GrpcFile, SaysWhatDoesNotFit) {
  const BadCall cases[] = {
      {"", "{}", "is no method of gRPC"},
      {"shop.Orders", "{}", "is no method of gRPC"},
      {"shop.Orders/Place/x", "{}", "is no method of gRPC"},
      {"shop.Orders/Pl ace", "{}", "is no method of gRPC"},
      {"shop.Orders/Cancel", "{}", "there is no method shop.Orders/Cancel"},
      {"shop.Orders/Watch", "{}", "streams"},
      {"shop.Orders/Place", "{", "is no shop.Order in JSON"},
      {"shop.Orders/Place", R"({"sk": 7})", "sk"},
      {"shop.Orders/Place", R"({"sku": "many"})", "sku"},
  };
  for (const BadCall& c : cases) {
    Grpc grpc;
    grpc.set_method(c.method);
    grpc.set_body(c.body);
    const auto requests = Make(grpc);
    EXPECT_EQ(requests.status().code(), absl::StatusCode::kInvalidArgument) << c.message;
    EXPECT_THAT(std::string(requests.status().message()), HasSubstr(c.message));
  }
}

TEST_F(GrpcFile, SaysWhereAFileIsWrong) {
  WriteTestFile("bad.proto", "syntax = \"proto3\";\nmessage Order { int32 sku = ; }\n");
  WriteTestFile("lonely.proto", "syntax = \"proto3\";\nimport \"no-such.proto\";\n");
  EXPECT_THAT(std::string(TypesFromFile("bad.proto", folder_).status().message()), HasSubstr("bad.proto:2:"));
  EXPECT_THAT(std::string(TypesFromFile("lonely.proto", folder_).status().message()), HasSubstr("no-such.proto"));
  EXPECT_THAT(std::string(TypesFromFile("none.proto", folder_).status().message()), HasSubstr("none.proto"));
}

TEST_F(GrpcFile, RefusesMetadataOfItsOwn) {
  Grpc grpc;
  grpc.set_method("shop.Orders/Place");
  (*grpc.mutable_headers())["Grpc-Timeout"] = "1S";
  EXPECT_THAT(std::string(Make(grpc).status().message()), HasSubstr("set by squall itself"));
  grpc.clear_headers();
  (*grpc.mutable_headers())["authorization"] = "hunter2\n";
  EXPECT_THAT(std::string(Make(grpc).status().message()), AllOf(HasSubstr("authorization"), Not(HasSubstr("hunter2"))));
}

}  // namespace
}  // namespace squall
