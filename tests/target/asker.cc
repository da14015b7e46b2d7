// A reference service between HTTP and gRPC: takes orders and asks the recommend service, over gRPC, for something to go with each.
// Whatever becomes of that, it answers by its deadline.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <string>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "tests/target/flags.h"
#include "tests/target/server.h"

namespace squall::target {
namespace {

bool Ask(grpc::GenericStub& stub, absl::Duration deadline) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(deadline));
  const grpc::Slice slice("what goes with it?");
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer answer;
  bool ok = false;
  absl::Notification done;
  stub.UnaryCall(&context, "/shop.Recommend/List", grpc::StubOptions(), &request, &answer, [&](const grpc::Status& status) {
    ok = status.ok();
    done.Notify();
  });
  done.WaitForNotification();
  return ok;
}

int Main(int argc, char** argv) {
  BlockStopSignals();
  int port = 0;
  std::string recommend;
  absl::Duration deadline = absl::Milliseconds(300);
  CLI::App app("asker: GET /order answers with JSON, GET /healthz with ok.");
  app.add_option("--port", port, "Port to listen on")->required()->check(CLI::Range(1, 65535));
  app.add_option("--recommend", recommend, "HOST:PORT of the recommend service")->required();
  AddDuration(app, "--deadline", deadline, "Time after which an order is answered without a recommendation");
  CLI11_PARSE(app, argc, argv);

  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  grpc::GenericStub stub(grpc::CreateCustomChannel(recommend, grpc::InsecureChannelCredentials(), arguments));
  Server server(/*threads=*/256);
  server.Get("/order", [&](const httplib::Request&, httplib::Response& response) {
    if (Ask(stub, deadline)) {
      response.set_content(R"({"order":"accepted","recommendation":7})", "application/json");
      return;
    }
    response.set_header("x-fallback", "true");
    response.set_content(R"({"order":"accepted","recommendation":null,"fallback":true})", "application/json");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) { response.set_content("ok\n", "text/plain"); });
  return server.Serve("127.0.0.1", port) ? 0 : 1;
}

}  // namespace
}  // namespace squall::target

int main(int argc, char** argv) { return squall::target::Main(argc, argv); }
