// The reference services as real processes: the correct one keeps its promises, and each mutant breaks just
// its own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "tests/target/now.h"

namespace squall::target {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

// Polls until it holds; false when that takes too long.
bool Eventually(const std::function<bool()>& holds) {
  for (const absl::Time end = Now() + kPatience; Now() < end; usleep(2000)) {
    if (holds()) return true;
  }
  return false;
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) != 0) abort();
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) abort();
  close(fd);
  return ntohs(address.sin_port);
}

// A child process; killed with its owner.
class Process {
 public:
  explicit Process(const std::vector<std::string>& arguments) {
    std::array<int, 2> errors;
    if (pipe2(errors.data(), O_CLOEXEC) != 0) abort();
    std::vector<char*> argv;
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      alarm(60);  // a service that does not end fails its test instead of hanging it
      dup2(errors[1], STDERR_FILENO);
      close_range(3, ~0U, 0);  // httplib's sockets are inherited
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(errors[1]);
    errors_ = errors[0];
  }
  ~Process() {
    Signal(SIGKILL);
    Wait();
    close(errors_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal) const {
    if (!ended_) kill(pid_, signal);
  }
  // The exit code, or minus the signal that ended it.
  int Wait() {
    if (!ended_) {
      int status = 0;
      waitpid(pid_, &status, 0);
      ended_ = true;
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
    return code_;
  }
  // What it wrote to standard error, once it has ended.
  std::string Errors() {
    Wait();
    std::string text;
    std::array<char, 4096> buffer;
    for (ssize_t got; (got = read(errors_, buffer.data(), buffer.size())) > 0;) {
      text.append(buffer.data(), static_cast<size_t>(got));
    }
    return text;
  }

 private:
  pid_t pid_ = -1;
  int errors_ = -1;
  bool ended_ = false;
  int code_ = 0;
};

struct Answer {
  int status = 0;  // 0: none
  bool fallback = false;
  std::string body;
  absl::Duration took;
};

Answer Get(const std::string& host, int port, const std::string& path, bool post = false) {
  httplib::Client client(host, port);
  client.set_read_timeout(60);
  const absl::Time start = Now();
  const httplib::Result result = post ? client.Post(path, "{}", "application/json") : client.Get(path);
  if (result == nullptr) return {};
  return {result->status, result->get_header_value("x-fallback") == "true", result->body, Now() - start};
}

bool Healthy(const std::string& host, int port) { return Get(host, port, "/healthz").status == 200; }

std::unique_ptr<Process> StartService(const std::string& name, std::vector<std::string> flags, int port,
                                      const std::string& host = "127.0.0.1") {
  flags.insert(flags.begin(),
               {absl::StrCat("tests/target/", name), absl::StrCat("--port=", port), "--host=" + host});
  auto process = std::make_unique<Process>(flags);
  EXPECT_TRUE(Eventually([&] { return Healthy(host, port); })) << name << " on port " << port;
  return process;
}

// A recommend service inside the test, whose pace and mood can be changed.
class Peer {
 public:
  Peer() {
    server_.new_task_queue = [] { return new httplib::ThreadPool(64); };
    server_.set_keep_alive_max_count(1'000'000);
    server_.set_tcp_nodelay(true);
    server_.Get("/recommend", [this](const httplib::Request&, httplib::Response& response) {
      ++calls;
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
      if (failing) response.status = 500;
      response.set_content("[7]", "application/json");
    });
    port = server_.bind_to_any_port("127.0.0.1");
    serving_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~Peer() {
    server_.stop();
    serving_.join();
  }

  int port = 0;
  std::atomic<int> delay_ms{0};
  std::atomic<bool> failing{false};
  std::atomic<int> calls{0};

 private:
  httplib::Server server_;
  std::thread serving_;
};

// An orders service in front of a Peer.
struct Shop {
  explicit Shop(std::vector<std::string> flags) {
    flags.push_back(absl::StrCat("--recommend=127.0.0.1:", peer.port));
    orders = StartService("orders", flags, port);
  }
  Answer Order() { return Get("127.0.0.1", port, "/order"); }
  bool OrderIsRecommendedSomething() {
    const Answer answer = Order();
    return answer.status == 200 && !answer.fallback;
  }
  // So many orders at a time.
  std::vector<Answer> Orders(int count) {
    std::vector<std::future<Answer>> pending;
    for (int i = 0; i < count; ++i)
      pending.push_back(std::async(std::launch::async, [this] { return Order(); }));
    std::vector<Answer> answers;
    for (auto& answer : pending) answers.push_back(answer.get());
    return answers;
  }

  Peer peer;
  const int port = FreePort();
  std::unique_ptr<Process> orders;
};

TEST(Target, AnswersOrdersWithWhatThePeerRecommends) {
  const int recommend_port = FreePort();
  const auto recommend = StartService("recommend", {}, recommend_port);
  const int port = FreePort();
  const auto orders = StartService(
      "orders", {absl::StrCat("--recommend=127.0.0.1:", recommend_port), "--deadline=30s"}, port);
  for (const bool post : {false, true}) {
    const Answer answer = Get("127.0.0.1", port, "/order", post);
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.fallback);
    EXPECT_THAT(answer.body, HasSubstr("[7,11,13]"));
    EXPECT_GE(answer.took, absl::Milliseconds(12));
  }
}

TEST(Target, ListensOnIPv6AndCallsIt) {
  const int recommend_port = FreePort();
  const auto recommend = StartService("recommend", {"--service-time=0"}, recommend_port, "::1");
  const int port = FreePort();
  const auto orders = StartService(
      "orders", {absl::StrCat("--recommend=[::1]:", recommend_port), "--deadline=30s"}, port, "::1");
  const Answer answer = Get("::1", port, "/order");
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.fallback);
}

TEST(Target, AnswersAFallbackAtTheDeadline) {
  Shop shop({"--deadline=100ms"});
  shop.peer.delay_ms = 1500;
  const Answer answer = shop.Order();
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.fallback);
  EXPECT_THAT(answer.body, HasSubstr("\"fallback\":true"));
  EXPECT_GE(answer.took, absl::Milliseconds(100));
  EXPECT_LT(answer.took, absl::Milliseconds(1500));
}

