#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// What a monitor told of an alert. Plain data.
struct AlertCourse {
  // The state from then on: the worst of its series. Before the first it is inactive.
  struct Change {
    int64_t at_ns = 0;
    AlertSample::State state = AlertSample::INACTIVE;
  };
  std::vector<Change> changes;
  std::string others;  // the labels of an alert of this name that lacks what it must carry

  AlertSample::State At(int64_t at_ns) const;
  // The first change to a state that `is` in (after_ns, until_ns].
  std::optional<int64_t> First(int64_t after_ns, int64_t until_ns, bool (*is)(AlertSample::State)) const;
};
AlertCourse AlertCourseOf(const Alert& spec, const Timeline& timeline);

// When the alert's monitor answered. An Alertmanager is not asked: it tells by itself. Immutable.
class Answering {
 public:
  Answering(const Alert& spec, const Timeline& timeline);

  bool Ever() const;
  bool At(int64_t at_ns) const { return SilentWithin(at_ns, at_ns + 1) == 0; }
  // For how much of the span it did not.
  int64_t SilentWithin(int64_t begin_ns, int64_t end_ns) const;
  // An Alertmanager.
  bool TellsByItself() const { return tells_by_itself_; }

 private:
  bool tells_by_itself_ = false;
  std::vector<std::pair<int64_t, bool>> changes_;
};

}  // namespace squall
