#pragma once

#include <cstdint>

namespace squall {

// Which share of something was hit or used, where the share that is asked for changes step by step: counted from one of the last
// changes on, but over so much that a share says something. Pure.
class Lately {
 public:
  // How much has to come between two changes for the later one to count as a beginning.
  explicit Lately(int64_t least) : least_(least) {}

  // Another share is asked for from now on. How much came and how much of it was hit, since the beginning of all.
  void Changed(int64_t all, int64_t hit) {
    if (all - last_.all < least_) return;
    from_ = last_;
    last_ = {all, hit};
  }
  // In percent; 0 where nothing came.
  double Percent(int64_t all, int64_t hit) const {
    return all <= from_.all ? 0 : 100.0 * static_cast<double>(hit - from_.hit) / static_cast<double>(all - from_.all);
  }

 private:
  struct Counts {
    int64_t all = 0;
    int64_t hit = 0;
  };
  int64_t least_;
  Counts from_;  // at least `least_` before last_
  Counts last_;
};

}  // namespace squall
