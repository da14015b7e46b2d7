#include "controller/assertions/leak_names.h"

#include "gtest/gtest.h"

namespace squall {
namespace {

using Frames = std::vector<std::string>;

const Frames kCall = {"runtime.gopark /usr/lib/go-1.19/src/runtime/proc.go:363",
                      "runtime.chanrecv /usr/lib/go-1.19/src/runtime/chan.go:583", "main.(*Orders).call.func1 /src/orders.go:41"};
const Frames kReadLoop = {"runtime.gopark /usr/lib/go-1.19/src/runtime/proc.go:363",
                          "internal/poll.(*FD).Read /usr/lib/go-1.19/src/internal/poll/fd_unix.go:167",
                          "net.(*conn).Read /usr/lib/go-1.19/src/net/net.go:183",
                          "net/http.(*persistConn).readLoop /usr/lib/go-1.19/src/net/http/transport.go:2101"};

struct Snapshot {
  ProcessSnapshot it;
  operator const ProcessSnapshot&() const { return it; }

  Snapshot& Goroutines(const Frames& frames, int64_t count, const std::string& state = "") {
    StackCount& stack = *it.add_goroutines();
    stack.mutable_frames()->Assign(frames.begin(), frames.end());
    stack.set_count(count);
    stack.set_state(state);
    return *this;
  }
  Snapshot& Heap(const Frames& frames, int64_t bytes) {
    StackCount& stack = *it.add_heap();
    stack.mutable_frames()->Assign(frames.begin(), frames.end());
    stack.set_bytes(bytes);
    return *this;
  }
  Snapshot& Fds(const std::string& kind, const std::string& to, const std::string& state, int count) {
    FdCount& fd = *it.add_fds();
    fd.set_kind(kind);
    fd.set_to(to);
    fd.set_state(state);
    fd.set_count(count);
    return *this;
  }
  Snapshot& Threads(const std::string& name, int count) {
    (*it.mutable_threads())[name] = count;
    return *this;
  }
};

TEST(LeakNames, KnowsTheServicesOwnLines) {
  EXPECT_EQ(OwnFrame(kCall), "main.(*Orders).call.func1 /src/orders.go:41");
  EXPECT_EQ(OwnFrame(kReadLoop), "");
  EXPECT_EQ(OwnFrame({}), "");
  // A module's own packages, with a domain in their path or without.
  for (const char* own : {"shop/orders.Place /src/place.go:7", "example.com/shop/orders.(*Db).get /build/db.go:9",
                          "main.Map[...] /src/my orders/map.go:3", "shop/v2/pay%2ev3.Do /src/pay.go:1",
                          "shop/net.Dial shop/net/dial.go:12", "main.run /root/go/pkg/mod/example.com/tool@v1.0.0/main.go:3"}) {
    EXPECT_EQ(OwnFrame({own}), own);
  }
  for (const char* other :
       {"github.com/redis/go-redis/v9.(*Client).Get /root/go/pkg/mod/github.com/redis/go-redis/v9@v9.0.2/c.go:1",
        "github.com/redis/go-redis.Get /src/vendor/github.com/redis/go-redis/c.go:1",
        "github.com/redis/go-redis.Get github.com/redis/go-redis@v1.2.0/c.go:1",
        "golang.org/x/net/http2.(*Framer).ReadFrame /x/f.go:4", "google.golang.org/grpc.(*Server).Serve /x/s.go:4",
        "time.Sleep /home/my go/src/runtime/time.go:195",
        "slices.SortFunc[go.shape.struct { shop/orders.X }] /usr/lib/go/src/slices/sort.go:29"}) {
    EXPECT_EQ(OwnFrame({other}), "") << other;
  }
}

TEST(LeakNames, NamesGoroutinesByTheInnermostOwnLine) {
  const Snapshot before = Snapshot().Goroutines(kCall, 2).Goroutines(kReadLoop, 5);
  Frames deeper = kCall;
  deeper.push_back("main.main /src/main.go:9");
  const LeakName name =
      NameGoroutines(before, Snapshot().Goroutines(kCall, 202).Goroutines(deeper, 100).Goroutines(kReadLoop, 6), nullptr);
  EXPECT_EQ(name.brief, "300 more at main.(*Orders).call.func1 /src/orders.go:41");
  EXPECT_TRUE(name.own);
  ASSERT_EQ(name.details.size(), 2u);
  EXPECT_EQ(name.details[0].name(), "more goroutines");
  EXPECT_EQ(name.details[0].value(),
            "300 more: runtime.gopark /usr/lib/go-1.19/src/runtime/proc.go:363 < ... < main.(*Orders).call.func1 /src/orders.go:41");
  EXPECT_EQ(name.details[1].name(), "more goroutines, none of whose lines is the service's own");
}

TEST(LeakNames, TellsWhichOfTheServicesOwnLinesCalledTheOneThatWaits) {
  const Frames through = {"net/http.(*persistConn).roundTrip net/http/transport.go:2620", "net/http.(*Client).Do net/http/client.go:581",
                          "main.(*shop).ask /src/peer.go:40",        "main.(*shop).stock /src/stock.go:51",
                          "net/http.HandlerFunc.ServeHTTP net/http/server.go:2109", "net/http.(*conn).serve net/http/server.go:1991"};
  const LeakName name = NameGoroutines({}, Snapshot().Goroutines(through, 300), nullptr);
  EXPECT_EQ(name.brief, "300 more at main.(*shop).ask /src/peer.go:40, called at main.(*shop).stock /src/stock.go:51");
  EXPECT_EQ(name.details[0].value(),
            "300 more: net/http.(*persistConn).roundTrip net/http/transport.go:2620 < ... < main.(*shop).ask /src/peer.go:40 < "
            "main.(*shop).stock /src/stock.go:51 < ...");
}

TEST(LeakNames, TellsWhatTheyWaitFor) {
  const Snapshot leaked = Snapshot()
                              .Goroutines(kCall, 90, "chan receive, 1 minutes")
                              .Goroutines(kCall, 210, "chan receive, 2 minutes")
                              .Goroutines(kReadLoop, 400, "IO wait");
  EXPECT_EQ(NameGoroutines({}, Snapshot().Goroutines(kCall, 300), &leaked.it).brief,
            "300 more at main.(*Orders).call.func1 /src/orders.go:41 (chan receive, 2 minutes)");
}

TEST(LeakNames, NamesWhatHasNoOwnLineByWhatTheLibraryStarted) {
  const Snapshot leaked = Snapshot().Goroutines(kReadLoop, 300, "IO wait");
  const LeakName name = NameGoroutines({}, Snapshot().Goroutines(kReadLoop, 300), &leaked.it);
  EXPECT_EQ(name.brief, "300 more at net/http.(*persistConn).readLoop /usr/lib/go-1.19/src/net/http/transport.go:2101 (IO wait)");
  EXPECT_FALSE(name.own);
}

TEST(LeakNames, PrefersAnOwnLineUnlessALibraryGrewMuchMore) {
  EXPECT_TRUE(NameGoroutines({}, Snapshot().Goroutines(kReadLoop, 600).Goroutines(kCall, 300), nullptr).own);
  EXPECT_FALSE(NameGoroutines({}, Snapshot().Goroutines(kReadLoop, 601).Goroutines(kCall, 300), nullptr).own);
}

TEST(LeakNames, NamesHeapByWhatAllocatedIt) {
  const Frames timer = {"time.NewTimer /usr/lib/go/src/time/sleep.go:86", "time.After /usr/lib/go/src/time/sleep.go:156",
                        "main.poll /src/poll.go:12"};
  const Frames buffer = {"bufio.NewReaderSize /usr/lib/go/src/bufio/bufio.go:57",
                         "net/http.(*conn).serve /usr/lib/go/src/net/http/server.go:1900"};
  const LeakName name = NameHeap(Snapshot().Heap(timer, 1 << 20), Snapshot().Heap(timer, 49 << 20).Heap(buffer, 100));
  EXPECT_EQ(name.brief, "48 MiB more at main.poll /src/poll.go:12");
  EXPECT_EQ(NameHeap({}, Snapshot().Heap(buffer, 2048)).brief,
            "2 KiB more at bufio.NewReaderSize /usr/lib/go/src/bufio/bufio.go:57");
}

TEST(LeakNames, NamesDescriptorsByPeerAndState) {
  const Snapshot before = Snapshot().Fds("tcp", "127.0.0.1:9090", "ESTABLISHED", 4);
  const Snapshot after = Snapshot()
                             .Fds("tcp", "127.0.0.1:9090", "ESTABLISHED", 9)
                             .Fds("tcp", "127.0.0.1:9090", "CLOSE_WAIT", 300)
                             .Fds("pipe", "", "", 2);
  EXPECT_EQ(NameFds(before, after).brief, "300 more tcp sockets to 127.0.0.1:9090 in CLOSE_WAIT");
  EXPECT_EQ(NameFds(before, after, "ESTABLISHED").brief, "5 more tcp sockets to 127.0.0.1:9090 in ESTABLISHED");
  EXPECT_EQ(NameFds(after, after).brief, "");
}

TEST(LeakNames, NamesManyPeersOrFilesByWhatTheyHaveInCommon) {
  Snapshot files, peers;
  for (int i = 0; i < 30; ++i) {
    files.Fds("file", "/tmp/orders/" + std::to_string(i) + ".tmp", "", 1);
    peers.Fds("tcp", "10.0.0.7:" + std::to_string(40000 + i), "ESTABLISHED", 1);
  }
  EXPECT_EQ(NameFds({}, files).brief, "30 more files in /tmp/orders");
  EXPECT_EQ(NameFds({}, peers).brief, "30 more tcp sockets to 10.0.0.7 in ESTABLISHED");
  EXPECT_EQ(NameFds({}, Snapshot().Fds("file", "/tmp/orders.log", "", 30)).brief, "30 more of /tmp/orders.log");
}

TEST(LeakNames, NamesThreads) {
  EXPECT_EQ(NameThreads(Snapshot().Threads("worker", 4), Snapshot().Threads("worker", 304)).brief, "300 more named worker");
  Snapshot many;
  for (int i = 0; i < 30; ++i) many.Threads("worker-" + std::to_string(i), 1);
  EXPECT_EQ(NameThreads({}, many).brief, "30 more named worker-*");
}

TEST(LeakNames, ShowsNoMoreThanThree) {
  Snapshot after;
  for (int i = 1; i < 9; ++i) after.Goroutines({"main.f" + std::to_string(i) + " /src/f.go:1"}, i);
  EXPECT_EQ(NameGoroutines({}, after, nullptr).details.size(), 3u);
  EXPECT_EQ(NameGoroutines({}, Snapshot().Goroutines({}, 4), nullptr).brief, "4 more at a stack that is not known");
}

}  // namespace
}  // namespace squall
