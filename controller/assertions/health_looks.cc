#include "controller/assertions/health_looks.h"

#include "absl/strings/str_cat.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kLongestGapNs = 2'000'000'000;

void FindUnready(Looks& looks) {
  for (size_t i = 0; i < looks.all.size(); ++i) {
    if (looks.all[i].Ready()) continue;
    const size_t first = i;
    while (i + 1 < looks.all.size() && !looks.all[i + 1].Ready()) ++i;
    if (i > first) {
      looks.unready.push_back({first, i});
    } else {
      ++looks.alone;
    }
  }
}

}  // namespace

Looks LooksOf(absl::Span<const HealthSample> samples, int64_t begin_ns, int64_t end_ns, const Stalls& stalls) {
  static const std::string kNone;
  Looks looks;
  const std::string* body = &kNone;
  for (const HealthSample& sample : samples) {
    if (sample.body_changed()) body = &sample.body();
    // No answer: whoever asks for work then gets none either, from the moment of asking on.
    const int64_t told_ns = sample.status() == 0 ? sample.at_ns() : sample.at_ns() + sample.took_ns();
    if (told_ns < begin_ns || sample.at_ns() > end_ns) continue;
    const Look look = {told_ns, sample.status(), body};
    if (!look.Ready() && stalls.Touch(sample.at_ns(), sample.at_ns() + sample.took_ns())) {
      ++looks.left_out;
      continue;
    }
    looks.all.push_back(look);
  }
  FindUnready(looks);
  return looks;
}

std::string Gap(absl::Span<const HealthSample> samples, int64_t begin_ns, int64_t end_ns, const Stalls& stalls) {
  int64_t known_ns = begin_ns;
  const auto gap = [&](int64_t next_ns) {
    if (next_ns - known_ns - stalls.Within(known_ns, next_ns) <= kLongestGapNs) return std::string();
    return absl::StrCat("for ", Tenths(next_ns - known_ns), " from ", Tenths(known_ns), " of the run on");
  };
  for (const HealthSample& sample : samples) {
    if (sample.at_ns() + sample.took_ns() <= known_ns) continue;
    if (sample.at_ns() >= end_ns) break;
    if (std::string found = gap(sample.at_ns()); !found.empty()) return found;
    known_ns = sample.at_ns() + sample.took_ns();
  }
  return gap(end_ns);
}

std::string Said(const Look& look) {
  return look.status == 0 ? "did not answer" : absl::StrCat("answered with status ", look.status);
}

}  // namespace squall
