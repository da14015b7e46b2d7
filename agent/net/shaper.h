#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/string_view.h"
#include "agent/net/bucket.h"
#include "agent/net/delays.h"
#include "agent/net/measured_delay.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

// What faults do to the bytes of connections. No clock and no sockets: the caller says what time it is (nanoseconds on
// CLOCK_BOOTTIME), writes what may go on, and says what it wrote. Not thread-safe.
//
// Faults of several kinds act on the same bytes in the order of `Stage`. Latency acts on bytes as they arrive; what it has let
// go waits at the head of the line for all the others, and passes when each of them lets it. So taking one away releases what
// it alone held, and the order of the bytes stays.
namespace squall {

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// Which way bytes go across an edge.
enum class Way : size_t { kToDependency, kToService };
constexpr std::array<Way, 2> kBothWays = {Way::kToDependency, Way::kToService};

// The faults that act on connections, in their order.
enum class Stage : size_t { kLatency, kBandwidth, kSlice, kBlackhole, kStall, kLimitData, kReset };
constexpr size_t kStages = 7;
constexpr std::array<Fault::KindCase, kStages> kKinds = {Fault::kLatency, Fault::kBandwidth, Fault::kSlice,
                                                         Fault::kBlackhole, Fault::kStall, Fault::kLimitData,
                                                         Fault::kReset};
std::optional<Stage> StageOf(Fault::KindCase kind);

// What a fault did since it was set; stays when it is taken away.
struct FaultCount {
  Evidence seen;
  MeasuredDelay achieved;
};

// The faults on an edge. Outlives the shapes of the edge's connections.
struct EdgeShape {
  // The state of one fault.
  struct Active {
    Fault fault;
    std::mt19937_64 random;
    std::array<std::optional<Delays>, 2> delays;   // latency, by way
    std::array<std::optional<Bucket>, 2> buckets;  // bandwidth, by way
  };
  // Sets what is a stage; REQUIRES: StageOf(fault.kind_case()).
  void Set(const Fault& fault, uint64_t seed, int64_t now_ns);
  // The fault goes on with other values. REQUIRES: one of this kind is set.
  void Change(const Fault& fault, int64_t now_ns);
  void Clear(Stage stage);
  Active* Get(Stage stage) {
    std::optional<Active>& active = stages[static_cast<size_t>(stage)];
    return active ? &*active : nullptr;
  }
  FaultCount& Count(Stage stage) { return counts[kKinds[static_cast<size_t>(stage)]]; }
  Bucket* BucketOf(Way way);

  std::array<std::optional<Active>, kStages> stages;
  std::map<Fault::KindCase, FaultCount> counts;
};

// What a fault makes of one connection.
struct Lot {
  bool chosen = false;   // it acts on this one
  bool counted = false;  // in Evidence::connections
  bool in_call = false;  // it touched a call that is open
  int64_t since_ns = 0;
  std::array<int64_t, 2> from = {};     // how many bytes had passed each way when it began
  std::array<int64_t, 2> counted_to = {};  // bytes up to here are in Evidence::bytes
};

class ConnectionShape;

// One direction of a connection: what was read from one socket and not yet written to the other. Keeps the order.
class Shaper {
 public:
  // Bytes of memory that a direction may hold before no more should be read.
  static constexpr size_t kMaxHeld = 4 << 20;
  enum class End { kNone, kFin, kReset };

  Shaper(ConnectionShape* of, Way way) : of_(of), way_(way) {}
  Shaper(const Shaper&) = delete;
  Shaper& operator=(const Shaper&) = delete;

  // Takes bytes, or that the sender closed or reset its side. Nothing but a reset comes after an end.
  void Put(absl::string_view bytes, int64_t now_ns);
  void PutEnd(End end, int64_t now_ns);

  // What may go on now: bytes, which stay valid until the next call of another method, or an end; else nothing.
  struct Ready {
    absl::string_view bytes;
    End end = End::kNone;
    bool alone = false;  // a segment of its own
  };
  Ready Next(int64_t now_ns);
  // The first so many of those bytes were written.
  void Wrote(size_t bytes, int64_t now_ns);
  void WroteEnd();
  // The socket takes nothing at the moment: others may have the turn.
  void Blocked();

