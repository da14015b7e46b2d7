#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace squall {

struct Caller {
  std::string name;     // in its certificate
  std::string address;  // ipv4:HOST:PORT or ipv6:[HOST]:PORT
};

// Who is behind the connections that were handed to gRPC as descriptors, which gRPC itself calls "fd:N". Thread-safe.
//
// The kernel gives the number of a closed descriptor to the next connection. That confuses nobody: gRPC keeps a connection's
// descriptor open for as long as a call on it has its context, so while somebody can ask for "fd:N", N is that caller's.
class Callers {
 public:
  // Of those whose descriptor is still open. False, and not added: there are `most` already.
  // REQUIRES: `fd` is open, and not yet given to gRPC.
  bool Add(int fd, const Caller& caller, size_t most);
  // By what grpc::ServerContext::peer() says. Whoever is not known comes with no name and `peer` for an address.
  Caller Find(const std::string& peer) const;

 private:
  struct Known {
    unsigned long inode = 0;  // of the socket, which tells whether it still is the one
    Caller caller;
  };

  mutable absl::Mutex mutex_;
  std::map<int, Known> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace squall
