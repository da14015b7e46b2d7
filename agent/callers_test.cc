#include "agent/callers.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/fd.h"
#include "proto/agent.grpc.pb.h"

namespace squall {
namespace {

std::pair<Fd, Fd> Pair() {
  int ends[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

std::string PeerOf(const Fd& fd) { return absl::StrCat("fd:", fd.get()); }

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000 && !condition(); ++i) absl::SleepFor(absl::Milliseconds(5));
  return condition();
}

TEST(Callers, TellsWhoIsBehindADescriptor) {
  Callers callers;
  const auto [one, two] = Pair();
  ASSERT_TRUE(callers.Add(one.get(), {"ci", "ipv4:10.0.0.1:1"}, 10));
  ASSERT_TRUE(callers.Add(two.get(), {"ops", "ipv4:10.0.0.2:2"}, 10));
  EXPECT_EQ(callers.Find(PeerOf(one)).name, "ci");
  EXPECT_EQ(callers.Find(PeerOf(two)).name, "ops");
  EXPECT_EQ(callers.Find(PeerOf(two)).address, "ipv4:10.0.0.2:2");
}

TEST(Callers, WhoIsNotKnownHasNoName) {
  Callers callers;
  for (const char* peer : {"unix:/run/squall/1.sock", "fd:7", "fd:", "fd:x", "fd:-1", ""}) {
    EXPECT_EQ(callers.Find(peer).name, "") << peer;
    EXPECT_EQ(callers.Find(peer).address, peer);
  }
}

TEST(Callers, ANumberThatIsUsedAgainIsThatOfTheNextCaller) {
  Callers callers;
  int number = -1;
  {
    const auto [one, other] = Pair();
    number = one.get();
    ASSERT_TRUE(callers.Add(number, {"ci", "ipv4:10.0.0.1:1"}, 10));
  }
  const auto [again, other] = Pair();
  ASSERT_EQ(again.get(), number);
  ASSERT_TRUE(callers.Add(again.get(), {"ops", "ipv4:10.0.0.2:2"}, 10));
  EXPECT_EQ(callers.Find(PeerOf(again)).name, "ops");
}

TEST(Callers, OnlyThoseThatAreStillConnectedCount) {
  Callers callers;
  const auto [kept, other] = Pair();
  ASSERT_TRUE(callers.Add(kept.get(), {"ci", "ipv4:10.0.0.1:1"}, 2));
  for (int i = 0; i < 10; ++i) {
    // Numbers that are used for something else by now.
    const auto [gone, of_it] = Pair();
    const Fd high(fcntl(gone.get(), F_DUPFD_CLOEXEC, 100 + i));
    EXPECT_TRUE(callers.Add(high.get(), {"ops", "ipv4:10.0.0.2:2"}, 2)) << i;
  }
  EXPECT_EQ(callers.Find(PeerOf(kept)).name, "ci");
  const auto [second, of_second] = Pair();
  ASSERT_TRUE(callers.Add(second.get(), {"ops", "ipv4:10.0.0.2:2"}, 2));
  EXPECT_FALSE(callers.Add(of_second.get(), {"ops", "ipv4:10.0.0.2:3"}, 2)) << "two are there already";
}

// A service whose call lasts until it is let go.
class Holds : public Agent::Service {
 public:
  grpc::Status ReadClock(grpc::ServerContext* context, const ReadClockRequest*, ReadClockReply*) override {
    peer = context->peer();
    began.Notify();
    go.WaitForNotification();
    peer_later = context->peer();
    ended.Notify();
    return grpc::Status::OK;
  }
  std::string peer, peer_later;
  absl::Notification began, go, ended;
};

// What Callers relies on in gRPC.
TEST(Callers, GrpcKeepsADescriptorOpenWhileACallOnItHasItsContext) {
  Holds service;
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr);
  auto [ours, theirs] = Pair();
  const int number = ours.get();
  struct stat before, now;
  ASSERT_EQ(fstat(number, &before), 0);
  const auto is_open = [&] { return fstat(number, &now) == 0 && now.st_ino == before.st_ino; };
  grpc::AddInsecureChannelFromFd(server.get(), ours.Release());
  // An end that can be cut under the client's hands.
  const Fd cut(dup(theirs.get()));
  const auto stub = Agent::NewStub(grpc::CreateInsecureChannelFromFd("agent", theirs.Release()));
  std::thread client([&] {
    grpc::ClientContext context;
    ReadClockReply reply;
    EXPECT_FALSE(stub->ReadClock(&context, {}, &reply).ok());
  });
  ASSERT_TRUE(service.began.WaitForNotificationWithTimeout(absl::Seconds(10)));
  EXPECT_EQ(service.peer, absl::StrCat("fd:", number));
  shutdown(cut.get(), SHUT_RDWR);
  client.join();  // both ends know that it is over
  // Enough turns of the server's threads for a close that is not held up: a whole other connection comes and goes.
  for (int i = 0; i < 3; ++i) {
    auto [more, of_more] = Pair();
    const int other_number = more.get();
    grpc::AddInsecureChannelFromFd(server.get(), more.Release());
    of_more.Reset();
    EXPECT_TRUE(Eventually([&] { return fcntl(other_number, F_GETFD) < 0; }));
  }
  EXPECT_TRUE(is_open()) << "its number could be somebody else's while the call asks who it is";
  service.go.Notify();
  EXPECT_TRUE(Eventually([&] { return !is_open(); }));
  service.ended.WaitForNotification();
  EXPECT_EQ(service.peer_later, service.peer);
  server->Shutdown();
}

}  // namespace
}  // namespace squall
