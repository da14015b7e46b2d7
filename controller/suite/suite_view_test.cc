#include "controller/suite/suite_view.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

TEST(ProgressRow, TellsWhatGoesOnInOneLine) {
  Progress progress;
  progress.phase = PhaseEvent::FAULTS;
  progress.left = absl::Seconds(31);
  progress.ok = 10;
  progress.degraded = 140;
  progress.errors = 2;
  progress.p99 = absl::Milliseconds(302);
  progress.injected = {"500 ms on every response over recommend"};
  EXPECT_EQ(ProgressRow("shop", 8, progress, 200),
            "shop      faults     31 s left  ok  150/s  errors   2/s  p99 302 ms   500 ms on every response over recommend");
  EXPECT_EQ(ProgressRow("shop", 8, progress, 40).size(), 40u);
}

TEST(ProgressRow, SaysWhatIsDoneBeforeTheLoadStarts) {
  Progress progress;
  progress.doing = "starting services";
  EXPECT_EQ(ProgressRow("recommend-slow", 9, progress, 80), "recommend  starting services");
}

}  // namespace
}  // namespace squall
