// Loads of gRPC calls.
#include <gmock/gmock.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/load/http2_server.h"
#include "agent/load/load_generator.h"
#include "agent/load/load_recorder.h"
#include "agent/load/loopback_server.h"
#include "agent/load/test_certificates.h"
#include "agent/load/trace.h"
#include "tests/target/echo.grpc.pb.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Field;
using ::testing::HasSubstr;

// What calls end with: the size that they ask for is the status.
class EchoService final : public target::Echo::Service {
 public:
  grpc::Status Say(grpc::ServerContext* context, const target::SayRequest* request, target::SayReply* reply) override {
    ++calls;
    const auto header = context->client_metadata().find("traceparent");
    if (header != context->client_metadata().end()) parents.fetch_add(header->second.length() == 55);
    if (context->deadline() < std::chrono::system_clock::now() + std::chrono::minutes(5)) ++deadlines;
    if (context->client_metadata().count("x-shop") > 0) ++headers;
    if (hang) {
      while (!context->IsCancelled() && hang) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      cancelled += context->IsCancelled();
      return grpc::Status::CANCELLED;
    }
    reply->set_text("an answer");
    return grpc::Status(static_cast<grpc::StatusCode>(request->size()), "as asked for");
  }
  std::atomic<int> calls{0}, deadlines{0}, headers{0}, parents{0}, cancelled{0};
  std::atomic<bool> hang{false};
};

