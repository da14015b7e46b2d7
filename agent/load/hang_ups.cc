#include "agent/load/hang_ups.h"

namespace squall {

// splitmix64, https://prng.di.unimi.it/splitmix64.c.
double Draw(uint64_t seed, int64_t number) {
  uint64_t z = seed + (static_cast<uint64_t>(number) + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return static_cast<double>(z >> 11) * 0x1p-53;
}

int HangUps::Start(const Impatience& impatience, int64_t sent) {
  const int id = static_cast<int>(faults_.size()) + 1;
  faults_[id] = {impatience, /*over=*/false, sent};
  return id;
}

void HangUps::End(int id, int64_t sent) {
  Fault& fault = faults_.at(id);
  if (fault.over) return;
  fault.over = true;
  fault.seen.requests = sent - fault.sent_before;
}

HungUp HangUps::Seen(int id, int64_t sent) const {
  const Fault& fault = faults_.at(id);
  HungUp seen = fault.seen;
  if (!fault.over) seen.requests = sent - fault.sent_before;
  return seen;
}

std::vector<std::pair<int64_t, int>> HangUps::Choose(int64_t number, int64_t sent_ns) const {
  std::vector<std::pair<int64_t, int>> chosen;
  for (const auto& [id, fault] : faults_) {
    if (fault.over || 100 * Draw(fault.impatience.seed, number) >= fault.impatience.percent) continue;
    chosen.emplace_back(sent_ns + fault.impatience.patience_ns, id);
  }
  return chosen;
}

bool HangUps::Fire(int id) {
  Fault& fault = faults_.at(id);
  if (fault.over) return false;
  ++fault.seen.abandoned;
  return true;
}

}  // namespace squall