  // When to ask again, as Next() found it; 0: when the socket takes more; kNever: after the next Put, or when a fault changes.
  int64_t WakeAt() const { return wake_ns_; }
  bool Full() const { return held_bytes_ + held_.size() * sizeof(Chunk) >= kMaxHeld; }
  bool Empty() const { return held_.empty(); }
  // The sender's end was taken; it was passed on.
  bool end_read() const { return end_read_; }
  bool end_written() const { return end_written_; }

  // Forgets what is held; there is nobody to pass it on to.
  void Drop();

 private:
  friend class ConnectionShape;
  struct Chunk {
    std::string bytes;
    size_t written = 0;
    int64_t read_ns = 0;
    int64_t release_ns = 0;
    bool delayed = false;
    int asked = 0;  // as MeasuredDelay's
    End end = End::kNone;
  };
  void Take(Chunk chunk, int64_t now_ns);
  void NoteReleased(int64_t now_ns);
  void Pop();
  Ready Look(int64_t now_ns);
  // How many bytes the faults that let only so many pass leave; 0: none, now or until one of them is taken away.
  int64_t Left(int64_t now_ns);
  void Hold(Stage stage);

  ConnectionShape* of_;
  Way way_;
  std::deque<Chunk> held_;
  size_t released_ = 0;  // so many of those are known to be let go by latency
  size_t held_bytes_ = 0;
  int64_t put_ = 0;      // bytes since the beginning
  int64_t written_ = 0;  // of those
  int64_t last_release_ns_ = 0;  // keeps the order under jitter
  int64_t wake_ns_ = kNever;
  int64_t piece_left_ = 0;
  int64_t next_piece_ns_ = 0;
  bool waited_ = false;  // the bytes at the head stood in line for the bucket
  bool end_read_ = false;
  bool end_written_ = false;
};

// Both directions of a connection, and what becomes of it as a whole.
class ConnectionShape {
 public:
  // `id` names the connection in the edge's buckets; not 0.
  ConnectionShape(EdgeShape* edge, uint64_t id) : edge_(edge), id_(id) {}
  ~ConnectionShape();
  ConnectionShape(const ConnectionShape&) = delete;
  ConnectionShape& operator=(const ConnectionShape&) = delete;

  // Draws whether the fault acts on this connection. Call it in the order in which connections were accepted, for those that
  // are there when a fault is set (`existing`) and, for every fault that is set, for a new one.
  void Enroll(Stage stage, bool existing, int64_t now_ns);
  void EnrollNew(int64_t now_ns);

  Shaper& Toward(Way way) { return ways_[static_cast<size_t>(way)]; }
  const Shaper& Toward(Way way) const { return ways_[static_cast<size_t>(way)]; }

  // Whether a fault ends the connection, and when (perhaps now or before); kNever: not as things are.
  enum class Ending { kClose, kReset };
  struct Fate {
    Ending ending = Ending::kClose;
    int64_t at_ns = kNever;
  };
  Fate WhatBecomes(int64_t now_ns);
  // It was ended so.
  void Ended(Ending ending);

  // Counts the connection, once, and its open calls when they end.
  void Touch(Stage stage);
  void CallEnded(bool last);

  // What latency held back may go on.
  void ReleaseLatency();
  bool HeldByLatency() const;

 private:
  friend class Shaper;
  int64_t Passed(Stage stage, Way way) const;
  // The fault, if it acts on this connection.
  EdgeShape::Active* Acting(Stage stage);
  Lot& LotOf(Stage stage) { return lots_[static_cast<size_t>(stage)]; }

  EdgeShape* edge_;
  const uint64_t id_;
  std::array<Lot, kStages> lots_;
  std::array<Shaper, 2> ways_ = {Shaper(this, Way::kToDependency), Shaper(this, Way::kToService)};
};

}  // namespace squall
