#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/front_wire.h"
#include "base/fd.h"
#include "base/openssl.h"

namespace squall {

// What squall-front does: accepts connections, does mutual TLS 1.3 with them and passes on, both ways, the bytes of those that have
// a certificate of the CA. One thread, which never waits for a single peer. A peer costs at most two buffers of a TLS record and what
// OpenSSL and the kernel keep of it; nothing is read of it that the other side does not take. Not thread-safe.
class FrontGate {
 public:
  // Of PEM texts: the certificate with those between it and the CA, its key, and the CA.
  static absl::StatusOr<std::unique_ptr<FrontGate>> Make(const std::string& cert, const std::string& key, const std::string& ca);

  // Until the agent closes its end of `control`. Passes on then, for up to a second, what is on its way to peers. `most`
  // connections at once.
  void Serve(Fd control, std::vector<Fd> listeners, size_t most);

 private:
  // A TLS record fits, so that OpenSSL never holds a part of one that no event would tell of.
  struct Buffer {
    char bytes[SSL3_RT_MAX_PLAIN_LENGTH];
    size_t begin = 0, end = 0;
    bool Empty() const { return begin == end; }
  };
  enum class State { kHandshake, kWaiting, kOpen };  // waiting: for the agent's socket
  struct Connection {
    uint64_t id = 0;
    std::string host, peer;  // the address, without and with the port
    Fd tcp, agent;
    SslPtr ssl;
    BIO* flight = nullptr;  // what the handshake wants to send; owned by ssl
    State state = State::kHandshake;
    int64_t since_ns = 0;
    int64_t deadline_ns = 0;  // 0: none
    uint32_t tcp_events = 0, agent_events = 0;  // that are watched
    Buffer up, down;                            // to the agent and to the peer
    bool peer_over = false, agent_over = false;  // nothing more comes of it
    bool agent_deaf = false;                     // it takes nothing more either
    bool agent_hung_up = false;
    bool told_peer = false, told_agent = false;  // that the other one is over
    bool broken = false;
    bool read_wants_write = false, write_wants_read = false;  // of TLS itself
  };

  explicit FrontGate(SslContextPtr context);

  // Each of them may end the connection, and with it the object.
  void Step(Connection& c);
  void Handshake(Connection& c);
  void Present(Connection& c);
  void Pump(Connection& c);
  void Refuse(Connection& c, const std::string& why);
  void End(Connection& c);

  // True: something was moved.
  bool ReadPeer(Connection& c);
  bool WritePeer(Connection& c);
  bool ReadAgent(Connection& c);
  bool WriteAgent(Connection& c);
  // What of the handshake is to be sent; false: the peer is gone.
  static bool SendFlight(Connection& c);

  void Accept(size_t listener);
  // Ends a handshake in favour of others, if there is one that had its time.
  bool MakeRoom();
  void ListenAgain(bool yes);
  // False: the agent is gone.
  bool ReadControl();
  void Take(uint64_t id, Fd agent);
  bool Tell(FrontSays what, const Connection* c, const std::string& text);
  void Drain();

  void SetDeadline(Connection& c, int64_t deadline_ns);
  void Watch(Connection& c, bool agent, uint32_t events);
  Connection* Find(uint64_t id);
  int Timeout() const;

  const SslContextPtr context_;
  Fd epoll_, control_;
  std::vector<Fd> listeners_;
  size_t most_ = 0;
  bool listens_ = false;
  int64_t listen_again_ns_ = 0;  // 0: only when there is room again
  bool short_of_something_ = false;
  uint64_t next_id_ = 0;
  size_t handshakes_ = 0;  // connections that are not open yet
  std::map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::set<std::pair<int64_t, uint64_t>> deadlines_;
  uint32_t untold_ = 0;  // refusals
  int64_t told_ns_ = 0;
};

}  // namespace squall
