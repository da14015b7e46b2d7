#include "agent/load/carrier.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/load/client_tls.h"
#include "agent/load/exclusive.h"
#include "agent/load/grpc_call.h"
#include "agent/load/grpc_types.h"
#include "agent/load/http1.h"
#include "agent/load/http2.h"
#include "agent/load/tcp.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr absl::Duration kTypesPatience = absl::Seconds(10);

class Http1Carrier : public Carrier {
 public:
  Http1Carrier(std::unique_ptr<Target> target, Http1Requests requests) : Carrier(std::move(target)), requests_(std::move(requests)) {}
  std::unique_ptr<Transport> MakeTransport(int epoll) override {
    return std::make_unique<ExclusiveTransport>(*target_, epoll, [this] { return std::make_unique<Http1Dialogue>(requests_); });
  }

 private:
  const Http1Requests requests_;
};

class Http2Carrier : public Carrier {
 public:
  Http2Carrier(std::unique_ptr<Target> target, Http2Requests requests) : Carrier(std::move(target)), requests_(std::move(requests)) {}
  std::unique_ptr<Transport> MakeTransport(int epoll) override {
    return std::make_unique<Http2Transport>(*target_, epoll, requests_);
  }

 private:
  const Http2Requests requests_;
};

class TcpCarrier : public Carrier {
 public:
  TcpCarrier(std::unique_ptr<Target> target, std::vector<TcpRequest> requests, bool reconnect)
      : Carrier(std::move(target)), requests_(std::move(requests)), reconnect_(reconnect) {}
  std::unique_ptr<Transport> MakeTransport(int epoll) override {
    return std::make_unique<ExclusiveTransport>(*target_, epoll,
                                                [this] { return std::make_unique<TcpDialogue>(requests_, reconnect_); });
  }

 private:
  const std::vector<TcpRequest> requests_;
  const bool reconnect_;
};

// `tls` null: none.
absl::StatusOr<std::unique_ptr<Target>> MakeTarget(const std::string& host, int port, const ClientTls* tls, const std::string& folder,
                                                   absl::string_view alpn) {
  SslContextPtr context;
  if (tls != nullptr) {
    absl::StatusOr<SslContextPtr> made = MakeClientTls(*tls, folder, alpn);
    if (!made.ok()) return made.status();
    context = *std::move(made);
  }
  return Target::Make(host, port, std::move(context), tls == nullptr ? "" : tls->server_name());
}

absl::StatusOr<std::unique_ptr<Target>> MakeTarget(const std::string& address, const ClientTls* tls, const std::string& folder,
                                                   absl::string_view alpn) {
  const auto split = SplitHostPort(address);
  if (!split.ok()) return split.status();
  return MakeTarget(split->first, split->second, tls, folder, alpn);
}

absl::StatusOr<std::unique_ptr<Carrier>> MakeHttp(const Load& load, const std::string& run_id, const std::string& folder,
                                                  uint64_t trace_prefix, const Keep& keep) {
  absl::StatusOr<HttpRequests> requests = MakeHttpRequests(load, run_id);
  if (!requests.ok()) return requests.status();
  const bool http2 = load.http().version() == Http::VERSION_HTTP2;
  absl::StatusOr<std::unique_ptr<Target>> target =
      MakeTarget(requests->host, requests->port, requests->https ? &load.http().tls() : nullptr, folder, http2 ? "h2" : "http/1.1");
  if (!target.ok()) return target.status();
  if (!http2) return std::make_unique<Http1Carrier>(*std::move(target), Http1Requests(*requests, trace_prefix, keep));
  return std::make_unique<Http2Carrier>(*std::move(target),
                                        Http2Requests{requests->https ? "https" : "http", requests->authority, trace_prefix, keep,
                                                      /*grpc=*/false, std::move(requests->kinds)});
}

absl::StatusOr<std::unique_ptr<GrpcTypes>> TypesOf(const Grpc& grpc, Target& target, const std::string& run_id, const std::string& folder) {
  if (!grpc.proto().empty()) return TypesFromFile(grpc.proto(), folder);
  const absl::StatusOr<std::vector<std::string>> methods = GrpcMethods(grpc);
  if (!methods.ok()) return methods.status();
  std::set<std::string> services;
  for (const std::string& method : *methods) services.insert(method.substr(0, method.find('/')));
  return TypesFromServer(target, HeaderList(grpc.headers().begin(), grpc.headers().end()), run_id, {services.begin(), services.end()},
                         kTypesPatience);
}

absl::StatusOr<std::unique_ptr<Carrier>> MakeGrpc(const Load& load, const std::string& run_id, const std::string& folder,
                                                  uint64_t trace_prefix, const Keep& keep) {
  const Grpc& grpc = load.grpc();
  absl::StatusOr<std::unique_ptr<Target>> target = MakeTarget(grpc.address(), grpc.has_tls() ? &grpc.tls() : nullptr, folder, "h2");
  if (!target.ok()) return target.status();
  const absl::StatusOr<std::unique_ptr<GrpcTypes>> types = TypesOf(grpc, **target, run_id, folder);
  if (!types.ok()) return types.status();
  absl::StatusOr<std::vector<HttpRequest>> kinds = MakeGrpcRequests(grpc, run_id, (*types)->pool());
  if (!kinds.ok()) return kinds.status();
  Http2Requests requests = {grpc.has_tls() ? "https" : "http", (*target)->text(), trace_prefix, keep, /*grpc=*/true, *std::move(kinds)};
  return std::make_unique<Http2Carrier>(*std::move(target), std::move(requests));
}

absl::StatusOr<std::unique_ptr<Carrier>> MakeTcp(const Load& load, const std::string& folder) {
  const Tcp& tcp = load.tcp();
  absl::StatusOr<std::vector<TcpRequest>> requests = MakeTcpRequests(tcp);
  if (!requests.ok()) return requests.status();
  absl::StatusOr<std::unique_ptr<Target>> target = MakeTarget(tcp.address(), tcp.has_tls() ? &tcp.tls() : nullptr, folder, "");
  if (!target.ok()) return target.status();
  return std::make_unique<TcpCarrier>(*std::move(target), *std::move(requests), tcp.reconnect());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Carrier>> MakeCarrier(const Load& load, const std::string& run_id, const std::string& folder,
                                                     uint64_t trace_prefix, const Keep& keep) {
  switch (load.kind_case()) {
    case Load::kHttp:
      return MakeHttp(load, run_id, folder, trace_prefix, keep);
    case Load::kGrpc:
      return MakeGrpc(load, run_id, folder, trace_prefix, keep);
    case Load::kTcp:
      return MakeTcp(load, folder);
    case Load::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("the load ", load.name(), " says neither http, grpc nor tcp"));
}

}  // namespace squall
