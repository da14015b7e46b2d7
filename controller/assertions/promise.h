#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controller/assertions/gates.h"
#include "controller/assertions/judge.h"
#include "controller/timeline.h"
#include "proto/verdict.pb.h"

namespace squall {

// One of several promises that an assertion holds a service to, and what was seen of it. Plain data; points into the timeline.
struct Promise {
  std::string name;  // of its line among the details
  Verdict::Result result = Verdict::PASS;
  std::string text;    // what was seen, against what
  std::string advice;  // INCONCLUSIVE only
  std::string measured, limit, margin;
  int64_t first_broken_ns = 0;
  const Load* load = nullptr;
  std::vector<const Request*> examples;  // of that load, which broke it

  // INCONCLUSIVE for this reason, whatever looked broken.
  void Open(Obstacle obstacle);
  // FAIL, with what was seen and when it was broken first.
  void Break(std::string what, int64_t at_ns);
  // The figures of what took a time.
  void Took(int64_t ns, int64_t limit_ns);
};

// The worst of them, and of equals the first: its words and figures; what all say is among the details. A PASS says what
// every one of them says, with the figures of the first. REQUIRES: there are some.
Verdict Conclude(const std::vector<Promise>& promises, Verdict verdict, const Timeline& timeline);

}  // namespace squall
