#include "agent/edge_names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(3);        // for one answer
constexpr absl::Duration kAtFirst = absl::Milliseconds(200);  // before anything was started that could answer
constexpr absl::Duration kLeastAge = absl::Seconds(1);
constexpr absl::Duration kMostAge = absl::Seconds(10);
constexpr absl::Duration kUnknownAge = absl::Milliseconds(50);  // of a name that never had an address: at first, then twice as long
constexpr absl::Duration kLook = absl::Milliseconds(10);
// Of one name: what the service is told may turn in a large pool.
constexpr size_t kMostAddresses = 256;

void AddNew(const Address& address, std::vector<Address>& to) {
  if (std::find(to.begin(), to.end(), address) == to.end()) to.push_back(address);
}

std::string PlainName(absl::string_view name) { return absl::AsciiStrToLower(absl::StripSuffix(name, ".")); }

}  // namespace

EdgeNames::EdgeNames(Sink sink) : sink_(std::move(sink)) {}

EdgeNames::~EdgeNames() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::vector<Address>> EdgeNames::Open(const Edge& edge, const Service& service, ProcessOf process,
                                                     const NetNamespace& ns) {
  Place place;
  place.edge = edge.name();
  place.service = edge.from();
  place.process = std::move(process);
  place.ns = &ns;
  if (!service.nameserver().empty()) {
    const absl::StatusOr<Address> nameserver = ParseAddress(service.nameserver());
    if (!nameserver.ok()) return nameserver.status();
    place.ways.nameserver = *nameserver;
  }
  for (const std::string& to : edge.to()) {
    const auto split = SplitHostPort(to);
    if (!split.ok()) return split.status();
    const auto port = static_cast<uint16_t>(split->second);
    const absl::StatusOr<Address> written = ParseAddress(to);
    if (split->first == "*") {
      place.written.push_back(AnyAddress(port));
    } else if (written.ok()) {
      AddNew(*written, place.written);
    } else {
      Name name;
      name.host = split->first;
      name.port = port;
      place.names.push_back(std::move(name));
    }
  }
  const size_t names = place.names.size();
  {
    absl::MutexLock lock(&mutex_);
    for (auto owner = owners_.begin(); owner != owners_.end();) {
      owner = owner->second == edge.name() ? owners_.erase(owner) : std::next(owner);
    }
    for (const Address& address : place.written) {
      const std::string owner = OwnerOf(place, address);
      if (!owner.empty()) {
        return absl::FailedPreconditionError(
            absl::StrCat("edge ", owner, " leads to ", address.ToString(), " as well; leave one of them out"));
      }
      owners_[{place.service, address.ToString()}] = place.edge;
    }
    places_[edge.name()] = std::move(place);
  }
  for (size_t i = 0; i < names; ++i) LookUp(edge.name(), i);
  absl::MutexLock lock(&mutex_);
  Place& opened = places_.at(edge.name());
  opened.opened = true;
  for (const Name& name : opened.names) {
    if (absl::IsFailedPrecondition(name.status)) return name.status;
  }
  return Now(opened);
}

absl::Status EdgeNames::Await(const std::string& service, absl::Duration timeout, const std::atomic<bool>& cancelled) {
  const int64_t until = BootNanos() + absl::ToInt64Nanoseconds(timeout);
  while (true) {
    absl::Status missing;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [edge, place] : places_) {
        if (!service.empty() && place.service != service) continue;
        for (const Name& name : place.names) {
          if (absl::IsFailedPrecondition(name.status)) {
            return absl::FailedPreconditionError(absl::StrCat("edge ", edge, ": ", name.status.message()));
          }
          if (!name.addresses.empty() || !missing.ok()) continue;
          missing = absl::Status(name.status.code(), absl::StrCat("edge ", edge, ": cannot look up ", name.host, " as ",
                                                                  place.service, " does: ", name.status.message()));
        }
      }
    }
    if (missing.ok() || cancelled || BootNanos() >= until) return missing;
    if (!LookUpDue()) absl::SleepFor(kLook);
  }
}

void EdgeNames::Start() {
  const bool needed = HasNames();
  absl::MutexLock lock(&mutex_);
  started_ = true;
  if (needed && !stop_ && !thread_.joinable()) thread_ = std::thread([this] { Run(); });
}

void EdgeNames::Stop() { stop_ = true; }

void EdgeNames::Run() {
  while (!stop_) {
    if (!LookUpDue()) absl::SleepFor(kLook);
  }
}

bool EdgeNames::LookUpDue() {
  std::vector<std::pair<std::string, size_t>> due;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [edge, place] : places_) {
      for (size_t i = 0; i < place.names.size(); ++i) {
        if (place.names[i].next_ns <= BootNanos()) due.emplace_back(edge, i);
      }
    }
  }
  for (const auto& [edge, i] : due) {
    if (!stop_) LookUp(edge, i);
  }
  return !due.empty();
}

