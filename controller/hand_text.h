#pragma once

#include <string>
#include <vector>

#include "proto/hand.pb.h"

// What the commands of an operator print for people. Pure functions.
namespace squall {

// An injection that goes on: a picture of a few lines, none wider than `columns`.
std::vector<std::string> DrawTick(const HandTick& tick, int columns, bool color);
// The same in one plain line.
std::string TickLine(const HandTick& tick);
// How it ended, a line for each thing to say; broken into lines of at most `columns` unless that is 0.
std::string EndText(const HandTick& tick, int columns);

// Who holds what until when, and what is injected; `now_unix_ns` is the time of day.
std::string StatusText(const AgentStates& states, int64_t now_unix_ns);
// One line an agent.
std::string AgentsText(const AgentStates& states);
// What was ended, and what is not confirmed.
std::string HealedText(const Healed& healed);

}  // namespace squall
