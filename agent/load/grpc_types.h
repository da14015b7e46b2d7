// The types of a gRPC service, which make JSON binary.
#pragma once

#include <google/protobuf/descriptor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/load/http_request.h"
#include "agent/load/target.h"

namespace squall {

// A pool, and what it takes its files from.
class GrpcTypes {
 public:
  virtual ~GrpcTypes() = default;
  virtual const google::protobuf::DescriptorPool& pool() const = 0;
};

// From a .proto file, relative to `folder`, which is its import path. INVALID_ARGUMENT says where it is wrong.
absl::StatusOr<std::unique_ptr<GrpcTypes>> TypesFromFile(const std::string& proto, const std::string& folder);

// From the server itself, by its reflection service; waits no longer than `patience`. `services`: as in "shop.Orders".
// FAILED_PRECONDITION when it has no reflection, or does not know a service; UNAVAILABLE when it does not answer.
absl::StatusOr<std::unique_ptr<GrpcTypes>> TypesFromServer(Target& target, const HeaderList& metadata, const std::string& run_id,
                                                           const std::vector<std::string>& services, absl::Duration patience);

}  // namespace squall
