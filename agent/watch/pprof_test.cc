#include "agent/watch/pprof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/load/loopback_server.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::string_view kGoroutines =
    "goroutine profile: total 36\n"
    "30 @ 0x43b256 0x407e5b 0x407998 0x670a3f 0x46b161\n"
    "#\t0x670a3e\tmain.(*Orders).call.func1+0x1e\t/src/orders.go:41\n"
    "\n"
    "5 @ 0x43b256 0x4656e5\n"
    "# labels: {\"request\":\"7\"}\n"
    "#\t0x4656e4\tinternal/poll.runtime_pollWait+0x88\t\t/usr/lib/go/src/runtime/netpoll.go:305\n"
    "#\t0x4656e5\tmain.hold[...]+0x12\t\t\t/src/orders.go:50\n"
    "#\t0x4656e6\n"
    "\n"
    "1 @ 0x430856 0x4656e5\n"
    "#\t0x66eca4\tnet/http/pprof.handler.ServeHTTP+0x4a4\t/usr/lib/go/src/net/http/pprof/pprof.go:253\n"
    "\n";

constexpr absl::string_view kStates =
    "goroutine 5 [running]:\n"
    "runtime/pprof.writeGoroutineStacks({0x75bec0, 0xc0000fe000})\n"
    "\t/usr/lib/go/src/runtime/pprof/pprof.go:692 +0x70\n"
    "net/http/pprof.Index({0x75dd40?, 0xc0000fe000}, 0xc0000b2000)\n"
    "\t/usr/lib/go/src/net/http/pprof/pprof.go:371 +0x13e\n"
    "\n"
    "goroutine 19 [chan receive, 1 minutes]:\n"
    "main.(*Orders).call.func1()\n"
    "\t/src/orders.go:41 +0x1f\n"
    "created by main.(*Orders).call\n"
    "\t/src/orders.go:40 +0x56\n"
    "\n"
    "goroutine 20 [chan receive, 3 minutes]:\n"
    "main.(*Orders).call.func1()\n"
    "\t/src/orders.go:41 +0x1f\n"
    "created by main.(*Orders).call in goroutine 1\n"
    "\t/src/orders.go:40 +0x56\n"
    "\n"
    "goroutine 21 [select (no cases), locked to thread]:\n"
    "main.wait({0x1, 0x2}, 0x3)\n"
    "\t/src/wait.go:7 +0x1f\n"
    "...additional frames elided...\n";

constexpr absl::string_view kHeap =
    "heap profile: 46: 45097472 [48: 46146624] @ heap/1048576\n"
    "43: 45088768 [43: 45088768] @ 0x670b96 0x670b6c 0x43ae92 0x46b161\n"
    "#\t0x670b95\tmain.hold[...]+0x95\t/src/orders.go:50\n"
    "#\t0x670b6b\tmain.main+0x6b\t\t/src/main.go:8\n"
    "\n"
    "1: 524288 [1: 524288] @ 0x40fa6e\n"
    "#\t0x47f8d7\tmain.small+0x957\t/src/small.go:1\n"
    "\n"
    "0: 0 [1: 1048576] @ 0x662bd6 0x662b4b\n"
    "#\t0x662bd5\tmain.freed+0x35\t/src/freed.go:1\n"
    "\n\n"
    "# runtime.MemStats\n"
    "# Alloc = 52619000\n"
    "# HeapAlloc = 52619768\n"
    "# HeapInuse = 53313536\n";

TEST(ParseGoroutines, CountsThoseWithTheSameStackAndLeavesOutTheOneThatAnswers) {
  const auto counts = ParseGoroutines(kGoroutines);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->total, 36);
  ASSERT_THAT(counts->stacks, SizeIs(2));
  EXPECT_EQ(counts->stacks[0].count(), 30);
  EXPECT_THAT(counts->stacks[0].frames(), ElementsAre("main.(*Orders).call.func1 /src/orders.go:41"));
  EXPECT_EQ(counts->stacks[1].count(), 5);
  EXPECT_THAT(counts->stacks[1].frames(),
              ElementsAre("internal/poll.runtime_pollWait /usr/lib/go/src/runtime/netpoll.go:305", "main.hold[...] /src/orders.go:50", "0x4656e6"));
}

TEST(ParseGoroutineStates, TellsStatesAndTheLongestWait) {
  const auto counts = ParseGoroutineStates(kStates);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->total, 4);
  ASSERT_THAT(counts->stacks, SizeIs(2));
  EXPECT_EQ(counts->stacks[0].count(), 2);
  EXPECT_EQ(counts->stacks[0].state(), "chan receive, 3 minutes");
  EXPECT_THAT(counts->stacks[0].frames(), ElementsAre("main.(*Orders).call.func1 /src/orders.go:41"));
  EXPECT_EQ(counts->stacks[1].state(), "select (no cases)");
  EXPECT_THAT(counts->stacks[1].frames(), ElementsAre("main.wait /src/wait.go:7"));
}

