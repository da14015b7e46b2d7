#include "agent/resolvers.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/net/intercept.h"
#include "agent/net/name_paths.h"
#include "agent/process/find.h"

namespace squall {
namespace {

// Nothing that asks for a name waits longer than that for one answer.
constexpr absl::Duration kLongestDrain = absl::Seconds(5);

// A service that was told to ask `resolver_at` must find it there, with a fault or without.
bool NeedsResolver(const Scenario& scenario, const Service& service) {
  return !service.resolver_at().empty() ||
         std::any_of(scenario.faults().begin(), scenario.faults().end(), [&](const Fault& fault) {
           return fault.has_dns() && fault.dns().service() == service.name();
         });
}

// A literal address: nothing is looked up to find out where to look up.
absl::StatusOr<std::optional<Address>> AddressOf(const std::string& text) {
  if (text.empty()) return std::optional<Address>();
  absl::StatusOr<Address> address = ParseAddress(text);
  if (!address.ok()) return address.status();
  return std::optional<Address>(*address);
}

std::string Mechanism(const Service& service) {
  if (!service.resolver_at().empty()) {
    return absl::StrCat("resolver at ", service.resolver_at(), ", which forwards to ", service.nameserver());
  }
  return absl::StrCat("queries to ", service.nameserver().empty() ? "port 53" : service.nameserver(),
                      " redirected by cgroup BPF");
}

absl::Status CheckPlace(const Service& service) {
  for (const std::string* text : {&service.nameserver(), &service.resolver_at()}) {
    const auto address = AddressOf(*text);
    if (!address.ok()) return address.status();
  }
  if (!service.resolver_at().empty()) {
    return service.nameserver().empty() ? absl::FailedPreconditionError("resolver_at needs nameserver") : absl::OkStatus();
  }
  const std::string why_not = Intercept::WhyNot(service.has_attach());
  if (why_not.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(why_not, "; without, write resolver_at: \"IP:PORT\" and nameserver: \"IP:PORT\" on the service and let it ask "
                            "${services.", service.name(), ".nameserver}"));
}

// What the files on this host say of the ways of names. Not asked where the service's server is named: it asks that one.
absl::Status LookAtPaths(const Scenario& scenario, const Service& service, std::vector<std::string>& notes) {
  if (!service.nameserver().empty()) return absl::OkStatus();
  pid_t pid = 0;
  if (service.has_attach()) {
    const absl::StatusOr<ProcessId> target = FindTarget(service.attach());
    if (!target.ok()) return absl::OkStatus();  // is told when the services are claimed
    pid = target->pid;
  }
  const NamePaths paths = NamePathsOf(pid);
  for (const Fault& fault : scenario.faults()) {
    if (!fault.has_dns() || fault.dns().service() != service.name()) continue;
    const std::string why_not = WhyNothingArrives(fault.dns(), paths);
    if (!why_not.empty()) {
      return absl::FailedPreconditionError(
          absl::StrCat("fault ", fault.name(), " would touch nothing: ", why_not,
                       "; if the service asks a server by itself, name it: nameserver: \"IP:PORT\" on the service"));
    }
    for (std::string& note : WhatEscapes(fault.dns(), paths)) {
      if (std::find(notes.begin(), notes.end(), note) == notes.end()) notes.push_back(std::move(note));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Resolvers::Prepare(const Scenario& scenario, PrepareReply& reply) {
  for (const Service& service : scenario.services()) {
    if (!NeedsResolver(scenario, service)) continue;
    std::vector<std::string> notes;
    absl::Status status = CheckPlace(service);
    if (status.ok()) status = LookAtPaths(scenario, service, notes);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("service ", service.name(), ": ", status.message()));
    std::string& mechanism = (*reply.mutable_resolver_mechanisms())[service.name()];
    mechanism = Mechanism(service);
    for (const std::string& note : notes) {
      absl::StrAppend(&mechanism, "; ", note);
      reply.add_notes(absl::StrCat("service ", service.name(), ": ", note));
    }
  }
  return absl::OkStatus();
}

absl::Status Resolvers::Open(const Scenario& scenario, const Services& services) {
  scenario_ = scenario;
  for (const Service& service : scenario_.services()) {
    if (!NeedsResolver(scenario_, service)) continue;
    Place& place = places_[service.name()];
    place.spec = &service;
    place.service = services.at(service.name()).get();
    const absl::Status status = OpenOne(place);
    if (!status.ok()) return absl::Status(status.code(), absl::StrCat("service ", service.name(), ": ", status.message()));
  }
  return absl::OkStatus();
}

absl::Status Resolvers::OpenOne(Place& place) {
  RunningService& service = *place.service;
  const auto nameserver = AddressOf(place.spec->nameserver());
  if (!nameserver.ok()) return nameserver.status();
  const auto at = AddressOf(place.spec->resolver_at());
  if (!at.ok()) return at.status();
  if (!*at && place.redirect == nullptr) {
    const absl::StatusOr<std::string> folder = service.CgroupFolder();
    if (!folder.ok()) return folder.status();
    auto redirect = DnsRedirect::Attach(*folder, /*by_process=*/!service.IsRun(), *nameserver);
    if (!redirect.ok()) return redirect.status();
    place.redirect = *std::move(redirect);
  }
  // A service that is yet to be started is taken to be in the agent's namespace; Move looks again.
  absl::StatusOr<NetNamespace> ns = service.IsRun() && !service.Leader() ? NetNamespace::Own() : service.Namespace();
  if (!ns.ok()) return ns.status();
  resolvers_.erase(service.name());
  place.ns = std::make_unique<NetNamespace>(*std::move(ns));
  Resolver::Options options = {*at, *nameserver, place.redirect.get(), nullptr};
  if (told_) {
    options.on_answer = [this, name = service.name()](const std::string& asked, const std::vector<Address>& addresses) {
      told_(name, asked, addresses);
    };
  }
  absl::StatusOr<std::unique_ptr<Resolver>> resolver = Resolver::Open(*place.ns, std::move(options));
  if (!resolver.ok()) return resolver.status();
  resolvers_[service.name()] = *std::move(resolver);
  if (place.redirect == nullptr) return absl::OkStatus();
  FollowProcesses();
  return place.redirect->SetNamespace(*place.ns);
}

absl::Status Resolvers::Move(const std::string& service) {
  const auto place = places_.find(service);
  if (place == places_.end()) return absl::OkStatus();
  const absl::Status status = OpenOne(place->second);
  return status.ok() ? status : absl::Status(status.code(), absl::StrCat("service ", service, ": ", status.message()));
}

void Resolvers::FollowProcesses() const {
  for (const auto& [name, place] : places_) {
    if (place.redirect == nullptr || place.service->IsRun()) continue;
    std::set<pid_t> pids;
    for (const ProcessId& process : place.service->Processes()) pids.insert(process.pid);
    place.redirect->SetProcesses(pids).IgnoreError();
  }
}

void Resolvers::StopQueries() {
  for (auto& [name, place] : places_) {
    if (place.redirect != nullptr) place.redirect->StopQueries();
  }
}

void Resolvers::Release() {
  resolvers_.clear();
  places_.clear();
}

std::vector<std::string> Resolvers::Close(absl::Duration drain) {
  std::vector<std::string> notes;
  for (auto& [name, place] : places_) {
    const auto resolver = resolvers_.find(name);
    if (resolver != resolvers_.end()) resolver->second->Drain(std::min(drain, kLongestDrain));
    if (place.redirect == nullptr) continue;
    place.redirect->Detach();
    if (place.redirect->LeftAlone() > 0) {
      notes.push_back(absl::StrCat("service ", name, " asked more than ", DnsRedirect::kDoors, " name servers: ",
                                   place.redirect->LeftAlone(), " queries were left alone, and no fault reached them"));
    }
  }
  return notes;
}

}  // namespace squall
