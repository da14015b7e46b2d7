// http and grpc through a real relay between real peers: curl, h2load, nginx, and gRPC's own client and server.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/faults/fault.h"

namespace squall {
namespace {

Address Local(int port, bool v6 = false) {
  return ResolveAddress(absl::StrCat(v6 ? "[::1]:" : "127.0.0.1:", port)).value().front();
}

int FreePort() {
  const Fd fd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  socklen_t length = sizeof(address);
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), length), 0);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin6_port);
}

std::string Output(const std::string& command) {
  std::string output;
  FILE* pipe = popen(("(" + command + ") 2>&1").c_str(), "r");
  char buffer[4096];
  for (size_t size; (size = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, size);
  pclose(pipe);
  return output;
}

// A gRPC server that answers every call with what it was sent, and "/shop.Slow/..." after 300 ms.
class Echo : public grpc::CallbackGenericService {
 public:
  explicit Echo(int port) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port), grpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(this);
    server_ = builder.BuildAndStart();
  }
  ~Echo() override { server_->Shutdown(std::chrono::system_clock::now()); }
  std::atomic<int> calls = 0;

 private:
  class Reactor : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(bool slow) : slow_(slow) { StartRead(&message_); }
    void OnReadDone(bool ok) override {
      if (slow_) absl::SleepFor(absl::Milliseconds(300));
      if (ok) {
        StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
      } else {
        Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "nothing was said"));
      }
    }
    void OnDone() override { delete this; }

   private:
    const bool slow_;
    grpc::ByteBuffer message_;
  };
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    ++calls;
    return new Reactor(absl::StartsWith(context->method(), "/shop.Slow/"));
  }
  std::unique_ptr<grpc::Server> server_;
};

class Asker {
 public:
  explicit Asker(int port, bool v6 = false)
      : stub_(grpc::CreateCustomChannel(absl::StrCat(v6 ? "ipv6:[::1]:" : "ipv4:127.0.0.1:", port),
                                        grpc::InsecureChannelCredentials(), Arguments())) {}
  grpc::Status Ask(const std::string& method, int deadline_ms = 5000, const std::string& text = "hello") {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(deadline_ms));
    context.AddMetadata("x-tenant", "a");
    const grpc::Slice slice(text);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer answer;
    grpc::Status status;
    absl::Notification done;
    stub_.UnaryCall(&context, method, grpc::StubOptions(), &request, &answer, [&](grpc::Status ended) {
      status = std::move(ended);
      done.Notify();
    });
    done.WaitForNotification();
    grpc::Slice got;
    if (status.ok() && (!answer.DumpToSingleSlice(&got).ok() || std::string(got.begin(), got.end()) != text)) {
      return grpc::Status(grpc::StatusCode::DATA_LOSS, "another answer");
    }
    return status;
  }

 private:
  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return arguments;
  }
  grpc::GenericStub stub_;
};

class RequestsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    char folder[] = "/tmp/squall-requests-XXXXXX";
    folder_ = mkdtemp(folder);
    http1_ = FreePort();
    http2_ = FreePort();
    std::ofstream(folder_ + "/nginx.conf") << absl::StrCat(
        "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit; events {}\n"
        "http { access_log off; client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; "
        "scgi_temp_path s; keepalive_requests 1000000;\n"
        "server { listen 127.0.0.1:", http1_, "; location / { return 200 \"real\\n\"; } }\n"
        "server { listen 127.0.0.1:", http2_, " http2; location / { return 200 \"real\\n\"; } } }\n");
    nginx_ = fork();
    if (nginx_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      execlp("nginx", "nginx", "-p", folder_.c_str(), "-c", "nginx.conf", nullptr);
      _exit(127);
    }
    for (int i = 0; i < 500 && Output(absl::StrCat("curl -s -m 10 127.0.0.1:", http1_, "/")) != "real\n"; ++i) usleep(10'000);
  }
  static void TearDownTestSuite() {
    kill(nginx_, SIGTERM);
    waitpid(nginx_, nullptr, 0);
    Output("rm -rf " + folder_);
  }

  int Open(const std::string& name, int upstream, bool v6 = false) {
    const int port = FreePort();
    Relay::EdgeOptions edge;
    edge.name = name;
    edge.to = {Local(upstream)};
    edge.relay_at = Local(port, v6);
    const absl::Status status = relay_.Open(edge, ns_);
    EXPECT_TRUE(status.ok()) << status;
    return port;
  }
  std::unique_ptr<ActiveFault> Make(const Fault& fault) {
    FaultContext context;
    context.relay = &relay_;
    context.seed = 7;
    return MakeFault(fault, context);
  }
  static Fault Http(const std::string& edge, const std::string& path, int status, int delay_ms = 0, double percent = 100) {
    Fault fault;
    fault.mutable_http()->set_edge(edge);
    fault.mutable_http()->set_path(path);
    fault.mutable_http()->set_status(status);
    if (status != 0) fault.mutable_http()->set_body("ours\n");
    fault.mutable_http()->mutable_delay()->set_nanos(delay_ms * 1'000'000);
    fault.mutable_http()->set_percent(percent);
    return fault;
  }
  static Fault Grpc(const std::string& method, GrpcFault::Code code, int delay_ms = 0) {
    Fault fault;
    fault.mutable_grpc()->set_edge("edge");
    fault.mutable_grpc()->set_method(method);
    fault.mutable_grpc()->set_code(code);
    fault.mutable_grpc()->set_message("out of squalls: 100 % \xe2\x98\x82");
    fault.mutable_grpc()->mutable_delay()->set_nanos(delay_ms * 1'000'000);
    fault.mutable_grpc()->set_percent(100);
    return fault;
  }
  int Count(int status) {
    absl::MutexLock lock(&mutex_);
    return static_cast<int>(std::count_if(calls_.begin(), calls_.end(), [&](const SeenCall& call) { return call.status == status; }));
  }

  static std::string folder_;
  static int http1_, http2_;
  static pid_t nginx_;
  NetNamespace ns_ = *NetNamespace::Own();
  absl::Mutex mutex_;
  std::vector<SeenCall> calls_;
  Relay relay_{[this](const std::string& edge, const SeenCall& call) {
    absl::MutexLock lock(&mutex_);
    if (edge == "edge") calls_.push_back(call);
  }};
};

std::string RequestsTest::folder_;
int RequestsTest::http1_, RequestsTest::http2_;
pid_t RequestsTest::nginx_;

TEST_F(RequestsTest, CurlGetsOurAnswersOverBothProtocolsAndTheDependencysOnesElsewhere) {
  for (const bool http2 : {false, true}) {
    for (const bool v6 : {false, true}) {
      SCOPED_TRACE(absl::StrCat("http2 ", http2, " v6 ", v6));
      const int upstream = http2 ? http2_ : http1_;
      const int port = Open("edge", upstream, v6);
      const int bystander = Open("bystander", upstream);
      const std::string curl = absl::StrCat("curl -s -m 10 -w '%{http_code}\\n' ", http2 ? "--http2-prior-knowledge " : "");
      const std::string at = absl::StrCat(v6 ? "'http://[::1]:" : "'http://127.0.0.1:", port);
      const auto fault = Make(Http("edge", "/x*", 503));
      ASSERT_TRUE(fault->Inject().ok());
      // One connection, but for HTTP/2: curl 7.88 loses its second request on one, to nginx itself, too.
      const std::string more = http2 ? absl::StrCat("' ; ", curl, at) : absl::StrCat("' ", at);
      EXPECT_EQ(Output(absl::StrCat(curl, at, "/x?q=1", more, "/y", more, "/xy'", http2 ? " -d body" : "")), "ours\n503\nreal\n200\nours\n503\n");
      EXPECT_EQ(Output(absl::StrCat(curl, "-I -o /dev/null ", at, "/x'")), "503\n");
      EXPECT_EQ(Output(absl::StrCat(curl, "http://127.0.0.1:", bystander, "/x")), "real\n200\n");
      EXPECT_EQ(fault->Seen().calls(), 3);
      EXPECT_EQ(fault->Seen().connections(), http2 ? 3 : 2);
      EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
      EXPECT_TRUE(fault->Heal(HealFor::kRunOver).ok());
      EXPECT_EQ(Output(absl::StrCat(curl, at, "/x'")), "real\n200\n");
      EXPECT_EQ(fault->Seen().calls(), 3);
    }
  }
}

