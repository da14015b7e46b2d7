// Runs programs for a test, from within a service of a scenario: what the runner starts is the service's too. Commands come over
// HTTP on the loopback, an argument a line, without a shell.
//
//   POST /run?limit=SECONDS           runs a command to its end, or kills it when the limit is over
//   POST /open                        starts one whose standard input stays open; answers with its session's id
//   POST /say?id=N&limit=SECONDS&bytes=N
//                                     types the body, and reads until so much was printed on standard output, a line on standard
//                                     error, the program has ended or the limit is over
//   POST /close?id=N                  kills it
//
// Answers carry what was printed on standard output, then on standard error; the header `out` is the length of the former,
// `exit` the exit code, 128 + N for signal N, or "none" while it runs; `took` the seconds.
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/target/server.h"

namespace squall::target {
namespace {

class Child {
 public:
  explicit Child(const std::vector<std::string>& argv) {
    std::vector<char*> raw;
    for (const std::string& argument : argv) raw.push_back(const_cast<char*>(argument.c_str()));
    raw.push_back(nullptr);
    std::array<std::array<int, 2>, 3> pipes;
    for (auto& ends : pipes) {
      if (pipe2(ends.data(), O_CLOEXEC) != 0) abort();
    }
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setpgid(0, 0);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      dup2(pipes[0][0], 0);
      dup2(pipes[1][1], 1);
      dup2(pipes[2][1], 2);
      execvp(raw[0], raw.data());
      _exit(127);
    }
    close(pipes[0][0]);
    close(pipes[1][1]);
    close(pipes[2][1]);
    in_ = pipes[0][1];
    out_[0] = pipes[1][0];
    out_[1] = pipes[2][0];
  }
  ~Child() {
    if (exit_.empty()) {
      kill(-pid_, SIGKILL);
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    CloseInput();
    for (const int fd : out_) close(fd);
  }
  Child(const Child&) = delete;

  void CloseInput() {
    if (in_ >= 0) close(in_);
    in_ = -1;
  }
  // SIGPIPE is ignored by httplib: a program that has ended is noticed by Read.
  void Type(const std::string& text) {
    if (in_ >= 0 && write(in_, text.data(), text.size()) < 0) CloseInput();
  }

  // Reads until `bytes` were printed on standard output or a line on standard error (0: never), the program has ended, or `limit`
  // is over.
  void Read(size_t bytes, absl::Duration limit) {
    const absl::Time deadline = absl::Now() + limit;
    while (open_ > 0 && absl::Now() < deadline) {
      if (bytes > 0 && (said_[0].size() >= bytes || said_[1].find('\n') != std::string::npos)) return;
      std::array<pollfd, 2> wanted = {{{out_[0], POLLIN, 0}, {out_[1], POLLIN, 0}}};
      for (int i = 0; i < 2; ++i) {
        if (ended_[i]) wanted[i].fd = -1;
      }
      if (poll(wanted.data(), wanted.size(), static_cast<int>(absl::ToInt64Milliseconds(deadline - absl::Now())) + 1) <= 0) continue;
      for (int i = 0; i < 2; ++i) {
        if (wanted[i].revents != 0) Take(i);
      }
    }
    while (open_ == 0 && exit_.empty()) {
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) == pid_) {
        exit_ = absl::StrCat(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
      } else if (absl::Now() >= deadline) {
        return;
      } else {
        absl::SleepFor(absl::Milliseconds(1));
      }
    }
  }

  void Tell(absl::Duration took, httplib::Response& response) {
    response.set_header("out", absl::StrCat(said_[0].size()));
    response.set_header("exit", exit_.empty() ? "none" : exit_);
    response.set_header("took", absl::StrCat(absl::ToDoubleSeconds(took)));
    response.set_content(said_[0] + said_[1], "application/octet-stream");
    said_[0].clear();
    said_[1].clear();
  }

 private:
  void Take(int i) {
    std::array<char, 65536> buffer;
    const ssize_t got = read(out_[i], buffer.data(), buffer.size());
    if (got > 0) {
      said_[i].append(buffer.data(), static_cast<size_t>(got));
    } else {
      ended_[i] = true;
      --open_;
    }
  }

  pid_t pid_ = 0;
  int in_ = -1;
  std::array<int, 2> out_ = {-1, -1};
  std::array<bool, 2> ended_ = {false, false};
  int open_ = 2;
  std::array<std::string, 2> said_;
  std::string exit_;
};

std::vector<std::string> Argv(const httplib::Request& request) { return absl::StrSplit(request.body, '\n'); }

absl::Duration Limit(const httplib::Request& request) {
  double seconds = 10;
  if (!absl::SimpleAtod(request.get_param_value("limit"), &seconds)) seconds = 10;
  return absl::Seconds(seconds);
}

// Programs that look names up ask the servers of this file, and no others do.
bool UseResolvConf(const std::string& path) {
  return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount(path.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) == 0;
}

int Main(int argc, char** argv) {
  BlockStopSignals();
  int port = 0;
  std::string resolv_conf;
  CLI::App app("runner: runs programs for a test, from within a service of a scenario.");
  app.add_option("--port", port, "Port to listen on")->required()->check(CLI::Range(1, 65535));
  app.add_option("--resolv-conf", resolv_conf, "What programs find at /etc/resolv.conf; needs root");
  CLI11_PARSE(app, argc, argv);
  if (!resolv_conf.empty() && !UseResolvConf(resolv_conf)) {
    fprintf(stderr, "cannot put %s in the place of /etc/resolv.conf: %s\n", resolv_conf.c_str(), strerror(errno));
    return 1;
  }

  std::mutex mutex;
  std::map<int, std::shared_ptr<Child>> sessions;
  const auto find = [&](const httplib::Request& request) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = sessions.find(atoi(request.get_param_value("id").c_str()));
    return found == sessions.end() ? nullptr : found->second;
  };
  Server server(/*threads=*/64);
  server.Post("/run", [](const httplib::Request& request, httplib::Response& response) {
    const absl::Time start = absl::Now();
    Child child(Argv(request));
    child.CloseInput();
    child.Read(0, Limit(request));
    child.Tell(absl::Now() - start, response);
  });
  server.Post("/open", [&](const httplib::Request& request, httplib::Response& response) {
    static int last = 0;
    const auto child = std::make_shared<Child>(Argv(request));
    const std::lock_guard<std::mutex> lock(mutex);
    sessions[++last] = child;
    response.set_content(absl::StrCat(last), "text/plain");
  });
  server.Post("/say", [&](const httplib::Request& request, httplib::Response& response) {
    const std::shared_ptr<Child> child = find(request);
    if (child == nullptr) {
      response.status = 404;
      return;
    }
    const absl::Time start = absl::Now();
    child->Type(request.body);
    child->Read(strtoul(request.get_param_value("bytes").c_str(), nullptr, 10), Limit(request));
    child->Tell(absl::Now() - start, response);
  });
  server.Post("/close", [&](const httplib::Request& request, httplib::Response&) {
    const std::lock_guard<std::mutex> lock(mutex);
    sessions.erase(atoi(request.get_param_value("id").c_str()));
  });
  return server.Serve("127.0.0.1", port) ? 0 : 1;
}

}  // namespace
}  // namespace squall::target

int main(int argc, char** argv) { return squall::target::Main(argc, argv); }
