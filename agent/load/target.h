// Where a load's connections go.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "agent/net/address.h"
#include "base/fd.h"
#include "base/openssl.h"

namespace squall {

// Host and port, with or without TLS. A name is looked up on a thread of its own when it is needed, and again once that is a minute
// old; a lookup that is under way never keeps anybody waiting, not even the destructor. Used by one thread.
class Target {
 public:
  // `tls` may be null: no TLS. `server_name`: whom the certificate must be for; empty: the host.
  static absl::StatusOr<std::unique_ptr<Target>> Make(const std::string& host, int port, SslContextPtr tls = nullptr,
                                                      const std::string& server_name = "");
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  // The addresses to try, the one that accepted last first. UNAVAILABLE: being looked up, and the event says when it was. Another error:
  // there is none.
  absl::StatusOr<std::vector<Address>> Addresses();
  void Accepted(const Address& address) { preferred_ = address; }

  // Readable when a lookup has ended; -1: the host is an address.
  int event() const;
  void DrainEvent();

  SSL_CTX* tls() const { return tls_.get(); }
  const std::string& server_name() const { return server_name_; }
  // "shop:8080".
  const std::string& text() const { return text_; }

 private:
  // Shared with the thread that looks up.
  struct Lookup {
    std::string text;
    Fd event;
    absl::Mutex mutex;
    bool wanted ABSL_GUARDED_BY(mutex) = false;
    bool over ABSL_GUARDED_BY(mutex) = false;
    int64_t found_ns ABSL_GUARDED_BY(mutex) = 0;
    absl::StatusOr<std::vector<Address>> found ABSL_GUARDED_BY(mutex) = absl::UnavailableError("being looked up");
  };

  Target(std::string text, SslContextPtr tls, std::string server_name)
      : text_(std::move(text)), server_name_(std::move(server_name)), tls_(std::move(tls)) {}
  static void LookUp(std::shared_ptr<Lookup> lookup);

  const std::string text_;
  const std::string server_name_;
  const SslContextPtr tls_;
  std::vector<Address> literal_;
  std::shared_ptr<Lookup> lookup_;
  Address preferred_;
};

}  // namespace squall
