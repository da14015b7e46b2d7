#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "agent/process/proc.h"
#include "proto/undo.pb.h"

// Taking back what squall changed on a host. For the agent, its guardian and `squall-agent heal` alike: no gRPC, no threads, nothing
// kept. All are idempotent, confirmed by looking at the world, and leave alone what is no longer what it was when it was written
// down: a process of another start time, a file of another inode, a value that somebody else set.
namespace squall {

// Tried until it is confirmed or `patience` is over.
absl::Status TakeBack(const Undo& undo);

// "the memory limit of cgroup /sys/fs/cgroup/memory/shop", for messages.
std::string WhatIsChanged(const Undo& undo);
// What a reader can type to take it back by hand: "kill -CONT 4711".
std::string CommandFor(const Undo& undo);

// It matters after a reboot too: a file on a disk.
bool OutlivesBoot(const Undo& undo);

UndoProcess ToProto(const ProcessId& process);
ProcessId FromProto(const UndoProcess& process);

}  // namespace squall
