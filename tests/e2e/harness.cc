#include "tests/e2e/harness.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "proto/verdict.pb.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

// Where Bazel put what the test needs.
fs::path Runfiles() {
  const char* folder = getenv("TEST_SRCDIR");
  return folder == nullptr ? fs::current_path() : fs::path(folder) / "squall";
}

}  // namespace

Process::Process(const std::vector<std::string>& argv, const Options& options) {
  char name[] = "/tmp/squall-e2e-XXXXXX";
  const int output = mkstemp(name);
  output_path_ = name;
  std::vector<char*> raw;
  for (const std::string& argument : argv) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const passwd* user = options.user.empty() ? nullptr : getpwnam(options.user.c_str());
  int input[2] = {-1, -1};
  if (options.types && pipe2(input, O_CLOEXEC) != 0) perror("pipe2");
  pid_ = fork();
  if (pid_ == 0) {
    if (options.types) dup2(input[0], 0);
    dup2(output, 1);
    dup2(output, 2);
    for (const auto& [key, value] : options.env) setenv(key.c_str(), value.c_str(), 1);
    if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) _exit(126);
    if (user != nullptr && (setgroups(0, nullptr) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) _exit(126);
    execvp(raw[0], raw.data());
    _exit(127);
  }
  close(output);
  // Of a process that could not be started nothing may be signalled: -1 would be everybody.
  EXPECT_GT(pid_, 0) << "cannot fork: " << strerror(errno);
  if (pid_ < 0) exit_code_ = 126;
  if (!options.types) return;
  close(input[0]);
  input_ = Fd(input[1]);
}

Process::~Process() {
  if (exit_code_ < 0 && pid_ > 0) {
    kill(pid_, SIGCONT);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  unlink(output_path_.c_str());
}

void Process::Signal(int signal) {
  if (exit_code_ < 0 && pid_ > 0) kill(pid_, signal);
}

void Process::Type(const std::string& text) { (void)!write(input_.get(), text.data(), text.size()); }

int Process::Wait(absl::Duration timeout) {
  Eventually(timeout, [this] {
    int status = 0;
    if (exit_code_ < 0 && waitpid(pid_, &status, WNOHANG) == pid_) {
      exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    return exit_code_ >= 0;
  });
  return exit_code_;
}

std::string Process::Output() const { return ReadFile(output_path_); }

bool Process::WaitForOutput(const std::string& text, absl::Duration timeout) {
  return Eventually(timeout, [&] { return absl::StrContains(Output(), text); });
}

Checkout::Checkout(const std::vector<std::string>& more_programs) {
  char name[] = "/tmp/squall-checkout-XXXXXX";
  path_ = mkdtemp(name);
  fs::permissions(path_, fs::perms::others_exec | fs::perms::others_read, fs::perm_options::add);
  fs::copy(Runfiles() / "scenarios", fs::path(path_) / "scenarios", fs::copy_options::recursive);
  // Copies, so that a user who may not read the build's folder can run them too.
  std::vector<std::string> programs = {"controller/squall",   "agent/squall-agent",      "agent/squall-front", "agent/squall-guardian",
                                       "tests/target/orders", "tests/target/nameserver", "tests/target/recommend"};
  programs.insert(programs.end(), more_programs.begin(), more_programs.end());
  for (const std::string& binary : programs) {
    const fs::path copy = fs::path(path_) / "bazel-bin" / binary;
    fs::create_directories(copy.parent_path());
    fs::copy_file(fs::canonical(Runfiles() / binary), copy);
    fs::permissions(copy, fs::perms::others_exec | fs::perms::others_read, fs::perm_options::add);
  }
}

Checkout::~Checkout() {
  std::error_code error;
  fs::remove_all(path_, error);
}

std::string Checkout::ForOrdinaryUser() const {
  if (!IsRoot()) return "";
  fs::create_directories(path_ + "/runs");
  fs::permissions(path_ + "/runs", fs::perms::all);
  return "nobody";
}

std::string Checkout::squall() const { return path_ + "/bazel-bin/controller/squall"; }
std::string Checkout::agent() const { return path_ + "/bazel-bin/agent/squall-agent"; }
std::string Checkout::target(const std::string& name) const { return path_ + "/bazel-bin/tests/target/" + name; }

std::string Checkout::Write(const std::string& name, const std::string& text) const {
  fs::create_directories(path_ + "/scenarios/e2e");
  const std::string path = path_ + "/scenarios/e2e/" + name;
  std::ofstream(path) << text;
  return path;
}

std::vector<std::string> Checkout::Run(const std::vector<std::string>& args) const {
  std::vector<std::string> argv = {squall(), "run", "--runs=" + path_ + "/runs"};
  argv.insert(argv.end(), args.begin(), args.end());
  return argv;
}

std::string Checkout::OnlyRun() const {
  std::string only;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path_ + "/runs", error)) {
    EXPECT_TRUE(only.empty()) << "more than one run in " << path_;
    only = entry.path();
  }
  return only;
}

