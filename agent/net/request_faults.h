#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "agent/net/measured_delay.h"
#include "base/lately.h"
#include "proto/fault.pb.h"
#include "proto/timeline.pb.h"

namespace squall {

// A request as faults look at it. The text belongs to whoever asks.
struct RequestView {
  absl::string_view method;
  absl::string_view path;  // with the query
  // Names in lower case. Without the pseudo-headers of HTTP/2, but with "host".
  std::vector<std::pair<absl::string_view, absl::string_view>> headers;
  bool grpc = false;
};

// What squall answers in the dependency's place.
struct OwnAnswer {
  int status = 0;
  std::string body;
  std::optional<int> grpc_status;
  std::string grpc_message;
};

// The faults on the requests of one edge, `http` and `grpc`: which requests they hit, and what was seen of it. One of each kind
// can act at a time. A request meets `http` first: what that answers, `grpc` never sees; delays of both add up. Not
// thread-safe.
class RequestFaults {
 public:
  enum Kind { kHttp = 0, kGrpc = 1 };
  static constexpr size_t kKinds = 2;

  // What is to become of one request.
  struct Decision {
    std::array<int64_t, kKinds> delay_ns = {};
    std::array<std::shared_ptr<const OwnAnswer>, kKinds> answer;
    std::array<bool, kKinds> hit = {};
    std::array<int, kKinds> asked = {};  // as MeasuredDelay's

    int64_t DelayNs() const { return delay_ns[kHttp] + delay_ns[kGrpc]; }
    const std::shared_ptr<const OwnAnswer>& Answer() const { return answer[kHttp] ? answer[kHttp] : answer[kGrpc]; }
    bool Hits() const { return hit[kHttp] || hit[kGrpc]; }
    // The fault is over: what is left of the decision.
    void Forget(Kind kind) {
      delay_ns[kind] = 0;
      answer[kind] = nullptr;
      hit[kind] = false;
    }
  };
  // Which faults have hit a connection. One for each connection.
  struct Touched {
    std::array<uint64_t, kKinds> by = {};
  };

  // From now on; its counts begin at zero. `seed` decides which of the matching requests are hit.
  void Set(const HttpFault& fault, uint64_t seed);
  void Set(const GrpcFault& fault, uint64_t seed);
  // It goes on with another delay and another share. False: none is set.
  bool Change(const HttpFault& fault) { return Change(kHttp, fault.delay(), fault.percent()); }
  bool Change(const GrpcFault& fault) { return Change(kGrpc, fault.delay(), fault.percent()); }
  void Clear(Kind kind) { rules_[kind].active = false; }
  bool Active() const { return rules_[kHttp].active || rules_[kGrpc].active; }

  // Called once for each request while Active().
  Decision Decide(const RequestView& request, Touched& connection);
  // A request was held back for its whole time.
  void NoteHeld(const Decision& decision, int64_t held_ns);

  // Since Set; also after Clear.
  Evidence EvidenceOf(Kind kind) const;

 private:
  struct Rule {
    bool active = false;
    uint64_t generation = 0;  // counts Set
    std::string method;       // empty: all
    std::string path;         // empty: all
    bool prefix = false;
    std::vector<std::pair<std::string, std::string>> headers;
    double percent = 100;
    uint64_t seed = 0;
    int64_t delay_ns = 0;
    std::shared_ptr<const OwnAnswer> answer;
    int64_t matched = 0;
    int64_t hit = 0;
    int64_t connections = 0;
    MeasuredDelay achieved;
    Lately lately{100};  // hit, of those matched
  };
  bool Change(Kind kind, const google::protobuf::Duration& delay, double percent);
  void Begin(Kind kind, Rule rule, uint64_t seed, double percent);
  static bool Matches(const Rule& rule, Kind kind, const RequestView& request);

  std::array<Rule, kKinds> rules_;
};

// Whether the `number`th matching request is hit, from 0: the same for the same seed, and independent of the others.
bool HitByChance(uint64_t seed, int64_t number, double percent);

}  // namespace squall
