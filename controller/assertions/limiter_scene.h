#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "controller/assertions/admissions.h"
#include "controller/assertions/stalls.h"
#include "controller/limiter_steps.h"
#include "controller/offered.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// When what happened makes any limiter look laxer than it is: requests that it decided about in between do not count as long.
// Immutable.
class Credits {
 public:
  // While the machine stood still, a limiter may have worked with a clock that it had read before. A service that was started
  // again has its whole burst again, which takes `refill_ns` otherwise.
  Credits(const Timeline& timeline, const Stalls& stalls, int64_t from_ns, int64_t refill_ns);

  // The times with credits put in: every interval that touches one of the causes is longer by what it is worth.
  Decided Stretched(int64_t sent_ns, int64_t end_ns, uint32_t number) const;

  // When services were started or ended after the load had begun, in order.
  const std::vector<int64_t>& restarts_ns() const { return restarts_ns_; }

 private:
  struct Cause {
    int64_t begin_ns, end_ns, worth_ns;
  };
  // In order; with the sums of what those before are worth.
  std::vector<std::pair<int64_t, int64_t>> by_begin_, by_end_;
  std::vector<int64_t> restarts_ns_;
};

// A burst after a quiet time.
struct Burst {
  absl::Span<const Request> requests;
  int64_t quiet_ns = 0;   // from the last answer before it, or the last sending if that came later, to its first sending
  int64_t end_ns = 0;     // its last answer
  int64_t admitted = 0;   // neither rejected nor failed
  double due = 0;         // admitted at least, since so many tokens must have been there
  bool stalled = false;   // the machine stood still meanwhile
  bool enough = false;    // it was more than any such limiter may admit
};

// What is known of a load and the limiter that judges it. Points into timeline and spec, which must outlive it.
struct LimiterScene {
  LimiterScene(const RateLimiter& limiter, const Timeline& from, const Load& limited, const Stalls& stalls);

  const RateLimiter& spec;
  const Timeline& timeline;
  const Load& load;
  const AdmissionLimit limit;
  const Stalls stalls;
  absl::Span<const Request> requests;  // in the order of intended start
  std::vector<OfferedSpan> spans;      // before the first injection
  Credits credits;
  Room room;
  std::vector<Burst> bursts;

  // The span without its edges, since its times are known to some milliseconds.
  std::pair<int64_t, int64_t> Core(const OfferedSpan& span) const;
  // The requests of a span that were offered, not sent again.
  std::vector<const Request*> Offered(int64_t begin_ns, int64_t end_ns) const;
  // Rejected although it had room for this one, whatever else it admitted. Nothing is said of when the machine stood still.
  bool RejectedForNothing(const Request& request) const;
};

bool IsAdmitted(const Request& request);

}  // namespace squall