void EdgeNames::LookUp(const std::string& edge, size_t index) {
  NameWays ways;
  std::string host;
  uint16_t port = 0;
  const NetNamespace* ns = nullptr;
  ProcessOf process;
  absl::Duration patience = kPatience;
  {
    absl::MutexLock lock(&mutex_);
    Place& place = places_.at(edge);
    Name& name = place.names[index];
    ways = place.ways;
    process = place.process;
    ns = place.ns;
    host = name.host;
    port = name.port;
    if (!place.opened) patience = kAtFirst;
    name.next_ns = BootNanos() + absl::ToInt64Nanoseconds(name.addresses.empty() ? kUnknownAge : kLeastAge);
  }
  const std::optional<pid_t> pid = process();
  if (!pid) return;  // nobody looks anything up
  ways.process = *pid;
  absl::StatusOr<FoundAddresses> found = LookUpName(host, ways, *ns, patience, stop_);
  if (stop_) return;
  absl::MutexLock lock(&mutex_);
  Place& place = places_.at(edge);
  Name& name = place.names[index];
  const bool known = !name.addresses.empty();
  absl::Duration age = known ? kLeastAge : std::min(kLeastAge, kUnknownAge * (1 << name.in_vain));
  if (!known && name.in_vain < 10) ++name.in_vain;
  if (found.ok()) {
    age = std::clamp(found->ttl, kLeastAge, kMostAge);
    for (Address& address : found->addresses) address.port = port;
    Take(place, name, found->addresses);
  } else if (known && name.status.ok()) {
    notes_.push_back(absl::StrCat("edge ", edge, ": ", host, " could not be looked up for a while (", found.status().message(),
                                  "): it was taken to be where it was"));
  }
  if (!found.ok()) name.status = found.status();
  name.next_ns = BootNanos() + absl::ToInt64Nanoseconds(age);
}

void EdgeNames::Take(Place& place, Name& name, std::vector<Address> addresses) {
  name.status = absl::OkStatus();
  std::vector<Address> own;
  for (const Address& address : addresses) {
    const std::string owner = OwnerOf(place, address);
    if (owner.empty()) {
      if (own.size() < kMostAddresses) own.push_back(address);
      owners_[{place.service, address.ToString()}] = place.edge;
      continue;
    }
    const std::string both = absl::StrCat(name.host, " is ", address.ToString(), ", where edge ", owner, " leads as well");
    if (!started_) name.status = absl::FailedPreconditionError(absl::StrCat(both, "; leave one of them out"));
    const std::string note = absl::StrCat("edge ", place.edge, ": ", both, ": calls there count for ", owner);
    if (started_ && std::find(notes_.begin(), notes_.end(), note) == notes_.end()) notes_.push_back(note);
  }
  const bool same = std::is_permutation(own.begin(), own.end(), name.addresses.begin(), name.addresses.end());
  if (same || own.empty()) return;
  name.addresses = std::move(own);
  if (place.opened) Tell(place);
}

std::string EdgeNames::OwnerOf(const Place& place, const Address& address) const {
  const auto owner = owners_.find({place.service, address.ToString()});
  return owner == owners_.end() || owner->second == place.edge ? "" : owner->second;
}

std::vector<Address> EdgeNames::Now(Place& place) {
  std::vector<Address> now = place.written;
  for (const Name& name : place.names) {
    for (const Address& address : name.addresses) AddNew(address, now);
  }
  for (const Address& address : now) AddNew(address, place.ever);
  for (auto old = place.ever.begin(); place.ever.size() > kMostAddresses && old != place.ever.end();) {
    old = std::find(now.begin(), now.end(), *old) == now.end() ? place.ever.erase(old) : std::next(old);
  }
  return now;
}

void EdgeNames::Tell(Place& place) {
  const std::vector<Address> now = Now(place);
  const absl::Status told = sink_(place.edge, now, place.ever);
  if (told.ok()) return;
  const std::string note = absl::StrCat("edge ", place.edge, ": a new address is not reached: ", told.message());
  if (std::find(notes_.begin(), notes_.end(), note) == notes_.end()) notes_.push_back(note);
}

void EdgeNames::Told(const std::string& service, absl::string_view name, const std::vector<Address>& addresses) {
  absl::MutexLock lock(&mutex_);
  for (auto& [edge, place] : places_) {
    if (place.service != service || !place.opened) continue;
    for (Name& known : place.names) {
      if (PlainName(known.host) != PlainName(name)) continue;
      // Beside what is known: the two kinds of address come in answers of their own.
      std::vector<Address> all = known.addresses;
      for (Address address : addresses) {
        address.port = known.port;
        AddNew(address, all);
      }
      if (all.size() > known.addresses.size()) Take(place, known, std::move(all));
    }
  }
}

bool EdgeNames::HasNames() {
  absl::MutexLock lock(&mutex_);
  return std::any_of(places_.begin(), places_.end(), [](const auto& place) { return !place.second.names.empty(); });
}

std::vector<std::string> EdgeNames::Notes() {
  absl::MutexLock lock(&mutex_);
  return notes_;
}

}  // namespace squall
