#include "tests/e2e/quick.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/harness.h"

namespace squall {

namespace fs = std::filesystem;

std::string QuickScenario(const std::string& name, const QuickOptions& options) {
  return absl::StrReplaceAll(R"(squall: 1
name: NAME
services:
  recommend:
    run: [../../bazel-bin/tests/target/recommend, --port=PEER, --service-time=5ms]
  orders:
    run:
      - ../../bazel-bin/tests/target/orders
      - --port=PORT
      - --recommend=${edges.recommend.address}
      - --deadline=200ms
      - --mutant=MUTANT
    ready: {http: {url: "http://127.0.0.1:PORT/healthz"}}
edges:
  recommend: {from: orders, to: "127.0.0.1:PEER", relay_at: "127.0.0.1:RELAY"}
load:
  checkout:
    http: {url: "http://127.0.0.1:PORT/order"}
    rate: 30/s
    degraded_when: {headers: {x-fallback: "true"}}
faults:
  - latency: {edge: recommend, delay: 1500ms}
    for: 2s
assert:
  - timeout: {deadline: 200ms, margin: 400ms}
)",
                             {{"NAME", name},
                              {"MUTANT", options.mutant},
                              {"PORT", absl::StrCat(options.port > 0 ? options.port : FreePort())},
                              {"PEER", absl::StrCat(FreePort())},
                              {"RELAY", absl::StrCat(FreePort())}});
}

std::vector<std::string> LeftBy(const Checkout& checkout) {
  std::vector<std::string> left;
  Eventually(absl::Seconds(10), [&] {
    left.clear();
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
      const fs::path program = fs::read_symlink(entry.path() / "exe", error);
      if (!error && absl::StartsWith(program.string(), checkout.path())) left.push_back(program.string());
    }
    // squall-PID-START_TICKS
    for (const char* folder : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      for (const auto& entry : fs::directory_iterator(folder, error)) {
        const std::vector<std::string> parts = absl::StrSplit(entry.path().filename().string(), '-');
        if (parts.size() == 3 && parts[0] == "squall" && !fs::exists("/proc/" + parts[1])) left.push_back(entry.path());
      }
    }
    return left.empty();
  });
  return left;
}

std::string RunfilePath(const std::string& path) {
  const char* folder = std::getenv("TEST_SRCDIR");
  return folder == nullptr ? path : absl::StrCat(folder, "/squall/", path);
}

}  // namespace squall
