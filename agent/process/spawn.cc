#include "agent/process/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace squall {
namespace {

// As it was when the agent started: the load may raise the agent's own later, and services must not notice.
const rlimit kFilesAtStart = [] {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit;
}();

// Where the program is; with the same rule as execvp, so that the child has only to execve.
std::string FindProgram(const std::string& name, const std::string& path) {
  if (name.find('/') != std::string::npos) return name;
  for (const absl::string_view folder : absl::StrSplit(path, ':', absl::SkipEmpty())) {
    const std::string candidate = absl::StrCat(folder, "/", name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

struct UserIds {
  bool change = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::string home;
};

absl::StatusOr<UserIds> LookUpUser(const std::string& name) {
  UserIds ids;
  if (name.empty()) return ids;
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) return absl::NotFoundError(absl::StrCat("this host has no user '", name, "'"));
  ids.uid = entry->pw_uid;
  ids.gid = entry->pw_gid;
  ids.home = entry->pw_dir;
  ids.change = ids.uid != geteuid();
  if (ids.change && geteuid() != 0) {
    return absl::PermissionDeniedError(absl::StrCat("running a service as user '", name, "' needs root"));
  }
  int count = 64;
  ids.groups.resize(static_cast<size_t>(count));
  if (getgrouplist(name.c_str(), ids.gid, ids.groups.data(), &count) < 0) {
    ids.groups.resize(static_cast<size_t>(count));
    getgrouplist(name.c_str(), ids.gid, ids.groups.data(), &count);
  }
  ids.groups.resize(static_cast<size_t>(count));
  return ids;
}

// What the child needs, made before fork: after it only async-signal-safe calls are allowed.
struct Prepared {
  std::string program;
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* folder;
  UserIds user;
  std::vector<int> cgroup_procs;
  int null = -1;
  int output = -1;
  int error = -1;
  pid_t parent = 0;
};

[[noreturn]] void RunChild(const Prepared& prepared) {
  const auto fail = [&](int step) {
    const int report[2] = {step, errno};
    (void)!write(prepared.error, report, sizeof(report));
    _exit(127);
  };
  setpgid(0, 0);
  for (const int procs : prepared.cgroup_procs) {
    if (write(procs, "0", 1) != 1) fail(1);
  }
  if (chdir(prepared.folder) != 0) fail(2);
  if (prepared.user.change) {
    if (setgroups(prepared.user.groups.size(), prepared.user.groups.data()) != 0 || setgid(prepared.user.gid) != 0 ||
        setuid(prepared.user.uid) != 0) {
      fail(3);
    }
  }
  // After setuid, which clears it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != prepared.parent) _exit(127);
  setrlimit(RLIMIT_NOFILE, &kFilesAtStart);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int signal = 1; signal < 32; ++signal) ::signal(signal, SIG_DFL);
  dup2(prepared.null, 0);
  dup2(prepared.output, 1);
  dup2(prepared.output, 2);
  execve(prepared.program.c_str(), prepared.argv.data(), prepared.envp.data());
  fail(4);
  _exit(127);
}

}  // namespace

absl::Status CheckUser(const std::string& user) { return LookUpUser(user).status(); }

absl::StatusOr<Spawned> Spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return absl::InvalidArgumentError("no program to run");
  absl::StatusOr<UserIds> user = LookUpUser(options.user);
  if (!user.ok()) return user.status();

  std::map<std::string, std::string> env;
  for (const char* name : {"PATH", "HOME", "LANG", "TMPDIR", "USER"}) {
    if (const char* value = getenv(name)) env[name] = value;
  }
  if (!options.user.empty()) {
    env["USER"] = options.user;
    env["HOME"] = user->home;
  }
  for (const auto& [name, value] : options.env) env[name] = value;
  const std::string mark = ServiceMark();

  Prepared prepared;
  prepared.program = FindProgram(options.argv[0], env["PATH"]);
  if (prepared.program.empty()) {
    return absl::NotFoundError(absl::StrCat("there is no program '", options.argv[0], "' in PATH"));
  }
  std::vector<std::string> assignments;
  for (const auto& [name, value] : env) assignments.push_back(absl::StrCat(name, "=", value));
  assignments.push_back(mark);
  for (const std::string& argument : options.argv) prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  for (const std::string& assignment : assignments) prepared.envp.push_back(const_cast<char*>(assignment.c_str()));
  prepared.argv.push_back(nullptr);
  prepared.envp.push_back(nullptr);
  prepared.folder = options.folder.empty() ? "." : options.folder.c_str();
  prepared.user = *std::move(user);
  prepared.parent = getpid();

  std::vector<Fd> cgroups;
  for (const std::string& cgroup : options.cgroups) {
    cgroups.emplace_back(open(absl::StrCat(cgroup, "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (!cgroups.back()) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open cgroup ", cgroup));
    prepared.cgroup_procs.push_back(cgroups.back().get());
  }
  int output[2], error[2];
  if (pipe2(output, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const Fd output_write(output[1]);
  Spawned spawned;
  spawned.output = Fd(output[0]);
  if (pipe2(error, O_CLOEXEC) != 0) return absl::ErrnoToStatus(errno, "cannot make a pipe");
  const Fd error_read(error[0]);
  Fd error_write(error[1]);
  const Fd null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  prepared.null = null.get();
  prepared.output = output_write.get();
  prepared.error = error_write.get();

  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork");
  if (pid == 0) RunChild(prepared);
  setpgid(pid, pid);
  error_write.Reset();
  int report[2];
  ssize_t size;
  while ((size = read(error_read.get(), report, sizeof(report))) < 0 && errno == EINTR) {
  }
  if (size == static_cast<ssize_t>(sizeof(report))) {
    waitpid(pid, nullptr, 0);
    const std::string steps[] = {"", "enter its cgroup", absl::StrCat("enter its folder ", options.folder),
                                 "change its user", absl::StrCat("execute ", prepared.program)};
    return absl::ErrnoToStatus(report[1], absl::StrCat("cannot ", steps[report[0]]));
  }
  const absl::StatusOr<ProcStat> stat = ReadStat(pid);
  if (!stat.ok()) return stat.status();
  spawned.id = stat->id;
  return spawned;
}

}  // namespace squall
