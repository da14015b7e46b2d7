// A gRPC server and client for tests. The client tells what its application is told: the answer, or the status by name with its
// message.
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/target/echo.grpc.pb.h"
#include "tests/target/flags.h"

namespace squall::target {
namespace {

constexpr char kPattern[] = "0123456789abcdef";
constexpr int kMostBytes = 1 << 20;

struct Options {
  std::vector<std::string> serve;
  std::string call;
  absl::Duration deadline = absl::Seconds(1);
  int size = 16;
  bool from_stdin = false;
  std::string cert, key, ca, name;
};

class EchoService final : public Echo::Service {
  grpc::Status Say(grpc::ServerContext*, const SayRequest* request, SayReply* reply) override {
    if (request->size() < 0 || request->size() > kMostBytes) return {grpc::StatusCode::INVALID_ARGUMENT, "0 bytes to 1 MiB"};
    while (static_cast<int>(reply->text().size()) < request->size()) reply->mutable_text()->append(kPattern);
    reply->mutable_text()->resize(static_cast<size_t>(request->size()));
    return grpc::Status::OK;
  }
};

std::string Contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

const char* NameOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::UNKNOWN:
      return "UNKNOWN";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::INTERNAL:
      return "INTERNAL";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    default:
      return "another status";
  }
}

int Serve(const Options& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  EchoService service;
  grpc::ServerBuilder builder;
  std::shared_ptr<grpc::ServerCredentials> credentials = grpc::InsecureServerCredentials();
  if (!options.cert.empty()) {
    grpc::SslServerCredentialsOptions tls;
    tls.pem_key_cert_pairs.push_back({Contents(options.key), Contents(options.cert)});
    credentials = grpc::SslServerCredentials(tls);
  }
  std::vector<int> ports(options.serve.size());
  for (size_t i = 0; i < ports.size(); ++i) builder.AddListeningPort(options.serve[i], credentials, &ports[i]);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  for (size_t i = 0; i < ports.size(); ++i) {
    if (server != nullptr && ports[i] != 0) continue;
    fprintf(stderr, "cannot listen on %s\n", options.serve[i].c_str());
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

// One call, as one line on standard output. The code of its status.
int Say(Echo::Stub& stub, const Options& options) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + options.deadline));
  SayRequest request;
  request.set_size(options.size);
  SayReply reply;
  const grpc::Status status = stub.Say(&context, request, &reply);
  if (status.ok()) {
    printf("%s\n", reply.text().c_str());
  } else {
    printf("%s: %s\n", NameOf(status.error_code()), status.error_message().c_str());
  }
  fflush(stdout);
  return status.error_code();
}

int Call(const Options& options) {
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (!options.ca.empty()) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = Contents(options.ca);
    credentials = grpc::SslCredentials(tls);
    if (!options.name.empty()) arguments.SetSslTargetNameOverride(options.name);
  }
  const auto stub = Echo::NewStub(grpc::CreateCustomChannel(options.call, credentials, arguments));
  if (!options.from_stdin) return Say(*stub, options);
  int last = 0;
  for (std::string line; std::getline(std::cin, line);) last = Say(*stub, options);
  return last;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("grpc_echo: a gRPC server, or one of its clients.");
  auto* serve = app.add_option("--serve", options.serve, "IP:PORT to listen on; as often as needed");
  auto* call = app.add_option("--call", options.call, "HOST:PORT to call")->excludes(serve);
  AddDuration(app, "--deadline", options.deadline, "The deadline of a call");
  app.add_option("--size", options.size, "The length of the answer")->check(CLI::Range(0, kMostBytes));
  app.add_flag("--stdin", options.from_stdin, "A call for each line of standard input, over one channel");
  app.add_option("--cert", options.cert, "PEM file: the server speaks TLS");
  app.add_option("--key", options.key, "PEM file");
  app.add_option("--ca", options.ca, "PEM file: the client speaks TLS, and trusts this CA");
  app.add_option("--name", options.name, "The name that the server's certificate must have");
  app.require_option(1, 0);
  CLI11_PARSE(app, argc, argv);
  if (call->count() == 0 && serve->count() == 0) return app.exit(CLI::RequiredError("--serve or --call"));
  return call->count() > 0 ? Call(options) : Serve(options);
}

}  // namespace
}  // namespace squall::target

int main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);  // what the application is told is enough
  return squall::target::Main(argc, argv);
}
