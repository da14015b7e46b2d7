#include "controller/suite/clash.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "controller/process_faults.h"

namespace squall {
namespace {

constexpr int kMostPorts = 65535;
// Smaller numbers in a command line are counts and levels more often than ports, unless something says that they are.
constexpr int kLeastBarePort = 1024;

void AddPort(int port, std::set<int>& ports) {
  if (port >= 1 && port <= kMostPorts) ports.insert(port);
}

// "host:port".
void AddAddress(absl::string_view address, std::set<int>& ports) {
  int port = 0;
  const size_t colon = address.rfind(':');
  if (colon != absl::string_view::npos && absl::SimpleAtoi(address.substr(colon + 1), &port)) AddPort(port, ports);
}

// "http://host[:port][/path]".
void AddUrl(absl::string_view url, std::set<int>& ports) {
  const bool tls = absl::StartsWith(url, "https:");
  const size_t scheme = url.find("://");
  if (scheme == absl::string_view::npos) return;
  const absl::string_view rest = url.substr(scheme + 3);
  const absl::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  const size_t colon = authority.rfind(':');
  const bool has_port = colon != absl::string_view::npos && authority.find(']', colon) == absl::string_view::npos;
  if (has_port) return AddAddress(authority, ports);
  AddPort(tls ? 443 : 80, ports);
}

// Numbers that stand alone in an argument of a program and can be a port: "--port=8080", "127.0.0.1:9090", "8080"; not
// "300ms" and not the numbers of an IP address.
void AddNumbers(absl::string_view text, std::set<int>& ports) {
  const bool says_port = absl::StrContains(absl::AsciiStrToLower(text), "port");
  for (size_t i = 0; i < text.size();) {
    if (!absl::ascii_isdigit(text[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < text.size() && absl::ascii_isdigit(text[end])) ++end;
    const char before = i == 0 ? ' ' : text[i - 1];
    const char after = end == text.size() ? ' ' : text[end];
    const auto joins = [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '%'; };
    int number = 0;
    // A ']' ends an IPv6 address.
    if (!joins(before) && !joins(after) && after != ']' && absl::SimpleAtoi(text.substr(i, end - i), &number)) {
      if (number >= kLeastBarePort || before == ':' || says_port) AddPort(number, ports);
    }
    i = end;
  }
}

std::set<int> Ports(const Scenario& scenario) {
  std::set<int> ports;
  for (const Service& service : scenario.services()) {
    for (int i = 1; i < service.run_size(); ++i) AddNumbers(service.run(i), ports);
    for (const auto& [key, value] : service.env()) AddNumbers(absl::StrCat(key, "=", value), ports);
    if (service.attach().has_listen()) AddPort(service.attach().listen(), ports);
    if (service.attach().has_command()) AddNumbers(service.attach().command(), ports);
    AddUrl(service.ready().http().url(), ports);
    AddAddress(service.ready().tcp(), ports);
    AddUrl(service.metrics().url(), ports);
    AddUrl(service.health().url(), ports);
    AddUrl(service.pprof().url(), ports);
    AddAddress(service.resolver_at(), ports);
  }
  for (const Edge& edge : scenario.edges()) {
    for (const std::string& to : edge.to()) AddAddress(to, ports);
    AddAddress(edge.relay_at(), ports);
  }
  for (const Load& load : scenario.load()) {
    AddUrl(load.http().url(), ports);
    AddAddress(load.grpc().address(), ports);
    AddAddress(load.tcp().address(), ports);
  }
  for (const Monitor& monitor : scenario.monitors()) {
    AddUrl(monitor.prometheus().url(), ports);
    AddAddress(monitor.alertmanager().listen(), ports);
  }
  return ports;
}

// Files and folders that the arguments of services name: two services with one configuration file listen where it says,
// and two with one data folder write to it. The programs themselves may be the same.
std::set<std::string> Files(const LoadedScenario& loaded) {
  std::set<std::string> files;
  const std::string folder = std::filesystem::path(loaded.path).parent_path().lexically_normal().string();
  const auto add = [&](absl::string_view text) {
    if (!absl::StrContains(text, '/') || absl::StrContains(text, "${run.folder}")) return;
    if (absl::StrContains(text, "://")) return;
    const std::string full = absl::StrReplaceAll(text, {{"${scenario.folder}", folder}});
    // "--config=FILE" and "FILE" are the same file.
    const size_t equals = full.find('=');
    files.insert(equals < full.find('/') ? full.substr(equals + 1) : full);
  };
  for (const Service& service : loaded.scenario.services()) {
    for (int i = 1; i < service.run_size(); ++i) add(service.run(i));
    for (const auto& [key, value] : service.env()) {
      if (key != "PATH" && key != "HOME") add(value);
    }
    add(service.log_file());
    if (!service.cwd().empty() && absl::StrContains(service.cwd(), '/')) add(service.cwd());
  }
  return files;
}

std::set<std::string> Agents(const Scenario& scenario) {
  std::set<std::string> agents;
  for (const Service& service : scenario.services()) agents.insert(service.on());
  for (const Load& load : scenario.load()) agents.insert(load.on());
  for (const AgentAt& agent : scenario.agents()) agents.insert(agent.name());
  agents.erase("");  // one of the run's own
  return agents;
}

bool Attaches(const Scenario& scenario) {
  return std::any_of(scenario.services().begin(), scenario.services().end(),
                     [](const Service& service) { return service.has_attach(); });
}

// The name of a fault that everything on the host feels; empty: none.
std::string HostFault(const Scenario& scenario) {
  const auto& faults = scenario.faults();
  const auto found = std::find_if(faults.begin(), faults.end(), IsHostFault);
  return found == faults.end() ? "" : found->name();
}

template <typename T>
std::vector<T> Common(const std::set<T>& a, const std::set<T>& b) {
  std::vector<T> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return common;
}

}  // namespace

std::vector<int> PortsOf(const Scenario& scenario) {
  const std::set<int> ports = Ports(scenario);
  return std::vector<int>(ports.begin(), ports.end());
}

std::string Clash(const LoadedScenario& a, const LoadedScenario& b) {
  if (&a == &b) return "it is the same scenario";
  for (const LoadedScenario* loaded : {&a, &b}) {
    const std::string fault = HostFault(loaded->scenario);
    if (!fault.empty()) return absl::StrCat("the whole host feels fault ", fault, " of ", loaded->scenario.name());
  }
  const auto ports = Common(Ports(a.scenario), Ports(b.scenario));
  if (!ports.empty()) return absl::StrCat("both use port ", ports[0]);
  if (Attaches(a.scenario) && Attaches(b.scenario)) return "both attach to running processes, which may be the same";
  const auto agents = Common(Agents(a.scenario), Agents(b.scenario));
  if (!agents.empty()) return absl::StrCat("both need agent ", agents[0]);
  const auto files = Common(Files(a), Files(b));
  if (!files.empty()) return absl::StrCat("both use ", files[0]);
  return "";
}

Clashes FindClashes(const std::vector<LoadedScenario>& scenarios) {
  Clashes clashes(scenarios.size(), std::vector<bool>(scenarios.size()));
  for (size_t i = 0; i < scenarios.size(); ++i) {
    for (size_t j = 0; j < scenarios.size(); ++j) clashes[i][j] = !Clash(scenarios[i], scenarios[j]).empty();
  }
  return clashes;
}

}  // namespace squall
