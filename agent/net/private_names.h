#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "agent/net/address.h"
#include "agent/net/netns.h"
#include "base/fd.h"

namespace squall {

// For tests, as root: a process with a hosts file, a resolv.conf and a name server (dnsmasq) of its own, in mount and network
// namespaces of its own. Names of its zone are searched for below internal.test as well.
class PrivateNames {
 public:
  PrivateNames() {
    char folder[] = "/tmp/squall-names-XXXXXX";
    EXPECT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    Write("hosts", "127.0.0.1 localhost\n");
    Write("resolv.conf", "nameserver 127.0.0.1\nsearch internal.test\n");
    Write("nsswitch.conf", "hosts: files dns\n");
    Write("zone", "127.0.0.7 db.internal.test\n");
    int ready[2];
    EXPECT_EQ(pipe2(ready, O_CLOEXEC), 0);
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (!Enter()) _exit(1);
      server_ = StartServer();
      (void)!write(ready[1], &server_, sizeof(server_));
      while (true) pause();
    }
    close(ready[1]);
    EXPECT_EQ(read(ready[0], &server_, sizeof(server_)), static_cast<ssize_t>(sizeof(server_)));
    close(ready[0]);
    ns.emplace(NetNamespace::Of(pid_).value());
    for (int i = 0; i < 5000 && !ServerListens(); ++i) absl::SleepFor(absl::Milliseconds(1));
  }
  PrivateNames(const PrivateNames&) = delete;
  ~PrivateNames() {
    kill(server_, SIGKILL);
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }

  pid_t pid() const { return pid_; }
  void WriteHosts(const std::string& text) { Write("hosts", text); }
  // "127.0.0.7 db.internal.test" and so on: what the server answers from now on, or a little later.
  void WriteZone(const std::string& text) {
    Write("zone", text);
    kill(server_, SIGHUP);
  }
  void StopServer() { kill(server_, SIGKILL); }

  std::optional<NetNamespace> ns;

 private:
  // Into the same file: what is mounted elsewhere is the file and not its name.
  void Write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }

  bool Enter() const {
    if (unshare(CLONE_NEWNS | CLONE_NEWNET) != 0) return false;
    if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
    for (const char* name : {"hosts", "resolv.conf", "nsswitch.conf"}) {
      const std::string from = folder_ + "/" + name, to = std::string("/etc/") + name;
      if (mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0) return false;
    }
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq request = {};
    strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    return ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  }

  // It is then ready for signals too.
  bool ServerListens() const {
    const Fd fd = ns->Socket(AF_INET, SOCK_STREAM).value();
    sockaddr_storage storage;
    const socklen_t length = ParseAddress("127.0.0.1:53")->ToSockaddr(storage);
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) == 0;
  }

  pid_t StartServer() const {
    const pid_t server = fork();
    if (server != 0) return server;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const std::string zone = "--addn-hosts=" + folder_ + "/zone";
    execlp("/usr/sbin/dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
           "--pid-file=", "--log-facility=/dev/null", "--listen-address=127.0.0.1", "--bind-interfaces", zone.c_str(), nullptr);
    _exit(127);
  }

  std::string folder_;
  pid_t pid_ = 0;
  pid_t server_ = 0;
};

}  // namespace squall
