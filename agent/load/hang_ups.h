// Clients that hang up before their answer is there.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace squall {

// Of `percent` of the requests, which follow from the seed and their numbers, those that have no
// answer so long after they were sent.
struct Impatience {
  double percent = 0;
  int64_t patience_ns = 0;
  uint64_t seed = 0;
};

// What clients that hang up have done so far.
struct HungUp {
  int64_t requests = 0;  // sent meanwhile, of whatever client
  int64_t abandoned = 0;
};

// A draw that is the same for the same seed and number: at least 0, below 1.
double Draw(uint64_t seed, int64_t number);

// `sent` is always how many requests the load has sent in all. Not thread-safe.
class HangUps {
 public:
  // Returns what it is called.
  int Start(const Impatience& impatience, int64_t sent);
  // Idempotent.
  void End(int id, int64_t sent);
  HungUp Seen(int id, int64_t sent) const;

  // When the client of a request that is sent now will hang up, and by which of them.
  std::vector<std::pair<int64_t, int>> Choose(int64_t number, int64_t sent_ns) const;
  // The time has come: whether it still acts. Then it is counted.
  bool Fire(int id);

 private:
  struct Fault {
    Impatience impatience;
    bool over = false;
    int64_t sent_before = 0;  // then, what was sent meanwhile
    HungUp seen = {};
  };
  std::map<int, Fault> faults_;
};

}  // namespace squall
