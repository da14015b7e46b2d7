#include "controller/placement.h"

#include <algorithm>

#include "base/messages.h"
#include "google/protobuf/descriptor.h"
#include "proto/options.pb.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// What the fault's first reference to a `noun` names; empty: it has none.
std::string Reference(const Fault& fault, absl::string_view noun) {
  const FieldDescriptor* kind = KindField(fault);
  if (kind == nullptr) return "";
  const Message& message = fault.GetReflection()->GetMessage(fault, kind);
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    if (field->is_repeated() || field->options().GetExtension(rules).refers_to() != noun) continue;
    return message.GetReflection()->GetString(message, field);
  }
  return "";
}

template <typename List, typename Condition>
void Keep(List& list, Condition condition) {
  for (int i = list.size() - 1; i >= 0; --i) {
    if (!condition(list[i])) list.DeleteSubrange(i, 1);
  }
}

}  // namespace

std::string AgentOfService(const Scenario& scenario, absl::string_view service) {
  for (const Service& each : scenario.services()) {
    if (each.name() == service) return each.on();
  }
  return "";
}

std::string AgentOfEdge(const Scenario& scenario, absl::string_view edge) {
  for (const Edge& each : scenario.edges()) {
    if (each.name() == edge) return AgentOfService(scenario, each.from());
  }
  return "";
}

std::string AddressOfUrl(absl::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == absl::string_view::npos) return "";
  url.remove_prefix(scheme + 3);
  return std::string(url.substr(0, url.find_first_of("/?#")));
}

std::string AddressOf(const Load& load) {
  if (load.has_grpc()) return load.grpc().address();
  if (load.has_tcp()) return load.tcp().address();
  return AddressOfUrl(load.http().url());
}

std::string AgentOfLoad(const Scenario& scenario, absl::string_view load) {
  for (const Load& each : scenario.load()) {
    if (each.name() == load) return each.on();
  }
  return "";
}

std::string AgentOfFault(const Scenario& scenario, const Fault& fault) {
  if (const std::string edge = Reference(fault, "edge"); !edge.empty()) return AgentOfEdge(scenario, edge);
  if (const std::string load = Reference(fault, "load"); !load.empty()) return AgentOfLoad(scenario, load);
  return AgentOfService(scenario, Reference(fault, "service"));
}

std::string AgentOfFault(const Scenario& scenario, absl::string_view fault) {
  for (const Fault& each : scenario.faults()) {
    if (each.name() == fault) return AgentOfFault(scenario, each);
  }
  return "";
}

std::vector<std::string> AgentsInUse(const Scenario& scenario) {
  std::vector<std::string> names;
  const auto is_on = [&](const AgentAt& agent) {
    const auto has = [&](const auto& list) {
      return std::any_of(list.begin(), list.end(), [&](const auto& each) { return each.on() == agent.name(); });
    };
    return has(scenario.services()) || has(scenario.load()) || has(scenario.monitors());
  };
  for (const AgentAt& agent : scenario.agents()) {
    if (is_on(agent)) names.push_back(agent.name());
  }
  if (names.empty()) names.emplace_back();
  return names;
}

Scenario PartOf(const Scenario& scenario, const std::string& agent) {
  Scenario part = scenario;
  Keep(*part.mutable_services(), [&](const Service& service) { return service.on() == agent; });
  Keep(*part.mutable_load(), [&](const Load& load) { return load.on() == agent; });
  Keep(*part.mutable_monitors(), [&](const Monitor& monitor) { return monitor.on() == agent; });
  Keep(*part.mutable_edges(), [&](const Edge& edge) { return AgentOfService(scenario, edge.from()) == agent; });
  Keep(*part.mutable_faults(), [&](const Fault& fault) { return AgentOfFault(scenario, fault) == agent; });
  part.clear_agents();
  return part;
}

}  // namespace squall