JudgedRun RunToVerdict(const Checkout& checkout, const std::vector<std::string>& args, int expected_exit_code,
                       bool as_ordinary_user) {
  static std::atomic<int> inconclusive = 0;
  Process::Options options;
  options.folder = checkout.path();
  if (as_ordinary_user) options.user = checkout.ForOrdinaryUser();
  while (true) {
    std::error_code error;
    for (const auto& run : fs::directory_iterator(checkout.path() + "/runs", error)) fs::remove_all(run.path());
    Process process(checkout.Run(args), options);
    JudgedRun run;
    run.exit_code = process.Wait(absl::Seconds(180));
    run.output = process.Output();
    run.folder = checkout.OnlyRun();
    // Only a run that came to its end may be unsure for want of a quiet machine.
    const bool unsure = run.exit_code <= 2 && absl::StrContains(ReadFile(run.folder + "/verdicts.json"), "\"INCONCLUSIVE\"");
    if (run.exit_code == expected_exit_code && (expected_exit_code == 2 || !unsure)) return run;
    if (!unsure || ++inconclusive > 2) return run;
    printf("INCONCLUSIVE, run again:\n%s\n", run.output.c_str());
  }
}

namespace {

// "squall-PID-START", "squall-cpu-PID-START" and "PID-START.journal" are their agent's as long as that lives.
bool OwnerLives(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '-');
  for (const std::string& part : parts) {
    int pid = 0;
    if (absl::SimpleAtoi(part, &pid)) return kill(pid, 0) == 0 || errno == EPERM;
  }
  return false;
}

bool IsOfSquall(absl::string_view command) {
  for (const char* ours : {"squall", "orders", "recommend", "nameserver", "storefront", "runner", "grpc_echo"}) {
    if (absl::StartsWith(command, ours)) return true;
  }
  return false;
}

// The parent; 0 when the process is gone or a zombie.
pid_t ParentOf(pid_t pid) {
  const std::string stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  const size_t end = stat.rfind(')');
  if (end == std::string::npos) return 0;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(end + 2), ' ');
  int parent = 0;
  return fields[0] != "Z" && absl::SimpleAtoi(fields[1], &parent) ? parent : 0;
}

// Whether a process is this test's or nobody's, not one of a test that runs at the same time: those have a parent that is
// not squall's.
bool OursOrOrphaned(pid_t pid) {
  pid_t parent = ParentOf(pid);
  while (parent > 1 && parent != getpid() && IsOfSquall(ReadFile(absl::StrCat("/proc/", parent, "/comm")))) {
    parent = ParentOf(parent);
  }
  if (parent == 1) return true;
  while (parent > 1 && parent != getpid()) parent = ParentOf(parent);
  return parent == getpid() && getpid() != 1;
}

}  // namespace

std::vector<std::string> Residue() {
  std::vector<std::string> found;
  std::error_code error;
  for (const char* folder : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory",
                             "/sys/fs/cgroup/pids", "/sys/fs/cgroup/freezer", "/run/lock", "/var/lib/squall"}) {
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      const std::string name = entry.path().filename();
      if ((absl::StartsWith(name, "squall") || absl::EndsWith(name, ".journal")) && !OwnerLives(name)) found.push_back(entry.path());
    }
  }
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    int pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string command = ReadFile(entry.path().string() + "/comm");
    if (IsOfSquall(command) && OursOrOrphaned(pid)) found.push_back(absl::StrCat("process ", pid, " ", command));
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> ResidueSince(const std::vector<std::string>& before, absl::Duration within) {
  std::vector<std::string> found;
  Eventually(within, [&] {
    found = Residue();
    found.erase(std::remove_if(found.begin(), found.end(),
                               [&](const std::string& name) { return std::count(before.begin(), before.end(), name) > 0; }),
                found.end());
    return found.empty();
  });
  return found;
}

bool IsRoot() { return geteuid() == 0; }

int64_t AvailableMiB() {
  std::ifstream meminfo("/proc/meminfo");
  std::string word;
  int64_t kib = 0;
  while (meminfo >> word) {
    if (word == "MemAvailable:") meminfo >> kib;
  }
  return kib / 1024;
}

int FreePort() {
  // Below the ports that the kernel gives to connections, which a load takes by the thousand, and above those that stand in
  // scenarios; tests that run at the same time begin at different ones.
  constexpr int kFirst = 24000;
  constexpr int kCount = 8000;
  static int next = static_cast<int>(getpid() * 41LL % kCount);
  for (int tried = 0; tried < kCount; ++tried) {
    const int port = kFirst + next++ % kCount;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const bool free = bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    close(fd);
    if (free) return port;
  }
  return -1;
}

int TryConnect(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  const int error = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
  close(fd);
  return error;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string VerdictOf(const std::string& run_folder, const std::string& assertion) {
  RunResult result;
  const auto status = google::protobuf::util::JsonStringToMessage(ReadFile(run_folder + "/verdicts.json"), &result);
  EXPECT_TRUE(status.ok()) << status.ToString();
  for (const Verdict& verdict : result.verdicts()) {
    if (verdict.assertion() == assertion) return Verdict::Result_Name(verdict.result());
  }
  return "";
}

void SleepBriefly() { absl::SleepFor(absl::Milliseconds(5)); }
absl::Time NowTime() { return absl::Now(); }

}  // namespace squall
