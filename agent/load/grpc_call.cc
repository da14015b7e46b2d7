#include "agent/load/grpc_call.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <algorithm>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr int kUnknown = 2, kUnimplemented = 12, kInternal = 13, kUnavailable = 14, kPermissionDenied = 7, kUnauthenticated = 16;
constexpr int kMostKinds = 65'536;

// https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
int FromHttp(int status) {
  switch (status) {
    case 400:
      return kInternal;
    case 401:
      return kUnauthenticated;
    case 403:
      return kPermissionDenied;
    case 404:
      return kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return kUnavailable;
    default:
      return kUnknown;
  }
}

absl::StatusOr<std::string> Encode(const google::protobuf::DescriptorPool& pool, const std::string& method, const std::string& json) {
  const google::protobuf::MethodDescriptor* found = pool.FindMethodByName(absl::StrReplaceAll(method, {{"/", "."}}));
  if (found == nullptr) return absl::InvalidArgumentError(absl::StrCat("there is no method ", method));
  if (found->client_streaming() || found->server_streaming()) {
    return absl::InvalidArgumentError(absl::StrCat("the method ", method, " streams: a load makes calls with one request and one answer"));
  }
  const std::unique_ptr<google::protobuf::util::TypeResolver> resolver(
      google::protobuf::util::NewTypeResolverForDescriptorPool("type.googleapis.com", &pool));
  std::string binary;
  const auto status = google::protobuf::util::JsonToBinaryString(
      resolver.get(), absl::StrCat("type.googleapis.com/", found->input_type()->full_name()), json, &binary);
  if (status.ok()) return binary;
  const std::string why(status.message().data(), status.message().size());
  return absl::InvalidArgumentError(absl::StrCat("the body of ", method, " is no ", found->input_type()->full_name(), " in JSON: ",
                                                 *absl::StrSplit(why, '\n').begin()));
}

}  // namespace

std::string FrameGrpc(absl::string_view message) {
  std::string framed(1, '\0');  // not compressed
  for (const int shift : {24, 16, 8, 0}) framed.push_back(static_cast<char>(message.size() >> shift));
  absl::StrAppend(&framed, message);
  return framed;
}

std::string GrpcTimeout(absl::Duration deadline) {
  constexpr int64_t kMost = 99'999'999;
  const int64_t us = absl::ToInt64Microseconds(absl::Ceil(deadline, absl::Microseconds(1)));
  if (us <= kMost) return us % 1000 == 0 ? absl::StrCat(us / 1000, "m") : absl::StrCat(us, "u");
  return absl::StrCat(std::min(us / 1000 + (us % 1000 > 0), kMost), "m");
}

int ReadGrpcStatus(absl::string_view text) {
  int code = 0;
  return absl::SimpleAtoi(text, &code) && code >= 0 && code <= 9999 ? code : kUnknown;
}

void FinishGrpcAnswer(Answer& answer, size_t bytes) {
  size_t length = 0;
  for (size_t i = 1; i < std::min(kGrpcFrame, answer.body.size()); ++i) length = length << 8 | static_cast<uint8_t>(answer.body[i]);
  const bool whole = bytes >= kGrpcFrame && answer.body.size() >= kGrpcFrame && bytes == kGrpcFrame + length;
  if (!answer.grpc_status) answer.grpc_status = FromHttp(answer.status);
  if (*answer.grpc_status == 0 && !whole) answer.grpc_status = kInternal;
  answer.body.erase(0, kGrpcFrame);
}

absl::StatusOr<std::vector<std::string>> GrpcMethods(const Grpc& grpc) {
  if (grpc.requests_size() > kMostKinds) return absl::InvalidArgumentError(absl::StrCat("a load has more than ", kMostKinds, " requests"));
  std::vector<std::string> methods;
  for (const WeightedGrpc& request : grpc.requests()) methods.push_back(request.method().empty() ? grpc.method() : request.method());
  if (methods.empty()) methods.push_back(grpc.method());
  for (const std::string& method : methods) {
    const std::vector<std::string> parts = absl::StrSplit(method, '/');
    const bool good = parts.size() == 2 && !parts[0].empty() && !parts[1].empty() &&
                      std::all_of(method.begin(), method.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; });
    if (!good) return absl::InvalidArgumentError(absl::StrCat("'", method, "' is no method of gRPC: package.Service/Method"));
  }
  return methods;
}

absl::StatusOr<std::vector<HttpRequest>> MakeGrpcRequests(const Grpc& grpc, absl::string_view run_id,
                                                          const google::protobuf::DescriptorPool& pool) {
  const absl::StatusOr<std::vector<std::string>> methods = GrpcMethods(grpc);
  if (!methods.ok()) return methods.status();
  HeaderList metadata(grpc.headers().begin(), grpc.headers().end());
  std::sort(metadata.begin(), metadata.end());
  std::vector<HttpRequest> requests;
  for (size_t i = 0; i < methods->size(); ++i) {
    const int at = static_cast<int>(i);
    const std::string& own = at < grpc.requests_size() ? grpc.requests(at).body() : grpc.body();
    const std::string& json = own.empty() ? grpc.body() : own;
    const absl::StatusOr<std::string> message = Encode(pool, (*methods)[i], json.empty() ? "{}" : json);
    if (!message.ok()) return message.status();
    absl::StatusOr<HttpRequest> request = MakeGrpcRequest((*methods)[i], *message, metadata, run_id);
    if (!request.ok()) return request.status();
    if (grpc.has_deadline()) request->headers.emplace_back("grpc-timeout", GrpcTimeout(ToDuration(grpc.deadline())));
    requests.push_back(*std::move(request));
  }
  return requests;
}

absl::StatusOr<HttpRequest> MakeGrpcRequest(absl::string_view method, absl::string_view message, const HeaderList& metadata,
                                            absl::string_view run_id) {
  for (const absl::string_view own : {"content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "host"}) {
    if (FindHeader(metadata, own) == nullptr) continue;
    return absl::InvalidArgumentError(absl::StrCat("the header ", own, " of a gRPC call is set by squall itself"));
  }
  absl::StatusOr<HeaderList> headers = MakeHeaders(metadata, run_id, /*http2=*/true);
  if (!headers.ok()) return headers.status();
  HttpRequest request = {"POST", absl::StrCat("/", method), *std::move(headers), FrameGrpc(message)};
  request.headers.emplace_back("content-type", "application/grpc");
  request.headers.emplace_back("te", "trailers");
  return request;
}

}  // namespace squall
