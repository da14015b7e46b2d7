#include "agent/front_gate.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/pem.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/tls.h"

namespace squall {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kHandshakeNs = 10 * kSecond;
constexpr size_t kMostHandshakes = 64;
constexpr int64_t kYieldNs = kSecond;   // a handshake that is older gives way when others wait
constexpr int64_t kLingerNs = 2 * kSecond;  // to pass on what is left when one side has ended
constexpr int64_t kDrainNs = kSecond;
constexpr int64_t kTellEveryNs = kSecond;
constexpr int kRounds = 16;         // of one connection, before others have their turn
constexpr int kAcceptAtOnce = 16;
constexpr int kSilentSeconds = 30;  // a peer's host that is gone
constexpr uint64_t kFirstConnection = 1 << 16;  // numbers below are those of control and listeners

int ChooseHttp2(SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered, unsigned offered_size,
                void*) {
  static constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, size, kHttp2, sizeof(kHttp2), offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

// As gRPC writes addresses: an IPv4 one that came through an IPv6 socket is an IPv4 one.
std::pair<std::string, std::string> HostAndPeer(const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
    return {text, absl::StrCat("ipv4:", text, ":", ntohs(v4.sin_port))};
  }
  const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
  if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
    inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text, sizeof(text));
    return {text, absl::StrCat("ipv4:", text, ":", ntohs(v6.sin6_port))};
  }
  inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text));
  // Who has one address of a network has the others: they count as one.
  char network[INET6_ADDRSTRLEN] = {};
  in6_addr prefix = v6.sin6_addr;
  memset(prefix.s6_addr + 8, 0, 8);
  inet_ntop(AF_INET6, &prefix, network, sizeof(network));
  return {network, absl::StrCat("ipv6:[", text, "]:", ntohs(v6.sin6_port))};
}

// The certificate's name as far as it can be told; empty: not.
std::string NameOf(SSL* ssl) {
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr) return "";
  const std::vector<std::string> names = CertificateNames(certificate.get());
  return names.empty() || !IsPrintable(names[0]) ? "" : names[0];
}

}  // namespace

absl::StatusOr<std::unique_ptr<FrontGate>> FrontGate::Make(const std::string& cert, const std::string& key, const std::string& ca) {
  SslContextPtr context(SSL_CTX_new(TLS_server_method()));
  const std::vector<X509Ptr> certificates = ReadCertificates(cert);
  const std::vector<X509Ptr> roots = ReadCertificates(ca);
  const KeyPtr own = ReadKey(key);
  bool good = context != nullptr && !certificates.empty() && !roots.empty() && own != nullptr &&
              SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(context.get(), TLS1_3_VERSION) == 1 &&
              SSL_CTX_use_certificate(context.get(), certificates[0].get()) == 1 &&
              SSL_CTX_use_PrivateKey(context.get(), own.get()) == 1 && SSL_CTX_check_private_key(context.get()) == 1 &&
              SSL_CTX_set_num_tickets(context.get(), 0) == 1;
  for (size_t i = 1; good && i < certificates.size(); ++i) good = SSL_CTX_add1_chain_cert(context.get(), certificates[i].get()) == 1;
  for (size_t i = 0; good && i < roots.size(); ++i) {
    good = X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), roots[i].get()) == 1 &&
           SSL_CTX_add_client_CA(context.get(), roots[i].get()) == 1;
  }
  if (!good) return absl::InternalError(absl::StrCat("OpenSSL does not take the agent's certificate: ", OpensslError()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(context.get(), &ChooseHttp2, nullptr);
  return std::unique_ptr<FrontGate>(new FrontGate(std::move(context)));
}

FrontGate::FrontGate(SslContextPtr context) : context_(std::move(context)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {}

void FrontGate::Serve(Fd control, std::vector<Fd> listeners, size_t most) {
  control_ = std::move(control);
  listeners_ = std::move(listeners);
  most_ = most;
  next_id_ = kFirstConnection;
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = 0;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, control_.get(), &event);
  ListenAgain(true);
  bool serves = true;
  int64_t end_ns = 0;
  while (serves || (!connections_.empty() && BootNanos() < end_ns)) {
    epoll_event events[64];
    const int count = epoll_wait(epoll_.get(), events, 64, serves ? Timeout() : 20);
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[i].data.u64 >> 1;
      if (id == 0) {
        if (serves && !ReadControl()) {
          serves = false;
          end_ns = BootNanos() + kDrainNs;
          Drain();
        }
      } else if (id < kFirstConnection) {
        if (serves && listens_) Accept(static_cast<size_t>(id) - 1);
      } else if (Connection* c = Find(id)) {
        const bool of_agent = (events[i].data.u64 & 1) != 0;
        const bool hung_up = (events[i].events & (EPOLLHUP | EPOLLERR)) != 0;
        if (of_agent && hung_up) {
          // It would be told again and again. What it has left can still be read.
          epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->agent.get(), nullptr);
          c->agent_hung_up = true;
        } else if (hung_up) {
          c->broken = true;
        }
        Step(*c);
      }
    }
    const int64_t now = BootNanos();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
      Connection* c = Find(deadlines_.begin()->second);
      if (c->state == State::kHandshake) {
        Refuse(*c, "no handshake within 10 s");
      } else {
        End(*c);
      }
    }
    const bool room = !short_of_something_ && connections_.size() < most_ && handshakes_ < kMostHandshakes;
    if (serves && !listens_ && (room || (listen_again_ns_ != 0 && now >= listen_again_ns_))) ListenAgain(true);
  }
}

