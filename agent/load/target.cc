#include "agent/load/target.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace squall {
namespace {

// A name that moves is followed; one that has no address is asked for again soon.
constexpr int64_t kFoundFor = 60'000'000'000;
constexpr int64_t kNotFoundFor = 1'000'000'000;

}  // namespace

absl::StatusOr<std::unique_ptr<Target>> Target::Make(const std::string& host, int port, SslContextPtr tls, const std::string& server_name) {
  const bool v6 = host.find(':') != host.npos;
  const std::string text = absl::StrCat(v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
  auto target = absl::WrapUnique(new Target(text, std::move(tls), server_name.empty() ? host : server_name));
  if (const absl::StatusOr<Address> literal = ParseAddress(text); literal.ok()) {
    target->literal_ = {*literal};
    return target;
  }
  if (const auto split = SplitHostPort(text); !split.ok()) return split.status();
  target->lookup_ = std::make_shared<Lookup>();
  target->lookup_->text = text;
  target->lookup_->event = Fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!target->lookup_->event) return absl::ErrnoToStatus(errno, "no descriptor left for a load");
  std::thread(&Target::LookUp, target->lookup_).detach();
  return target;
}

Target::~Target() {
  if (lookup_ == nullptr) return;
  absl::MutexLock lock(&lookup_->mutex);
  lookup_->over = true;
}

void Target::LookUp(std::shared_ptr<Lookup> lookup) {
  const auto called = [&lookup] {
    lookup->mutex.AssertReaderHeld();
    return lookup->wanted || lookup->over;
  };
  while (true) {
    {
      absl::MutexLock lock(&lookup->mutex);
      lookup->mutex.Await(absl::Condition(&called));
      if (lookup->over) return;
    }
    absl::StatusOr<std::vector<Address>> found = ResolveAddress(lookup->text);
    absl::MutexLock lock(&lookup->mutex);
    lookup->wanted = false;
    // Old addresses are better than none.
    if (found.ok() || !lookup->found.ok()) lookup->found = std::move(found);
    lookup->found_ns = BootNanos();
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = write(lookup->event.get(), &one, sizeof one);
  }
}

absl::StatusOr<std::vector<Address>> Target::Addresses() {
  if (lookup_ == nullptr) return literal_;
  absl::StatusOr<std::vector<Address>> found;
  {
    absl::MutexLock lock(&lookup_->mutex);
    found = lookup_->found;
    const int64_t age_ns = BootNanos() - lookup_->found_ns;
    if (age_ns > (found.ok() ? kFoundFor : kNotFoundFor)) lookup_->wanted = true;
    // One that failed a while ago says nothing about now.
    if (!found.ok() && lookup_->wanted) return absl::UnavailableError("being looked up");
  }
  if (found.ok()) {
    std::stable_partition(found->begin(), found->end(), [this](const Address& address) { return address == preferred_; });
  }
  return found;
}

int Target::event() const { return lookup_ == nullptr ? -1 : lookup_->event.get(); }

void Target::DrainEvent() {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(event(), &count, sizeof count);
}

}  // namespace squall
