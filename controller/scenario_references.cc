#include "controller/scenario_references.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr absl::string_view kSecret = "secret.";
constexpr absl::string_view kRunFolder = "run.folder";
constexpr absl::string_view kScenarioFolder = "scenario.folder";
// Stands for an address that is missing or wrong, which is a mistake of its own.
constexpr absl::string_view kAnyAddress = "127.0.0.1:1";

template <typename... Args>
absl::Status Wrong(const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(args...));
}

// What follows a "${" is put in only when the run starts.
bool IsLate(absl::string_view rest) {
  return absl::StartsWith(rest, kSecret) || absl::StartsWith(rest, absl::StrCat(kRunFolder, "}")) ||
         absl::StartsWith(rest, absl::StrCat(kScenarioFolder, "}"));
}

// Keeps what is put in from being taken for something to put in later.
std::string Literal(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"${secret.", "$${secret."},
                                    {"${run.folder}", "$${run.folder}"},
                                    {"${scenario.folder}", "$${scenario.folder}"}});
}

absl::Status CheckSecret(absl::string_view name) {
  if (name.empty()) return Wrong("${secret.} names no environment variable; write ${secret.NAME}");
  if (std::getenv(std::string(name).c_str()) != nullptr) return absl::OkStatus();
  return Wrong("the environment variable ", Quoted(name),
               " is not set; set it, or write the text without ${secret...}");
}