TEST_F(RequestsTest, LargeUploadsAreAnsweredBeforeTheyAreThrough) {
  Output(absl::StrCat("head -c 3000000 /dev/zero > ", folder_, "/upload"));
  for (const bool http2 : {false, true}) {
    const int port = Open("edge", http2 ? http2_ : http1_);
    const auto fault = Make(Http("edge", "/x", 503));
    ASSERT_TRUE(fault->Inject().ok());
    EXPECT_EQ(Output(absl::StrCat("curl -s -m 10 -w '%{http_code}\\n' ", http2 ? "--http2-prior-knowledge " : "", "--data-binary @", folder_,
                               "/upload http://127.0.0.1:", port, "/x")),
              "ours\n503\n");
  }
}

TEST_F(RequestsTest, DelayIsWhatWasAskedFor) {
  for (const bool http2 : {false, true}) {
    const int port = Open("edge", http2 ? http2_ : http1_);
    const auto fault = Make(Http("edge", "/x", 0, 150));
    ASSERT_TRUE(fault->Inject().ok());
    const std::string curl = absl::StrCat("curl -s -m 10 -o /dev/null -w '%{time_total}' ", http2 ? "--http2-prior-knowledge " : "", "http://127.0.0.1:", port);
    EXPECT_GE(std::stod(Output(curl + "/x")), 0.150);
    EXPECT_LT(std::stod(Output(curl + "/y")), 0.150);
    const Evidence seen = fault->Seen();
    EXPECT_EQ(seen.requested_ns(), 150'000'000);
    EXPECT_GE(seen.achieved_p50_ns(), 149'000'000);
    EXPECT_LT(seen.achieved_p99_ns(), 250'000'000);
  }
}

TEST_F(RequestsTest, ManyStreamsAgreeOnHowManyWereHit) {
  const int port = Open("edge", http2_);
  const auto fault = Make(Http("edge", "", 503, 0, /*percent=*/10));
  ASSERT_TRUE(fault->Inject().ok());
  const std::string output = Output(absl::StrCat("timeout 20 h2load -n 20000 -c 4 -m 100 http://127.0.0.1:", port, "/"));
  const Evidence seen = fault->Seen();
  EXPECT_TRUE(absl::StrContains(output, absl::StrCat("status codes: ", 20000 - seen.calls(), " 2xx, 0 3xx, 0 4xx, ", seen.calls(), " 5xx")))
      << output;
  EXPECT_TRUE(absl::StrContains(output, "20000 done")) << output;
  EXPECT_NEAR(seen.achieved_percent(), 10, 0.7);
  EXPECT_EQ(Count(503), seen.calls());
  EXPECT_EQ(Count(200), 20000 - seen.calls());
}

TEST_F(RequestsTest, DelayedStreamsAmongManyArriveWhole) {
  const int port = Open("edge", http2_);
  const auto fault = Make(Http("edge", "", 0, /*delay_ms=*/5, /*percent=*/30));
  ASSERT_TRUE(fault->Inject().ok());
  const std::string output = Output(absl::StrCat("timeout 20 h2load -n 5000 -c 2 -m 50 http://127.0.0.1:", port, "/"));
  EXPECT_TRUE(absl::StrContains(output, "status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx")) << output;
  EXPECT_NEAR(fault->Seen().achieved_percent(), 30, 2.5);
}

