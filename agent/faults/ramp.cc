#include "agent/faults/ramp.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/protobuf/util/message_differencer.h"

namespace squall {

RunningRamp::RunningRamp(Fault spec, ActiveFault* fault, int64_t injected_ns)
    : spec_(std::move(spec)), fault_(fault), injected_ns_(injected_ns), last_(RampedAt(spec_, absl::ZeroDuration())) {}

absl::Status RunningRamp::Step(int64_t now_ns) {
  if (failed_) return absl::OkStatus();
  const absl::Duration since = absl::Nanoseconds(now_ns - injected_ns_);
  Fault next = RampedAt(spec_, since);
  if (google::protobuf::util::MessageDifferencer::Equals(next, last_)) return absl::OkStatus();
  const absl::Status status = fault_->Change(next);
  failed_ = !status.ok();
  if (status.ok()) {
    last_ = std::move(next);
    return status;
  }
  return absl::Status(status.code(), absl::StrCat("its ramp stopped after ", absl::FormatDuration(absl::Trunc(since, absl::Milliseconds(1))),
                                                  ", and it stayed as it was: ", status.message()));
}

}  // namespace squall
