// A reference service: recommends something for every order, after a constant service time and some work.
#include <time.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "tests/target/flags.h"
#include "tests/target/server.h"

namespace {

absl::Duration ThreadCpuTime() {
  timespec used = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return absl::DurationFromTimespec(used);
}

void Work(absl::Duration cpu_time) {
  for (const absl::Duration until = ThreadCpuTime() + cpu_time; ThreadCpuTime() < until;) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace squall::target;
  BlockStopSignals();

  std::string host = "127.0.0.1";
  int port = 0;
  absl::Duration service_time = absl::Milliseconds(12);
  absl::Duration cpu_time = absl::ZeroDuration();
  CLI::App app("recommend: GET /recommend answers with JSON, GET /healthz with ok.");
  app.add_option("--host", host, "Address to listen on")->capture_default_str();
  app.add_option("--port", port, "Port to listen on")->required()->check(CLI::Range(1, 65535));
  AddDuration(app, "--service-time", service_time, "How long an answer takes");
  AddDuration(app, "--cpu-time", cpu_time, "Processor time that an answer takes beyond that");
  size_t threads = 512;
  app.add_option("--threads", threads, "Requests at a time")->capture_default_str()->check(CLI::Range(1, 4096));
  CLI11_PARSE(app, argc, argv);

  Server server(threads);
  server.Get("/recommend", [&](const httplib::Request&, httplib::Response& response) {
    std::this_thread::sleep_for(absl::ToChronoNanoseconds(service_time));
    Work(cpu_time);
    response.set_content(R"({"skus":[7,11,13]})", "application/json");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  return server.Serve(host, port) ? 0 : 1;
}
