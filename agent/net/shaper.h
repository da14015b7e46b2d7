#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/string_view.h"
#include "base/histogram.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

// The holding back of bytes: what faults do to a stream. No clock and no sockets: the caller says what time it is
// (nanoseconds on CLOCK_BOOTTIME), writes what may go on, and says what it wrote. Not thread-safe.
namespace squall {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Which way bytes go across an edge.
enum class Way { kToDependency, kToService };

// What a fault did since it was set; stays when it is taken away.
struct FaultCount {
  Evidence seen;
  Histogram achieved;  // nanoseconds
};

// A latency fault on an edge.
struct LatencyStage {
  LatencyStage(const Latency& latency, uint64_t seed);
  bool Acts(Way way) const { return way == Way::kToService ? on_response : on_request; }
  int64_t Draw();

  int64_t delay_ns;
  int64_t jitter_ns;
  bool on_request;
  bool on_response;
  std::mt19937_64 random;
};

// The faults on an edge that hold bytes back. Outlives the shapers of the edge's connections.
struct EdgeShape {
  std::optional<LatencyStage> latency;
  std::map<Fault::KindCase, FaultCount> counts;
};

// One direction of a connection: what was read from one socket and not yet written to the other. Keeps the order.
class Shaper {
 public:
  // Bytes that a direction may hold before no more should be read.
  static constexpr size_t kMaxHeld = 4 << 20;

  Shaper(EdgeShape* edge, Way way) : edge_(edge), way_(way) {}

  // Takes bytes, or the sender's FIN, and says whether a fault holds them back.
  bool Put(absl::string_view bytes, int64_t now_ns);
  bool PutEnd(int64_t now_ns);

  // What may go on now: bytes, which stay valid until the next call of another method, or, when they are empty, the FIN
  // if `end`; else nothing.
  struct Ready {
    absl::string_view bytes;
    bool end = false;
  };
  Ready Next(int64_t now_ns) const;
  // The first so many of those bytes were written.
  void Wrote(size_t bytes, int64_t now_ns);
  void WroteEnd();

  // When to ask again; kNever: after the next Put.
  int64_t WakeAt() const { return held_.empty() ? kNever : held_.front().release_ns; }
  bool Full() const { return held_bytes_ >= kMaxHeld; }
  bool Empty() const { return held_.empty(); }
  // The sender's FIN was taken; it was passed on.
  bool end_read() const { return end_read_; }
  bool end_written() const { return end_written_; }

  // The latency fault was taken away: nothing waits for it any more.
  void ReleaseLatency();

 private:
  struct Chunk {
    std::string bytes;
    size_t written = 0;
    int64_t read_ns = 0;
    int64_t release_ns = 0;
    bool delayed = false;
    bool end = false;
  };
  bool Take(Chunk chunk, int64_t now_ns);

  EdgeShape* edge_;
  Way way_;
  std::deque<Chunk> held_;
  size_t held_bytes_ = 0;
  int64_t last_release_ns_ = 0;  // keeps the order under jitter
  bool end_read_ = false;
  bool end_written_ = false;
};

}  // namespace squall
