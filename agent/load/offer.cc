#include "agent/load/offer.h"

#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace squall {

std::optional<Offer::Due> Offer::TakeDue(int64_t now_ns) {
  absl::MutexLock lock(&mutex_);
  const std::optional<int64_t> due_ns = pacer_.NextDueNs();
  if (!due_ns || *due_ns > now_ns) return std::nullopt;
  const Due due = {pacer_.NextNumber(), *due_ns};
  pacer_.Advance();
  return due;
}

std::optional<int64_t> Offer::NextDueNs() const {
  absl::MutexLock lock(&mutex_);
  return pacer_.NextDueNs();
}

std::optional<Pacer::Quiet> Offer::QuietBeforeNext() const {
  absl::MutexLock lock(&mutex_);
  return share_ == 0 ? std::nullopt : pacer_.QuietBeforeNext();
}

void Offer::StartSteps(int64_t at_ns) {
  absl::MutexLock lock(&mutex_);
  pacer_.StartSteps(at_ns);
}

absl::Status Offer::SetShare(double share) {
  if (!(share >= 0 && share <= 1)) {
    return absl::InvalidArgumentError(absl::StrCat("a load cannot offer ", share, " of its rate; 0 to 1 can be"));
  }
  absl::MutexLock lock(&mutex_);
  share_ = share;
  shares_.push_back({BootNanos(), share});
  SetTimes(shares_.back().at_ns);
  return absl::OkStatus();
}

std::vector<Offer::Share> Offer::TakeShares() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(shares_, {});
}

int Offer::StartSurge(double times) {
  absl::MutexLock lock(&mutex_);
  const int64_t now_ns = BootNanos();
  const int id = static_cast<int>(surges_.size()) + 1;
  surges_[id] = {times, now_ns, pacer_.DueBy(now_ns), sent_};
  SetTimes(now_ns);
  return id;
}

void Offer::EndSurge(int id) {
  absl::MutexLock lock(&mutex_);
  Surge& surge = surges_.at(id);
  if (surge.rates) return;
  const int64_t now_ns = BootNanos();
  surge.rates = RatesOf(surge, now_ns);
  SetTimes(now_ns);
}

SurgeRates Offer::SeenSurge(int id) const {
  absl::MutexLock lock(&mutex_);
  const Surge& surge = surges_.at(id);
  return surge.rates ? *surge.rates : RatesOf(surge, BootNanos());
}

void Offer::SetTimes(int64_t now_ns) {
  double times = share_;
  for (const auto& [id, surge] : surges_) times *= surge.rates ? 1 : surge.times;
  pacer_.SetTimes(times, now_ns);
}

SurgeRates Offer::RatesOf(const Surge& surge, int64_t now_ns) const {
  const double seconds = static_cast<double>(now_ns - surge.began_ns) / 1e9;
  if (seconds <= 0) return {};
  SurgeRates rates;
  rates.requested = (pacer_.DueBy(now_ns) - surge.due_before) / seconds;
  rates.base = rates.requested / surge.times;
  rates.achieved = static_cast<double>(sent_ - surge.sent_before) / seconds;
  return rates;
}

int Offer::StartHangUps(const Impatience& impatience) {
  absl::MutexLock lock(&mutex_);
  return hang_ups_.Start(impatience, sent_);
}

void Offer::EndHangUps(int id) {
  absl::MutexLock lock(&mutex_);
  hang_ups_.End(id, sent_);
}

HungUp Offer::SeenHangUps(int id) const {
  absl::MutexLock lock(&mutex_);
  return hang_ups_.Seen(id, sent_);
}

std::vector<std::pair<int64_t, int>> Offer::CountSent(int64_t number, int64_t now_ns) {
  absl::MutexLock lock(&mutex_);
  ++sent_;
  return hang_ups_.Choose(number, now_ns);
}

void Offer::CountNotSent() {
  absl::MutexLock lock(&mutex_);
  --sent_;
}

bool Offer::FireHangUp(int id) {
  absl::MutexLock lock(&mutex_);
  return hang_ups_.Fire(id);
}

}  // namespace squall
