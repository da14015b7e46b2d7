// How orders finds a peer by its name: through c-ares, which reads no cache and no /etc/hosts here.
#pragma once

#include <ares.h>

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace squall::target {

struct Names {
  std::vector<std::string> servers;  // "127.0.0.1:53", "[::1]:53"; none: those of /etc/resolv.conf
  absl::Duration ask_again_after = absl::Milliseconds(100);  // then twice as long, and so on
};

// Used by one thread.
class NameLookup {
 public:
  explicit NameLookup(const Names& names);
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  struct Answer {
    std::string address;  // empty: none
    bool timed_out = false;
  };
  // The first address, A before AAAA.
  Answer Ask(const std::string& name, absl::Duration timeout);

 private:
  ares_channel channel_ = nullptr;
};

// Whether a server can be given to --nameserver.
bool IsNameServer(const std::string& text);

}  // namespace squall::target
