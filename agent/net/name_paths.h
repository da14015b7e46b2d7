#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/fault.pb.h"

namespace squall {

// Through what programs on a host look names up, as far as files say, and so what never reaches a name server's port.
struct NamePaths {
  bool nscd = false;           // glibc asks nscd, over a unix socket
  bool resolved = false;       // nss-resolve asks systemd-resolved, over a unix socket, before a server is asked
  bool asks_servers = true;    // nsswitch.conf knows a way to a name server
  bool files_first = true;     // /etc/hosts comes before it
  std::set<std::string> v4_in_hosts, v6_in_hosts;  // names, lower case
};

// Of the texts of nsswitch.conf, hosts, and of the paths of unix sockets that listen. Pure.
NamePaths ReadNamePaths(absl::string_view nsswitch, absl::string_view hosts, absl::string_view unix_sockets);

// Of a process, through its own root and network namespace; 0: the agent itself.
NamePaths NamePathsOf(pid_t pid);

// What a reader of the plan should know of queries that the fault never sees.
std::vector<std::string> WhatEscapes(const Dns& dns, const NamePaths& paths);

// Says why nothing that is looked up the ordinary way can reach the fault; empty: something can.
std::string WhyNothingArrives(const Dns& dns, const NamePaths& paths);

}  // namespace squall
