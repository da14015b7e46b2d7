#include "controller/assertions/no_leak.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/text.h"
#include "controller/assertions/durations.h"
#include "controller/assertions/leak_limits.h"
#include "controller/assertions/leak_names.h"
#include "controller/assertions/leak_peak.h"
#include "controller/assertions/leak_scene.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

constexpr int64_t kBackForNs = 2'000'000'000;
// A rest that ends this much sooner than asked for was not cut.
constexpr int64_t kRestSlackNs = 500'000'000;

// One thing that was held, before and after.
struct Comparison {
  Allowance allowance;
  std::vector<int64_t> plateaus;
  int64_t limit = 0;
  bool too_much = false;  // after the last rest
  bool rises = false;     // from cycle to cycle

  int64_t before() const { return plateaus.front(); }
  int64_t after() const { return plateaus.back(); }
  bool Leaks() const { return too_much || rises; }
  double Room() const {
    return static_cast<double>(limit - after()) / static_cast<double>(std::max<int64_t>(allowance.MoreThan(before()), 1));
  }
  std::string Text(int64_t amount) const { return AmountText(allowance.held, static_cast<double>(amount)); }
  // "goroutines 14 -> 314 (at most 24)".
  std::string InWords() const {
    std::string text =
        absl::StrCat(NameOf(allowance.held), " ", Text(before()), " -> ", Text(after()), " (at most ", Text(limit), ")");
    return rises && !too_much ? absl::StrCat(text, ", rising from cycle to cycle") : text;
  }
};

struct Compared {
  std::vector<Comparison> known;  // in the order of Held
  std::vector<Held> unseen;       // and asked for, or seen before and no more
  std::vector<Held> not_judged;   // nobody asked for it, and it cannot be seen
  bool lost = false;              // one of `unseen` was seen before
};

Compared Compare(const LeakScene& scene) {
  Compared compared;
  for (const Allowance& allowance : AllowancesOf(*scene.spec)) {
    Comparison comparison{allowance, {}};
    for (const ProcessSnapshot* snapshot : scene.plateaus) {
      if (const auto amount = AmountOf(allowance.held, snapshot->sample())) comparison.plateaus.push_back(*amount);
    }
    const bool before = AmountOf(allowance.held, scene.before().sample()).has_value();
    const bool after = AmountOf(allowance.held, scene.after().sample()).has_value();
    if (!before || !after) {
      (allowance.asked || before ? compared.unseen : compared.not_judged).push_back(allowance.held);
      compared.lost = compared.lost || before;
      continue;
    }
    comparison.limit = allowance.Limit(comparison.before());
    comparison.too_much = comparison.after() > comparison.limit;
    comparison.rises = comparison.plateaus.size() == scene.plateaus.size() && RisesLikeALeak(comparison.plateaus, allowance);
    compared.known.push_back(std::move(comparison));
  }
  return compared;
}

LeakName NameOfLeak(Held held, const ProcessSnapshot& before, const ProcessSnapshot& after, const ProcessSnapshot* leaked) {
  switch (held) {
    case Held::kGoroutines:
      return NameGoroutines(before, after, leaked);
    case Held::kHeap:
      return NameHeap(before, after);
    case Held::kFds:
      return NameFds(before, after);
    case Held::kCloseWait:
      return NameFds(before, after, "CLOSE_WAIT");
    case Held::kEstablished:
      return NameFds(before, after, "ESTABLISHED");
    case Held::kThreads:
      return NameThreads(before, after);
    case Held::kRss:  // heap is named by itself; what else it may be, nothing tells
      break;
  }
  return {};
}

