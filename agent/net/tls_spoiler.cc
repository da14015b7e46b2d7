#include "agent/net/tls_spoiler.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/tls_certificates.h"
#include "base/clock.h"
#include "base/openssl.h"

namespace squall {
namespace {

constexpr size_t kMostOpen = 512;
constexpr int64_t kHandshakeNs = 10'000'000'000;
// A client that has completed the handshake, and still says nothing after this, waits for the server to speak.
constexpr int64_t kSettledNs = 1'000'000'000;
// To take our last bytes and hang up.
constexpr int64_t kLeaveNs = 2'000'000'000;
constexpr int kTickMs = 100;
constexpr uint64_t kWake = 0;

// PostgreSQL's requests before the handshake: a length of 8 and the code.
constexpr absl::string_view kPostgresTls("\0\0\0\x08\x04\xd2\x16\x2f", 8);
constexpr absl::string_view kPostgresGss("\0\0\0\x08\x04\xd2\x16\x30", 8);

void ResetOnClose(int fd, bool reset) {
  const linger value = {reset ? 1 : 0, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &value, sizeof(value));
}

// "unknown CA" -> "unknown_ca".
std::string AlertName(int alert) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(SSL_alert_desc_string_long(alert)), {{" ", "_"}});
}

// Why we ourselves could not go on. `shown`: it had our answer to its hello.
std::string OwnFailure(unsigned long error, bool shown) {
  switch (ERR_GET_REASON(error)) {
    case SSL_R_WRONG_VERSION_NUMBER:
      // Its alert, in a record of the version that it insists on.
      return shown ? "protocol_version" : "malformed";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_SSL_VERSION:
      return "protocol_version";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
      return "no_common_cipher";
    default:
      return "malformed";
  }
}

struct Handshake {
  enum class Stage {
    kGreeting,  // its first bytes are awaited
    kShaking,
    kSettling,  // completed: does it use the connection?
    kLeaving,   // nothing more to say; it is to hang up
  };
  Fd fd;
  Address called;
  Stage stage = Stage::kGreeting;
  SslPtr ssl;
  BIO* in = nullptr;   // of ssl
  BIO* out = nullptr;  // of ssl
  std::string greeting;
  std::string unsent;
  bool closed_side = false;  // FIN is sent once `unsent` is
  bool fin_sent = false;
  bool answered = false;
  bool shown = false;         // what is wrong was put before it
  bool spoilt_by_us = false;  // the alert of `how: alert`
  std::string alert;          // that it sent
  int64_t until_ns = 0;
  uint32_t events = 0;
};

}  // namespace

class TlsSpoiler::Loop {
 public:
  Loop(TlsFault::How how, std::unique_ptr<TlsCertificates> certificates)
      : how_(how), certificates_(std::move(certificates)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }

  ~Loop() { Stop(); }

