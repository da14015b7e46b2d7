#include "agent/net/resolver.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "agent/net/dns_message.h"
#include "agent/net/resolver_parts.h"
#include "agent/process/thread_priority.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr size_t kMostFlows = 1024;
constexpr size_t kMostStreams = 256;
constexpr size_t kMostHeld = 4096;
constexpr size_t kMostHeldBytes = 16 << 20;
constexpr size_t kMostBuffered = 256 << 10;  // of a connection, towards one side; then the other is not read
constexpr size_t kMostNames = 256;           // counted each by itself
constexpr size_t kLargestMessage = 65535;
constexpr int64_t kSweepEveryNs = 1'000'000'000;
constexpr absl::Duration kReleasedWithin = absl::Seconds(2);
constexpr int64_t kFlowIdleNs = 30'000'000'000;
constexpr int kAtOnce = 64;  // messages of one socket before others get their turn

enum class Tag : uint64_t { kWake, kDoor, kFlow, kService, kServer };
uint64_t Pack(Tag tag, uint64_t id) { return id << 3 | static_cast<uint64_t>(tag); }

Address Loopback(bool v6) {
  Address address;
  address.ip.s6_addr[15] = 1;
  if (!v6) {
    address.ip.s6_addr[10] = address.ip.s6_addr[11] = 0xff;
    address.ip.s6_addr[12] = 127;
  }
  return address;
}