// What leaked, with its place. What has no line of the service's own is told by its peer as well.
std::string NameLeaks(Verdict& verdict, const std::vector<Held>& leaks, const ProcessSnapshot& before,
                      const ProcessSnapshot& after, const ProcessSnapshot* leaked) {
  std::string brief;
  const auto take = [&](const LeakName& name, bool also) {
    for (const Detail& detail : name.details) {
      const bool told = std::any_of(verdict.details().begin(), verdict.details().end(),
                                    [&](const Detail& each) { return each.value() == detail.value(); });
      if (!told) *verdict.add_details() = detail;
    }
    if (!name.brief.empty() && (brief.empty() || also)) absl::StrAppend(&brief, brief.empty() ? "" : ", ", name.brief);
  };
  for (const Held held : leaks) {
    const LeakName name = NameOfLeak(held, before, after, leaked);
    const bool first = brief.empty();
    take(name, false);
    if (first && held == Held::kGoroutines && !name.own) take(NameFds(before, after), true);
  }
  return brief;
}

std::string NamesOf(const std::vector<Held>& held) {
  return absl::StrJoin(held, ", ", [](std::string* out, Held each) { out->append(NameOf(each)); });
}

void AddFigures(Verdict& verdict, const LeakScene& scene, const Compared& compared, const Blamed& blamed) {
  for (const Comparison& comparison : compared.known) {
    std::vector<std::string> amounts;
    for (const int64_t amount : comparison.plateaus) amounts.push_back(comparison.Text(amount));
    AddDetail(verdict, NameOf(comparison.allowance.held),
              absl::StrCat(absl::StrJoin(amounts, " -> "), ", at most ", comparison.Text(comparison.limit)));
  }
  if (!compared.not_judged.empty()) AddDetail(verdict, "not seen, and so not judged", NamesOf(compared.not_judged));
  if (scene.load != nullptr) AddDetail(verdict, "between the rests", Counted(blamed.count, blamed.noun));
  if (scene.rested_ns) {
    AddDetail(verdict, "rested after the faults",
              absl::StrCat(Tenths(*scene.rested_ns), " of at most ", HumanNanos(Nanos(scene.spec->settle()))));
  }
  for (const ProcessSnapshot* snapshot : {&scene.before(), &scene.after()}) {
    if (snapshot->pprof_error().empty()) continue;
    AddDetail(verdict, snapshot == &scene.before() ? "no profiles before the faults" : "no profiles after the faults",
              snapshot->pprof_error());
  }
}

// "1.00 goroutine per timed-out request"; empty: too few to tell.
std::string PerRequest(const Comparison& leak, const Blamed& blamed) {
  if (blamed.count == 0) return "";
  const double each = static_cast<double>(leak.after() - leak.before()) / static_cast<double>(blamed.count);
  return each < 0.005 ? "" : absl::StrCat(": ", EachText(leak.allowance.held, each), " per ", blamed.noun);
}

void ConcludeLeaks(Verdict& verdict, const LeakScene& scene, const std::vector<Comparison>& leaks, const Blamed& blamed) {
  const Comparison& worst = leaks.front();
  std::vector<Held> held;
  for (const Comparison& leak : leaks) held.push_back(leak.allowance.held);
  const std::string place = NameLeaks(verdict, held, scene.before(), scene.after(), scene.leaked);
  std::string reason = absl::StrCat(worst.InWords(), PerRequest(worst, blamed));
  if (!place.empty()) absl::StrAppend(&reason, "; ", place);
  for (size_t i = 1; i < leaks.size(); ++i) absl::StrAppend(&reason, i == 1 ? "; also " : ", ", leaks[i].InWords());
  verdict.set_result(Verdict::FAIL);
  verdict.set_reason(reason);
  verdict.set_measured(absl::StrCat(worst.Text(worst.after()), " ", NameOf(worst.allowance.held)));
  verdict.set_limit(absl::StrCat("at most ", worst.Text(worst.limit)));
  verdict.set_margin(worst.Text(worst.limit - worst.after()));
  verdict.set_first_broken_ns(scene.after().at_ns());
  for (const ProcessSnapshot* snapshot : scene.plateaus) {
    if (AmountOf(worst.allowance.held, snapshot->sample()).value_or(0) <= worst.limit) continue;
    verdict.set_first_broken_ns(snapshot->at_ns());
    break;
  }
  if (scene.load == nullptr) return;
  for (const Request* request : blamed.first) AddExample(verdict, *scene.timeline, *scene.load, *request);
}

