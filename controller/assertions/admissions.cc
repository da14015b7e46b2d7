#include "controller/assertions/admissions.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

namespace squall {
namespace {

constexpr double kSecond = 1e9;
constexpr double kNever = -std::numeric_limits<double>::infinity();

void SortBySending(std::vector<Decided>& decided) {
  const auto sooner = [](const Decided& a, const Decided& b) { return a.sent_ns < b.sent_ns; };
  if (!std::is_sorted(decided.begin(), decided.end(), sooner)) std::sort(decided.begin(), decided.end(), sooner);
}

// Places in `decided`, in the order of the answers.
std::vector<uint32_t> ByAnswer(const std::vector<Decided>& decided) {
  std::vector<uint32_t> order(decided.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return decided[a].end_ns < decided[b].end_ns; });
  return order;
}

// For an end that moves forward: over all beginnings a, at the sending of a request that was answered by then, the greatest of
// (answered requests that were sent at a or later) + per_second x a. A tree over blocks of requests in the order of their
// sending, since one over all of them would take several times the memory of the requests themselves.
class Beginnings {
 public:
  Beginnings(const std::vector<Decided>& decided, double per_second)
      : decided_(decided), per_second_(per_second), answered_(decided.size(), false) {
    const size_t blocks = (decided.size() + kBlock - 1) / kBlock;
    while (leaves_ < blocks) leaves_ *= 2;
    nodes_.resize(2 * leaves_);
  }

  void Answer(size_t place) {
    answered_[place] = true;
    const size_t block = place / kBlock;
    size_t node = leaves_ + block;
    nodes_[node] = Sum(block);
    for (node /= 2; node > 0; node /= 2) {
      const Node& left = nodes_[2 * node];
      const Node& right = nodes_[2 * node + 1];
      nodes_[node] = {left.count + right.count, std::max(right.best, left.best + right.count)};
    }
  }

  double Best() const { return nodes_[1].best; }
  double Seconds(int64_t ns) const { return static_cast<double>(ns - decided_.front().sent_ns) / kSecond; }

 private:
  static constexpr size_t kBlock = 16;
  struct Node {
    double count = 0;
    double best = kNever;
  };

  Node Sum(size_t block) const {
    Node node;
    const size_t begin = block * kBlock;
    for (size_t i = std::min(begin + kBlock, decided_.size()); i-- > begin;) {
      if (!answered_[i]) continue;
      node.count += 1;
      node.best = std::max(node.best, node.count + per_second_ * Seconds(decided_[i].sent_ns));
    }
    return node;
  }

  const std::vector<Decided>& decided_;
  const double per_second_;
  std::vector<bool> answered_;
  size_t leaves_ = 1;
  std::vector<Node> nodes_;
};

// The interval that ends with this request's answer in which count - per_second x length is greatest.
Busiest EndingWith(const std::vector<Decided>& decided, uint32_t last, double per_second) {
  Busiest found;
  found.end_ns = decided[last].end_ns;
  found.last = decided[last].number;
  int64_t count = 0;
  double best = kNever;
  for (size_t i = decided.size(); i-- > 0;) {
    if (decided[i].end_ns > found.end_ns) continue;
    ++count;
    const double value =
        static_cast<double>(count) - per_second * static_cast<double>(found.end_ns - decided[i].sent_ns) / kSecond;
    if (value < best) continue;
    best = value;
    found.count = count;
    found.begin_ns = decided[i].sent_ns;
    found.first = decided[i].number;
  }
  return found;
}

}  // namespace

std::optional<Worst> MostAbove(std::vector<Decided>& decided, double per_second, double limit) {
  if (decided.empty()) return std::nullopt;
  SortBySending(decided);
  const std::vector<uint32_t> order = ByAnswer(decided);
  Beginnings beginnings(decided, per_second);
  double most = kNever;
  uint32_t most_last = order.front();
  std::optional<uint32_t> first_over;
  for (size_t i = 0; i < order.size(); ++i) {
    beginnings.Answer(order[i]);
    const int64_t end_ns = decided[order[i]].end_ns;
    if (i + 1 < order.size() && decided[order[i + 1]].end_ns == end_ns) continue;
    const double value = beginnings.Best() - per_second * beginnings.Seconds(end_ns);
    if (value > limit && !first_over) first_over = order[i];
    if (value <= most) continue;
    most = value;
    most_last = order[i];
  }
  Worst worst{EndingWith(decided, most_last, per_second), std::nullopt};
  if (first_over) worst.first_over = EndingWith(decided, *first_over, per_second);
  return worst;
}

