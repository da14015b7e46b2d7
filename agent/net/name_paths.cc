#include "agent/net/name_paths.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/net/dns_message.h"
#include "agent/process/proc.h"

namespace squall {
namespace {

std::vector<absl::string_view> Words(absl::string_view line) {
  return absl::StrSplit(line.substr(0, line.find('#')), absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
}

// The sources of the line `hosts:`, in order; what stands in brackets is about the source before it.
std::vector<std::string> HostsSources(absl::string_view nsswitch) {
  for (const absl::string_view line : absl::StrSplit(nsswitch, '\n')) {
    absl::string_view rest = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::ConsumePrefix(&rest, "hosts:")) continue;
    std::vector<std::string> sources;
    bool in_brackets = false;
    for (const absl::string_view word : Words(rest)) {
      in_brackets |= absl::StartsWith(word, "[");
      if (!in_brackets) sources.emplace_back(word);
      if (absl::EndsWith(word, "]")) in_brackets = false;
    }
    return sources;
  }
  return {"files", "dns"};  // what glibc does without the line
}

void ReadHosts(absl::string_view text, NamePaths& paths) {
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::vector<absl::string_view> words = Words(line);
    if (words.empty()) continue;
    std::set<std::string>& names = absl::StrContains(words[0], ":") ? paths.v6_in_hosts : paths.v4_in_hosts;
    for (size_t i = 1; i < words.size(); ++i) {
      names.insert(absl::AsciiStrToLower(absl::StripSuffix(words[i], ".")));
    }
  }
}

bool IsWhole(absl::string_view pattern) { return pattern != "*" && !absl::StartsWith(pattern, "*."); }

// glibc answers both kinds from /etc/hosts once the name stands there, whatever the kind of its address.
std::set<std::string> InHosts(const NamePaths& paths) {
  std::set<std::string> all = paths.v4_in_hosts;
  all.insert(paths.v6_in_hosts.begin(), paths.v6_in_hosts.end());
  return all;
}

std::vector<std::string> AnsweredByHosts(const Dns& dns, const NamePaths& paths) {
  std::vector<std::string> found;
  if (!paths.files_first) return found;
  for (const std::string& name : InHosts(paths)) {
    DnsQuestion question;
    question.name = name;
    question.type = dns.type() == Dns::RECORD_TYPE_AAAA ? 28 : 1;
    if (Matches(dns, question)) found.push_back(name);
  }
  return found;
}

}  // namespace

NamePaths ReadNamePaths(absl::string_view nsswitch, absl::string_view hosts, absl::string_view unix_sockets) {
  NamePaths paths;
  const std::vector<std::string> sources = HostsSources(nsswitch);
  const auto at = [&](absl::string_view source) { return std::find(sources.begin(), sources.end(), source); };
  const bool resolved_runs = absl::StrContains(unix_sockets, "/run/systemd/resolve/io.systemd.Resolve");
  paths.nscd = absl::StrContains(unix_sockets, "/run/nscd/socket");
  paths.resolved = resolved_runs && at("resolve") < at("dns");
  // c-ares takes `resolve` for a way to a server.
  paths.asks_servers = at("dns") != sources.end() || at("resolve") != sources.end();
  paths.files_first = at("files") < at("dns");
  ReadHosts(hosts, paths);
  return paths;
}

NamePaths NamePathsOf(pid_t pid) {
  const std::string process = pid == 0 ? "/proc/self" : absl::StrCat("/proc/", pid);
  // Only sockets that listen: a path may be left of a daemon that is gone. Flags are the fourth field, 10000 means listening.
  std::vector<std::string> listening;
  for (const absl::string_view line : absl::StrSplit(Slurp(process + "/net/unix"), '\n')) {
    const std::vector<absl::string_view> fields = Words(line);
    if (fields.size() >= 8 && fields[3] == "00010000") listening.emplace_back(fields[7]);
  }
  const std::string root = process + "/root";
  return ReadNamePaths(Slurp(root + "/etc/nsswitch.conf"), Slurp(root + "/etc/hosts"), absl::StrJoin(listening, "\n"));
}

std::vector<std::string> WhatEscapes(const Dns& dns, const NamePaths& paths) {
  std::vector<std::string> notes;
  const std::vector<std::string> in_hosts = AnsweredByHosts(dns, paths);
  if (!in_hosts.empty()) {
    notes.push_back(absl::StrCat(absl::StrJoin(in_hosts, ", "), in_hosts.size() == 1 ? " stands" : " stand",
                                 " in /etc/hosts: programs that read it first never ask for ",
                                 in_hosts.size() == 1 ? "it" : "them"));
  }
  if (paths.nscd) {
    notes.push_back("nscd runs: programs that use glibc ask it over a unix socket, where no fault reaches them; Go, c-ares and musl do not");
  }
  if (paths.resolved) {
    notes.push_back(
        "nsswitch.conf sends look-ups to systemd-resolved over a unix socket first: programs that use glibc are not reached; Go, c-ares "
        "and musl ask 127.0.0.53 and are");
  }
  return notes;
}

std::string WhyNothingArrives(const Dns& dns, const NamePaths& paths) {
  if (!paths.asks_servers) return "nsswitch.conf names neither `dns` nor `resolve` for hosts, so that no name server is asked";
  const std::vector<std::string> in_hosts = AnsweredByHosts(dns, paths);
  const bool all = std::all_of(dns.names().begin(), dns.names().end(), [&](const std::string& name) {
    return IsWhole(name) && std::find(in_hosts.begin(), in_hosts.end(), absl::AsciiStrToLower(name)) != in_hosts.end();
  });
  return all && dns.names_size() > 0 ? absl::StrCat(absl::StrJoin(in_hosts, ", "), in_hosts.size() == 1 ? " stands" : " stand",
                                                    " in /etc/hosts, so that no name server is asked")
                                     : "";
}

}  // namespace squall
