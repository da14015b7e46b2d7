#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "controller/mistake.h"
#include "controller/yaml_tree.h"

namespace squall {

// What was read: where everything stands, and what is wrong. Paths are keys of YAML and indices in proto,
// from 0: "faults[1].latency.edge"; of what YAML writes as a mapping from names, too: "services[0].run". Not
// thread-safe.
class Reading {
 public:
  // The thing at `path` stands here.
  void Place(const std::string& path, Position at);

  // Something is wrong with the thing at `path`: at its place, or that of what contains it. The first mistake
  // for each path counts; a second would only follow from it.
  void Report(const std::string& path, std::string message);
  // The same for what has a better place than its path.
  void ReportAt(const std::string& path, Position at, std::string message);
  // A mistake that makes nothing else doubtful.
  void Add(Position at, std::string message);

  // The file gives it, right or wrong.
  bool Given(const std::string& path) const { return positions_.count(path) > 0; }
  // No mistake was reported for it, for anything in it, or for what contains it.
  bool Sound(const std::string& path) const;
  Position At(const std::string& path) const;

  // In the order of the file; of more than kMostMistakes the last says how many others there are.
  std::vector<Mistake> Mistakes() const;

  static constexpr int kMostMistakes = 100;

 private:
  std::map<std::string, Position> positions_;
  std::set<std::string> broken_;
  std::vector<Mistake> mistakes_;
};

}  // namespace squall
