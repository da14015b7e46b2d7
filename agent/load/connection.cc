#include "agent/load/connection.h"

#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/load/client_tls.h"

namespace squall {
namespace {

constexpr size_t kChunk = 16 * 1024;
// Bytes that are read at an event, so that others get their turn.
constexpr size_t kMostAtOnce = 256 * 1024;

std::string ErrnoText(int error) {
  char buffer[128];
  return strerror_r(error, buffer, sizeof buffer);
}

}  // namespace

void Connection::Start() {
  if (state_ != State::kNew || gone_) return;
  absl::StatusOr<std::vector<Address>> addresses = target_.Addresses();
  if (addresses.ok()) {
    addresses_ = *std::move(addresses);
    ConnectNext();
  } else if (!absl::IsUnavailable(addresses.status())) {
    End(Failure::kUnresolvable, std::string(addresses.status().message()));
  }
}

void Connection::ConnectNext() {
  while (true) {
    const Address& address = addresses_[next_address_++];
    sockaddr_storage storage;
    const socklen_t length = address.ToSockaddr(storage);
    watched_ = false;
    // Services that are started meanwhile must not inherit it.
    fd_ = Fd(socket(address.Family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
    const int on = 1;
    if (fd_) setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fd_ && connect(fd_.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0) return Connected();
    const int error = errno;
    if (fd_ && error == EINPROGRESS) {
      state_ = State::kConnecting;
      return Watch(/*writable=*/true);
    }
    if (next_address_ == addresses_.size()) {
      return End(ClassifyConnect(error), absl::StrCat("no connection to ", address.ToString(), ": ", ErrnoText(error)));
    }
  }
}

void Connection::Connected() {
  target_.Accepted(addresses_[next_address_ - 1]);
  if (target_.tls() == nullptr) return Opened();
  ssl_ = MakeClientSsl(target_.tls(), target_.server_name());
  if (ssl_ == nullptr) return End(Failure::kNeverSent, "OpenSSL could not make a connection: memory is short");
  state_ = State::kSecuring;
  Secure();
}

void Connection::Secure() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_.get());
  const int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
  if (done == 1) return Opened();
  Flush();  // also the alert that says what was not liked
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
  End(Failure::kNotSecured, absl::StrCat(target_.text(), ": ", WhyNotSecured(ssl_.get(), target_.server_name())));
}

void Connection::Opened() {
  state_ = State::kOpen;
  const std::string waiting = std::exchange(waiting_, "");
  if (waiting.empty()) {
    Flush();
  } else {
    Send(waiting);
  }
}

void Connection::Send(absl::string_view bytes) {
  if (gone_) return;
  if (state_ != State::kOpen) {
    absl::StrAppend(&waiting_, bytes);
    return;
  }
  if (ssl_ == nullptr) {
    // Most requests leave without a copy.
    if (out_.empty() && !cannot_send_) {
      const ssize_t sent = send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent == static_cast<ssize_t>(bytes.size())) return Flush();
      if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    }
    absl::StrAppend(&out_, bytes);
  } else if (!bytes.empty()) {
    ERR_clear_error();
    SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));  // memory takes all of it
  }
  Flush();
}

void Connection::Flush() {
  if (gone_ || !fd_) return;
  if (ssl_ != nullptr) {
    BIO* const from = SSL_get_wbio(ssl_.get());
    char* data = nullptr;
    if (const long size = BIO_get_mem_data(from, &data); size > 0) {
      out_.append(data, static_cast<size_t>(size));
      BIO_reset(from);
    }
  }
  while (!cannot_send_ && out_sent_ < out_.size()) {
    const ssize_t sent = send(fd_.get(), out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    // Why the target left, and whether it answered before, is for the reads to say.
    if (sent < 0) cannot_send_ = true;
    if (sent > 0) out_sent_ += static_cast<size_t>(sent);
  }
  if (cannot_send_ || out_sent_ == out_.size()) {
    out_.clear();
    out_sent_ = 0;
  }
  Watch(/*writable=*/!out_.empty());
}

void Connection::Watch(bool writable) {
  if (watched_ && writable == watches_writable_) return;
  epoll_event event = {};
  event.events = EPOLLIN | (writable ? EPOLLOUT : 0u);
  event.data.u64 = id_;
  if (epoll_ctl(epoll_, watched_ ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd_.get(), &event) != 0) {
    return End(Failure::kNeverSent, absl::StrCat("a connection cannot be watched: ", ErrnoText(errno)));
  }
  watched_ = true;
  watches_writable_ = writable;
}

void Connection::HandleEvent(uint32_t events, std::string& in) {
  if (gone_ || !fd_) return;
  if (state_ == State::kConnecting) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0 && next_address_ < addresses_.size()) return ConnectNext();
    if (error != 0) {
      return End(ClassifyConnect(error),
                 absl::StrCat("no connection to ", addresses_[next_address_ - 1].ToString(), ": ", ErrnoText(error)));
    }
    Connected();
    if (gone_ || (events & EPOLLIN) == 0) return;
  }
  if (events & EPOLLOUT) Flush();
  if (!gone_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) Receive(in);
}

void Connection::Receive(std::string& in) {
  char buffer[kChunk];
  for (size_t read = 0; read < kMostAtOnce && !gone_;) {
    const ssize_t got = recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return Lost(got < 0 ? errno : 0);
    read += static_cast<size_t>(got);
    const absl::string_view bytes(buffer, static_cast<size_t>(got));
    if (ssl_ == nullptr) {
      absl::StrAppend(&in, bytes);
    } else {
      Decrypt(bytes, in);
    }
    if (bytes.size() < sizeof buffer) return;
  }
}

void Connection::Decrypt(absl::string_view bytes, std::string& in) {
  BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  ERR_clear_error();
  if (state_ == State::kSecuring) Secure();
  if (gone_ || state_ == State::kSecuring) return;
  while (true) {
    char buffer[kChunk];
    const int got = SSL_read(ssl_.get(), buffer, sizeof buffer);
    if (got > 0) {
      in.append(buffer, static_cast<size_t>(got));
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), got);
    Flush();  // what TLS itself had to say
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
    if (error == SSL_ERROR_ZERO_RETURN) return Lost(0);
    return End(Failure::kNotSecured, absl::StrCat(target_.text(), ": ", WhyNotSecured(ssl_.get(), target_.server_name())));
  }
}

void Connection::Lost(int error) {
  const std::string how = error == 0 ? "closed the connection" : absl::StrCat("ended the connection (", ErrnoText(error), ")");
  if (state_ == State::kSecuring) return End(Failure::kDied, absl::StrCat(target_.text(), " ", how, " in the middle of the TLS handshake"));
  End(Failure::kDied, absl::StrCat(target_.text(), " ", how, " before its answer was through"), /*orderly=*/error == 0);
}

void Connection::End(Failure failure, std::string why, bool orderly) {
  if (gone_) return;
  gone_ = Gone{failure, std::move(why), orderly};
  fd_.Reset();
}

std::string Connection::Protocol() const {
  const unsigned char* name = nullptr;
  unsigned length = 0;
  if (ssl_ != nullptr) SSL_get0_alpn_selected(ssl_.get(), &name, &length);
  return std::string(reinterpret_cast<const char*>(name), length);
}

}  // namespace squall
