#include "agent/net/measured_delay.h"

#include <gtest/gtest.h>

namespace squall {
namespace {

TEST(MeasuredDelay, WithoutAChangeIsOfAll) {
  MeasuredDelay delay;
  EXPECT_EQ(delay.Quantile(0.5), 0);
  delay.Add(delay.asked(), 100);
  delay.Add(delay.asked(), 120);
  EXPECT_EQ(delay.count(), 2);
  EXPECT_EQ(delay.Quantile(1), 120);
}

TEST(MeasuredDelay, IsOfTheLastThatWasAskedForAndMeasured) {
  MeasuredDelay delay;
  const int first = delay.asked();
  delay.Add(first, 100);
  delay.Changed();
  EXPECT_EQ(delay.Quantile(0.5), 100) << "until something is measured of the next";
  const int second = delay.asked();
  delay.Changed();
  delay.Add(second, 50);
  EXPECT_EQ(delay.count(), 1);
  EXPECT_EQ(delay.Quantile(0.5), 50);
  delay.Add(first, 100);
  EXPECT_EQ(delay.Quantile(0.5), 50) << "what is released late was asked for before";
}

}  // namespace
}  // namespace squall