TEST(Target, MutantIgnoresDeadlineWaitsForThePeer) {
  Shop shop({"--deadline=100ms", "--mutant=ignores-deadline", "--workers=1"});
  shop.peer.delay_ms = 700;
  const absl::Time start = Now();
  for (const Answer& answer : shop.Orders(8)) {
    EXPECT_EQ(answer.status, 200);
    EXPECT_FALSE(answer.fallback);
    EXPECT_GE(answer.took, absl::Milliseconds(700));
  }
  // Side by side, so that nothing is left to do when the peer is well again.
  EXPECT_LT(Now() - start, absl::Milliseconds(8 * 700));
}

TEST(Target, DropsWhatExpiredAndIsWellOnceThePeerIs) {
  Shop shop({"--deadline=200ms", "--workers=1"});
  shop.peer.delay_ms = 1000;
  for (const Answer& answer : shop.Orders(30)) EXPECT_TRUE(answer.fallback);
  shop.peer.delay_ms = 0;
  EXPECT_TRUE(Eventually([&] { return shop.OrderIsRecommendedSomething(); }));
  EXPECT_LT(shop.peer.calls, 30);
}

TEST(Target, MutantNeverDrainsCarriesOutWhatExpiredThreeTimes) {
  Shop shop({"--deadline=200ms", "--workers=1", "--mutant=never-drains"});
  shop.peer.delay_ms = 1000;
  for (const Answer& answer : shop.Orders(30)) {
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.fallback);
    EXPECT_GE(answer.took, absl::Milliseconds(200));
    EXPECT_LT(answer.took, absl::Milliseconds(1000));
  }
  shop.peer.delay_ms = 10;
  // Behind 30 orders that nobody waits for.
  EXPECT_TRUE(shop.Order().fallback);
  EXPECT_TRUE(Eventually([&] { return shop.peer.calls >= 3 * 30; }));
  EXPECT_TRUE(Eventually([&] { return shop.OrderIsRecommendedSomething(); }));
}

// What follows the death of the peer and its return, for orders with these flags.
void KillAndRestartPeer(const std::vector<std::string>& flags, bool heals) {
  const int recommend_port = FreePort();
  auto recommend = StartService("recommend", {}, recommend_port);
  const int port = FreePort();
  std::vector<std::string> all = flags;
  all.push_back(absl::StrCat("--recommend=127.0.0.1:", recommend_port));
  const auto orders = StartService("orders", all, port);
  const auto fallback = [&] {
    const Answer answer = Get("127.0.0.1", port, "/order");
    EXPECT_EQ(answer.status, 200);
    return answer.fallback;
  };
  ASSERT_TRUE(Eventually([&] { return !fallback(); }));
  recommend->Signal(SIGKILL);
  recommend->Wait();
  EXPECT_TRUE(fallback());
  recommend = StartService("recommend", {}, recommend_port);
  if (heals) {
    EXPECT_TRUE(Eventually([&] { return !fallback(); }));
  } else {
    for (int i = 0; i < 30; ++i) EXPECT_TRUE(fallback());
  }
}