  absl::Status Start() {
    const absl::Status status = MakeContext();
    if (!status.ok()) return status;
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = kWake;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) return absl::ErrnoToStatus(errno, "epoll");
    thread_ = std::thread([this] { Run(); });
    return absl::OkStatus();
  }

  void Take(Fd fd, const Address& called) {
    ResetOnClose(fd.get(), true);
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return;
      arrived_.push_back({std::move(fd), called});
    }
    Wake();
  }

  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
      arrived_.clear();
    }
    Wake();
    absl::MutexLock lock(&joining_);
    if (thread_.joinable()) thread_.join();
  }

  Evidence Seen() const {
    absl::MutexLock lock(&mutex_);
    return seen_;
  }

 private:
  using Stage = Handshake::Stage;

  void Wake() {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  absl::Status MakeContext() {
    context_ = SslContextPtr(SSL_CTX_new(TLS_server_method()));
    if (context_ == nullptr) return absl::InternalError(absl::StrCat("OpenSSL gives no context: ", OpensslError()));
    SSL_CTX* context = context_.get();
    // The agent itself speaks TLS 1.3 only, and the host may forbid what is old: here nothing is to be refused but by the client.
    SSL_CTX_clear_options(context, SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3);
    // No tickets and no sessions: who resumes one checks no certificate.
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_dh_auto(context, 1);
    const bool old = how_ == TlsFault::HOW_OLD_VERSION;
    const bool good = SSL_CTX_set_min_proto_version(context, old ? TLS1_1_VERSION : 0) == 1 &&
                      SSL_CTX_set_max_proto_version(context, old ? TLS1_1_VERSION : 0) == 1 &&
                      SSL_CTX_set_cipher_list(context, "ALL:!aNULL:!PSK:!SRP:@SECLEVEL=0") == 1;
    if (!good) return absl::InternalError(absl::StrCat("OpenSSL does not take its settings: ", OpensslError()));
    SSL_CTX_set_info_callback(context, [](const SSL* ssl, int where, int value) {
      if ((where & SSL_CB_ALERT) == 0 || (where & SSL_CB_READ) == 0) return;
      auto* handshake = static_cast<Handshake*>(SSL_get_app_data(ssl));
      if ((value & 0xff) != SSL_AD_CLOSE_NOTIFY) handshake->alert = AlertName(value);
    });
    if (how_ == TlsFault::HOW_ALERT) {
      SSL_CTX_set_client_hello_cb(
          context,
          [](SSL* ssl, int* alert, void*) {
            auto* handshake = static_cast<Handshake*>(SSL_get_app_data(ssl));
            handshake->shown = handshake->spoilt_by_us = true;
            *alert = SSL_AD_HANDSHAKE_FAILURE;
            return SSL_CLIENT_HELLO_ERROR;
          },
          nullptr);
    }
    SSL_CTX_set_cert_cb(context, [](SSL* ssl, void* loop) { return static_cast<Loop*>(loop)->Show(ssl) ? 1 : 0; }, this);
    // Whatever protocol is asked for: a client that misses its own hangs up for that.
    SSL_CTX_set_alpn_select_cb(
        context,
        [](SSL*, const unsigned char** chosen, unsigned char* size, const unsigned char* offered, unsigned int length, void*) {
          if (length < 2 || offered[0] + 1u > length) return SSL_TLSEXT_ERR_NOACK;
          *chosen = offered + 1;
          *size = offered[0];
          return SSL_TLSEXT_ERR_OK;
        },
        nullptr);
    return absl::OkStatus();
  }

  // Puts the certificate for this client in place.
  bool Show(SSL* ssl) {
    const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    auto* handshake = static_cast<Handshake*>(SSL_get_app_data(ssl));
    handshake->shown = true;
    const absl::StatusOr<X509*> certificate = certificates_->For(asked == nullptr ? "" : asked, handshake->called);
    if (!certificate.ok()) return false;
    return SSL_use_certificate(ssl, *certificate) == 1 && SSL_use_PrivateKey(ssl, certificates_->key()) == 1 &&
           (certificates_->between() == nullptr || SSL_add1_chain_cert(ssl, certificates_->between()) == 1);
  }

  void Run() {
    prctl(PR_SET_NAME, "tls_spoiler");
    std::array<epoll_event, 64> events;
    while (TakeArrived()) {
      const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), open_.empty() ? -1 : kTickMs);
      for (int i = 0; i < count; ++i) {
        const uint64_t id = events[static_cast<size_t>(i)].data.u64;
        if (id != kWake) Handle(id);
      }
      EndOverdue();
    }
    for (auto& [id, handshake] : open_) Answer(handshake, "unfinished");
    open_.clear();
  }

  // False: it is to stop.
  bool TakeArrived() {
    uint64_t wakes;
    (void)!read(wake_.get(), &wakes, sizeof(wakes));
    std::vector<std::pair<Fd, Address>> arrived;
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return false;
      arrived.swap(arrived_);
    }
    for (auto& [fd, called] : arrived) {
      if (open_.size() >= kMostOpen) {
        Count("turned_away", /*began=*/false);
        continue;
      }
      const uint64_t id = next_id_++;
      Handshake& handshake = open_[id];
      handshake.fd = std::move(fd);
      handshake.called = called;
      handshake.until_ns = BootNanos() + kHandshakeNs;
      const int one = 1;
      setsockopt(handshake.fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      Interest(id, handshake);
    }
    return true;
  }

  void Handle(uint64_t id) {
    const auto found = open_.find(id);
    if (found == open_.end()) return;
    Handshake& handshake = found->second;
    if (!Read(handshake) || !Write(handshake)) {
      open_.erase(found);
      return;
    }
    Interest(id, handshake);
  }

  void EndOverdue() {
    const int64_t now = BootNanos();
    if (now < next_sweep_ns_) return;
    next_sweep_ns_ = now + kTickMs * 1'000'000;
    for (auto each = open_.begin(); each != open_.end();) {
      Handshake& handshake = each->second;
      if (handshake.until_ns > now) {
        ++each;
        continue;
      }
      if (handshake.stage == Stage::kSettling) {
        Answer(handshake, "completed");
        Leave(handshake);
        if (Write(handshake)) {
          Interest(each->first, handshake);
          ++each;
          continue;
        }
      }
      Answer(handshake, handshake.shown ? "timeout" : "no_hello");
      each = open_.erase(each);
    }
  }

  // False: the connection is over.
  bool Read(Handshake& handshake) {
    for (int i = 0; i < 4; ++i) {
      const ssize_t size = recv(handshake.fd.get(), buffer_.data(), buffer_.size(), 0);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (size < 0) {
        Answer(handshake, !handshake.shown ? "no_hello" : "reset");
        return false;
      }
      if (size == 0) {
        // An orderly end on our side too.
        ResetOnClose(handshake.fd.get(), false);
        Answer(handshake, !handshake.shown ? "no_hello" : handshake.stage == Stage::kSettling ? "closed_unused" : "closed");
        return false;
      }
      if (!Understand(handshake, absl::string_view(buffer_.data(), static_cast<size_t>(size)))) return false;
    }
    return true;
  }

  // False: the connection is over.
  bool Understand(Handshake& handshake, absl::string_view bytes) {
    if (handshake.stage == Stage::kLeaving) return true;
    if (handshake.stage == Stage::kGreeting) {
      absl::StrAppend(&handshake.greeting, bytes);
      if (!Greet(handshake)) return false;
      if (handshake.stage == Stage::kGreeting) return true;
      bytes = handshake.greeting;
    }
    BIO_write(handshake.in, bytes.data(), static_cast<int>(bytes.size()));
    if (handshake.stage == Stage::kShaking) Shake(handshake);
    if (handshake.stage == Stage::kSettling) Settle(handshake);
    return true;
  }

  // Begins the handshake once the first bytes tell that it is one. False: it is none.
  bool Greet(Handshake& handshake) {
    std::string& greeting = handshake.greeting;
    for (const absl::string_view request : {kPostgresGss, kPostgresTls}) {
      if (greeting != request) continue;
      absl::StrAppend(&handshake.unsent, request == kPostgresTls ? "S" : "N");
      greeting.clear();
    }
    const bool may_be_postgres = greeting.size() < kPostgresTls.size() && kPostgresTls.substr(0, greeting.size()) == greeting;
    if (greeting.empty() || (may_be_postgres && greeting[0] == 0)) return true;
    const bool handshake_record = greeting[0] == SSL3_RT_HANDSHAKE && (greeting.size() < 2 || greeting[1] == SSL3_VERSION_MAJOR);
    if (!handshake_record) {
      Count("not_tls", /*began=*/false);
      handshake.answered = true;
      return false;
    }
    if (greeting.size() < 2) return true;
    handshake.ssl = SslPtr(SSL_new(context_.get()));
    handshake.in = BIO_new(BIO_s_mem());
    handshake.out = BIO_new(BIO_s_mem());
    SSL_set_bio(handshake.ssl.get(), handshake.in, handshake.out);
    SSL_set_app_data(handshake.ssl.get(), &handshake);
    SSL_set_accept_state(handshake.ssl.get());
    handshake.stage = Stage::kShaking;
    return true;
  }

  void Shake(Handshake& handshake) {
    ERR_clear_error();
    const int result = SSL_do_handshake(handshake.ssl.get());
    const int error = SSL_get_error(handshake.ssl.get(), result);
    const unsigned long why = ERR_peek_error();
    std::string flight = TakeOutput(handshake);
    if (how_ == TlsFault::HOW_CUT && !flight.empty()) {
      handshake.shown = true;
      handshake.unsent += flight.substr(0, (flight.size() + 1) / 2);
      Leave(handshake);
      return;
    }
    handshake.unsent += flight;
    if (result == 1) {
      handshake.stage = Stage::kSettling;
      handshake.until_ns = BootNanos() + kSettledNs;
      return;
    }
    if (error == SSL_ERROR_WANT_READ) return;
    // Our own alert is on its way, or it sent one.
    if (!handshake.alert.empty()) {
      Answer(handshake, handshake.alert);
    } else if (!handshake.spoilt_by_us) {
      const std::string failure = OwnFailure(why, handshake.shown);
      // Our alert says it all: nothing newer is spoken here.
      handshake.shown |= failure == "protocol_version";
      Answer(handshake, failure);
    }
    ERR_clear_error();
    Leave(handshake);
  }

  // It has completed the handshake: the first bytes prove that it means it.
  void Settle(Handshake& handshake) {
    ERR_clear_error();
    const int size = SSL_read(handshake.ssl.get(), buffer_.data(), static_cast<int>(buffer_.size()));
    const int error = SSL_get_error(handshake.ssl.get(), size);
    if (size > 0) {
      Answer(handshake, "completed");
      SSL_shutdown(handshake.ssl.get());
    } else if (error == SSL_ERROR_WANT_READ) {
      return;
    } else {
      Answer(handshake, handshake.alert.empty() ? "closed_unused" : handshake.alert);
    }
    ERR_clear_error();
    handshake.unsent += TakeOutput(handshake);
    Leave(handshake);
  }

  static std::string TakeOutput(Handshake& handshake) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(handshake.out, &data);
    std::string output(data, size > 0 ? static_cast<size_t>(size) : 0);
    (void)BIO_reset(handshake.out);
    return output;
  }

  // Says what is left to say, then FIN, and gives it time to hang up.
  static void Leave(Handshake& handshake) {
    handshake.stage = Stage::kLeaving;
    handshake.closed_side = true;
    handshake.until_ns = BootNanos() + (handshake.answered ? kLeaveNs : kHandshakeNs);
  }

  // False: the connection is over.
  bool Write(Handshake& handshake) {
    while (!handshake.unsent.empty()) {
      const ssize_t size = send(handshake.fd.get(), handshake.unsent.data(), handshake.unsent.size(), MSG_NOSIGNAL);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
      if (size < 0) {
        Answer(handshake, "reset");
        return false;
      }
      handshake.unsent.erase(0, static_cast<size_t>(size));
    }
    if (handshake.closed_side && !handshake.fin_sent) {
      shutdown(handshake.fd.get(), SHUT_WR);
      handshake.fin_sent = true;
    }
    return true;
  }

  void Interest(uint64_t id, Handshake& handshake) {
    const uint32_t wanted = EPOLLIN | (handshake.unsent.empty() ? uint32_t{0} : uint32_t{EPOLLOUT});
    if (wanted == handshake.events) return;
    epoll_event event = {};
    event.events = wanted;
    event.data.u64 = id;
    epoll_ctl(epoll_.get(), handshake.events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, handshake.fd.get(), &event);
    handshake.events = wanted;
  }

  // Each counts once.
  void Answer(Handshake& handshake, const std::string& answer) {
    if (handshake.answered) return;
    handshake.answered = true;
    Count(answer, /*began=*/handshake.shown);
  }

  void Count(const std::string& answer, bool began) {
    absl::MutexLock lock(&mutex_);
    ++(*seen_.mutable_handshakes())[answer];
    if (began) seen_.set_connections(seen_.connections() + 1);
  }

  const TlsFault::How how_;
  const std::unique_ptr<TlsCertificates> certificates_;
  Fd epoll_;
  Fd wake_;
  SslContextPtr context_;
  std::thread thread_;
  absl::Mutex joining_;
  mutable absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::pair<Fd, Address>> arrived_ ABSL_GUARDED_BY(mutex_);
  Evidence seen_ ABSL_GUARDED_BY(mutex_);

  // Of the thread only. The addresses of its elements do not change.
  std::unordered_map<uint64_t, Handshake> open_;
  uint64_t next_id_ = kWake + 1;
  int64_t next_sweep_ns_ = 0;
  std::array<char, 16 << 10> buffer_;
};

TlsSpoiler::TlsSpoiler(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
TlsSpoiler::~TlsSpoiler() = default;

absl::StatusOr<std::unique_ptr<TlsSpoiler>> TlsSpoiler::Start(const TlsFault& fault, const std::string& folder) {
  absl::StatusOr<std::unique_ptr<TlsCertificates>> certificates = TlsCertificates::Make(fault, folder);
  if (!certificates.ok()) return certificates.status();
  auto loop = std::make_unique<Loop>(fault.how(), *std::move(certificates));
  const absl::Status started = loop->Start();
  if (!started.ok()) return started;
  return std::unique_ptr<TlsSpoiler>(new TlsSpoiler(std::move(loop)));
}

void TlsSpoiler::Take(Fd connection, const Address& called) { loop_->Take(std::move(connection), called); }
void TlsSpoiler::Stop() { loop_->Stop(); }
Evidence TlsSpoiler::Seen() const { return loop_->Seen(); }

}  // namespace squall