int FrontGate::Timeout() const {
  int64_t next = deadlines_.empty() ? 0 : deadlines_.begin()->first;
  if (!listens_ && listen_again_ns_ != 0) next = next == 0 ? listen_again_ns_ : std::min(next, listen_again_ns_);
  if (next == 0) return -1;
  return static_cast<int>(std::max<int64_t>(0, next - BootNanos()) / 1'000'000) + 1;
}

void FrontGate::ListenAgain(bool yes) {
  listens_ = yes;
  if (yes) short_of_something_ = false;
  for (size_t i = 0; i < listeners_.size(); ++i) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = (i + 1) << 1;
    epoll_ctl(epoll_.get(), yes ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listeners_[i].get(), &event);
  }
}

bool FrontGate::MakeRoom() {
  // Of those from where most come: whoever opens many makes room for others, and is not in their way.
  std::map<std::string, size_t> of_host;
  for (const auto& [id, c] : connections_) {
    if (c->state != State::kOpen) ++of_host[c->host];
  }
  Connection* oldest = nullptr;
  for (const auto& [id, c] : connections_) {  // the oldest first
    if (c->state == State::kHandshake && (oldest == nullptr || of_host[c->host] > of_host[oldest->host])) oldest = c.get();
  }
  listen_again_ns_ = oldest == nullptr ? 0 : oldest->since_ns + kYieldNs;
  if (oldest == nullptr || BootNanos() < listen_again_ns_) return false;
  Refuse(*oldest, "its handshake made room for others, after a second");
  return true;
}

void FrontGate::Accept(size_t listener) {
  for (int i = 0; i < kAcceptAtOnce; ++i) {
    const bool full = handshakes_ >= kMostHandshakes;
    listen_again_ns_ = 0;
    if (connections_.size() >= most_ || (full && !MakeRoom())) return ListenAgain(false);
    sockaddr_storage from = {};
    socklen_t size = sizeof(from);
    Fd fd(accept4(listeners_[listener].get(), reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      // The host is short of something. It will be asked again, but not without a pause.
      short_of_something_ = true;
      listen_again_ns_ = BootNanos() + kSecond / 10;
      return ListenAgain(false);
    }
    const int on = 1, idle = kSilentSeconds, every = 5, times = 3, unanswered = kSilentSeconds * 1000;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd.get(), IPPROTO_TCP, TCP_KEEPCNT, &times, sizeof(times));
    setsockopt(fd.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof(unanswered));
    auto c = std::make_unique<Connection>();
    c->id = next_id_++;
    std::tie(c->host, c->peer) = HostAndPeer(from);
    c->ssl.reset(SSL_new(context_.get()));
    BIO* const in = BIO_new_socket(fd.get(), BIO_NOCLOSE);
    c->flight = BIO_new(BIO_s_mem());
    if (c->ssl == nullptr || in == nullptr || c->flight == nullptr) {
      BIO_free(in);
      BIO_free(c->flight);
      return;
    }
    // What the handshake writes is kept back until it is known not to have failed: a stranger is not told why.
    SSL_set0_rbio(c->ssl.get(), in);
    SSL_set0_wbio(c->ssl.get(), c->flight);
    c->tcp = std::move(fd);
    c->since_ns = BootNanos();
    Connection& added = *c;
    connections_[added.id] = std::move(c);
    ++handshakes_;
    SetDeadline(added, added.since_ns + kHandshakeNs);
    Step(added);
    if (full) return;  // nobody else is to go before somebody is known to wait
  }
}

void FrontGate::Step(Connection& c) {
  if (c.broken) return End(c);
  switch (c.state) {
    case State::kHandshake:
      return Handshake(c);
    case State::kWaiting:
      return;
    case State::kOpen:
      return Pump(c);
  }
}