TEST(Target, ReconnectsToAPeerThatWasKilled) { KillAndRestartPeer({}, true); }

TEST(Target, MutantNeverReconnectsServesFallbacksForEver) {
  KillAndRestartPeer({"--mutant=never-reconnects"}, false);
}

TEST(Target, MutantNeverReconnectsSurvivesAPeerThatIsMerelySlow) {
  Shop shop({"--deadline=200ms", "--mutant=never-reconnects"});
  shop.peer.delay_ms = 600;
  EXPECT_TRUE(shop.Order().fallback);
  shop.peer.delay_ms = 0;
  EXPECT_TRUE(Eventually([&] { return shop.OrderIsRecommendedSomething(); }));
}

TEST(Target, BreakerStopsCallsAfterFiveFailures) {
  Shop shop({"--deadline=30s", "--breaker-open-time=1h"});
  shop.peer.failing = true;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(shop.Order().fallback);
  EXPECT_EQ(shop.peer.calls, 5);
}

TEST(Target, BreakerClosesOnceAProbeSucceeds) {
  Shop shop({"--deadline=30s", "--breaker-open-time=50ms"});
  shop.peer.failing = true;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(shop.Order().fallback);
  shop.peer.failing = false;
  EXPECT_TRUE(Eventually([&] { return shop.OrderIsRecommendedSomething(); }));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(shop.OrderIsRecommendedSomething());
}

TEST(Target, EndsCleanlyOnSigtermAndAnswersWhatWasAsked) {
  const int port = FreePort();
  const auto recommend = StartService("recommend", {"--service-time=500ms"}, port);
  httplib::Client idle("127.0.0.1", port);  // a kept connection does not hold it up
  idle.set_keep_alive(true);
  EXPECT_NE(idle.Get("/healthz"), nullptr);
  std::future<Answer> pending =
      std::async(std::launch::async, [&] { return Get("127.0.0.1", port, "/recommend"); });
  usleep(100'000);
  recommend->Signal(SIGTERM);
  EXPECT_EQ(pending.get().status, 200);
  EXPECT_EQ(recommend->Wait(), 0);
}

TEST(Target, OrdersEndsCleanlyWhateverItsPeerDoes) {
  for (const char* mutant :
       {"", "--mutant=ignores-deadline", "--mutant=never-drains", "--mutant=never-reconnects"}) {
    SCOPED_TRACE(mutant);
    std::vector<std::string> flags = {"--deadline=100ms"};
    if (*mutant != '\0') flags.push_back(mutant);
    Shop shop(flags);
    shop.peer.delay_ms = 1000;
    std::future<Answer> pending = std::async(std::launch::async, [&] { return shop.Order(); });
    EXPECT_TRUE(Eventually([&] { return shop.peer.calls > 0; }));
    shop.orders->Signal(SIGTERM);
    EXPECT_EQ(shop.orders->Wait(), 0);
    pending.get();
  }
}

TEST(Target, SaysWhichPortIsTaken) {
  const int port = FreePort();
  const auto first = StartService("recommend", {}, port);
  Process second({"tests/target/recommend", absl::StrCat("--port=", port)});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_THAT(second.Errors(),
              HasSubstr(absl::StrCat("cannot listen on port ", port, " of 127.0.0.1: Address already")));
}

TEST(Target, RefusesFlagsThatMakeNoSense) {
  const std::vector<std::string> orders = {"tests/target/orders", "--port=1", "--recommend=127.0.0.1:2"};
  for (const auto& [flag, message] :
       {std::pair("--mutant=sleepy", "sleepy"), std::pair("--deadline=300", "--deadline"),
        std::pair("--recommend=nowhere", "nowhere is not HOST:PORT"),
        std::pair("--workers=0", "--workers")}) {
    std::vector<std::string> arguments = orders;
    if (std::string(flag).rfind("--recommend", 0) == 0) arguments.pop_back();
    arguments.push_back(flag);
    Process process(arguments);
    EXPECT_GT(process.Wait(), 0) << flag;
    EXPECT_THAT(process.Errors(), HasSubstr(message));
  }
}

}  // namespace
}  // namespace squall::target
