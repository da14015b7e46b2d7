// gRPC calls with one request and one answer, as HTTP/2 carries them: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/load/http_request.h"
#include "agent/load/outcome.h"
#include "proto/scenario.pb.h"

namespace squall {

// What stands before a message.
inline constexpr size_t kGrpcFrame = 5;
std::string FrameGrpc(absl::string_view message);

// "grpc-timeout" of at least this duration: up to eight digits and a unit.
std::string GrpcTimeout(absl::Duration deadline);

// The code of a "grpc-status"; UNKNOWN when it is no number.
int ReadGrpcStatus(absl::string_view text);

// At the end of an answer of `bytes` bytes: its body becomes the message, and its status what HTTP says where the server said nothing,
// and INTERNAL where it says OK without one whole message.
void FinishGrpcAnswer(Answer& answer, size_t bytes);

// "shop.Orders/Place" of each of the load's calls. INVALID_ARGUMENT: one has none, or none that can be one.
absl::StatusOr<std::vector<std::string>> GrpcMethods(const Grpc& grpc);

// The load's calls, their JSON made binary by the types in `pool`. INVALID_ARGUMENT tells what does not fit. Bodies stay out of messages where
// they can: they may hold secrets.
absl::StatusOr<std::vector<HttpRequest>> MakeGrpcRequests(const Grpc& grpc, absl::string_view run_id, const google::protobuf::DescriptorPool& pool);

// The HTTP/2 request of a call with these metadata.
absl::StatusOr<HttpRequest> MakeGrpcRequest(absl::string_view method, absl::string_view message, const HeaderList& metadata,
                                            absl::string_view run_id);

}  // namespace squall