class GrpcLoad : public testing::Test {
 protected:
  void Serve(bool reflection = true, std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials()) {
    // The plugin is of the whole process, once it is there.
    if (reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", credentials, &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    service_.hang = false;
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  }
  Load Make(int status = 0) {
    Load load;
    load.set_name("checkout");
    load.mutable_grpc()->set_address(absl::StrCat("127.0.0.1:", port_));
    load.mutable_grpc()->set_method("squall.target.Echo/Say");
    load.mutable_grpc()->set_body(absl::StrCat("{\"size\": ", status, "}"));
    load.set_rate(200);
    load.mutable_give_up_after()->set_seconds(30);
    load.set_max_in_flight(1000);
    return load;
  }
  void Drive(const Load& load, size_t rows = 40) {
    auto started = LoadGenerator::Start(load, "run-1", 7, recorder_.Sink());
    ASSERT_TRUE(started.ok()) << started.status();
    ASSERT_TRUE(recorder_.WaitFor(rows));
    (*started)->Stop(absl::InfiniteDuration());
  }
  std::string StartError(const Load& load) {
    const auto started = LoadGenerator::Start(load, "run-1", 7, recorder_.Sink());
    EXPECT_FALSE(started.ok());
    return std::string(started.status().message());
  }
  auto AllAre(Outcome outcome, int status) { return Each(AllOf(Field(&Row::outcome, outcome), Field(&Row::status, status))); }

  EchoService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  Recorder recorder_;
};

TEST_F(GrpcLoad, AsksTheServerForItsTypesAndIsAnswered) {
  Serve();
  Load load = Make();
  load.mutable_grpc()->mutable_deadline()->set_seconds(60);
  (*load.mutable_grpc()->mutable_headers())["X-Shop"] = "one";
  load.mutable_ok_when()->set_body("an answer");
  Drive(load);
  EXPECT_THAT(recorder_.Rows(), AllAre(OK, 1000));
  EXPECT_EQ(service_.calls, recorder_.Sent());
  EXPECT_EQ(service_.deadlines, recorder_.Sent());
  EXPECT_EQ(service_.headers, recorder_.Sent());
  EXPECT_EQ(service_.parents, recorder_.Sent());
  EXPECT_TRUE(recorder_.Rows().back().reused);
}

TEST_F(GrpcLoad, TellsNoDeadlineThatNobodyAskedFor) {
  Serve();
  Drive(Make());
  EXPECT_EQ(service_.deadlines, 0);
}

TEST_F(GrpcLoad, RecordsStatuses) {
  Serve();
  for (const auto& [status, outcome] : {std::pair(8, REJECTED), std::pair(14, ERROR), std::pair(5, ERROR), std::pair(4, ERROR)}) {
    Recorder recorder;
    auto started = LoadGenerator::Start(Make(status), "run-1", 7, recorder.Sink());
    ASSERT_TRUE(started.ok());
    ASSERT_TRUE(recorder.WaitFor(10));
    (*started)->Stop(absl::InfiniteDuration());
    EXPECT_THAT(recorder.Rows(), AllAre(outcome, 1000 + status));
  }
}

TEST_F(GrpcLoad, MatchesStatusesByTheirNames) {
  Serve();
  Load load = Make(5);
  load.mutable_degraded_when()->add_grpc_status("NOT_FOUND");
  Drive(load);
  EXPECT_THAT(recorder_.Rows(), AllAre(DEGRADED, 1005));
}

TEST_F(GrpcLoad, DrawsSeveralCalls) {
  Serve();
  Load load = Make();
  load.mutable_grpc()->add_requests()->set_weight(2);
  load.mutable_grpc()->add_requests()->set_body("{\"size\": 8}");
  Drive(load, 200);
  for (const Row& row : recorder_.Rows()) EXPECT_EQ(row.outcome, row.kind == 0 ? OK : REJECTED) << row;
  EXPECT_GT(recorder_.Outcomes()[REJECTED], 20);
}

TEST_F(GrpcLoad, GivesUpAfterThePatienceAndCancels) {
  Serve();
  service_.hang = true;
  Load load = Make();
  load.mutable_give_up_after()->set_seconds(0);
  load.mutable_give_up_after()->set_nanos(300'000'000);
  load.set_max_in_flight(8);
  Drive(load, 10);
  EXPECT_THAT(recorder_.Rows(), AllAre(TIMED_OUT, 0));
  for (int i = 0; i < 2000 && service_.cancelled < 4; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(service_.cancelled, 4);
}

TEST_F(GrpcLoad, IsRefusedOrResetByAServerThatGoes) {
  Serve();
  auto started = LoadGenerator::Start(Make(), "run-1", 7, recorder_.Sink());
  ASSERT_TRUE(started.ok()) << started.status();
  ASSERT_TRUE(recorder_.WaitFor(40));
  server_->Shutdown(std::chrono::system_clock::now());
  server_.reset();
  ASSERT_TRUE(recorder_.WaitFor(recorder_.Rows().size() + 100));
  (*started)->Stop(absl::InfiniteDuration());
  EXPECT_EQ(recorder_.Rows().back().outcome, REFUSED);
  auto outcomes = recorder_.Outcomes();
  EXPECT_GE(outcomes[OK], 40);
  EXPECT_GE(outcomes[REFUSED], 50);
}

TEST_F(GrpcLoad, CallsOverTlsAndShowsItsCertificate) {
  TestCa ca;
  const TestCa::Pem shown = ca.Issue({"localhost"}), client = ca.Issue({"client"}, "clientAuth");
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = ca.pem();
  options.pem_key_cert_pairs.push_back({shown.key, shown.cert});
  Serve(true, grpc::SslServerCredentials(options));
  Load load = Make();
  ClientTls& tls = *load.mutable_grpc()->mutable_tls();
  tls.set_ca(ca.pem());
  tls.set_cert(client.cert);
  tls.set_key(client.key);
  tls.set_server_name("localhost");
  Drive(load);
  EXPECT_THAT(recorder_.Rows(), AllAre(OK, 1000));
  tls.clear_server_name();
  EXPECT_THAT(StartError(load), HasSubstr("the server's certificate is not for 127.0.0.1"));
}

TEST_F(GrpcLoad, DoesNotStartWithoutWhatItNeedsToKnow) {
  Serve();
  Load load = Make();
  load.mutable_grpc()->set_method("squall.target.Other/Say");
  EXPECT_THAT(StartError(load), HasSubstr("does not know squall.target.Other"));
  load.mutable_grpc()->set_method("squall.target.Echo/Shout");
  EXPECT_THAT(StartError(load), HasSubstr("there is no method squall.target.Echo/Shout"));
  load = Make();
  load.mutable_grpc()->set_body("{\"sizes\": 1}");
  EXPECT_THAT(StartError(load), HasSubstr("sizes"));
  load = Make();
  load.mutable_grpc()->set_address(absl::StrCat("127.0.0.1:", UnusedPort()));
  EXPECT_THAT(StartError(load), AllOf(HasSubstr("types cannot be asked for"), HasSubstr("Connection refused")));
}

TEST_F(GrpcLoad, AsksForAProtoFileWhereTheServerHasNoReflection) {
  Http2Server server([](const Http2Server::Request& request) {
    if (request.headers.at(":path") == "/squall.target.Echo/Say") return Http2Server::Reply{Http2Server::Reply::kAnswer, "200", std::string(5, '\0'), 0, {}, {{"grpc-status", "0"}}};
    return Http2Server::Reply{Http2Server::Reply::kAnswer, "200", "", 0, {{"grpc-status", "12"}, {"grpc-message", "no such method"}}};
  });
  Load load = Make();
  load.mutable_grpc()->set_address(absl::StrCat("127.0.0.1:", server.port()));
  EXPECT_THAT(StartError(load), AllOf(HasSubstr("UNIMPLEMENTED: no such method"), HasSubstr("`proto`")));
  load.mutable_grpc()->set_proto(WriteTestFile("echo.proto", "syntax = \"proto3\"; package squall.target; message M { int32 size = 1; } "
                                                             "service Echo { rpc Say(M) returns (M); }"));
  Drive(load);
  EXPECT_THAT(recorder_.Rows(), AllAre(OK, 1000));
}

TEST_F(GrpcLoad, GoesByHttpWhereAProxyAnswers) {
  Http2Server server([](const Http2Server::Request&) { return Http2Server::Reply{Http2Server::Reply::kAnswer, "503", "overloaded"}; });
  Load load = Make();
  load.mutable_grpc()->set_address(absl::StrCat("127.0.0.1:", server.port()));
  load.mutable_grpc()->set_proto(WriteTestFile("echo.proto", "syntax = \"proto3\"; package squall.target; message M { int32 size = 1; } "
                                                             "service Echo { rpc Say(M) returns (M); }"));
  Drive(load);
  EXPECT_THAT(recorder_.Rows(), AllAre(ERROR, 1014));
}

}  // namespace
}  // namespace squall
