#pragma once

#include <string>
#include <vector>

#include "agent/host_changes.h"
#include "agent/host_digest.h"
#include "agent/journal.h"
#include "agent/process/proc.h"
#include "proto/agent.pb.h"

namespace squall {

// Whether the host is after a run as it was before it. Not thread-safe.
class HostWatch {
 public:
  // `journal` outlives this.
  explicit HostWatch(const Journal* journal) : journal_(journal) {}

  // Nothing has been touched yet.
  void Begin();
  // Remembers what the journal says is pending. To be called while a fault acts, and before it is healed.
  void NoteUndos();
  // A fault stops or limits these, or may.
  void NoteTargets(const std::vector<ProcessId>& processes);
  // A service of the run, which is held.
  void NoteService(const ProcessId& leader) { touched_.services.insert(leader); }
  // Everything is undone. The kernel may take a moment for what it does behind that: looks again for up to half a second while
  // something of squall's is still there. Nothing without Begin.
  void End(FinishReply& reply);

 private:
  SquallFolders Folders() const;

  const Journal* const journal_;
  bool begun_ = false;
  HostState before_;
  Touched touched_;
};

}  // namespace squall