// The death of the agent, which closes without asking, is to reset and not to look like an orderly end.
void ResetOnClose(int fd, bool reset) {
  const linger value = {reset ? 1 : 0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

// REQUIRES: called inside the network namespace.
absl::StatusOr<OpenDoor> Listen(const Address& at, int number, bool tcp) {
  OpenDoor open = {Fd(socket(at.Family(), (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
                   {number, tcp, !at.IsV4(), 0}};
  const int one = 1;
  if (tcp) setsockopt(open.fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (!at.IsV4()) setsockopt(open.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
  sockaddr_storage storage;
  socklen_t length = at.ToSockaddr(storage);
  if (!open.fd || bind(open.fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 ||
      (tcp && listen(open.fd.get(), 256) != 0)) {
    return absl::ErrnoToStatus(errno, absl::StrCat("the resolver cannot listen on ", at.ToString(), tcp ? " (TCP)" : " (UDP)"));
  }
  length = sizeof(storage);
  getsockname(open.fd.get(), reinterpret_cast<sockaddr*>(&storage), &length);
  open.door.port = FromSockaddr(storage).port;
  return open;
}

// Takes whole messages, each preceded by its length, off the front.
std::vector<std::string> TakeMessages(std::string& bytes) {
  std::vector<std::string> messages;
  size_t at = 0;
  while (bytes.size() - at >= 2) {
    const size_t size = static_cast<size_t>(static_cast<uint8_t>(bytes[at]) << 8 | static_cast<uint8_t>(bytes[at + 1]));
    if (bytes.size() - at - 2 < size) break;
    messages.push_back(bytes.substr(at + 2, size));
    at += 2 + size;
  }
  bytes.erase(0, at);
  return messages;
}

void AppendMessage(std::string& bytes, const std::string& message) {
  bytes += static_cast<char>(message.size() >> 8);
  bytes += static_cast<char>(message.size() & 0xff);
  bytes += message;
}

// Writes what the socket takes. False: it is broken.
bool WriteOut(int fd, std::string& bytes) {
  while (!bytes.empty()) {
    const ssize_t size = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    bytes.erase(0, static_cast<size_t>(size));
  }
  return true;
}

// Reads up to a buffer's worth. False: it is broken. `ended` is set at its end.
bool ReadIn(int fd, std::string& bytes, bool& ended) {
  char buffer[65536];
  const ssize_t size = recv(fd, buffer, sizeof(buffer), 0);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  ended = size == 0;
  bytes.append(buffer, static_cast<size_t>(size));
  return true;
}

}  // namespace

// The thread holds the mutex while it works and lets go of it while it waits, so that public calls work on the same state.
class Resolver::Loop {
 public:
  Loop(const NetNamespace& ns, const Options& options) : ns_(ns), options_(options) {
    epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    Watch(wake_.get(), EPOLLIN, Pack(Tag::kWake, 0), EPOLL_CTL_ADD);
  }

  ~Loop() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
      Wake();
    }
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Start() {
    const absl::Status opened = ns_.Inside([this] { return OpenDoors(); });
    if (!opened.ok()) return opened;
    for (size_t i = 0; i < doors_.size(); ++i) {
      if (options_.redirect == nullptr) continue;
      const absl::Status added = options_.redirect->AddDoor(doors_[i].door);
      if (!added.ok()) return added;
    }
    thread_ = std::thread([this] {
      ns_.Inside([this] {
           Run();
           return absl::OkStatus();
         })
          .IgnoreError();
    });
    return absl::OkStatus();
  }

  absl::Status Inject(const std::string& fault, const Dns& dns) {
    const absl::Status possible = CheckDns(dns);
    if (!possible.ok()) return possible;
    absl::MutexLock lock(&mutex_);
    if (FindRule(fault) != nullptr) return absl::AlreadyExistsError(absl::StrCat("fault ", fault, " acts already"));
    rules_.push_back({fault, dns, absl::ToInt64Nanoseconds(ToDuration(dns.delay()))});
    counts_[fault] = DnsCount();
    counts_[fault].requested_ns = rules_.back().delay_ns;
    return absl::OkStatus();
  }

  absl::Status ChangeDelay(const std::string& fault, absl::Duration delay) {
    absl::MutexLock lock(&mutex_);
    const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const Rule& each) { return each.fault == fault; });
    if (rule == rules_.end()) return absl::NotFoundError(absl::StrCat("fault ", fault, " is not injected"));
    rule->delay_ns = absl::ToInt64Nanoseconds(delay);
    counts_[fault].requested_ns = rule->delay_ns;
    counts_[fault].achieved.Changed();
    return absl::OkStatus();
  }

  absl::Status Heal(const std::string& fault) {
    absl::MutexLock lock(&mutex_);
    rules_.erase(std::remove_if(rules_.begin(), rules_.end(), [&](const Rule& rule) { return rule.fault == fault; }),
                 rules_.end());
    // What is held back is due now: the thread sees to it, since only it is inside the network namespace.
    std::multimap<int64_t, Held> all;
    all.swap(held_);
    for (auto& [at_ns, held] : all) held_.emplace(held.fault == fault ? 0 : at_ns, std::move(held));
    Wake();
    const auto none_left = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::none_of(held_.begin(), held_.end(), [&](const auto& held) { return held.second.fault == fault; });
    };
    return mutex_.AwaitWithTimeout(absl::Condition(&none_left), kReleasedWithin)
               ? absl::OkStatus()
               : absl::InternalError("answers are still held back");
  }

  Evidence EvidenceOf(const std::string& fault) {
    absl::MutexLock lock(&mutex_);
    Evidence evidence;
    const auto found = counts_.find(fault);
    if (found == counts_.end()) return evidence;
    const DnsCount& count = found->second;
    evidence.mutable_answered()->insert(count.answered.begin(), count.answered.end());
    evidence.set_forwarded(count.forwarded);
    evidence.set_requested_ns(count.requested_ns);
    evidence.set_achieved_p50_ns(count.achieved.Quantile(0.5));
    evidence.set_achieved_p99_ns(count.achieved.Quantile(0.99));
    return evidence;
  }

  bool Busy() {
    absl::MutexLock lock(&mutex_);
    return !flows_.empty() || !held_.empty() || !streams_.empty();
  }

 private:
  using HeldAt = std::multimap<int64_t, Held>::iterator;

  absl::Status OpenDoors() {
    absl::MutexLock lock(&mutex_);
    const int numbers = options_.at ? 1 : DnsRedirect::kDoors;
    for (int number = 0; number < numbers; ++number) {
      for (const bool v6 : {false, true}) {
        if (options_.at && v6 == options_.at->IsV4()) continue;
        for (const bool tcp : {false, true}) {
          absl::StatusOr<OpenDoor> door = Listen(options_.at ? *options_.at : Loopback(v6), number, tcp);
          // A namespace without IPv6 has no queries over it either.
          if (!door.ok() && v6 && !options_.at) continue;
          if (!door.ok()) return door.status();
          Watch(door->fd.get(), EPOLLIN, Pack(Tag::kDoor, doors_.size()), EPOLL_CTL_ADD);
          doors_.push_back(*std::move(door));
        }
      }
    }
    return absl::OkStatus();
  }

  void Watch(int fd, uint32_t events, uint64_t data, int operation) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    epoll_ctl(epoll_.get(), operation, fd, &event);
  }

  void Wake() {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  void Run() {
    RaiseThreadPriority();  // what it adds to an answer's time counts against the service
    prctl(PR_SET_NAME, "resolver");
    std::vector<epoll_event> events(128);
    int64_t next_sweep_ns = BootNanos() + kSweepEveryNs;
    while (true) {
      int64_t wake_at = next_sweep_ns;
      {
        absl::MutexLock lock(&mutex_);
        if (stop_) return;
        if (!held_.empty()) wake_at = std::min(wake_at, held_.begin()->first);
      }
      const int64_t wait = std::max<int64_t>(0, wake_at - BootNanos());
      const timespec timeout = {wait / 1'000'000'000, wait % 1'000'000'000};
      const int count = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
      absl::MutexLock lock(&mutex_);
      for (int i = 0; i < count; ++i) Handle(events[static_cast<size_t>(i)]);
      ReleaseDue();
      if (BootNanos() < next_sweep_ns) continue;
      next_sweep_ns = BootNanos() + kSweepEveryNs;
      Sweep();
    }
  }

  void Handle(const epoll_event& event) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const uint64_t id = event.data.u64 >> 3;
    switch (static_cast<Tag>(event.data.u64 & 7)) {
      case Tag::kWake: {
        uint64_t count;
        (void)!read(wake_.get(), &count, sizeof(count));
        return;
      }
      case Tag::kDoor:
        return doors_[id].door.tcp ? Accept(id) : ReadDoor(id);
      case Tag::kFlow:
        return ReadFlow(id);
      case Tag::kService:
        return ReadService(id, event.events);
      case Tag::kServer:
        return ReadServer(id, event.events);
    }
  }

  // ---- what to do with a message

  const Rule* FindRule(const std::string& fault) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Rule& rule : rules_) {
      if (rule.fault == fault) return &rule;
    }
    return nullptr;
  }

  const Rule* RuleFor(const DnsQuestion& question) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const Rule& rule : rules_) {
      if (Matches(rule.dns, question)) return &rule;
    }
    return nullptr;
  }

  void OnQuery(const Asker& asker, std::string message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const DnsQuestion question = ReadQuestion(message, /*answer=*/false);
    if (question.kind == DnsQuestion::kNoise) return;
    if (question.kind == DnsQuestion::kBroken) return Send(asker, FormatError(message));
    const Rule* rule = question.kind == DnsQuestion::kQuestion ? RuleFor(question) : nullptr;
    if (rule == nullptr) {
      for (const Rule& each : rules_) ++counts_[each.fault].forwarded;
      return Forward(asker, message);
    }
    // The right answer is held back when it comes.
    if (rule->dns.answer() == Dns::ANSWER_DELAYED) return Forward(asker, message);
    Held held = {asker, rule->fault, question.ToString(), std::move(message), /*is_query=*/true, BootNanos()};
    if (rule->delay_ns > 0 && rule->dns.answer() != Dns::ANSWER_TIMEOUT) return Hold(std::move(held), rule->delay_ns);
    Release(held);
  }

  void OnAnswer(const Asker& asker, std::string message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const DnsQuestion question =
        rules_.empty() && !options_.on_answer ? DnsQuestion() : ReadQuestion(message, /*answer=*/true);
    if (options_.on_answer && question.kind == DnsQuestion::kQuestion) options_.on_answer(question.name, AddressesIn(message));
    const Rule* rule = question.kind == DnsQuestion::kQuestion ? RuleFor(question) : nullptr;
    if (rule == nullptr || rule->dns.answer() != Dns::ANSWER_DELAYED) return Send(asker, message);
    Hold({asker, rule->fault, question.ToString(), std::move(message), /*is_query=*/false, BootNanos()}, rule->delay_ns);
  }

  void Hold(Held held, int64_t delay_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (held_.size() >= kMostHeld || held_bytes_ + held.message.size() > kMostHeldBytes) return;
    held_bytes_ += held.message.size();
    held.asked = counts_[held.fault].achieved.asked();
    const auto stream = streams_.find(held.asker.stream);
    if (stream != streams_.end()) ++stream->second.held;
    held_.emplace(held.since_ns + delay_ns, std::move(held));
  }

  Held LetGo(HeldAt at) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Held held = std::move(at->second);
    held_.erase(at);
    held_bytes_ -= held.message.size();
    const auto stream = streams_.find(held.asker.stream);
    if (stream != streams_.end()) --stream->second.held;
    return held;
  }

  void ReleaseDue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    while (!held_.empty() && held_.begin()->first <= BootNanos()) Release(LetGo(held_.begin()));
  }

  // Answers as the fault says, and counts it; rightly, once the fault is healed.
  void Release(const Held& held) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const Rule* rule = FindRule(held.fault);
    if (rule == nullptr) return held.is_query ? Forward(held.asker, held.message) : Send(held.asker, held.message);
    DnsCount& count = counts_[held.fault];
    const bool by_itself = count.answered.size() < kMostNames || count.answered.count(held.what) > 0;
    ++count.answered[by_itself ? held.what : "other names"];
    if (rule->delay_ns > 0 && rule->dns.answer() != Dns::ANSWER_TIMEOUT) {
      count.achieved.Add(held.asked, BootNanos() - held.since_ns);
    }
    const std::string answer =
        held.is_query ? AnswerTo(rule->dns, held.message, /*over_udp=*/held.asker.stream == 0) : held.message;
    if (!answer.empty()) Send(held.asker, answer);
  }

  void Send(const Asker& asker, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (asker.stream == 0) {
      sendto(doors_[asker.door].fd.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&asker.from), asker.from_length);
      return;
    }
    const auto found = streams_.find(asker.stream);
    if (found == streams_.end()) return;
    AppendMessage(found->second.to_service, message);
    Move(asker.stream);
  }

  void Forward(const Asker& asker, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    asker.stream == 0 ? ForwardDatagram(asker, message) : ForwardOnStream(asker.stream, message);
  }

  std::optional<Address> ServerOf(size_t door) const {
    return options_.at ? options_.nameserver : options_.redirect->Server(doors_[door].door.number);
  }

  // A socket that is connecting or connected to the server behind the door; none on error.
  Fd OpenServer(size_t door) const {
    const std::optional<Address> server = ServerOf(door);
    if (!server) return Fd();
    const int type = doors_[door].door.tcp ? SOCK_STREAM : SOCK_DGRAM;
    Fd fd(socket(server->Family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const socklen_t length = server->ToSockaddr(storage);
    if (!fd || (connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 && errno != EINPROGRESS)) return Fd();
    return fd;
  }

  // ---- UDP

  void ReadDoor(size_t door) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (int i = 0; i < kAtOnce; ++i) {
      Asker asker;
      asker.door = door;
      asker.from_length = sizeof(asker.from);
      const ssize_t size = recvfrom(doors_[door].fd.get(), buffer_, sizeof(buffer_), 0,
                                    reinterpret_cast<sockaddr*>(&asker.from), &asker.from_length);
      if (size < 0) return;
      OnQuery(asker, std::string(buffer_, static_cast<size_t>(size)));
    }
  }

  void ForwardDatagram(const Asker& asker, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const std::string key =
        absl::StrCat(asker.door, " ", absl::string_view(reinterpret_cast<const char*>(&asker.from), asker.from_length));
    uint64_t id = 0;
    const auto known = flow_ids_.find(key);
    if (known != flow_ids_.end()) {
      id = known->second;
    } else {
      Flow flow;
      flow.key = key;
      flow.asker = asker;
      flow.server = OpenServer(asker.door);
      if (!flow.server) return;
      if (flows_.size() >= kMostFlows) EndFlow(Oldest(flows_));
      id = next_id_++;
      Watch(flow.server.get(), EPOLLIN, Pack(Tag::kFlow, id), EPOLL_CTL_ADD);
      flow_ids_[key] = id;
      flows_[id] = std::move(flow);
    }
    Flow& flow = flows_.at(id);
    flow.last_ns = BootNanos();
    ++flow.waiting;
    send(flow.server.get(), message.data(), message.size(), MSG_NOSIGNAL);
  }

  void ReadFlow(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (int i = 0; i < kAtOnce; ++i) {
      const auto found = flows_.find(id);
      if (found == flows_.end()) return;
      Flow& flow = found->second;
      const ssize_t size = recv(flow.server.get(), buffer_, sizeof(buffer_), 0);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
      // An error says that the server does not listen.
      if (size < 0) return EndFlow(id);
      const Asker asker = flow.asker;
      if (--flow.waiting <= 0) EndFlow(id);
      OnAnswer(asker, std::string(buffer_, static_cast<size_t>(size)));
    }
  }

  void EndFlow(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = flows_.find(id);
    if (found == flows_.end()) return;
    flow_ids_.erase(found->second.key);
    flows_.erase(found);
  }

  // REQUIRES: there is one.
  template <typename Map>
  static uint64_t Oldest(const Map& map) {
    return std::min_element(map.begin(), map.end(), [](const auto& a, const auto& b) {
             return a.second.last_ns < b.second.last_ns;
           })->first;
  }

  void Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<uint64_t> idle;
    for (const auto& [id, flow] : flows_) {
      if (BootNanos() - flow.last_ns > kFlowIdleNs) idle.push_back(id);
    }
    for (const uint64_t id : idle) EndFlow(id);
  }

  // ---- TCP

  void Accept(size_t door) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (int i = 0; i < kAtOnce; ++i) {
      Fd fd(accept4(doors_[door].fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      const int one = 1;
      setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      ResetOnClose(fd.get(), true);
      if (streams_.size() >= kMostStreams) EndStream(Oldest(streams_), /*orderly=*/false);
      const uint64_t id = next_id_++;
      Stream& stream = streams_[id];
      stream.door = door;
      stream.service = std::move(fd);
      stream.last_ns = BootNanos();
      Move(id);
    }
  }

  void ForwardOnStream(uint64_t id, const std::string& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    if (!stream.server) {
      stream.server = OpenServer(stream.door);
      if (!stream.server) return EndStream(id, /*orderly=*/false);
      const int one = 1;
      setsockopt(stream.server.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    AppendMessage(stream.to_server, message);
    Move(id);
  }

  void ReadService(uint64_t id, uint32_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    stream.last_ns = BootNanos();
    const bool broken = (events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && stream.service_ended);
    if (broken || ((events & (EPOLLIN | EPOLLHUP)) != 0 &&
                   !ReadIn(stream.service.get(), stream.from_service, stream.service_ended))) {
      return EndStream(id, /*orderly=*/false);
    }
    Asker asker;
    asker.door = stream.door;
    asker.stream = id;
    for (std::string& message : TakeMessages(stream.from_service)) OnQuery(asker, std::move(message));
    Move(id);
  }

  void ReadServer(uint64_t id, uint32_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    if ((events & EPOLLERR) != 0 || ((events & (EPOLLIN | EPOLLHUP)) != 0 &&
                                     !ReadIn(stream.server.get(), stream.from_server, stream.server_ended))) {
      return EndStream(id, /*orderly=*/false);
    }
    Asker asker;
    asker.door = stream.door;
    asker.stream = id;
    for (std::string& message : TakeMessages(stream.from_server)) OnAnswer(asker, std::move(message));
    Move(id);
  }

  // Passes on what can be passed on, ends what is over, and watches for what comes next.
  void Move(uint64_t id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    Stream& stream = found->second;
    if (!WriteOut(stream.service.get(), stream.to_service)) return EndStream(id, /*orderly=*/false);
    // While it still connects, a write finds no room.
    if (stream.server && !stream.server_ended && !WriteOut(stream.server.get(), stream.to_server) && errno != ENOTCONN) {
      return EndStream(id, /*orderly=*/false);
    }
    if (stream.service_ended && stream.server && stream.to_server.empty() && !stream.end_passed_on) {
      shutdown(stream.server.get(), SHUT_WR);
      stream.end_passed_on = true;
    }
    const bool nothing_comes = stream.server_ended || (stream.service_ended && !stream.server);
    if (nothing_comes && stream.held == 0 && stream.to_service.empty()) return EndStream(id, /*orderly=*/true);
    const bool read_service = !stream.service_ended && stream.to_server.size() < kMostBuffered &&
                              stream.to_service.size() < kMostBuffered;
    WatchStream(stream.service.get(), Pack(Tag::kService, id), read_service, !stream.to_service.empty(),
                stream.service_events);
    if (!stream.server) return;
    WatchStream(stream.server.get(), Pack(Tag::kServer, id),
                !stream.server_ended && stream.to_service.size() < kMostBuffered,
                !stream.server_ended && !stream.to_server.empty(), stream.server_events);
  }

  // A socket that is waited on for nothing is not watched at all: a hang-up would wake the loop again and again.
  void WatchStream(int fd, uint64_t data, bool in, bool out, uint32_t& watched) {
    const uint32_t events = (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u);
    if (events == watched) return;
    Watch(fd, events, data, watched == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD);
    watched = events;
  }

  void EndStream(uint64_t id, bool orderly) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    ResetOnClose(found->second.service.get(), !orderly);
    streams_.erase(found);
  }

  const NetNamespace& ns_;
  const Options options_;
  Fd epoll_, wake_;
  std::vector<OpenDoor> doors_;  // fixed once the thread runs
  char buffer_[kLargestMessage];

  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Rule> rules_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, DnsCount> counts_ ABSL_GUARDED_BY(mutex_);  // by fault
  std::multimap<int64_t, Held> held_ ABSL_GUARDED_BY(mutex_);       // by when it is due
  size_t held_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::unordered_map<uint64_t, Flow> flows_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, uint64_t> flow_ids_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<uint64_t, Stream> streams_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

Resolver::Resolver(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
Resolver::~Resolver() = default;

absl::StatusOr<std::unique_ptr<Resolver>> Resolver::Open(const NetNamespace& ns, const Options& options) {
  auto loop = std::make_unique<Loop>(ns, options);
  const absl::Status started = loop->Start();
  if (!started.ok()) return started;
  return std::unique_ptr<Resolver>(new Resolver(std::move(loop)));
}

absl::Status Resolver::Inject(const std::string& fault, const Dns& dns) { return loop_->Inject(fault, dns); }
absl::Status Resolver::ChangeDelay(const std::string& fault, absl::Duration delay) { return loop_->ChangeDelay(fault, delay); }
absl::Status Resolver::Heal(const std::string& fault) { return loop_->Heal(fault); }
Evidence Resolver::EvidenceOf(const std::string& fault) { return loop_->EvidenceOf(fault); }

void Resolver::Drain(absl::Duration limit) {
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(limit);
  while (loop_->Busy() && BootNanos() < deadline) absl::SleepFor(absl::Milliseconds(5));
}

}  // namespace squall
