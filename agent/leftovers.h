#pragma once

#include <string>
#include <vector>

#include "agent/process/proc.h"

// What agents that are gone left changed on this host. For the guardian, an agent that starts, and `squall-agent heal`.
namespace squall {

// Something that could not be confirmed as taken back.
struct Leftover {
  std::string what;
  std::string why;
  std::string command;  // that takes it back by hand
};

struct Recovered {
  int taken_back = 0;
  int ended_agents = 0;  // that hung
  std::vector<Leftover> left;
};

// Takes back what the journal at `path` says, the latest change first, past errors, and removes the journal once nothing is left. What
// another boot left is gone, but for files on disk. A journal that is locked is a living agent's: left alone, unless `owner_is_dead`.
Recovered TakeBackJournal(const std::string& path, bool owner_is_dead = false);

// All journals of `folder` that nobody holds, and what else dead agents leave: cgroups by name, lock files. An agent that has not undone
// what its journal says by the journal's expiry is stopped or hangs, and its guardian is gone or has hung too: it is ended. What is in
// the journal of one that cannot be ended is left.
Recovered TakeBackLeftovers(const std::string& folder);

// Ends an agent that does not answer, and waits until it is gone. False: there is none, or it is not gone.
bool EndAgent(const ProcessId& agent);

// Waits until no thread of an agent that was killed is left: its main thread may end before others, which still hold its files. For two
// seconds at most after each.
void AwaitEnd(const ProcessId& agent, int pidfd);

// What is in the journals of `folder` whose agents live.
std::vector<Leftover> HeldByTheLiving(const std::string& folder);

// "NOT HEALED: what: why; run: command".
std::string ToText(const Leftover& leftover);

}  // namespace squall
