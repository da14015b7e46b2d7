#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/net/address.h"
#include "agent/net/name_lookup.h"
#include "agent/net/netns.h"
#include "proto/scenario.pb.h"

namespace squall {

// Where the edges of a run lead: addresses that are written out, and those of names, which are looked up as the service does
// and again as long as the run lasts, once a second or when the answer's TTL is over, which is after ten seconds at the most.
// Thread-safe.
class EdgeNames {
 public:
  // What the edge leads to now: what its `to` says, with the names' latest answers. `ever`: that and where it led before, 256
  // in all, without the oldest: connections there are still the edge's, and a name that stands for many may answer with some of them
  // at a time. Called one at a time, by whoever finds out. An error is noted.
  using Sink = std::function<absl::Status(const std::string& edge, const std::vector<Address>& now,
                                          const std::vector<Address>& ever)>;
  // The process whose way of looking names up counts: 0 for the agent's own (the service is yet to be started), nullopt while
  // there is none.
  using ProcessOf = std::function<std::optional<pid_t>()>;

  explicit EdgeNames(Sink sink);
  ~EdgeNames();

  // Reads and looks up where the edge leads. Names that nobody knows yet are found by Await or later. `service` is the edge's
  // `from`; `ns` outlives this; a second call for an edge looks in another namespace. FAILED_PRECONDITION when another edge
  // of the service leads to the same address.
  absl::StatusOr<std::vector<Address>> Open(const Edge& edge, const Service& service, ProcessOf process,
                                            const NetNamespace& ns);
  // Waits until each name of the edges of `service` (empty: of all) has an address. The error names the edge and the name.
  absl::Status Await(const std::string& service, absl::Duration timeout, const std::atomic<bool>& cancelled);
  // From now on names are looked up again.
  void Start();
  // Looks nothing up any more; returns at once. Idempotent.
  void Stop();

  // A name server told the service what `name` stands for.
  void Told(const std::string& service, absl::string_view name, const std::vector<Address>& addresses);
  // An edge leads to a name.
  bool HasNames();

  // What a reader of the report should know.
  std::vector<std::string> Notes();

 private:
  struct Name {
    std::string host;
    uint16_t port = 0;
    std::vector<Address> addresses;  // of the latest answer, and what the service was told since
    absl::Status status = absl::UnavailableError("it was not looked up yet");
    int64_t next_ns = 0;
    int in_vain = 0;  // attempts before it had an address
  };
  struct Place {
    std::string edge, service;
    NameWays ways;
    ProcessOf process;
    const NetNamespace* ns = nullptr;
    std::vector<Address> written;
    std::vector<Name> names;
    std::vector<Address> ever;
    bool opened = false;  // the sink may be told
  };

  void Run();
  // Looks up what is due. True: something was.
  bool LookUpDue();
  void LookUp(const std::string& edge, size_t name) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes a new answer, and tells. REQUIRES: addresses have ports.
  void Take(Place& place, Name& name, std::vector<Address> addresses) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The edge of the same service that has the address; empty: none.
  std::string OwnerOf(const Place& place, const Address& address) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // And takes it up into `ever`.
  std::vector<Address> Now(Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(Place& place) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Sink sink_;
  absl::Mutex mutex_;
  std::map<std::string, Place> places_ ABSL_GUARDED_BY(mutex_);                           // by edge
  std::map<std::pair<std::string, std::string>, std::string> owners_ ABSL_GUARDED_BY(mutex_);  // edge by service and address
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mutex_);
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace squall
