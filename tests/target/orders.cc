// A reference service: takes orders and asks the recommend service for something to go with each. Whatever
// becomes of that, it answers within its deadline. Flags break single promises.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/target/flags.h"
#include "tests/target/names.h"
#include "tests/target/recommender.h"
#include "tests/target/server.h"
#include "tests/target/token_bucket.h"

namespace squall::target {
namespace {

void Answer(Recommender& recommender, httplib::Response& response) {
  if (const std::optional<std::string> recommendation = recommender.Ask()) {
    response.set_content(absl::StrCat(R"({"order":"accepted","recommendation":)", *recommendation, "}"),
                         "application/json");
    return;
  }
  response.set_header("x-fallback", "true");
  response.set_content(R"({"order":"accepted","recommendation":null,"fallback":true})", "application/json");
}

// A line for each order. One that cannot be written is lost, and the order is taken all the same.
class Log {
 public:
  explicit Log(const std::string& path)
      : fd_(path.empty() ? -1 : open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {}
  ~Log() {
    if (fd_ >= 0) close(fd_);
  }
  void Add() const {
    static const std::string line(512, '.');
    if (fd_ >= 0) (void)!write(fd_, line.data(), line.size());
  }

 private:
  const int fd_;
};

int Main(int argc, char** argv) {
  BlockStopSignals();

  std::string host = "127.0.0.1";
  int port = 0;
  std::string recommend;
  RecommenderOptions options;
  const std::map<std::string, Mutant> mutants = {{"none", Mutant::kNone},
                                                 {"ignores-deadline", Mutant::kIgnoresDeadline},
                                                 {"never-reconnects", Mutant::kNeverReconnects},
                                                 {"never-drains", Mutant::kNeverDrains},
                                                 {"breaker-never-opens", Mutant::kBreakerNeverOpens},
                                                 {"breaker-never-closes", Mutant::kBreakerNeverCloses},
                                                 {"breaker-wedges-half-open", Mutant::kBreakerWedgesHalfOpen},
                                                 {"breaker-floods-with-probes", Mutant::kBreakerFloodsWithProbes}};
  CLI::App app("orders: GET and POST /order and GET /quote answer with JSON, GET /healthz with ok, GET /metrics for Prometheus.");
  app.add_option("--host", host, "Address to listen on")->capture_default_str();
  app.add_option("--port", port, "Port to listen on")->required()->check(CLI::Range(1, 65535));
  app.add_option("--recommend", recommend, "HOST:PORT of the recommend service; a name is asked for with each call")
      ->required()
      ->check([](const std::string& text) {
        return ParseHostPort(text) ? "" : absl::StrCat(text, " is not HOST:PORT");
      });
  app.add_option("--nameserver", options.nameservers,
                 "IP:PORT of a DNS server for that name, asked in turn; none: those of /etc/resolv.conf")
      ->check([](const std::string& text) {
        return IsNameServer(text) ? "" : absl::StrCat(text, " is no IP:PORT");
      });
  AddDuration(app, "--ask-again-after", options.ask_again_after,
              "Time after which a DNS server that does not answer is asked again");
  AddDuration(app, "--deadline", options.deadline,
              "Time after which an order is answered without a recommendation");
  app.add_option("--workers", options.workers, "Calls to the recommend service at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 400));
  AddDuration(app, "--breaker-open-time", options.breaker_open_time,
              "Stop calling for this long after 5 failures in a row; 0: never");
  app.add_option("--mutant", options.mutant,
                 "Break one promise: ignores-deadline, never-reconnects, never-drains, breaker-never-opens, "
                 "breaker-never-closes, breaker-wedges-half-open, breaker-floods-with-probes, or none")
      ->transform(CLI::CheckedTransformer(mutants));
  LimiterOptions limits;
  app.add_option("--limit", limits.per_second, "Requests per second and route, the rest is answered with 429; 0: no limit")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--burst", limits.burst, "Requests of a route at once, with --limit")->check(CLI::Range(1, 1'000'000));
  const std::map<std::string, LimiterMutant> limiter_mutants = {{"none", LimiterMutant::kNone},
                                                                {"limiter-twice-its-rate", LimiterMutant::kTwiceItsRate},
                                                                {"limiter-off-by-the-burst", LimiterMutant::kOffByTheBurst},
                                                                {"limiter-too-strict", LimiterMutant::kTooStrict},
                                                                {"limiter-rejects-slowly", LimiterMutant::kRejectsSlowly}};
  app.add_option("--limiter-mutant", limits.mutant,
                 "Break one promise of the limiter: limiter-twice-its-rate, limiter-off-by-the-burst, limiter-too-strict, "
                 "limiter-rejects-slowly, or none")
      ->transform(CLI::CheckedTransformer(limiter_mutants));
  std::string log_path;
  app.add_option("--log", log_path, "A file that gets half a kilobyte for each order");
  size_t threads = 512;
  app.add_option("--threads", threads, "Requests at a time")->capture_default_str()->check(CLI::Range(1, 4096));
  CLI11_PARSE(app, argc, argv);
  options.address = *ParseHostPort(recommend);

  Recommender recommender(options);
  Server server(threads);
  Limiter limiter(limits);
  const Log log(log_path);
  const auto order = [&](const httplib::Request& request, httplib::Response& response) {
    if (!limiter.Admit(request.path, response)) return;
    log.Add();
    Answer(recommender, response);
  };
  server.Get("/order", order);
  server.Post("/order", order);
  // A route that asks nobody.
  server.Get("/quote", [&](const httplib::Request& request, httplib::Response& response) {
    if (!limiter.Admit(request.path, response)) return;
    response.set_content(R"({"price":7})", "application/json");
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
    response.set_content(recommender.Metrics(), "text/plain; version=0.0.4");
  });
  const auto on_stop = [&] {
    // The others answer by their deadline and need not be hurried.
    if (options.mutant == Mutant::kIgnoresDeadline) recommender.Stop();
  };
  return server.Serve(host, port, on_stop) ? 0 : 1;
}

}  // namespace
}  // namespace squall::target

int main(int argc, char** argv) { return squall::target::Main(argc, argv); }