std::string PeakText(const PeakFinding& peak) {
  return absl::StrCat(NameOf(peak.held), " rose from ", AmountText(peak.held, static_cast<double>(peak.before)), " to ",
                      AmountText(peak.held, static_cast<double>(peak.most)), " while faults acted (at most ",
                      AmountText(peak.held, static_cast<double>(peak.limit)), ": ", peak.why, ")");
}

bool IsTooMuch(const PeakFinding& peak) { return peak.TooMuch(); }

// What was too much at the peak, with its place. REQUIRES: something was.
std::string PeakReason(Verdict& verdict, const LeakScene& scene, const PeakStory& story) {
  std::vector<std::string> texts;
  std::vector<Held> held;
  for (const PeakFinding& peak : story.findings) {
    if (!peak.TooMuch()) continue;
    texts.push_back(PeakText(peak));
    held.push_back(peak.held);
  }
  std::string reason = absl::StrJoin(texts, ", ");
  if (story.most != nullptr) {
    const std::string place = NameLeaks(verdict, held, scene.before(), *story.most, nullptr);
    if (!place.empty()) absl::StrAppend(&reason, "; ", place);
  }
  return reason;
}

// REQUIRES: something was too much.
void ConcludePeak(Verdict& verdict, const LeakScene& scene, const PeakStory& story) {
  const auto worst = std::find_if(story.findings.begin(), story.findings.end(), IsTooMuch);
  verdict.set_result(Verdict::FAIL);
  verdict.set_reason(PeakReason(verdict, scene, story));
  verdict.set_measured(absl::StrCat(AmountText(worst->held, static_cast<double>(worst->most)), " ", NameOf(worst->held)));
  verdict.set_limit(absl::StrCat("at most ", AmountText(worst->held, static_cast<double>(worst->limit))));
  verdict.set_margin(AmountText(worst->held, static_cast<double>(worst->limit - worst->most)));
  verdict.set_first_broken_ns(worst->at_ns);
}

Obstacle NotSeen(const LeakScene& scene, const std::vector<Held>& unseen, absl::string_view when) {
  const std::string& service = scene.spec->service();
  std::string why = scene.after().pprof_error().empty() ? scene.before().pprof_error() : scene.after().pprof_error();
  const bool go =
      std::any_of(unseen.begin(), unseen.end(), [](Held held) { return held == Held::kGoroutines || held == Held::kHeap; });
  if (!go) why.clear();
  return {absl::StrCat("of ", service, ", ", NamesOf(unseen), " could not be seen ", when, why.empty() ? "" : ": ", why),
          go ? absl::StrCat("give ", service, " `pprof`, or `metrics` of a Go program, that answer while it rests")
             : "run the agent as the service's user, or as root"};
}

// REQUIRES: nothing leaks.
void ConcludePass(Verdict& verdict, const Compared& compared) {
  const Comparison& nearest = *std::min_element(compared.known.begin(), compared.known.end(),
                                                [](const Comparison& a, const Comparison& b) { return a.Room() < b.Room(); });
  verdict.set_result(Verdict::PASS);
  verdict.set_reason(absl::StrCat(
      "holds at rest what it held before: ",
      absl::StrJoin(compared.known, ", ", [](std::string* out, const Comparison& each) { out->append(each.InWords()); })));
  verdict.set_measured(absl::StrCat(nearest.Text(nearest.after()), " ", NameOf(nearest.allowance.held)));
  verdict.set_limit(absl::StrCat("at most ", nearest.Text(nearest.limit)));
  verdict.set_margin(nearest.Text(nearest.limit - nearest.after()));
}

}  // namespace

