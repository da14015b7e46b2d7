// squall-agent: injects faults, sends load and watches, on behalf of a controller.

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "agent/guardian.h"
#include "agent/local_socket.h"
#include "agent/process/cgroup.h"
#include "agent/process/hold.h"
#include "agent/process/main_thread.h"
#include "agent/service.h"

namespace {

constexpr int kBadUsage = 64;
constexpr int kFailed = 3;

int Complain(int code, const std::string& what) {
  fprintf(stderr, "squall-agent: %s\n", what.c_str());
  return code;
}

// Empty: the address may be served.
std::string WhyRefused(const std::string& listen) {
  absl::string_view path = listen;
  if (!absl::ConsumePrefix(&path, "unix:")) {
    return "'" + listen + "': only unix:PATH can be served. TCP is refused: without mutual TLS anybody who reaches the "
           "port could inject faults";
  }
  struct stat there;
  if (stat(std::string(path).c_str(), &there) == 0) {
    return "'" + std::string(path) + "' is there already: another agent serves it, or remove it";
  }
  return path.empty() ? "unix: needs a path" : "";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"squall-agent: injects faults, sends load and watches, on behalf of a controller"};
  std::string listen;
  int fd = -1;
  app.add_option("--listen", listen, "Serve on a unix socket that only this user may use: unix:PATH");
  app.add_option("--fd", fd, "Serve one controller on this connected socket and end with it (used by squall run)");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  if ((fd < 0) == listen.empty()) return Complain(kBadUsage, "give either --listen=unix:PATH or --fd=N");
  if (fd < 0) {
    const std::string why = WhyRefused(listen);
    if (!why.empty()) return Complain(kBadUsage, why);
  }

  const auto guardian = squall::Guardian::Fork();  // before there are threads
  if (!guardian.ok()) return Complain(kFailed, std::string(guardian.status().message()));
  // Signals come to one thread, as descriptors; every thread made later inherits the mask.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  squall::SweepCgroups();
  squall::SweepHolds();
  // Not being found by `squall status` is no reason not to work.
  const absl::StatusOr<std::string> local = squall::MakeLocalSocketPath();
  if (!local.ok()) {
    Complain(0, "squall status will not see this agent: " + std::string(local.status().message()));
  }

  squall::MainThread main_thread;
  squall::AgentService service(&main_thread, &*guardian);
  grpc::ServerBuilder builder;
  builder.RegisterService(&service);
  builder.SetMaxReceiveMessageSize(64 << 20);
  const mode_t before = umask(0077);  // the socket is for this user only
  if (fd < 0) builder.AddListeningPort(listen, grpc::InsecureServerCredentials());
  if (local.ok()) builder.AddListeningPort("unix:" + *local, grpc::InsecureServerCredentials());
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  umask(before);
  if (server == nullptr) return Complain(kFailed, "cannot serve on " + listen);
  if (local.ok()) chmod(local->c_str(), 0600);
  if (fd >= 0) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    grpc::AddInsecureChannelFromFd(server.get(), fd);
  }

  std::atomic<bool> stop = false;
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
  if (local.ok()) unlink(local->c_str());
  return 0;
}
