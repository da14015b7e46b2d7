#pragma once

#include <string>

#include "controller/fault_group.h"
#include "proto/scenario.pb.h"

// What check, plan and judges must know of faults on the load. Pure functions.
namespace squall {

// "10 % of the clients of checkout hang up after 50 ms", "3 times the load of checkout".
std::string DescribeLoadFault(const Fault& fault);

Mechanism LoadMechanism(const Fault& fault);

// The load that it acts on; empty: none.
std::string LoadOfFault(const Fault& fault);

// What a load can come to, per second.
inline constexpr double kMostOfALoad = 100'000;

// The most that the load offers, per second, of its own while faults act.
double MostOffered(const Load& load);

}  // namespace squall
