// What carries a load's requests, with everything that it needs.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/load/target.h"
#include "agent/load/transport.h"
#include "proto/scenario.pb.h"

namespace squall {

// What its transport uses; goes after it.
class Carrier {
 public:
  virtual ~Carrier() = default;
  Target& target() { return *target_; }
  // For a loop with this epoll. To be called once.
  virtual std::unique_ptr<Transport> MakeTransport(int epoll) = 0;

 protected:
  explicit Carrier(std::unique_ptr<Target> target) : target_(std::move(target)) {}
  const std::unique_ptr<Target> target_;
};

// INVALID_ARGUMENT for a load that cannot be sent. Files are relative to `folder`. A gRPC load without a .proto file asks its server for the
// types, and waits for them.
absl::StatusOr<std::unique_ptr<Carrier>> MakeCarrier(const Load& load, const std::string& run_id, const std::string& folder,
                                                     uint64_t trace_prefix, const Keep& keep);

}  // namespace squall
