#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controller/assertions/baseline.h"
#include "controller/assertions/windows.h"
#include "proto/assertion.pb.h"

namespace squall {

// How far a window may be off the baseline and still count as "as before". Plain data.
struct Band {
  double p50_ns = 0;         // at most
  double p95_ns = 0;         // at most
  double error_percent = 0;  // at most; one request may always fail
  double ok_percent = 0;     // at least, of the requests that were due
  double far_ok_percent = 0;
  double baseline_ok_percent = 0;
};

Band BandOf(const Recovery& spec, const Steady& steady, const Baseline& baseline);

enum class Standing {
  kIn,
  kOut,
  kFarOut,   // outside 1.5 times the band
  kEmpty,    // no request was due: out, and breaks a run
  kLeftOut,  // the machine stood still, and it cannot be told
  kHungUp,   // so many clients hung up that too few requests are left to tell
};

Standing StandingOf(const Window& window, const Band& band);
// The same, where the machine may have stood still for a part of the window: `window` was cut with kDueInStall, `untouched` with
// kTouchedByStall.
Standing StandingOf(const Window& window, const Window& untouched, const Band& band);

// The same band for answers that may be so much later.
Band LaterBy(int64_t ns, Band band);

// The series that is furthest out of band, with its figures: "goodput 0 % of baseline (95 % needed)". Empty:
// all are in band.
std::string WorstSeries(const Window& window, const Band& band);

// How a service came back. Indexes are those of the windows.
struct Course {
  std::optional<size_t> recovered;  // the first window of the run that counts
  size_t run_end = 0;               // one past the last window of that run
  std::optional<size_t> pending;    // an in-band window whose run the windows neither complete nor refute
  std::vector<size_t> relapses;     // where it went out of band again after such a run
};

// A run begins with an in-band window and has `needed` windows, of which at most one is out of band and none
// is empty. A relapse is three windows in a row far out of band after a run; then another run is needed.
// Windows of which nothing can be told are skipped.
Course Follow(const std::vector<Standing>& standings, size_t needed);

}  // namespace squall
