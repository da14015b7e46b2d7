// squall-agent: injects faults, sends load and watches, on behalf of a controller.

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <functional>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/callers.h"
#include "agent/front.h"
#include "agent/guardian.h"
#include "agent/journal.h"
#include "agent/leftovers.h"
#include "agent/listen.h"
#include "agent/local_socket.h"
#include "agent/panic.h"
#include "agent/process/main_thread.h"
#include "agent/service.h"

namespace {

constexpr int kBadUsage = 64;
constexpr int kFailed = 3;
constexpr int kNotHealed = 5;
constexpr size_t kMostCallers = 1024;

int Complain(int code, const std::string& what) {
  fprintf(stderr, "squall-agent: %s\n", what.c_str());
  return code;
}

constexpr char kHelp[] =
    R"(squall-agent: injects faults, sends load and watches, on behalf of a controller

Beside the targets, as a daemon, over TCP with mutual TLS 1.3:
  squall-agent --listen=0.0.0.0:7447 --cert=shop-1.crt --key=shop-1.key --ca=ca.crt
Controllers need a certificate of the same CA, and check that this one carries the agent's name. `squall certs` makes them.
It serves one run at a time and tells a second one who holds it. When a run's controller is silent for the lease (5 s), when
its stream ends, and on SIGTERM or SIGINT, everything that was injected is healed and every service that was started is
stopped. Redirecting connects and attaching to other users' processes need root. When it is killed, or stopped past its lease,
squall-guardian heals within a second and starts it again (under systemd, that does).

The panic button, which needs neither a controller nor an agent that works:
  squall-agent heal

Exit codes: 0 ended by a signal, 3 it cannot serve, 5 something could not be healed, 64 bad usage or certificates.
)";

void Log(const std::string& line) {
  const std::string time = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  fprintf(stderr, "squall-agent: %s %s\n", time.c_str(), line.c_str());
}

// A connection through the relay is two descriptors. Services get the limit back that the agent was started with (spawn.cc).
void AllowManyFiles() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int Heal() {
  const absl::StatusOr<squall::PanicResult> result = squall::HealHost();
  if (!result.ok()) return Complain(kFailed, std::string(result.status().message()));
  if (result->ended_runs > 0) printf("Ended and healed: %d runs of agents that answer.\n", result->ended_runs);
  if (result->killed_agents > 0) printf("Killed: %d agents that did not answer.\n", result->killed_agents);
  printf("Taken back: %d changes that agents which are gone had left.\n", result->recovered.taken_back);
  for (const squall::Leftover& left : result->recovered.left) printf("%s\n", ToText(left).c_str());
  if (result->recovered.left.empty()) printf("Nothing of squall's is left on this host.\n");
  return result->recovered.left.empty() ? 0 : kNotHealed;
}

