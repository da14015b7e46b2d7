#include "agent/net/relay_loop.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "agent/process/thread_priority.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kLookAtUpstreamsNs = 5'000'000;
constexpr int kWritesInARow = 256;  // of one connection, before others have a turn
constexpr int64_t kLingerNs = 2'000'000'000;
constexpr int64_t kFreshNs = 500'000'000;  // a connection that was just made

void SetLinger(int fd, bool reset_on_close) {
  const linger value = {reset_on_close ? 1 : 0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

void SetNoDelay(int fd) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

Way Back(Way way) { return way == Way::kToService ? Way::kToDependency : Way::kToService; }

}  // namespace

RelayLoop::RelayLoop(Relay::CallSink sink) : sink_(std::move(sink)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Watch(wake_.get(), EPOLLIN, Pack(Tag::kWake, 0), EPOLL_CTL_ADD);
  thread_ = std::thread([this] { Run(); });
}

RelayLoop::~RelayLoop() {
  Do([this] { stop_ = true; });
  thread_.join();
}

void RelayLoop::Do(absl::FunctionRef<void()> work) {
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

void RelayLoop::Watch(int fd, uint32_t events, uint64_t data, int operation) {
  epoll_event event = {};
  event.events = events;
  event.data.u64 = data;
  epoll_ctl(epoll_.get(), operation, fd, &event);
}

void RelayLoop::Run() {
  RaiseThreadPriority();  // the relay must not lag behind the traffic when the host is busy
  prctl(PR_SET_NAME, "relay");
  std::vector<epoll_event> events(256);
  while (!stop_) {
    const int64_t now = BootNanos();
    int64_t wake_at = next_look_ns_;
    if (!due_.empty()) wake_at = std::min(wake_at, due_.begin()->first);
    for (auto& [name, edge] : edges_) {
      for (const Way way : kBothWays) {
        if (const Bucket* bucket = edge.shape.BucketOf(way)) wake_at = std::min(wake_at, bucket->WakeAt());
      }
    }
    const int64_t wait = std::max<int64_t>(0, wake_at - now);
    const timespec timeout = {wait / 1'000'000'000, wait % 1'000'000'000};
    const int count = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      HandleEvent(event.events, event.data.u64);
    }
    MoveDue();
    for (auto& [name, edge] : edges_) ServeLines(edge);
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

void RelayLoop::DoWork() {
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

void RelayLoop::HandleEvent(uint32_t events, uint64_t data) {
  const auto tag = static_cast<Tag>(data & 3);
  const uint64_t id = data >> 2;
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
  RelayConnection& connection = *found->second;
  if (!(tag == Tag::kService ? connection.service : connection.dependency)) return;  // reset meanwhile
  if (tag == Tag::kDependency && !connection.connected) {
    if (!FinishConnect(connection)) return;
  } else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
    if (events & EPOLLRDHUP && !MayRead(connection, Way::kToDependency)) connection.conversation.CallerLeft(BootNanos());
    const Way way = tag == Tag::kService ? Way::kToDependency : Way::kToService;
    if (!Read(connection, way, (events & (EPOLLHUP | EPOLLERR)) != 0)) return;
  }
  Move(id);
}

void RelayLoop::Accept(RelayEdge& edge, int listener) {
  for (int i = 0; i < kAcceptsInARow; ++i) {
    sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    Fd fd(accept4(listener, reinterpret_cast<sockaddr*>(&storage), &length, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      const bool none_left = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
      if (none_left) PauseListener(edge, listener);
      return;
    }
    SetLinger(fd.get(), true);  // from here on, closing it resets it
    SetNoDelay(fd.get());
    std::shared_ptr<EdgeUpstream> upstream;
    uint32_t source_pid = 0;
    if (edge.intercept != nullptr && !edge.relay_at) {
      // Who was not redirected here has no business here.
      const std::optional<Intercept::Original> original = edge.intercept->TakeOriginal(FromSockaddr(storage));
      if (!original) continue;
      upstream = UpstreamFor(edge, original->to);
      source_pid = original->process;
    } else {
      upstream = FirstThatAccepts(edge);
    }
    if (upstream == nullptr) continue;
    if (edge.taker) {
      edge.stats.set_connections(edge.stats.connections() + 1);
      edge.taker(std::move(fd), edge.relay_at.value_or(upstream->watch.address()));
      continue;
    }
    Connect(edge, std::move(upstream), std::move(fd), source_pid);
  }
}

void RelayLoop::Connect(RelayEdge& edge, std::shared_ptr<EdgeUpstream> upstream, Fd service, uint32_t source_pid) {
  const int64_t now = BootNanos();
  const uint64_t id = next_id_++;
  auto made = std::make_unique<RelayConnection>(&edge, id, edge.parse_http, now, [this, id](const SeenCall& call) {
    RelayConnection& of = *connections_.at(id);
    of.shape.CallEnded(/*last=*/of.conversation.OpenCalls() == 0);
    SeenCall seen = call;
    seen.source_pid = of.source_pid;
    sink_(of.edge->name, seen);
  });
  RelayConnection& connection = *made;
  connections_[id] = std::move(made);
  connection.service = std::move(service);
  connection.source_pid = source_pid;
  connection.upstream = upstream;
  upstream->used_ns = now;
  edge.stats.set_connections(edge.stats.connections() + 1);
  connection.shape.EnrollNew(now);
  if (!MeetFate(connection)) return;
  if (edge.shape.Get(Stage::kBlackhole) == nullptr && connection.lingers_until_ns == 0) return StartConnect(connection);
  if (connection.lingers_until_ns == 0) connection.shape.Touch(Stage::kBlackhole);
  Move(id);
}

void RelayLoop::StartConnect(RelayConnection& connection) {
  const uint64_t id = connection.id;
  const Address to = connection.upstream->watch.address();
  absl::StatusOr<Fd> fd = connection.edge->ns->Socket(to.Family(), SOCK_STREAM | SOCK_NONBLOCK);
  if (!fd.ok()) return End(id, CONNECT_REFUSED, false);
  connection.dependency = *std::move(fd);
  SetLinger(connection.dependency.get(), true);
  SetNoDelay(connection.dependency.get());
  sockaddr_storage storage;
  const socklen_t length = to.ToSockaddr(storage);
  if (connect(connection.dependency.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0) {
    connection.connected = true;
  } else if (errno != EINPROGRESS) {
    return ConnectFailed(connection, errno);
  }
  Move(id);
}

bool RelayLoop::FinishConnect(RelayConnection& connection) {
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

void RelayLoop::ConnectFailed(RelayConnection& connection, int error) {
  if (error == ECONNREFUSED) {
    connection.upstream->watch.NoteRefused();
    EdgeStats& stats = connection.edge->stats;
    stats.set_refused(stats.refused() + 1);
    if (connection.source_pid != 0) ++(*stats.mutable_refused_by())[connection.source_pid];
  }
  RelayEdge& edge = *connection.edge;
  End(connection.id, CONNECT_REFUSED, /*orderly=*/false);
  if (error == ECONNREFUSED) Mirror(edge);
}

bool RelayLoop::Read(RelayConnection& connection, Way way, bool broken) {
  if (connection.lingers_until_ns > 0) return Linger(connection, way);
  const int fd = connection.SocketOf(Back(way)).get();
  for (int i = 0; i < 16 && MayRead(connection, way); ++i) {
    const ssize_t size = read(fd, read_buffer_, sizeof(read_buffer_));
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (size < 0) return Broken(connection, way);
    Enter(connection, way, absl::string_view(read_buffer_, static_cast<size_t>(size)), BootNanos());
    if (static_cast<size_t>(size) < sizeof(read_buffer_) && size > 0) break;
  }
  if (broken) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return Broken(connection, way);
  }
  return true;
}

bool RelayLoop::Broken(RelayConnection& connection, Way way) {
  const CallResult who_left = way == Way::kToDependency ? CALLER_LEFT : PEER_LEFT;
  const int64_t now = BootNanos();
  Shaper& shaper = connection.Toward(way);
  shaper.PutEnd(Shaper::End::kReset, now);
  // Without anything that holds it back, or anybody to pass it on to, it is over.
  if (!connection.connected || !connection.SocketOf(way) || shaper.Next(now).end == Shaper::End::kReset) {
    End(connection.id, who_left, /*orderly=*/false);
    return false;
  }
  // Who has left waits no longer; what a silent peer did is not known yet.
  if (way == Way::kToDependency) connection.conversation.OnClose(who_left, now);
  connection.SocketOf(Back(way)).Reset();
  (way == Way::kToDependency ? connection.service_events : connection.dependency_events) = 0;
  connection.Toward(Back(way)).Drop();
  return true;
}

void RelayLoop::Enter(RelayConnection& connection, Way way, absl::string_view bytes, int64_t now_ns) {
  EdgeStats& stats = connection.edge->stats;
  const auto size = static_cast<int64_t>(bytes.size());
  if (way == Way::kToDependency) {
    connection.conversation.FromService(bytes, now_ns);
    stats.set_bytes_to_dependency(stats.bytes_to_dependency() + size);
  } else {
    connection.conversation.FromDependency(bytes, now_ns);
    stats.set_bytes_to_service(stats.bytes_to_service() + size);
  }
  PassOn(connection, now_ns);
}

bool RelayLoop::MayRead(RelayConnection& connection, Way way) {
  const Conversation& conversation = connection.conversation;
  const Shaper& shaper = connection.Toward(way);
  if (shaper.end_read() || shaper.Full() || conversation.Broken()) return false;
  if (way == Way::kToService) return conversation.WantsFromDependency();
  return conversation.WantsFromService();
}

bool RelayLoop::PassOn(RelayConnection& connection, int64_t now_ns) {
  bool any = false;
  for (const Way way : kBothWays) {
    // Answers of ours, too, have to be taken: the conversation holds few of them, and then wants no more.
    if (connection.Toward(way).Full()) continue;
    const Conversation::Output output =
        way == Way::kToDependency ? connection.conversation.TakeToDependency() : connection.conversation.TakeToService();
    if (connection.Toward(way).end_read()) continue;  // it was reset meanwhile
    if (!output.bytes.empty()) Pass(connection, way, output.bytes, now_ns);
    if (output.end) Pass(connection, way, "", now_ns);
    any |= !output.bytes.empty() || output.end;
  }
  return any;
}

void RelayLoop::Pass(RelayConnection& connection, Way way, absl::string_view bytes, int64_t now_ns) {
  Shaper& shaper = connection.Toward(way);
  if (bytes.empty()) {
    shaper.PutEnd(Shaper::End::kFin, now_ns);
  } else {
    shaper.Put(bytes, now_ns);
  }
}

void RelayLoop::Move(uint64_t id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  RelayConnection& connection = *found->second;
  if (connection.lingers_until_ns > 0) {
    if (BootNanos() >= connection.lingers_until_ns) return End(id, PEER_LEFT, /*orderly=*/true);
    WakeAt(connection, connection.lingers_until_ns);
    return Interest(connection);
  }
  const int64_t entered = BootNanos();
  connection.conversation.OnTime(entered);
  PassOn(connection, entered);
  if (connection.conversation.Broken()) return End(id, PEER_LEFT, /*orderly=*/false);
  if (connection.connected) {
    if (!Write(connection, Way::kToDependency) || !Write(connection, Way::kToService)) return;
    if (connection.Toward(Way::kToDependency).end_written() && connection.Toward(Way::kToService).end_written()) {
      return End(id, PEER_LEFT, /*orderly=*/true);
    }
  } else if (connection.edge->shape.Get(Stage::kBlackhole) != nullptr) {
    // What is held back before the connection is made counts, too.
    for (const Way way : kBothWays) connection.Toward(way).Next(BootNanos());
  }
  if (!MeetFate(connection)) return;
  const int64_t now = BootNanos();
  if (PassOn(connection, now)) WakeAt(connection, now);  // what was written made room for it
  if (connection.conversation.NextDueNs() != kNever) WakeAt(connection, connection.conversation.NextDueNs());
  for (const Way way : kBothWays) {
    const int64_t due = connection.Toward(way).WakeAt();
    if (due > now && due != kNever) WakeAt(connection, due);  // else it waits for the socket
  }
  Interest(connection);
}

bool RelayLoop::Write(RelayConnection& connection, Way way) {
  Shaper& shaper = connection.Toward(way);
  const Fd& fd = connection.SocketOf(way);
  if (!fd) {
    shaper.Drop();
    return true;
  }
  for (int i = 0; i < kWritesInARow; ++i) {
    const int64_t now = BootNanos();
    const Shaper::Ready ready = shaper.Next(now);
    if (ready.end == Shaper::End::kReset) {
      End(connection.id, way == Way::kToDependency ? CALLER_LEFT : PEER_LEFT, /*orderly=*/false);
      return false;
    }
    if (ready.end == Shaper::End::kFin) {
      shutdown(fd.get(), SHUT_WR);
      shaper.WroteEnd();
      continue;
    }
    if (ready.bytes.empty()) return true;
    const int flags = MSG_NOSIGNAL | (ready.alone ? MSG_EOR : 0);
    const ssize_t size = send(fd.get(), ready.bytes.data(), ready.bytes.size(), flags);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
      shaper.Blocked();
      return true;
    }
    if (size < 0) return Broken(connection, Back(way));
    const auto written = static_cast<size_t>(size);
    shaper.Wrote(written, now);
    if (way == Way::kToService) connection.conversation.Written(written, now);
  }
  return true;
}

bool RelayLoop::MeetFate(RelayConnection& connection) {
  if (connection.lingers_until_ns > 0) return true;
  const int64_t now = BootNanos();
  const ConnectionShape::Fate fate = connection.shape.WhatBecomes(now);
  if (fate.at_ns == kNever) return true;
  if (fate.at_ns > now) {
    WakeAt(connection, fate.at_ns);
    return true;
  }
  connection.shape.Ended(fate.ending);
  if (fate.ending == ConnectionShape::Ending::kReset) {
    End(connection.id, PEER_LEFT, /*orderly=*/false);
    return false;
  }
  CloseInOrder(connection);
  return true;
}

// Closing a socket with bytes that nobody has read would send RST: they are read first, as far as they come in time.
void RelayLoop::CloseInOrder(RelayConnection& connection) {
  connection.conversation.OnClose(PEER_LEFT, BootNanos());
  if (!connection.connected) {
    connection.dependency.Reset();
    connection.dependency_events = 0;
  }
  for (const Way way : kBothWays) {
    connection.Toward(way).Drop();
    const Fd& fd = connection.SocketOf(way);
    if (!fd) continue;
    SetLinger(fd.get(), false);
    shutdown(fd.get(), SHUT_WR);
  }
  connection.lingers_until_ns = BootNanos() + kLingerNs;
  WakeAt(connection, connection.lingers_until_ns);
}

bool RelayLoop::Linger(RelayConnection& connection, Way way) {
  Fd& fd = connection.SocketOf(Back(way));
  for (int i = 0; i < 16; ++i) {
    const ssize_t size = read(fd.get(), read_buffer_, sizeof(read_buffer_));
    if (size > 0) continue;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    fd.Reset();
    (way == Way::kToDependency ? connection.service_events : connection.dependency_events) = 0;
    break;
  }
  if (connection.service || connection.dependency) return true;
  End(connection.id, PEER_LEFT, /*orderly=*/true);
  return false;
}

void RelayLoop::Interest(RelayConnection& connection) {
  const auto look = [&](Way in, Tag tag, uint32_t& current) {
    const int fd = connection.SocketOf(Back(in)).get();
    if (fd < 0) return;
    uint32_t events = 0;
    if (tag == Tag::kDependency && !connection.connected) {
      events = EPOLLOUT;
    } else {
      if (connection.lingers_until_ns > 0 || MayRead(connection, in)) events |= EPOLLIN;
      if (connection.connected && connection.Toward(Back(in)).WakeAt() == 0) events |= EPOLLOUT;
    }
    Set(fd, current, events, Pack(tag, connection.id));
  };
  look(Way::kToDependency, Tag::kService, connection.service_events);
  look(Way::kToService, Tag::kDependency, connection.dependency_events);
}

// Nothing wanted: only a reset is told, and that the service has closed, and once, since they would be reported for ever.
void RelayLoop::Set(int fd, uint32_t& current, uint32_t wanted, uint64_t data) {
  if (wanted == 0) wanted = EPOLLET | (static_cast<Tag>(data & 3) == Tag::kService ? EPOLLRDHUP : 0u);
  if (current == wanted) return;
  Watch(fd, wanted, data, current == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD);
  current = wanted;
}

void RelayLoop::WakeAt(RelayConnection& connection, int64_t at_ns) {
  if (at_ns >= connection.wake_ns) return;
  due_.erase({connection.wake_ns, connection.id});
  connection.wake_ns = at_ns;
  due_.insert({at_ns, connection.id});
}

void RelayLoop::MoveDue() {
  const int64_t now = BootNanos();
  while (!due_.empty() && due_.begin()->first <= now) {
    const uint64_t id = due_.begin()->second;
    due_.erase(due_.begin());
    connections_.at(id)->wake_ns = kNever;
    Move(id);
  }
}

void RelayLoop::End(uint64_t id, CallResult result, bool orderly) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  RelayConnection& connection = *found->second;
  connection.conversation.OnClose(result, BootNanos());
  if (orderly) {
    if (connection.service) SetLinger(connection.service.get(), false);
    if (connection.dependency) SetLinger(connection.dependency.get(), false);
  }
  due_.erase({connection.wake_ns, id});
  connections_.erase(found);
}

size_t RelayLoop::CloseIdle(bool at_last) {
  std::vector<uint64_t> idle;
  const int64_t now = BootNanos();
  for (const auto& [id, connection] : connections_) {
    const bool holds = !connection->Toward(Way::kToService).Empty() || !connection->Toward(Way::kToDependency).Empty();
    const bool fresh = !at_last && connection->conversation.Requests() == 0 && now - connection->opened_ns < kFreshNs;
    if ((connection->conversation.Idle() && !holds && !fresh) || connection->lingers_until_ns > 0) idle.push_back(id);
  }
  for (const uint64_t id : idle) End(id, PEER_LEFT, /*orderly=*/true);
  return connections_.size();
}

void RelayLoop::CutAll() {
  while (!connections_.empty()) {
    RelayConnection& connection = *connections_.begin()->second;
    connection.edge->stats.set_cut(connection.edge->stats.cut() + 1);
    End(connections_.begin()->first, STILL_OPEN, /*orderly=*/false);
  }
}

}  // namespace squall