Judgement JudgeNoLeak(const NoLeak& spec, const Timeline& timeline, const Stalls& stalls) {
  const LeakScene scene = SceneOf(spec, timeline);
  Verdict verdict;
  verdict.set_samples(static_cast<int64_t>(scene.plateaus.size()));
  const auto obstructed = [&](const Obstacle& obstacle) {
    Judgement judgement = Obstructed(obstacle, verdict);
    judgement.final = scene.complete;
    return judgement;
  };
  if (auto obstacle = SceneGate(scene)) return obstructed(*obstacle);
  const Compared compared = Compare(scene);
  const Blamed blamed = BlamedRequests(scene);
  AddFigures(verdict, scene, compared, blamed);

  std::vector<Comparison> leaks;
  std::copy_if(compared.known.begin(), compared.known.end(), std::back_inserter(leaks),
               [](const Comparison& each) { return each.Leaks(); });
  if (!leaks.empty()) {
    const int64_t settle_ns = Nanos(spec.settle());
    if (scene.rested_ns && *scene.rested_ns + kRestSlackNs < settle_ns) {
      return obstructed({absl::StrCat(leaks.front().InWords(), ", but the loads had rested for only ", Tenths(*scene.rested_ns),
                                      " of ", HumanNanos(settle_ns)),
                         "run it again"});
    }
    ConcludeLeaks(verdict, scene, leaks, blamed);
  }
  PeakStory peak;
  if (spec.has_peak()) {
    peak = PeakOf(scene, stalls);
    for (const PeakFinding& each : peak.findings) AddDetail(verdict, "at the peak", PeakText(each));
    if (!peak.unseen.empty()) AddDetail(verdict, "not seen at the peak", NamesOf(peak.unseen));
    const bool too_much = !peak.obstacle && std::any_of(peak.findings.begin(), peak.findings.end(), IsTooMuch);
    if (!leaks.empty() && too_much) {
      verdict.set_reason(absl::StrCat(verdict.reason(), "; ", PeakReason(verdict, scene, peak)));
    } else if (leaks.empty() && too_much) {
      ConcludePeak(verdict, scene, peak);
    } else if (leaks.empty() && peak.obstacle) {
      return obstructed(*peak.obstacle);
    }
  }
  if (verdict.result() == Verdict::FAIL) return {std::move(verdict), scene.complete};
  if (compared.known.empty()) return obstructed(NotSeen(scene, {Held::kThreads, Held::kRss}, "at rest"));
  if (!compared.unseen.empty()) {
    return obstructed(NotSeen(scene, compared.unseen, compared.lost ? "at rest after the faults" : "at rest"));
  }
  if (spec.has_peak() && peak.findings.empty()) return obstructed(NotSeen(scene, peak.unseen, "while faults acted"));
  ConcludePass(verdict, compared);
  return {std::move(verdict), scene.complete};
}

bool IsBackAtRest(const NoLeak& spec, const Timeline& timeline) {
  const auto snapshots = timeline.snapshots.find(spec.service());
  const auto samples = timeline.samples.find(spec.service());
  if (snapshots == timeline.snapshots.end() || samples == timeline.samples.end() || samples->second.empty()) return false;
  const auto first = std::find_if(snapshots->second.begin(), snapshots->second.end(),
                                  [](const ProcessSnapshot& each) { return each.moment() == ProcessSnapshot::AT_REST; });
  if (first == snapshots->second.end()) return false;
  std::optional<int64_t> rest_ns;
  for (const PhaseEvent& phase : timeline.phases) {
    if (phase.phase() == PhaseEvent::REST) rest_ns = phase.at_ns();
    if (phase.phase() == PhaseEvent::RESTED || phase.phase() == PhaseEvent::DONE) rest_ns.reset();
  }
  const int64_t newest_ns = samples->second.back().at_ns();
  if (!rest_ns || newest_ns - *rest_ns < kBackForNs || first->at_ns() >= *rest_ns) return false;
  const ServiceSample& before = first->sample();
  int within = 0;
  for (auto sample = samples->second.rbegin(); sample != samples->second.rend(); ++sample) {
    if (sample->at_ns() < newest_ns - kBackForNs) break;
    ++within;
    if (sample->pid() != before.pid() || sample->started_ticks() != before.started_ticks()) return false;
    for (const Allowance& allowance : AllowancesOf(spec)) {
      const std::optional<int64_t> was = AmountOf(allowance.held, before);
      const std::optional<int64_t> is = AmountOf(allowance.held, *sample);
      if (was && (!is || *is > allowance.Limit(*was))) return false;
    }
  }
  return within > 1;
}

}  // namespace squall
