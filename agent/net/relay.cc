#include "agent/net/relay.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <queue>
#include <thread>
#include <unordered_map>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "agent/net/relay_connection.h"
#include "agent/process/thread_priority.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr size_t kReadSize = 64 << 10;
constexpr size_t kMaxHeld = 4 << 20;             // bytes a direction may hold before the relay stops reading
constexpr int64_t kLookAtUpstreamsNs = 5'000'000;

void SetLinger(int fd, bool reset_on_close) {
  const linger value = {reset_on_close ? 1 : 0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

void SetNoDelay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

absl::StatusOr<Listener> Listen(const NetNamespace& ns, const Address& at) {
  absl::StatusOr<Fd> fd = ns.Socket(at.Family(), SOCK_STREAM | SOCK_NONBLOCK);
  if (!fd.ok()) return fd.status();
  const int one = 1;
  setsockopt(fd->get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (at.Family() == AF_INET6) setsockopt(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  sockaddr_storage storage;
  socklen_t length = at.ToSockaddr(storage);
  if (bind(fd->get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd->get(), 4096) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("the relay cannot listen on ", at.ToString()));
  }
  length = sizeof(storage);
  getsockname(fd->get(), reinterpret_cast<sockaddr*>(&storage), &length);
  return Listener{*std::move(fd), FromSockaddr(storage)};
}

Address Loopback(int family) {
  Address address;
  if (family == AF_INET) {
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    address.ip.s6_addr[12] = 127;
    address.ip.s6_addr[15] = 1;
  } else {
    address.ip.s6_addr[15] = 1;
  }
  return address;
}

// What epoll hands back: the kind of descriptor in the low bits, the connection or listener above.
enum class Tag : uint64_t { kWake = 0, kListener = 1, kService = 2, kDependency = 3 };
uint64_t Pack(Tag tag, uint64_t id) { return id << 2 | static_cast<uint64_t>(tag); }

}  // namespace

class Relay::Loop {
 public:
  explicit Loop(CallSink sink) : sink_(std::move(sink)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    Watch(wake_.get(), EPOLLIN, Pack(Tag::kWake, 0), EPOLL_CTL_ADD);
    thread_ = std::thread([this] { Run(); });
  }

  ~Loop() {
    Do([this] { stop_ = true; });
    thread_.join();
  }

  // Runs `work` on the loop's thread and waits for it.
  void Do(absl::FunctionRef<void()> work) {
    if (std::this_thread::get_id() == thread_.get_id()) return work();
    absl::Notification done;
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return;
      work_.push_back({&work, &done});
    }
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
    done.WaitForNotification();
  }

  absl::Status Open(const EdgeOptions& options, const NetNamespace& ns) {
    RelayEdge& edge = edges_[options.name];
    for (const Listener& listener : edge.listeners) Forget(listener);
    edge.listeners.clear();
    std::vector<uint64_t> old;
    for (const auto& [id, connection] : connections_) {
      if (connection->edge == &edge) old.push_back(id);
    }
    for (const uint64_t id : old) End(id, STILL_OPEN, /*orderly=*/false);
    edge.upstreams.clear();
    edge.name = options.name;
    edge.stats.set_edge(options.name);
    edge.parse_http = options.parse_http;
    edge.relay_at = options.relay_at;
    edge.intercept = options.intercept;
    edge.ns = &ns;
    for (const Address& to : options.to) {
      absl::StatusOr<Upstream> upstream = Upstream::Watch(ns, to);
      if (!upstream.ok()) return upstream.status();
      edge.upstreams.push_back(*std::move(upstream));
    }
    edge.refusing.assign(edge.upstreams.size(), false);
    if (edge.relay_at) {
      const absl::Status status = OpenListener(edge, *edge.relay_at);
      if (!status.ok()) return status;
    } else {
      const absl::Status v4 = OpenListener(edge, Loopback(AF_INET));
      if (!v4.ok()) return v4;
      const uint16_t port4 = edge.listeners.back().at.port;
      const absl::Status v6 = OpenListener(edge, Loopback(AF_INET6));
      const uint16_t port6 = v6.ok() ? edge.listeners.back().at.port : 0;
      for (const Address& to : options.to) {
        if (!to.IsV4() && port6 == 0) return v6;
        const absl::Status redirected = edge.intercept->Redirect(to, port4, port6);
        if (!redirected.ok()) return redirected;
      }
    }
    LookAtUpstreams(edge);
    return absl::OkStatus();
  }

  absl::Status SetLatency(const std::string& name, const Latency& latency, uint64_t seed) {
    const auto found = edges_.find(name);
    if (found == edges_.end()) return absl::NotFoundError(absl::StrCat("edge ", name, " has no relay"));
    LatencyState state;
    state.delay_ns = latency.delay().seconds() * 1'000'000'000 + latency.delay().nanos();
    state.jitter_ns = latency.jitter().seconds() * 1'000'000'000 + latency.jitter().nanos();
    state.on_request = latency.direction() != DIRECTION_RESPONSE;
    state.on_response = latency.direction() != DIRECTION_REQUEST;
    state.random.seed(seed);
    RelayEdge& edge = found->second;
    edge.count = LatencyCount();
    edge.count.requested_ns = state.delay_ns;
    edge.latency = std::move(state);
    for (auto& [id, connection] : connections_) {
      connection->touched = false;
    }
    return absl::OkStatus();
  }

  absl::Status ClearLatency(const std::string& name) {
    const auto found = edges_.find(name);
    if (found == edges_.end()) return absl::OkStatus();
    RelayEdge& edge = found->second;
    edge.latency.reset();
    std::vector<uint64_t> ids;
    for (const auto& [id, connection] : connections_) {
      if (connection->edge == &edge) ids.push_back(id);
    }
    for (const uint64_t id : ids) {
      Connection& connection = *connections_.at(id);
      for (Pipe* pipe : {&connection.to_dependency, &connection.to_service}) {
        for (Pipe::Chunk& chunk : pipe->chunks) {
          chunk.release_ns = 0;
          chunk.delayed = false;  // cut short: says nothing of the delay achieved
        }
        pipe->last_release_ns = 0;
      }
      Move(id);
    }
    for (const auto& [id, connection] : connections_) {
      if (connection->edge != &edge) continue;
      for (const Pipe* pipe : {&connection->to_dependency, &connection->to_service}) {
        for (const Pipe::Chunk& chunk : pipe->chunks) {
          if (chunk.release_ns != 0) return absl::FailedPreconditionError("bytes are still held back");
        }
      }
    }
    return absl::OkStatus();
  }

  Evidence LatencyEvidence(const std::string& name) {
    Evidence evidence;
    const auto found = edges_.find(name);
    if (found == edges_.end()) return evidence;
    const LatencyCount& count = found->second.count;
    evidence.set_connections(count.connections);
    evidence.set_calls(count.calls);
    evidence.set_bytes(count.bytes);
    evidence.set_requested_ns(count.requested_ns);
    evidence.set_achieved_p50_ns(count.achieved.Quantile(0.5));
    evidence.set_achieved_p99_ns(count.achieved.Quantile(0.99));
    return evidence;
  }

  EdgeStats Stats(const std::string& name) {
    const auto found = edges_.find(name);
    if (found == edges_.end()) return {};
    RelayEdge& edge = found->second;
    EdgeStats stats = edge.stats;
    stats.set_at_ns(BootNanos());
    int64_t open = 0;
    for (const auto& [id, connection] : connections_) open += connection->edge == &edge;
    stats.set_open_connections(open);
    if (edge.intercept != nullptr) {
      for (const Upstream& upstream : edge.upstreams) {
        for (const auto& [process, count] : edge.intercept->Refused(upstream.address())) {
          stats.set_refused(stats.refused() + count);
          if (process != 0) (*stats.mutable_refused_by())[process] += count;
        }
      }
    }
    return stats;
  }

  void StopListening() {
    for (auto& [name, edge] : edges_) {
      for (const Listener& listener : edge.listeners) Forget(listener);
      edge.listeners.clear();
    }
    closing_ = true;
  }

  // Closes idle connections; returns how many are left.
  size_t CloseIdle() {
    std::vector<uint64_t> idle;
    for (const auto& [id, connection] : connections_) {
      if (connection->tap.Idle() && connection->to_service.chunks.empty() && connection->to_dependency.chunks.empty()) {
        idle.push_back(id);
      }
    }
    for (const uint64_t id : idle) End(id, PEER_LEFT, /*orderly=*/true);
    return connections_.size();
  }

  void CutAll() {
    while (!connections_.empty()) {
      Connection& connection = *connections_.begin()->second;
      connection.edge->stats.set_cut(connection.edge->stats.cut() + 1);
      End(connections_.begin()->first, STILL_OPEN, /*orderly=*/false);
    }
  }

 private:
  struct Work {
    absl::FunctionRef<void()>* work;
    absl::Notification* done;
  };
  struct Due {
    int64_t at_ns;
    uint64_t connection;
    bool operator>(const Due& other) const { return at_ns > other.at_ns; }
  };

  void Watch(int fd, uint32_t events, uint64_t data, int operation) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    epoll_ctl(epoll_.get(), operation, fd, &event);
  }

  absl::Status OpenListener(RelayEdge& edge, const Address& at) {
    absl::StatusOr<Listener> listener = Listen(*edge.ns, at);
    if (!listener.ok()) return listener.status();
    const int fd = listener->fd.get();
    listening_[fd] = &edge;
    Watch(fd, EPOLLIN, Pack(Tag::kListener, static_cast<uint64_t>(fd)), EPOLL_CTL_ADD);
    edge.listeners.push_back(*std::move(listener));
    return absl::OkStatus();
  }

  void Forget(const Listener& listener) { listening_.erase(listener.fd.get()); }

  void Run() {
    RaiseThreadPriority();  // the relay must not lag behind the traffic when the host is busy
    prctl(PR_SET_NAME, "relay");
    std::vector<epoll_event> events(256);
    while (!stop_) {
      const int64_t now = BootNanos();
      int64_t wake_at = next_look_ns_;
      if (!due_.empty()) wake_at = std::min(wake_at, due_.top().at_ns);
      const int64_t wait = std::max<int64_t>(0, wake_at - now);
      const timespec timeout = {wait / 1'000'000'000, wait % 1'000'000'000};
      const int count = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
      for (int i = 0; i < count; ++i) Handle(events[static_cast<size_t>(i)]);
      ReleaseDue();
      if (BootNanos() >= next_look_ns_) {
        for (auto& [name, edge] : edges_) LookAtUpstreams(edge);
        next_look_ns_ = BootNanos() + kLookAtUpstreamsNs;
      }
    }
    CutAll();
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    for (const Work& work : work_) work.done->Notify();
  }

  void Handle(const epoll_event& event) {
    const auto tag = static_cast<Tag>(event.data.u64 & 3);
    const uint64_t id = event.data.u64 >> 2;
    switch (tag) {
      case Tag::kWake:
        return DoWork();
      case Tag::kListener: {
        const auto found = listening_.find(static_cast<int>(id));
        if (found != listening_.end()) Accept(*found->second, static_cast<int>(id));
        return;
      }
      case Tag::kService:
      case Tag::kDependency:
        break;
    }
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    const bool from_service = tag == Tag::kService;
    if (!from_service && !connection.connected) {
      if (!FinishConnect(connection)) return;
    } else if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
      if (!Read(connection, from_service, (event.events & (EPOLLHUP | EPOLLERR)) != 0)) return;
    }
    Move(id);
  }

  void DoWork() {
    uint64_t count;
    (void)!read(wake_.get(), &count, sizeof(count));
    std::vector<Work> work;
    {
      absl::MutexLock lock(&mutex_);
      work.swap(work_);
    }
    for (const Work& item : work) {
      (*item.work)();
      item.done->Notify();
    }
  }

  void Accept(RelayEdge& edge, int listener) {
    for (int i = 0; i < 256; ++i) {
      sockaddr_storage storage;
      socklen_t length = sizeof(storage);
      Fd fd(accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      SetLinger(fd.get(), true);  // from here on, closing it resets it
      SetNoDelay(fd.get());
      size_t upstream = 0;
      uint32_t source_pid = 0;
      if (edge.intercept != nullptr && !edge.relay_at) {
        // Who was not redirected here has no business here.
        const std::optional<Intercept::Original> original = edge.intercept->TakeOriginal(FromSockaddr(storage));
        if (!original) continue;
        while (upstream < edge.upstreams.size() && !(edge.upstreams[upstream].address() == original->to)) ++upstream;
        if (upstream == edge.upstreams.size()) continue;
        source_pid = original->process;
      }
      Connect(edge, edge.upstreams[upstream], std::move(fd), source_pid);
    }
  }

  void Connect(RelayEdge& edge, Upstream& upstream, Fd service, uint32_t source_pid) {
    const int64_t now = BootNanos();
    const uint64_t id = next_id_++;
    auto connection = std::make_unique<Connection>(&edge, edge.parse_http, now, [this, id](const SeenCall& call) {
      Connection& of = *connections_.at(id);
      if (of.held_back) ++of.edge->count.calls;
      if (of.tap.OpenCalls() == 0) of.held_back = false;
      SeenCall seen = call;
      seen.source_pid = of.source_pid;
      sink_(of.edge->name, seen);
    });
    connection->id = id;
    connection->service = std::move(service);
    connection->source_pid = source_pid;
    connection->upstream = &upstream;
    edge.stats.set_connections(edge.stats.connections() + 1);
    absl::StatusOr<Fd> fd = edge.ns->Socket(upstream.address().Family(), SOCK_STREAM | SOCK_NONBLOCK);
    Connection& kept = *connection;
    connections_[id] = std::move(connection);
    if (!fd.ok()) return End(id, CONNECT_REFUSED, false);
    kept.dependency = *std::move(fd);
    SetLinger(kept.dependency.get(), true);
    SetNoDelay(kept.dependency.get());
    sockaddr_storage storage;
    const socklen_t length = upstream.address().ToSockaddr(storage);
    if (connect(kept.dependency.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) {
      kept.connected = true;
    } else if (errno != EINPROGRESS) {
      return ConnectFailed(kept, errno);
    }
    Move(id);
  }

  bool FinishConnect(Connection& connection) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(connection.dependency.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      ConnectFailed(connection, error);
      return false;
    }
    connection.connected = true;
    return true;
  }

  void ConnectFailed(Connection& connection, int error) {
    if (error == ECONNREFUSED) {
      connection.upstream->NoteRefused();
      EdgeStats& stats = connection.edge->stats;
      stats.set_refused(stats.refused() + 1);
      if (connection.source_pid != 0) ++(*stats.mutable_refused_by())[connection.source_pid];
    }
    RelayEdge& edge = *connection.edge;
    End(connection.id, CONNECT_REFUSED, /*orderly=*/false);
    if (error == ECONNREFUSED) Mirror(edge);
  }

  // False: the connection is gone.
  bool Read(Connection& connection, bool from_service, bool broken) {
    Pipe& pipe = from_service ? connection.to_dependency : connection.to_service;
    const int fd = from_service ? connection.service.get() : connection.dependency.get();
    const CallResult who_left = from_service ? CALLER_LEFT : PEER_LEFT;
    for (int i = 0; i < 16 && !pipe.read_closed && pipe.held_bytes < kMaxHeld; ++i) {
      const ssize_t size = read(fd, read_buffer_, sizeof(read_buffer_));
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (size < 0) {
        End(connection.id, who_left, /*orderly=*/false);
        return false;
      }
      Take(connection, from_service, absl::string_view(read_buffer_, static_cast<size_t>(size)));
      if (static_cast<size_t>(size) < sizeof(read_buffer_) && size > 0) break;
    }
    if (broken) {
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) {
        End(connection.id, who_left, /*orderly=*/false);
        return false;
      }
    }
    return true;
  }

  // Takes what was read, empty for FIN, and says when it may go on.
  void Take(Connection& connection, bool from_service, absl::string_view bytes) {
    RelayEdge& edge = *connection.edge;
    Pipe& pipe = from_service ? connection.to_dependency : connection.to_service;
    const int64_t now = BootNanos();
    Pipe::Chunk chunk;
    chunk.read_ns = now;
    chunk.end = bytes.empty();
    chunk.bytes = std::string(bytes);
    if (edge.latency && (from_service ? edge.latency->on_request : edge.latency->on_response)) {
      chunk.release_ns = std::max(pipe.last_release_ns, now + edge.latency->Draw());
      chunk.delayed = true;
      due_.push({chunk.release_ns, connection.id});
      CountHeldBack(connection, bytes.size());
    } else if (pipe.last_release_ns > now) {
      chunk.release_ns = pipe.last_release_ns;  // never overtakes
    }
    pipe.last_release_ns = chunk.release_ns;
    pipe.held_bytes += bytes.size();
    if (chunk.end) pipe.read_closed = true;
    // A caller that has closed its side no longer waits for an answer.
    if (chunk.end && from_service && connection.tap.OpenCalls() > 0) connection.tap.OnClose(CALLER_LEFT, now);
    pipe.chunks.push_back(std::move(chunk));
    if (from_service) {
      connection.tap.OnRequestBytes(bytes, now);
      edge.stats.set_bytes_to_dependency(edge.stats.bytes_to_dependency() + static_cast<int64_t>(bytes.size()));
    } else {
      edge.stats.set_bytes_to_service(edge.stats.bytes_to_service() + static_cast<int64_t>(bytes.size()));
    }
  }

  // Writes what is due, both ways, and tells epoll what to watch. Ends the connection when it is over.
  void Move(uint64_t id) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    if (connection.connected) {
      if (!Write(connection, /*to_service=*/false) || !Write(connection, /*to_service=*/true)) return;
      if (connection.to_dependency.write_closed && connection.to_service.write_closed) {
        return End(id, connection.to_service.read_closed ? PEER_LEFT : CALLER_LEFT, /*orderly=*/true);
      }
    }
    Interest(connection);
  }

  // False: the connection is gone.
  bool Write(Connection& connection, bool to_service) {
    Pipe& pipe = to_service ? connection.to_service : connection.to_dependency;
    const int fd = to_service ? connection.service.get() : connection.dependency.get();
    while (!pipe.chunks.empty()) {
      Pipe::Chunk& chunk = pipe.chunks.front();
      const int64_t now = BootNanos();
      if (chunk.release_ns > now) return true;
      if (chunk.end) {
        shutdown(fd, SHUT_WR);
        pipe.write_closed = true;
        pipe.chunks.pop_front();
        return true;
      }
      const ssize_t size = send(fd, chunk.bytes.data() + chunk.written, chunk.bytes.size() - chunk.written, MSG_NOSIGNAL);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (size < 0) {
        End(connection.id, to_service ? CALLER_LEFT : PEER_LEFT, /*orderly=*/false);
        return false;
      }
      if (chunk.written == 0 && chunk.delayed) connection.edge->count.achieved.Add(now - chunk.read_ns);
      if (to_service) {
        connection.tap.OnResponseBytes(
            absl::string_view(chunk.bytes.data() + chunk.written, static_cast<size_t>(size)), now);
      }
      chunk.written += static_cast<size_t>(size);
      pipe.held_bytes -= static_cast<size_t>(size);
      if (chunk.written == chunk.bytes.size()) pipe.chunks.pop_front();
    }
    return true;
  }

  void CountHeldBack(Connection& connection, size_t bytes) {
    LatencyCount& count = connection.edge->count;
    if (!connection.touched) ++count.connections;
    connection.touched = true;
    connection.held_back = true;  // its open calls count when they end
    count.bytes += static_cast<int64_t>(bytes);
  }

  void Interest(Connection& connection) {
    const auto wanted = [&](const Pipe& in, const Pipe& out) {
      uint32_t events = 0;
      if (!in.read_closed && in.held_bytes < kMaxHeld) events |= EPOLLIN;
      if (connection.connected && !out.chunks.empty() && out.chunks.front().release_ns <= BootNanos()) events |= EPOLLOUT;
      return events;
    };
    Set(connection.service.get(), connection.service_events, wanted(connection.to_dependency, connection.to_service),
        Pack(Tag::kService, connection.id));
    Set(connection.dependency.get(), connection.dependency_events,
        connection.connected ? wanted(connection.to_service, connection.to_dependency) : uint32_t{EPOLLOUT},
        Pack(Tag::kDependency, connection.id));
  }

  // Nothing wanted: out of epoll altogether, since a closed peer would be reported for ever.
  void Set(int fd, uint32_t& current, uint32_t wanted, uint64_t data) {
    if (current == wanted) return;
    if (wanted == 0) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
    } else {
      Watch(fd, wanted, data, current == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
    }
    current = wanted;
  }

  void End(uint64_t id, CallResult result, bool orderly) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = *found->second;
    connection.tap.OnClose(result, BootNanos());
    if (orderly) {
      SetLinger(connection.service.get(), false);
      if (connection.dependency) SetLinger(connection.dependency.get(), false);
    }
    connections_.erase(found);
  }

  void ReleaseDue() {
    const int64_t now = BootNanos();
    while (!due_.empty() && due_.top().at_ns <= now) {
      const uint64_t id = due_.top().connection;
      due_.pop();
      Move(id);
    }
  }

  void LookAtUpstreams(RelayEdge& edge) {
    for (Upstream& upstream : edge.upstreams) upstream.Accepts();
    Mirror(edge);
  }

  // Refuses where the dependency refuses.
  void Mirror(RelayEdge& edge) {
    if (closing_) return;
    bool any_accepts = false;
    for (size_t i = 0; i < edge.upstreams.size(); ++i) {
      const bool refuses = !edge.upstreams[i].Accepted();
      any_accepts |= !refuses;
      if (refuses == edge.refusing[i]) continue;
      edge.refusing[i] = refuses;
      if (edge.intercept != nullptr && !edge.relay_at) {
        edge.intercept->SetRefusing(edge.upstreams[i].address(), refuses).IgnoreError();
      }
    }
    if (!edge.relay_at) return;
    if (!any_accepts && !edge.listeners.empty()) {
      for (const Listener& listener : edge.listeners) Forget(listener);
      edge.listeners.clear();
    } else if (any_accepts && edge.listeners.empty()) {
      OpenListener(edge, *edge.relay_at).IgnoreError();  // tried again at the next look
    }
  }

  const CallSink sink_;
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
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::priority_queue<Due, std::vector<Due>, std::greater<Due>> due_;
  char read_buffer_[kReadSize];
};

