#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "agent/net/relay.h"
#include "agent/net/relay_connection.h"

namespace squall {

// The relay's thread and all that is done on it. `Do` may be called from any thread; every other public method must be
// called inside of it, and does what Relay's method of the same name says. relay_edges.cc has what is done to edges, and
// relay_loop.cc what is done to connections.
class RelayLoop {
 public:
  static constexpr int kBacklog = 4096;  // of a listener

  explicit RelayLoop(Relay::CallSink sink);
  ~RelayLoop();

  // Runs `work` on the loop's thread and waits for it.
  void Do(absl::FunctionRef<void()> work);

  absl::Status Open(const Relay::EdgeOptions& options, const NetNamespace& ns);
  absl::Status SetAddresses(const std::string& name, const std::vector<Address>& to);
  std::vector<Address> Listeners(const std::string& name) const;
  absl::Status SetFault(const Fault& fault, uint64_t seed);
  absl::Status ChangeFault(const Fault& fault);
  absl::Status ClearFault(const std::string& name, Fault::KindCase kind);
  Evidence FaultEvidence(const std::string& name, Fault::KindCase kind);
  absl::Status HandOver(const std::string& name, Relay::Taker taker);
  int64_t ResetConnections(const std::string& name);
  EdgeStats Stats(const std::string& name);
  void StopListening();
  // Closes idle connections; returns how many are left. Those that were just made are about to be used: not idle yet, but
  // `at_last`.
  size_t CloseIdle(bool at_last);
  void CutAll();

 private:
  struct Work {
    absl::FunctionRef<void()>* work;
    absl::Notification* done;
  };
  // What epoll hands back: the kind of descriptor in the low bits, the connection or listener above.
  enum class Tag : uint64_t { kWake = 0, kListener = 1, kService = 2, kDependency = 3 };
  static uint64_t Pack(Tag tag, uint64_t id) { return id << 2 | static_cast<uint64_t>(tag); }

  void Run();
  void DoWork();
  void Watch(int fd, uint32_t events, uint64_t data, int operation);
  void HandleEvent(uint32_t events, uint64_t data);

  // Edges.
  RelayEdge* FindEdge(const std::string& name);
  std::vector<uint64_t> ConnectionsOf(const RelayEdge& edge) const;
  absl::Status OpenListener(RelayEdge& edge, const Address& at);
  void CloseListeners(RelayEdge& edge);
  static constexpr int kAcceptsInARow = 256;
  // Those who wait at its listeners now.
  void AcceptAll(RelayEdge& edge);
  // Until the next look: it would be reported for ever.
  void PauseListener(RelayEdge& edge, int fd);
  // What listens for redirected connects or at relay_at.
  absl::Status OpenListeners(RelayEdge& edge);
  // Null: the edge has no such address.
  std::shared_ptr<EdgeUpstream> FindUpstream(const RelayEdge& edge, const Address& to) const;
  static absl::StatusOr<std::shared_ptr<EdgeUpstream>> MakeUpstream(const RelayEdge& edge, const Address& to);
  absl::Status AddUpstream(RelayEdge& edge, const Address& to);
  // REQUIRES: the edge is redirected.
  void DropUpstream(RelayEdge& edge, const std::shared_ptr<EdgeUpstream>& upstream);
  // To which address of its edge a connection goes; null: none.
  std::shared_ptr<EdgeUpstream> UpstreamFor(RelayEdge& edge, const Address& to);
  static std::shared_ptr<EdgeUpstream> FirstThatAccepts(const RelayEdge& edge);
  void LookAtUpstreams(RelayEdge& edge);
  // Refuses where the dependency refuses, or a fault does.
  void Mirror(RelayEdge& edge);
  // Gives those a turn who stand in line for a share of the edge's bandwidth.
  void ServeLines(RelayEdge& edge);

  // Connections. Bytes take this way: Read -> Enter -> (the conversation) -> PassOn -> Pass -> (the shaper) -> Write.
  void Accept(RelayEdge& edge, int listener);
  void Connect(RelayEdge& edge, std::shared_ptr<EdgeUpstream> upstream, Fd service, uint32_t source_pid);
  void StartConnect(RelayConnection& connection);
  bool FinishConnect(RelayConnection& connection);  // false, here and below: the connection is gone
  void ConnectFailed(RelayConnection& connection, int error);
  bool Read(RelayConnection& connection, Way way, bool broken);
  // Reading failed: the sender of that way reset the connection, which is passed on as the bytes before it are.
  bool Broken(RelayConnection& connection, Way way);
  bool MayRead(RelayConnection& connection, Way way);
  // Bytes just read, empty for FIN. The only place where they come in; the conversation takes all of them.
  void Enter(RelayConnection& connection, Way way, absl::string_view bytes, int64_t now_ns);
  // What the conversation lets go on. True: there was something.
  bool PassOn(RelayConnection& connection, int64_t now_ns);
  // Bytes that go on, empty for FIN. The only place where they go to the shaper; call Move() when all are there.
  void Pass(RelayConnection& connection, Way way, absl::string_view bytes, int64_t now_ns);
  // Writes what is due, both ways, and tells epoll what to watch. Ends the connection when it is over.
  void Move(uint64_t id);
  bool Write(RelayConnection& connection, Way way);
  // Does what a fault has in mind for the whole connection.
  bool MeetFate(RelayConnection& connection);
  // Sends FIN both ways and forgets what was held.
  void CloseInOrder(RelayConnection& connection);
  bool Linger(RelayConnection& connection, Way way);
  void Interest(RelayConnection& connection);
  void Set(int fd, uint32_t& current, uint32_t wanted, uint64_t data);
  // Moves the connection again at this time, if not before.
  void WakeAt(RelayConnection& connection, int64_t at_ns);
  void MoveDue();
  void End(uint64_t id, CallResult result, bool orderly);

  const Relay::CallSink sink_;
  Fd epoll_;
  Fd wake_;
  std::thread thread_;
  absl::Mutex mutex_;
  std::vector<Work> work_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;

  // Of the loop's thread only.
  bool stop_ = false;
  bool closing_ = false;
  int64_t next_look_ns_ = 0;
  uint64_t next_id_ = 1;
  std::map<std::string, RelayEdge> edges_;
  std::unordered_map<int, RelayEdge*> listening_;
  std::unordered_map<uint64_t, std::unique_ptr<RelayConnection>> connections_;
  std::set<std::pair<int64_t, uint64_t>> due_;  // when, and which connection; one entry for each
  char read_buffer_[64 << 10];
};

}  // namespace squall