std::optional<Worst> MostWithin(std::vector<Decided>& decided, int64_t length_ns, double limit) {
  if (decided.empty()) return std::nullopt;
  SortBySending(decided);
  const std::vector<uint32_t> order = ByAnswer(decided);
  std::vector<bool> inside(decided.size(), false);
  size_t next = 0;  // in `order`
  int64_t count = 0;
  uint32_t last = 0;
  Worst worst;
  for (size_t a = 0; a < decided.size(); ++a) {
    for (; next < order.size() && decided[order[next]].end_ns <= decided[a].sent_ns + length_ns; ++next) {
      if (order[next] < a) continue;
      inside[order[next]] = true;
      last = order[next];
      ++count;
    }
    const Busiest here{decided[a].sent_ns, decided[last].end_ns, count, decided[a].number, decided[last].number};
    if (count > worst.most.count) worst.most = here;
    if (static_cast<double>(count) > limit && !worst.first_over) worst.first_over = here;
    count -= inside[a];
  }
  return worst;
}

Room Room::Bucket(std::vector<int64_t> sent_ns, std::vector<int64_t> end_ns, double capacity, double per_second,
                  std::vector<int64_t> emptied_ns) {
  Room room;
  room.capacity_ = capacity;
  room.per_second_ = per_second;
  room.emptied_ns_ = std::move(emptied_ns);
  room.sent_ns_ = std::move(sent_ns);
  room.end_ns_ = std::move(end_ns);
  // A bucket that was emptied is one that gave all its tokens away.
  std::sort(room.sent_ns_.begin(), room.sent_ns_.end());
  std::sort(room.end_ns_.begin(), room.end_ns_.end());
  room.used_.reserve(room.end_ns_.size());
  double used = 0;
  int64_t at_ns = 0;
  auto emptied = room.emptied_ns_.begin();
  for (const int64_t ended_ns : room.end_ns_) {
    for (; emptied != room.emptied_ns_.end() && *emptied <= ended_ns; ++emptied) {
      used = capacity;
      at_ns = *emptied;
    }
    const double refilled = per_second * static_cast<double>(ended_ns - at_ns) / kSecond;
    used = std::min(capacity, std::max(0.0, used - refilled) + 1);
    at_ns = ended_ns;
    room.used_.push_back(used);
  }
  return room;
}

Room Room::Window(std::vector<int64_t> sent_ns, std::vector<int64_t> end_ns, double capacity, int64_t window_ns,
                  std::vector<int64_t> emptied_ns) {
  Room room = Bucket(std::move(sent_ns), std::move(end_ns), capacity, 0, std::move(emptied_ns));
  room.window_ns_ = window_ns;
  return room;
}

double Room::Left(int64_t sent_ns, int64_t end_ns) const {
  const auto emptied = std::upper_bound(emptied_ns_.begin(), emptied_ns_.end(), sent_ns);
  const bool was_emptied = emptied != emptied_ns_.begin();
  const auto begun = std::upper_bound(sent_ns_.begin(), sent_ns_.end(), end_ns) - sent_ns_.begin();
  if (window_ns_ > 0) {
    if (was_emptied && *std::prev(emptied) > sent_ns - window_ns_) return 0;
    const auto over = std::lower_bound(end_ns_.begin(), end_ns_.end(), sent_ns - window_ns_) - end_ns_.begin();
    return capacity_ - static_cast<double>(begun - over);
  }
  const auto over = std::lower_bound(end_ns_.begin(), end_ns_.end(), sent_ns) - end_ns_.begin();
  double used = 0;
  int64_t at_ns = sent_ns;
  if (over > 0) {
    used = used_[static_cast<size_t>(over) - 1];
    at_ns = end_ns_[static_cast<size_t>(over) - 1];
  }
  if (was_emptied && (over == 0 || *std::prev(emptied) > at_ns)) {
    used = capacity_;
    at_ns = *std::prev(emptied);
  }
  used = std::max(0.0, used - per_second_ * static_cast<double>(sent_ns - at_ns) / kSecond);
  return capacity_ - used - static_cast<double>(begun - over);
}

}  // namespace squall