bool FrontGate::SendFlight(Connection& c) {
  char* data = nullptr;
  char sent_already[4096];
  while (const long size = BIO_get_mem_data(c.flight, &data)) {
    const ssize_t sent =
        send(c.tcp.get(), data, std::min(static_cast<size_t>(size), sizeof(sent_already)), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    BIO_read(c.flight, sent_already, static_cast<int>(sent));
  }
  return true;
}

void FrontGate::Handshake(Connection& c) {
  ERR_clear_error();
  const int done = SSL_accept(c.ssl.get());
  if (done != 1 && SSL_get_error(c.ssl.get(), done) != SSL_ERROR_WANT_READ) {
    const long verified = SSL_get_verify_result(c.ssl.get());
    return Refuse(c, verified != X509_V_OK
                         ? absl::StrCat("its certificate ", WhyNotTrusted(static_cast<int>(verified), TlsRole::kController))
                         : absl::StrCat("no TLS 1.3 with a certificate: ", OpensslError()));
  }
  if (!SendFlight(c)) return End(c);
  if (done == 1) return Present(c);
  Watch(c, false, EPOLLIN | (BIO_pending(c.flight) > 0 ? EPOLLOUT : 0u));
}

void FrontGate::Present(Connection& c) {
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(c.ssl.get(), &protocol, &size);
  if (size == 0) return Refuse(c, "it does not speak HTTP/2, as controllers do");
  const std::string name = NameOf(c.ssl.get());
  if (name.empty()) return Refuse(c, "its certificate carries no name that could be told");
  BIO* const socket = SSL_get_rbio(c.ssl.get());
  BIO_up_ref(socket);
  SSL_set0_wbio(c.ssl.get(), socket);
  c.flight = nullptr;
  c.state = State::kWaiting;
  Watch(c, false, 0);
  if (!Tell(FrontSays::kConnection, &c, name)) End(c);  // the agent is stopped, or has not read for long
}

void FrontGate::Take(uint64_t id, Fd agent) {
  Connection* const c = Find(id);
  if (c == nullptr || c->state != State::kWaiting) return;
  c->agent = std::move(agent);
  c->state = State::kOpen;
  --handshakes_;
  SetDeadline(*c, 0);
  Pump(*c);
}

bool FrontGate::ReadPeer(Connection& c) {
  if (c.peer_over || !c.up.Empty()) return false;
  ERR_clear_error();
  const int size = SSL_read(c.ssl.get(), c.up.bytes, sizeof(c.up.bytes));
  c.read_wants_write = false;
  if (size > 0) {
    c.up.begin = 0;
    c.up.end = c.agent_deaf ? 0 : static_cast<size_t>(size);
    return true;
  }
  switch (SSL_get_error(c.ssl.get(), size)) {
    case SSL_ERROR_WANT_READ:
      return false;
    case SSL_ERROR_WANT_WRITE:
      c.read_wants_write = true;
      return false;
    case SSL_ERROR_ZERO_RETURN:
      c.peer_over = true;
      return true;
    default:  // gone, with or without a word, or it does not speak TLS any more
      c.broken = true;
      return false;
  }
}

bool FrontGate::WritePeer(Connection& c) {
  if (c.down.Empty()) return false;
  ERR_clear_error();
  const int size = SSL_write(c.ssl.get(), c.down.bytes + c.down.begin, static_cast<int>(c.down.end - c.down.begin));
  c.write_wants_read = false;
  if (size > 0) {
    c.down.begin += static_cast<size_t>(size);
    return true;
  }
  const int error = SSL_get_error(c.ssl.get(), size);
  c.write_wants_read = error == SSL_ERROR_WANT_READ;
  c.broken = error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE;
  return false;
}

bool FrontGate::ReadAgent(Connection& c) {
  if (c.agent_over || !c.down.Empty()) return false;
  const ssize_t size = recv(c.agent.get(), c.down.bytes, sizeof(c.down.bytes), MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  c.agent_over = size <= 0;
  c.down.begin = 0;
  c.down.end = size <= 0 ? 0 : static_cast<size_t>(size);
  return true;
}

bool FrontGate::WriteAgent(Connection& c) {
  if (c.up.Empty()) return false;
  const ssize_t size = send(c.agent.get(), c.up.bytes + c.up.begin, c.up.end - c.up.begin, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
  c.agent_deaf = size < 0;
  c.up.begin = size < 0 ? c.up.end : c.up.begin + static_cast<size_t>(size);
  return true;
}

void FrontGate::Pump(Connection& c) {
  for (int round = 0; round < kRounds; ++round) {
    bool moved = ReadPeer(c);
    moved |= !c.broken && WriteAgent(c);
    moved |= !c.broken && ReadAgent(c);
    moved |= !c.broken && WritePeer(c);
    if (c.broken) return End(c);
    if (!moved) break;
  }
  if (c.peer_over && c.up.Empty() && !c.told_agent) {
    shutdown(c.agent.get(), SHUT_WR);
    c.told_agent = true;
  }
  if (c.agent_over && c.down.Empty() && !c.told_peer) {
    ERR_clear_error();
    SSL_shutdown(c.ssl.get());
    shutdown(c.tcp.get(), SHUT_WR);
    c.told_peer = true;
  }
  if (c.told_agent && c.told_peer) return End(c);
  // HTTP/2 has no use for one half of a connection.
  if ((c.peer_over || c.agent_over) && c.deadline_ns == 0) SetDeadline(c, BootNanos() + kLingerNs);
  const bool reads_peer = (!c.peer_over && c.up.Empty()) || c.write_wants_read;
  const bool writes_peer = !c.down.Empty() || c.read_wants_write || (c.agent_hung_up && !c.agent_over);
  Watch(c, false, (reads_peer ? EPOLLIN : 0u) | (writes_peer ? EPOLLOUT : 0u));
  if (c.agent_hung_up) return;
  Watch(c, true, (!c.agent_over && c.down.Empty() ? EPOLLIN : 0u) | (!c.up.Empty() ? EPOLLOUT : 0u));
}

void FrontGate::Refuse(Connection& c, const std::string& why) {
  const int64_t now = BootNanos();
  if (told_ns_ == 0 || now - told_ns_ >= kTellEveryNs) {
    if (Tell(FrontSays::kRefused, &c, why)) untold_ = 0;
    told_ns_ = now;
  } else {
    ++untold_;
  }
  // What it sent with the rest, if left unread, would make the end a reset.
  for (int i = 0; i < 4 && recv(c.tcp.get(), c.up.bytes, sizeof(c.up.bytes), MSG_DONTWAIT) > 0; ++i) {
  }
  End(c);
}

void FrontGate::End(Connection& c) {
  SetDeadline(c, 0);
  if (c.state != State::kOpen) --handshakes_;
  connections_.erase(c.id);
}

void FrontGate::Drain() {
  if (listens_) ListenAgain(false);
  listeners_.clear();
  std::vector<Connection*> early;
  for (const auto& [id, c] : connections_) {
    if (c->state != State::kOpen) early.push_back(c.get());
  }
  for (Connection* c : early) End(*c);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, control_.get(), nullptr);
}

bool FrontGate::ReadControl() {
  for (;;) {
    ToFront message = {};
    iovec part = {&message, sizeof(message)};
    alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
    msghdr packet = {};
    packet.msg_iov = &part;
    packet.msg_iovlen = 1;
    packet.msg_control = space;
    packet.msg_controllen = sizeof(space);
    const ssize_t size = recvmsg(control_.get(), &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (size != static_cast<ssize_t>(sizeof(message))) return false;
    Fd fd;
    const cmsghdr* const header = CMSG_FIRSTHDR(&packet);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
      int number = -1;
      memcpy(&number, CMSG_DATA(header), sizeof(number));
      fd = Fd(number);
    }
    switch (message.what) {
      case AgentSays::kAreYouThere:
        Tell(FrontSays::kHere, nullptr, "");
        break;
      case AgentSays::kTake:
        if (fd) Take(message.connection, std::move(fd));
        break;
    }
  }
}

bool FrontGate::Tell(FrontSays what, const Connection* c, const std::string& text) {
  FromFront message = {};
  message.what = what;
  message.others = what == FrontSays::kRefused ? untold_ : 0;
  if (c != nullptr) {
    message.connection = c->id;
    SetText(message.peer, c->peer);
  }
  SetText(message.text, text);
  return send(control_.get(), &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(message));
}

void FrontGate::SetDeadline(Connection& c, int64_t deadline_ns) {
  if (c.deadline_ns != 0) deadlines_.erase({c.deadline_ns, c.id});
  c.deadline_ns = deadline_ns;
  if (deadline_ns != 0) deadlines_.insert({deadline_ns, c.id});
}

void FrontGate::Watch(Connection& c, bool agent, uint32_t events) {
  // The first time also with nothing to wait for: the end of a connection is told of all the same.
  constexpr uint32_t kWatched = 1u << 31;
  uint32_t& now = agent ? c.agent_events : c.tcp_events;
  if (now == (events | kWatched)) return;
  epoll_event event = {};
  event.events = events;
  event.data.u64 = (c.id << 1) | (agent ? 1 : 0);
  epoll_ctl(epoll_.get(), now == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, (agent ? c.agent : c.tcp).get(), &event);
  now = events | kWatched;
}

FrontGate::Connection* FrontGate::Find(uint64_t id) {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second.get();
}

}  // namespace squall