// Calls `value` for the inside of each "${...}" of `text`, and puts in what it returns. `unescape` says for
// what follows a "$${" whether it becomes "${".
template <typename ValueOf, typename Unescape>
absl::StatusOr<std::string> Expand(absl::string_view text, ValueOf value_of, Unescape unescape) {
  std::string out;
  while (!text.empty()) {
    const size_t dollar = text.find('$');
    absl::StrAppend(&out, text.substr(0, dollar));
    if (dollar == absl::string_view::npos) break;
    text.remove_prefix(dollar);
    if (absl::ConsumePrefix(&text, "$${")) {
      absl::StrAppend(&out, unescape(text) ? "${" : "$${");
    } else if (absl::ConsumePrefix(&text, "${")) {
      const size_t end = text.find('}');
      if (end == absl::string_view::npos)
        return Wrong("${ without its }; close it, or write $${ for a literal ${");
      absl::StatusOr<std::string> value = value_of(text.substr(0, end));
      if (!value.ok()) return value.status();
      out += *value;
      text.remove_prefix(end + 1);
    } else {
      out += '$';
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace

References::References(const YamlNode* root, const std::map<std::string, std::string>& overrides)
    : vars_(overrides) {
  const YamlNode* vars = Find(root, "vars");
  for (size_t i = 0; vars != nullptr && vars->kind == YamlNode::kMapping && i + 1 < vars->items.size();
       i += 2) {
    if (vars->items[i]->kind != YamlNode::kScalar) continue;
    const YamlNode& value = *vars->items[i + 1];
    // A reference in here is reported where the walker comes across it.
    vars_.emplace(vars->items[i]->text, absl::StrReplaceAll(value.text, {{"$${", "${"}}));
  }
  const YamlNode* edges = Find(root, "edges");
  for (size_t i = 0; edges != nullptr && edges->kind == YamlNode::kMapping && i + 1 < edges->items.size();
       i += 2) {
    if (edges->items[i]->kind != YamlNode::kScalar) continue;
    const YamlNode* address = Find(edges->items[i + 1], "relay_at");
    if (address == nullptr) address = Find(edges->items[i + 1], "to");
    // Of several the first.
    if (address != nullptr && address->kind == YamlNode::kList) {
      address = address->items.empty() ? nullptr : address->items[0];
    }
    edges_.emplace(edges->items[i]->text, AddressIn(address));
  }
  const YamlNode* services = Find(root, "services");
  for (size_t i = 0;
       services != nullptr && services->kind == YamlNode::kMapping && i + 1 < services->items.size(); i += 2) {
    if (services->items[i]->kind != YamlNode::kScalar) continue;
    const YamlNode* address = Find(services->items[i + 1], "resolver_at");
    if (address == nullptr) address = Find(services->items[i + 1], "nameserver");
    if (address != nullptr) nameservers_.emplace(services->items[i]->text, AddressIn(address));
  }
}

std::string References::AddressIn(const YamlNode* address) const {
  absl::StatusOr<std::string> text =
      address == nullptr ? std::string(kAnyAddress) : Replace(address->text, /*vars_only=*/true);
  return text.ok() && !text->empty() ? *std::move(text) : std::string(kAnyAddress);
}

absl::StatusOr<std::string> References::Value(absl::string_view reference, bool vars_only) const {
  absl::string_view name = reference;
  if (!vars_only && absl::ConsumePrefix(&name, kSecret)) {
    absl::Status set = CheckSecret(name);
    if (!set.ok()) return set;
    return absl::StrCat("${", reference, "}");
  }
  if (!vars_only && (reference == kRunFolder || reference == kScenarioFolder)) {
    return absl::StrCat("${", reference, "}");
  }
  name = reference;
  if (absl::ConsumePrefix(&name, "vars.")) {
    const auto var = vars_.find(std::string(name));
    if (var != vars_.end()) return Literal(var->second);
  }
  name = reference;
  if (!vars_only && absl::ConsumePrefix(&name, "edges.") && absl::ConsumeSuffix(&name, ".address")) {
    const auto edge = edges_.find(std::string(name));
    if (edge != edges_.end() && absl::StartsWith(edge->second, "*")) {
      return Wrong(Quoted(absl::StrCat("${", reference, "}")), " is no address: the edge is any address with port ",
                   edge->second.substr(edge->second.find(':') + 1), "; write here the address that is to be called");
    }
    if (edge != edges_.end()) return Literal(edge->second);
  }
  name = reference;
  if (!vars_only && absl::ConsumePrefix(&name, "services.") && absl::ConsumeSuffix(&name, ".nameserver")) {
    const auto nameserver = nameservers_.find(std::string(name));
    if (nameserver != nameservers_.end()) return Literal(nameserver->second);
  }
  std::vector<std::string> known = {std::string(kRunFolder), std::string(kScenarioFolder)};
  for (const auto& var : vars_) known.push_back(absl::StrCat("vars.", var.first));
  for (const auto& edge : edges_) known.push_back(absl::StrCat("edges.", edge.first, ".address"));
  for (const auto& service : nameservers_) known.push_back(absl::StrCat("services.", service.first, ".nameserver"));
  const std::string nearest = Nearest(reference, known);
  if (!nearest.empty()) {
    return Wrong("unknown reference ", Quoted(absl::StrCat("${", reference, "}")), "; did you mean ",
                 Quoted(absl::StrCat("${", nearest, "}")), "?");
  }
  return Wrong(
      "unknown reference ", Quoted(absl::StrCat("${", reference, "}")),
      "; write ${vars.NAME}, ${edges.NAME.address} or ${secret.NAME} with a NAME of this file or its "
      "environment, or $${ for a literal ${");
}

absl::StatusOr<std::string> References::Replace(absl::string_view text, bool vars_only) const {
  return Expand(
      text, [&](absl::string_view reference) { return Value(reference, vars_only); },
      [](absl::string_view rest) { return !IsLate(rest); });
}

absl::StatusOr<std::string> References::Replace(absl::string_view path, absl::string_view text) const {
  if (!absl::StartsWith(path, "vars.")) return Replace(text, /*vars_only=*/false);
  // Values of `vars` are put in as they are: a chain of them would hide where a text comes from.
  absl::StatusOr<std::string> literal = Expand(
      text,
      [](absl::string_view) -> absl::StatusOr<std::string> {
        return Wrong("a value under vars cannot refer to another; write it out, or $${ for a literal ${");
      },
      [](absl::string_view) { return true; });
  if (!literal.ok()) return literal;
  const auto effective = vars_.find(std::string(absl::StripPrefix(path, "vars.")));
  return Literal(effective == vars_.end() ? *literal : effective->second);
}

absl::StatusOr<std::string> WithLateValues(absl::string_view text, const LateValues& values) {
  // Only what is late is left to be replaced; any other "${" came from an escape and stays.
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('}');
    if (absl::StartsWith(text, "$${") && IsLate(text.substr(3))) {
      out += "${";
      text.remove_prefix(3);
    } else if (absl::StartsWith(text, "${") && IsLate(text.substr(2)) && end != absl::string_view::npos) {
      const absl::string_view reference = text.substr(2, end - 2);
      if (reference == kRunFolder) {
        out += values.run_folder;
      } else if (reference == kScenarioFolder) {
        out += values.scenario_folder;
      } else {
        const std::string name(absl::StripPrefix(reference, kSecret));
        const char* value = std::getenv(name.c_str());
        if (value == nullptr) {
          return absl::NotFoundError(absl::StrCat("the environment variable ", Quoted(name), " is not set"));
        }
        out += value;
      }
      text.remove_prefix(end + 1);
    } else {
      const size_t dollar = text.find('$', 1);
      absl::StrAppend(&out, text.substr(0, dollar));
      text.remove_prefix(std::min(dollar, text.size()));
    }
  }
  return out;
}

}  // namespace squall
