#include "agent/panic.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <sys/file.h>

#include <filesystem>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/journal.h"
#include "agent/undo.h"
#include "base/fd.h"
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

// Journals that still have something to undo and belong to somebody who lives.
void TellHeld(const std::string& folder, PanicResult& result) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (!absl::EndsWith(entry.path().string(), ".journal")) continue;
    const Fd fd(open(entry.path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!fd || flock(fd.get(), LOCK_SH | LOCK_NB) == 0) continue;
    const absl::StatusOr<JournalContent> content = ReadJournal(entry.path());
    if (!content.ok()) continue;
    for (const PendingUndo& pending : content->pending) {
      const int pid = content->owner.agent().pid();
      result.recovered.left.push_back({WhatIsChanged(pending.undo()), absl::StrCat("the agent, pid ", pid, ", lives and has not undone it"),
                                       absl::StrCat("kill -KILL ", pid, "; squall-agent heal")});
    }
  }
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
  TellHeld(*folder, result);
  return result;
}

}  // namespace squall
