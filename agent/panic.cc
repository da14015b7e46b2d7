#include "agent/panic.h"

#include <grpcpp/grpcpp.h>

#include <filesystem>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/journal.h"
#include "base/local_folder.h"
#include "proto/agent.grpc.pb.h"

namespace squall {
namespace {

constexpr int kAnswersWithinMs = 5'000;

// False: it does not answer.
bool EndItsRuns(const LocalSocket& socket, PanicResult& result) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto stub = Agent::NewStub(grpc::CreateCustomChannel("unix:" + socket.path, grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(kAnswersWithinMs));
  EndRunsRequest request;
  request.set_by("squall-agent heal");
  EndRunsReply reply;
  if (!stub->EndRuns(&context, request, &reply).ok()) return false;
  result.ended_runs += reply.ended_size();
  for (const std::string& what : reply.not_healed()) {
    result.recovered.left.push_back({absl::StrCat("agent ", socket.pid), what, "squall-agent heal"});
  }
  return true;
}

}  // namespace

absl::StatusOr<PanicResult> HealHost() {
  const absl::StatusOr<std::string> folder = JournalFolder();
  if (!folder.ok()) return folder.status();
  PanicResult result;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(LocalFolder(), error)) {
    LocalSocket socket;
    if (!ParseLocalSocket(entry.path(), socket) || !IsAlive(socket)) continue;
    // The guardian of one that has to be ended undoes what it did; where that is gone too, we do.
    if (!EndItsRuns(socket, result)) result.killed_agents += EndAgent({socket.pid, socket.start_ticks});
  }
  Recovered recovered = TakeBackLeftovers(*folder);
  result.killed_agents += recovered.ended_agents;
  result.recovered.taken_back += recovered.taken_back;
  std::move(recovered.left.begin(), recovered.left.end(), std::back_inserter(result.recovered.left));
  std::vector<Leftover> held = HeldByTheLiving(*folder);
  std::move(held.begin(), held.end(), std::back_inserter(result.recovered.left));
  return result;
}

}  // namespace squall