// How the guardian starts this agent again; not at all where the controller or systemd would.
std::vector<std::string> Again(int argc, char** argv, bool serves_one) {
  if (serves_one || getenv("INVOCATION_ID") != nullptr) return {};
  char self[4096];
  const ssize_t size = readlink("/proc/self/exe", self, sizeof(self));
  if (size <= 0 || size == static_cast<ssize_t>(sizeof(self))) return {};
  std::vector<std::string> again = {std::string(self, static_cast<size_t>(size))};
  again.insert(again.end(), argv + 1, argv + argc);
  return again;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{kHelp};
  std::string listen;
  squall::TlsPaths tls;
  int fd = -1;
  app.add_option("--listen", listen, "HOST:PORT for TCP with mutual TLS 1.3, or unix:PATH for a socket that only this user may use");
  app.add_option("--cert", tls.cert, "This agent's certificate (PEM), which carries its name");
  app.add_option("--key", tls.key, "Its key (PEM), which others may not read");
  app.add_option("--ca", tls.ca, "The CA (PEM) that signs the certificates of controllers");
  app.add_option("--fd", fd, "Serve one controller on this connected socket and end with it (used by squall run)");
  const CLI::App* heal = app.add_subcommand("heal", "Undo everything that squall does or has left on this host, now");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  if (heal->parsed()) return Heal();
  if ((fd < 0) == listen.empty()) return Complain(kBadUsage, "give either --listen=HOST:PORT, --listen=unix:PATH or --fd=N");

  AllowManyFiles();
  // Signals come to one thread, as descriptors; every thread made later inherits the mask.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  absl::StatusOr<squall::Listening> listening = squall::Listening();
  if (fd < 0) listening = squall::PrepareToListen(listen, tls);
  if (!listening.ok()) return Complain(kBadUsage, std::string(listening.status().message()));
  // What others left is healed before anyone is served.
  const absl::StatusOr<std::string> folder = squall::JournalFolder();
  if (!folder.ok()) return Complain(kFailed, std::string(folder.status().message()));
  const squall::Recovered recovered = squall::TakeBackLeftovers(*folder);
  if (recovered.ended_agents > 0) {
    Complain(0, absl::StrCat("ended ", recovered.ended_agents, recovered.ended_agents == 1 ? " agent that hung past its lease" : " agents that hung past their leases",
                             ", unguarded"));
  }
  if (recovered.taken_back > 0 && fd < 0) Log("took back " + std::to_string(recovered.taken_back) + " changes that an agent before it had left");
  std::vector<std::string> leftovers;
  for (const squall::Leftover& left : recovered.left) leftovers.push_back(ToText(left));
  for (const std::string& left : leftovers) Complain(0, left);
  const absl::StatusOr<std::unique_ptr<squall::Journal>> journal = squall::Journal::Create(*folder);
  if (!journal.ok()) return Complain(kFailed, std::string(journal.status().message()));
  // Not being found by `squall status` is no reason not to work.
  const absl::StatusOr<std::string> local = squall::MakeLocalSocketPath();
  if (!local.ok()) {
    Complain(0, "squall status will not see this agent: " + std::string(local.status().message()));
  }

  squall::MainThread main_thread;
  const auto log = [fd](const std::string& line) {
    if (fd < 0) Log(line);  // a child's terminal is its controller's
  };
  squall::Guardian* guard = nullptr;  // set before anybody is served
  std::function<void()> keep_expiry;
  squall::AgentService service(
      &main_thread, journal->get(), leftovers,
      [&] {
        keep_expiry();
        guard->Announce();
      },
      log);
  keep_expiry = [&service, &journal] { (*journal)->SetExpiry(service.ExpiresNs()); };
  const absl::StatusOr<std::unique_ptr<squall::Guardian>> guardian = squall::Guardian::Start(
      {(*journal)->path(), Again(argc, argv, fd >= 0), [&service] { return service.ExpiresNs(); }, log});
  if (!guardian.ok()) return Complain(kFailed, std::string(guardian.status().message()));
  guard = guardian->get();
  squall::Callers callers;
  service.SetCallers(&callers);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(64 << 20);
  const mode_t before = umask(0077);  // the socket is for this user only
  if (listening->credentials != nullptr) builder.AddListeningPort(listening->address, listening->credentials);
  // Controllers look every second whether this one is still there.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  if (local.ok()) builder.AddListeningPort("unix:" + *local, grpc::InsecureServerCredentials());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  umask(before);
  if (server == nullptr) return Complain(kFailed, "cannot serve on " + listen + ": is the address taken, or not of this host?");
  std::string port;
  std::unique_ptr<squall::Front> front;  // ends before the server, to which it gives connections
  if (listening->identity.has_value()) {
    absl::StatusOr<squall::TcpListeners> tcp = squall::ListenOnTcp(listen);
    const auto take = [&](squall::Fd connection, const squall::Caller& caller) {
      if (callers.Add(connection.get(), caller, kMostCallers)) grpc::AddInsecureChannelFromFd(server.get(), connection.Release());
    };
    using Started = absl::StatusOr<std::unique_ptr<squall::Front>>;
    Started started = tcp.ok() ? squall::Front::Start({std::move(tcp->fds), *listening->identity, take, Log}) : Started(tcp.status());
    if (!started.ok()) {
      if (local.ok()) unlink(local->c_str());
      return Complain(kFailed, std::string(started.status().message()));
    }
    front = *std::move(started);
    port = ", port " + std::to_string(tcp->port);
  }
  if (fd < 0) Log("serves on " + listen + port + (listening->as.empty() ? "" : ", as " + listening->as));
  if (local.ok()) chmod(local->c_str(), 0600);
  if (fd >= 0) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    grpc::AddInsecureChannelFromFd(server.get(), fd);
  }

  // On a thread of its own: a disk may take its time.
  std::atomic<bool> over = false;
  std::thread expiry([&] {
    for (; !over; absl::SleepFor(absl::Milliseconds(100))) keep_expiry();
  });
  std::thread watcher([&] {
    const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    signalfd_siginfo info;
    while (true) {
      if (read(signal_fd, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
        // Of a controller's child, Ctrl-C is the controller's business: it heals and then ends this.
        if (fd < 0 || info.ssi_signo == SIGTERM) break;
      }
      if (fd >= 0 && service.HasServed()) break;
      absl::SleepFor(absl::Milliseconds(10));
    }
    close(signal_fd);
    service.Shutdown();
    server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    main_thread.Stop();
  });
  main_thread.Serve();
  watcher.join();
  server->Wait();
  over = true;
  expiry.join();
  front.reset();
  if (local.ok()) unlink(local->c_str());
  return 0;
}
