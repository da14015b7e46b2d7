#include "base/lately.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(Lately, WithoutAChangeIsTheShareOfAll) {
  const Lately lately(100);
  EXPECT_EQ(lately.Percent(0, 0), 0);
  EXPECT_EQ(lately.Percent(200, 50), 25);
}

TEST(Lately, CountsFromTheLastChangesOn) {
  Lately lately(100);
  int64_t all = 0, hit = 0;
  for (int percent = 0; percent <= 50; percent += 10) {
    lately.Changed(all, hit);
    all += 1000;
    hit += 10 * percent;
  }
  EXPECT_EQ(lately.Percent(all, hit), 45) << "those of 40 % and 50 %";
  all += 8000;
  hit += 4000;
  EXPECT_EQ(lately.Percent(all, hit), 49) << "and what is held at 50 %";
}

TEST(Lately, OfFewGoesBackUntilAShareSaysSomething) {
  Lately lately(100);
  int64_t all = 0, hit = 0;
  for (int step = 0; step < 10; ++step) {
    all += 30;
    hit += 3;
    lately.Changed(all, hit);
  }
  EXPECT_EQ(lately.Percent(all, hit), 10);
  EXPECT_EQ(lately.Percent(all + 60, hit + 60), 100.0 * (60 + 18) / (60 + 180)) << "the second change that counted was at 240, the first at 120";
}

}  // namespace
}  // namespace squall