Relay::Relay(CallSink sink) : loop_(std::make_unique<Loop>(std::move(sink))) {}
Relay::~Relay() = default;

absl::Status Relay::Open(const EdgeOptions& edge, const NetNamespace& ns) {
  absl::Status status;
  loop_->Do([&] { status = loop_->Open(edge, ns); });
  return status;
}

absl::Status Relay::SetLatency(const std::string& edge, const Latency& latency, uint64_t seed) {
  absl::Status status;
  loop_->Do([&] { status = loop_->SetLatency(edge, latency, seed); });
  return status;
}

absl::Status Relay::ClearLatency(const std::string& edge) {
  absl::Status status;
  loop_->Do([&] { status = loop_->ClearLatency(edge); });
  return status;
}

Evidence Relay::LatencyEvidence(const std::string& edge) {
  Evidence evidence;
  loop_->Do([&] { evidence = loop_->LatencyEvidence(edge); });
  return evidence;
}

EdgeStats Relay::Stats(const std::string& edge) {
  EdgeStats stats;
  loop_->Do([&] { stats = loop_->Stats(edge); });
  return stats;
}

void Relay::Close(absl::Duration drain, const std::atomic<bool>& at_once) {
  loop_->Do([&] { loop_->StopListening(); });
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(drain);
  size_t left = 1;
  while (left > 0) {
    loop_->Do([&] { left = loop_->CloseIdle(); });
    if (left == 0 || at_once || BootNanos() >= deadline) break;
    absl::SleepFor(absl::Milliseconds(5));
  }
  loop_->Do([&] { loop_->CutAll(); });
}

}  // namespace squall
