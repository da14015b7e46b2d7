// nginx, as tests talk to it.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/load/loopback_server.h"
#include "agent/load/test_certificates.h"
#include "agent/load/test_daemon.h"

namespace squall {

// `listen`: what stands after the port, as "ssl http2". `more`: directives of the server.
inline std::unique_ptr<TestDaemon> StartNginx(const std::string& listen, const std::string& more) {
  static int started = 0;
  const int port = UnusedPort();
  const char* const tmp = getenv("TEST_TMPDIR");
  const std::string folder = absl::StrCat(tmp == nullptr ? "/tmp" : tmp, "/nginx-", getpid(), "-", ++started);
  EXPECT_EQ(system(absl::StrCat("mkdir -p ", folder).c_str()), 0);
  std::string paths;
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    absl::StrAppend(&paths, kind, "_temp_path ", folder, "/", kind, ";\n");
  }
  const std::string conf = absl::StrCat(folder, "/nginx.conf");
  std::ofstream(conf) << "daemon off;\nmaster_process off;\npid " << folder << "/pid;\nerror_log " << folder << "/error.log;\n"
                      << "events { worker_connections 4096; }\nhttp {\naccess_log off;\n" << paths
                      << "server {\nlisten 127.0.0.1:" << port << " " << listen << ";\n" << more << "\n}\n}\n";
  return std::make_unique<TestDaemon>(std::vector<std::string>{"nginx", "-c", conf, "-p", folder}, port);
}

}  // namespace squall
