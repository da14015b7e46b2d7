#pragma once

#include <string>
#include <vector>

namespace squall {

class Checkout;

struct QuickOptions {
  std::string mutant = "none";
  int port = 0;  // of orders; 0: a free one
};

// A scenario of about 14 s that needs no root, on ports of its own: recommend is slow for 2 s, and orders must keep its
// deadline. The margin is so wide that a busy machine does not break it; the mutant `ignores-deadline` does. For a folder
// two below that of the checkout.
std::string QuickScenario(const std::string& name, const QuickOptions& options = {});

// What a run started and did not end: processes of the checkout's programs, and cgroups of agents that are dead. Gives what
// is about to go a few seconds. Unlike Residue it does not see what others do on this machine at the same time.
std::vector<std::string> LeftBy(const Checkout& checkout);

// The path of a file of this project that the test has among its data.
std::string RunfilePath(const std::string& path);

}  // namespace squall
