#include "controller/suite/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace squall {

std::optional<size_t> NextToStart(const std::vector<size_t>& waiting, const std::vector<size_t>& running,
                                  const Clashes& clashes) {
  for (size_t i = 0; i < waiting.size(); ++i) {
    if (std::none_of(running.begin(), running.end(), [&](size_t other) { return clashes[waiting[i]][other]; })) return i;
  }
  return std::nullopt;
}

std::vector<size_t> Order(size_t scenarios, int repeat) {
  std::vector<size_t> order;
  for (size_t i = 0; i < scenarios; ++i) order.insert(order.end(), static_cast<size_t>(repeat), i);
  return order;
}

absl::StatusOr<std::vector<LoadedScenario>> WithTags(std::vector<LoadedScenario> scenarios,
                                                     const std::vector<std::string>& tags) {
  if (tags.empty()) return scenarios;
  std::vector<LoadedScenario> chosen;
  std::set<std::string> known;
  for (LoadedScenario& loaded : scenarios) {
    const auto& own = loaded.scenario.tags();
    known.insert(own.begin(), own.end());
    const bool has_one = std::any_of(tags.begin(), tags.end(), [&](const std::string& tag) {
      return std::find(own.begin(), own.end(), tag) != own.end();
    });
    if (has_one) chosen.push_back(std::move(loaded));
  }
  if (!chosen.empty()) return chosen;
  return absl::InvalidArgumentError(
      absl::StrCat("no scenario has the tag ", absl::StrJoin(tags, " or "),
                   known.empty() ? "; none has any tag" : absl::StrCat("; there are: ", absl::StrJoin(known, ", "))));
}

std::vector<std::string> Labels(const std::vector<LoadedScenario>& scenarios) {
  std::map<std::string, int> times;
  for (const LoadedScenario& loaded : scenarios) ++times[loaded.scenario.name()];
  std::vector<std::string> labels;
  for (const LoadedScenario& loaded : scenarios) {
    const std::string& name = loaded.scenario.name();
    labels.push_back(times[name] == 1 ? name : absl::StrCat(name, " (", loaded.path, ")"));
  }
  return labels;
}

}  // namespace squall
