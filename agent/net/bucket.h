#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>

namespace squall {

// A token bucket of bytes that connections share. Who finds it empty stands in line, and the line goes round: each takes a
// little when it is its turn and goes to the end, so that all get as much. Times are nanoseconds. Not thread-safe.
class Bucket {
 public:
  // `rate` in bytes per second; `burst` in bytes, 0: what 10 ms let through, and 1500 at least. Starts full.
  Bucket(int64_t rate, int64_t burst, int64_t now_ns);

  // Another rate and burst from now on. What was achieved is told anew from the next whole second.
  void SetRate(int64_t rate, int64_t burst, int64_t now_ns);

  // How many of `wanted` bytes the connection may write now. 0: it stands in line.
  size_t Grant(uint64_t connection, size_t wanted, int64_t now_ns);
  // It wrote so many of those, and has more or not.
  void Took(uint64_t connection, size_t bytes, bool more, int64_t now_ns);
  // It does not want any more for now. Idempotent.
  void Leave(uint64_t connection);

  // Whose turn it is, once there is enough; else 0.
  uint64_t Turn(int64_t now_ns);
  // When Turn() will name somebody; kNever: nobody stands in line.
  int64_t WakeAt() const;

  // Bytes per second: the most that passed in a second throughout which somebody stood in line. 0: there was no such second.
  int64_t AchievedRate() const { return achieved_rate_; }

 private:
  void Fill(int64_t now_ns);

  double rate_;
  double burst_;
  double grain_;  // it is not worth a turn to write less
  double tokens_;
  int64_t filled_ns_;
  std::list<uint64_t> line_;
  std::unordered_map<uint64_t, std::list<uint64_t>::iterator> place_;
  int64_t second_ns_ = 0;  // when the second under way began
  int64_t second_bytes_ = 0;
  int64_t achieved_rate_ = 0;
  int fresh_ = 0;  // so many seconds are to end until those at the present rate are compared
};

}  // namespace squall
