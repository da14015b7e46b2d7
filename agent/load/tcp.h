// Bytes over TCP, and an answer that ends with what the load waits for.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "agent/load/exclusive.h"
#include "proto/scenario.pb.h"

namespace squall {

// The bytes of an answer in which its end is looked for.
inline constexpr size_t kTcpAnswer = 1 << 20;

struct TcpRequest {
  std::string send;
  std::string until;
};

// What each of the load's requests says. INVALID_ARGUMENT: there is nothing to wait for.
absl::StatusOr<std::vector<TcpRequest>> MakeTcpRequests(const Tcp& tcp);

// What the target says after the end of an answer is not looked at. `requests` outlive it.
class TcpDialogue : public Dialogue {
 public:
  TcpDialogue(const std::vector<TcpRequest>& requests, bool reconnect) : requests_(requests), reconnect_(reconnect) {}

  absl::string_view Begin(Exchange& exchange) override;
  Turn Read(absl::string_view bytes) override;
  Turn ReadEnd() override { return Turn::kMore; }
  bool MaySpeakUnasked() const override { return true; }
  std::string Why() const override;

 private:
  const std::vector<TcpRequest>& requests_;
  const bool reconnect_;
  Exchange* exchange_ = nullptr;
  std::string tail_;  // the last bytes, which may be the beginning of the end
};

}  // namespace squall