TEST_F(RequestsTest, GrpcClientsSeeTheCodeAndTheMessage) {
  const int upstream = FreePort();
  Echo echo(upstream);
  for (const bool v6 : {false, true}) {
    const int port = Open("edge", upstream, v6);
    Asker asker(port, v6);
    EXPECT_TRUE(asker.Ask("/shop.Orders/Place").ok());
    for (int code = 1; code <= 16; ++code) {
      const auto fault = Make(Grpc("/shop.Recommend/*", static_cast<GrpcFault::Code>(code)));
      ASSERT_TRUE(fault->Inject().ok());
      const int before = echo.calls;
      const grpc::Status status = asker.Ask("/shop.Recommend/List", 1000, std::string(code * 1000, 'x'));
      EXPECT_EQ(status.error_code(), code);
      EXPECT_EQ(status.error_message(), "out of squalls: 100 % \xe2\x98\x82");
      EXPECT_EQ(echo.calls, before) << "the dependency saw it";
      EXPECT_TRUE(asker.Ask("/shop.Orders/Place").ok());
      EXPECT_EQ(fault->Seen().calls(), 1);
      EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
    }
    EXPECT_TRUE(asker.Ask("/shop.Recommend/List").ok());
  }
  absl::MutexLock lock(&mutex_);
  EXPECT_EQ(std::count_if(calls_.begin(), calls_.end(), [](const SeenCall& call) { return call.result == FAILED; }), 12);
  for (const SeenCall& call : calls_) {
    EXPECT_TRUE(call.grpc_status.has_value());
    EXPECT_NEAR(static_cast<double>(call.timeout_ms.value_or(0)), call.grpc_status == 0 ? 5000 : 1000, 60);
  }
}

TEST_F(RequestsTest, GrpcDeadlineRunsOutUnderADelayAndOthersPassMeanwhile) {
  const int upstream = FreePort();
  Echo echo(upstream);
  const int port = Open("edge", upstream);
  Asker asker(port);
  EXPECT_TRUE(asker.Ask("/shop.Orders/Place").ok());
  const auto fault = Make(Grpc("/shop.Recommend/List", GrpcFault::CODE_UNSPECIFIED, /*delay_ms=*/400));
  ASSERT_TRUE(fault->Inject().ok());
  std::thread patient([&] { EXPECT_TRUE(asker.Ask("/shop.Recommend/List", 3000).ok()); });
  EXPECT_EQ(asker.Ask("/shop.Recommend/List", 100).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(asker.Ask("/shop.Orders/Place", 300).ok());
  patient.join();
  EXPECT_EQ(fault->Seen().calls(), 2);
  absl::MutexLock lock(&mutex_);
  EXPECT_EQ(std::count_if(calls_.begin(), calls_.end(), [](const SeenCall& call) { return call.result == CALLER_LEFT; }), 1);
}

TEST_F(RequestsTest, HealingReleasesAtOnceWhatIsHeld) {
  const int upstream = FreePort();
  Echo echo(upstream);
  Asker asker(Open("edge", upstream));
  EXPECT_TRUE(asker.Ask("/shop.Orders/Place").ok());
  const auto fault = Make(Grpc("", GrpcFault::CODE_INTERNAL, /*delay_ms=*/900));
  ASSERT_TRUE(fault->Inject().ok());
  const absl::Time begin = absl::Now();
  std::thread waiting([&] { EXPECT_TRUE(asker.Ask("/shop.Recommend/List", 3000).ok()) << "not answered by us any more"; });
  for (int i = 0; i < 500 && fault->Seen().calls() == 0; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  waiting.join();
  EXPECT_LT(absl::Now() - begin, absl::Milliseconds(700));
}

TEST_F(RequestsTest, InjectionThatFailsLeavesNothing) {
  const int port = Open("edge", http1_);
  const auto fault = Make(Http("no-such-edge", "", 503));
  EXPECT_EQ(fault->Inject().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(fault->Heal(HealFor::kFaultOver).ok());
  EXPECT_EQ(fault->Seen().calls(), 0);
  EXPECT_EQ(Output(absl::StrCat("curl -s -m 10 http://127.0.0.1:", port, "/")), "real\n");
}

}  // namespace
}  // namespace squall