TEST(ParseHeap, TellsWhatTheSampleStandsForAndWhatIsAllocated) {
  const auto counts = ParseHeap(kHeap);
  ASSERT_TRUE(counts.ok()) << counts.status();
  EXPECT_EQ(counts->bytes, 52619768);
  ASSERT_THAT(counts->stacks, SizeIs(2)) << "what is freed is not told";
  // 1 / (1 - e^-2) times what was sampled of pieces of 1 MiB, 1 / (1 - 1/e) times for pieces of 512 KiB.
  EXPECT_NEAR(static_cast<double>(counts->stacks[0].bytes()), 45088768 * 1.1565, 10'000);
  EXPECT_EQ(counts->stacks[0].count(), 49);
  EXPECT_THAT(counts->stacks[0].frames(), ElementsAre("main.hold[...] /src/orders.go:50", "main.main /src/main.go:8"));
  EXPECT_NEAR(static_cast<double>(counts->stacks[1].bytes()), 524288 * 1.582, 1000);
}

TEST(ParseHeap, StacksOfSeveralSizesAreOne) {
  const auto counts = ParseHeap(
      "heap profile: 2: 48 [2: 48] @ heap/2\n1: 16 [1: 16] @ 0x1\n#\t0x1\tmain.f+0x1\t/f.go:1\n\n1: 32 [1: 32] @ 0x1\n#\t0x1\tmain.f+0x1\t/f.go:1\n");
  ASSERT_TRUE(counts.ok());
  ASSERT_THAT(counts->stacks, SizeIs(1));
  EXPECT_EQ(counts->stacks[0].count(), 2);
  EXPECT_EQ(counts->stacks[0].bytes(), 48);
  EXPECT_EQ(counts->bytes, -1) << "it was cut off before it told that";
}

TEST(ParseProfiles, WhatIsNoneOfThemIsAnErrorThatShowsIt) {
  const std::string page = "<html>\xFF not here</html>";
  EXPECT_THAT(std::string(ParseGoroutines(page).status().message()), HasSubstr("<html>\uFFFD not here"));
  EXPECT_THAT(std::string(ParseGoroutineStates(page).status().message()), HasSubstr("no profile of goroutines"));
  EXPECT_THAT(std::string(ParseHeap(page).status().message()), HasSubstr("no profile of the heap"));
  EXPECT_FALSE(ParseGoroutines("").ok());
}

TEST(ParseProfiles, TellTheLargestStacksOnly) {
  std::string text = "goroutine profile: total 5000\n", states;
  std::string heap = "heap profile: 1: 1 [1: 1] @ heap/2\n";
  for (int i = 1; i <= 1000; ++i) {
    const std::string frames = absl::StrCat("#\t0x1\tmain.f", i, "+0x1\t/f.go:", i, "\n\n");
    absl::StrAppend(&text, i, " @ 0x1\n", frames);
    absl::StrAppend(&heap, 1, ": ", i, " [1: 1] @ 0x1\n", frames);
    for (int k = 0; k < (i == 77 ? 3 : 1); ++k) absl::StrAppend(&states, "goroutine 1 [select]:\nmain.f", i, "()\n\t/f.go:", i, " +0x1\n\n");
  }
  const auto counts = ParseGoroutines(text);
  ASSERT_THAT(counts->stacks, SizeIs(kMostStacks));
  EXPECT_EQ(counts->stacks.front().count(), 1000);
  EXPECT_EQ(counts->stacks.back().count(), 801);
  EXPECT_EQ(ParseHeap(heap)->stacks.back().bytes(), 801);
  EXPECT_THAT(ParseGoroutineStates(states)->stacks, SizeIs(kMostStacks));
  EXPECT_THAT(ParseGoroutineStates(states)->stacks.front().frames(), ElementsAre("main.f77 /f.go:77"));
}

TEST(ParseProfiles, FramesAndTheirTextAreBounded) {
  std::string text = "goroutine profile: total 1\n1 @ 0x1\n", state = "goroutine 1 [select]:\n";
  for (int i = 0; i < 1000; ++i) {
    absl::StrAppend(&text, "#\t0x1\t", std::string(1000, 'f'), "+0x1\t/f.go:1\n");
    absl::StrAppend(&state, std::string(1000, 'f'), "()\n\t/f.go:1 +0x1\n");
  }
  for (const auto& counts : {ParseGoroutines(text), ParseGoroutineStates(state)}) {
    ASSERT_THAT(counts->stacks, SizeIs(1));
    EXPECT_THAT(counts->stacks[0].frames(), SizeIs(kMostFrames));
    EXPECT_EQ(counts->stacks[0].frames(0).size(), 300u);
  }
}

TEST(ParseProfiles, NumbersThatCannotBeAreSkipped) {
  const auto counts = ParseGoroutines("goroutine profile: total many\n-3 @ 0x1\nnan @ 0x1\n1e300 @ 0x1\n# @\n7 @\n");
  ASSERT_TRUE(counts.ok());
  EXPECT_EQ(counts->total, -1);
  for (const StackCount& stack : counts->stacks) EXPECT_GE(stack.count(), 0);
  const auto heap = ParseHeap("heap profile: @ heap/nan\n1: -5 [\n: [: ] @\n1: inf [1: 1] @\n2: 4 [3: 4] @ 0x1\n# HeapAlloc = -7\n");
  ASSERT_TRUE(heap.ok());
  ASSERT_THAT(heap->stacks, SizeIs(1));
  EXPECT_EQ(heap->stacks[0].bytes(), 4);
  EXPECT_EQ(heap->bytes, -1);
}

TEST(ParseProfiles, SurviveDamageOfAnyKind) {
  std::mt19937 random(7);
  for (const absl::string_view text : {kGoroutines, kStates, kHeap}) {
    for (int i = 0; i < 20'000; ++i) {
      std::string damaged(text);
      for (int hits = static_cast<int>(random() % 4); hits >= 0; --hits) {
        const size_t at = random() % damaged.size();
        switch (random() % 4) {
          case 0:
            damaged[at] = static_cast<char>(random());
            break;
          case 1:
            damaged.erase(at, random() % 40);
            break;
          case 2:
            damaged.insert(at, damaged.substr(random() % damaged.size(), random() % 40));
            break;
          case 3:
            damaged[at] = "\n\t []:@#"[random() % 8];
            break;
        }
        if (damaged.empty()) break;
      }
      for (const auto& counts : {ParseGoroutines(damaged), ParseGoroutineStates(damaged)}) {
        if (!counts.ok()) continue;
        Record record;
        for (const StackCount& stack : counts->stacks) *record.mutable_snapshot()->add_goroutines() = stack;
        EXPECT_TRUE(Record().ParseFromString(record.SerializeAsString())) << "all of it is UTF-8";
      }
      if (const auto counts = ParseHeap(damaged); counts.ok()) {
        for (const StackCount& stack : counts->stacks) EXPECT_GE(stack.bytes(), 0);
      }
    }
  }
}

// Answers as a program's pprof does.
LoopbackServer::Reply Serve(absl::string_view request) {
  const absl::string_view page = absl::StrContains(request, "goroutine?debug=1")       ? kGoroutines
                                 : absl::StrContains(request, "goroutine?debug=2")     ? kStates
                                 : absl::StrContains(request, "/heap?gc=1&debug=1 ") ? kHeap
                                                                                       : "";
  return {LoopbackServer::Http(page.empty() ? 404 : 200, page)};
}

TEST(ReadProfiles, AsksForGoroutinesAndHeapBelowTheUrl) {
  LoopbackServer server([](absl::string_view request, int) { return Serve(request); });
  HttpGetter getter(&NetNamespace::Own, ProfileBounds([] { return false; }));
  const std::string url = absl::StrCat("http://127.0.0.1:", server.port(), "/debug/pprof/");
  const Profiles profiles = ReadProfiles(getter, url, /*states=*/false);
  EXPECT_EQ(profiles.error, "");
  EXPECT_EQ(profiles.goroutines.total, 36);
  EXPECT_EQ(profiles.heap.bytes, 52619768);
  EXPECT_THAT(profiles.goroutines.stacks, SizeIs(2));
  EXPECT_EQ(profiles.goroutines.stacks[0].state(), "");
  EXPECT_EQ(ReadProfiles(getter, url, /*states=*/true).goroutines.stacks[0].state(), "chan receive, 3 minutes");
  EXPECT_EQ(*ReadGoroutineTotal(getter, url), 36);
}

TEST(ReadProfiles, SaysWhatIsMissingAndTellsTheRest) {
  LoopbackServer server([](absl::string_view request, int) {
    return absl::StrContains(request, "heap") ? LoopbackServer::Reply{LoopbackServer::Http(403, "no")} : Serve(request);
  });
  HttpGetter getter(&NetNamespace::Own, ProfileBounds([] { return false; }));
  const Profiles profiles = ReadProfiles(getter, absl::StrCat("http://127.0.0.1:", server.port(), "/debug/pprof"), false);
  EXPECT_EQ(profiles.goroutines.total, 36);
  EXPECT_EQ(profiles.heap.bytes, -1);
  EXPECT_THAT(profiles.error, HasSubstr("answered 403"));
}

TEST(ReadProfiles, OfAHugeAnswerTheBeginningCounts) {
  std::string page = absl::StrCat(kGoroutines, std::string(17 << 20, 'x'));
  LoopbackServer server([&](absl::string_view, int) { return LoopbackServer::Reply{LoopbackServer::Http(200, page)}; });
  HttpGetter getter(&NetNamespace::Own, ProfileBounds([] { return false; }));
  const Profiles profiles = ReadProfiles(getter, absl::StrCat("http://127.0.0.1:", server.port(), "/debug/pprof"), false);
  EXPECT_EQ(profiles.goroutines.total, 36);
  EXPECT_THAT(profiles.error, HasSubstr("goroutine?debug=1 is longer than 16 MiB"));
  EXPECT_THAT(profiles.heap.stacks, IsEmpty());
}

}  // namespace
}  // namespace squall
