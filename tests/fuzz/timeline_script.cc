#include "tests/fuzz/timeline_script.h"

#include <algorithm>

#include "controller/assertions/judge.h"
#include "controller/scalars.h"
#include "controller/timeline.h"

namespace squall {

bool JudgeScript(const uint8_t* data, size_t size) {
  Timeline timeline;
  while (size > 2) {
    const size_t length = std::min(size - 2, static_cast<size_t>(data[0] | data[1] << 8));
    Record record;
    if (!record.ParseFromArray(data + 2, static_cast<int>(length)) || !timeline.Add(record).ok()) return false;
    data += 2 + length;
    size -= 2 + length;
  }
  if (!timeline.header.has_scenario() || !CheckValues(*timeline.header.mutable_scenario()).ok()) return false;
  timeline.Sort();
  Summarize(timeline);
  return true;
}

}  // namespace squall
