#pragma once

#include <cstdint>

#include "base/histogram.h"

namespace squall {

// The delays that were measured where what is asked for may change: those that were asked for last of what anything was measured of.
// Nanoseconds. Not thread-safe.
class MeasuredDelay {
 public:
  // Something else is asked for from now on.
  void Changed() { ++asked_; }
  // To be kept with what is held back, and given with what was measured of it.
  int asked() const { return asked_; }
  void Add(int asked, int64_t delay_ns) {
    if (asked < measured_) return;  // overtaken
    if (asked > measured_) delays_ = Histogram();
    measured_ = asked;
    delays_.Add(delay_ns);
  }
  int64_t count() const { return delays_.count(); }
  int64_t Quantile(double q) const { return delays_.Quantile(q); }

 private:
  int asked_ = 0;
  int measured_ = 0;
  Histogram delays_;
};

}  // namespace squall
