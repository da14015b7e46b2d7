#include "agent/faults/service_limit.h"

#include <unistd.h>

#include <filesystem>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/process/find.h"
#include "agent/undo.h"

namespace squall {
namespace {

absl::Status MayLimit(const std::string& controller, const Service& service) {
  if (service.has_attach()) {
    const absl::StatusOr<ProcessId> leader = FindTarget(service.attach());
    if (!leader.ok()) return leader.status();
    return PlaceOf(controller, WithDescendants({*leader})).status();
  }
  const absl::StatusOr<LimitCgroup> home = CgroupOf(controller, getpid());
  if (!home.ok()) return home.status();
  if (home->version == 1) return MayMakeBelow(*home);
  return geteuid() == 0 ? MayHaveController(controller) : absl::PermissionDeniedError("making a cgroup needs root");
}

}  // namespace

absl::Status CheckLimit(const std::string& what, const std::string& controller, const Service& service,
                        const std::string& instead) {
  const absl::Status status = MayLimit(controller, service);
  if (status.ok()) return status;
  return absl::FailedPreconditionError(
      absl::StrCat(what, " on ", service.name(), " needs a cgroup with the ", controller, " controller that squall may write: ",
                   status.message(), absl::IsPermissionDenied(status) ? absl::StrCat("; run it as root", instead) : ""));
}

absl::StatusOr<LimitPlace> PlaceOfService(const std::string& controller, const RunningService& service) {
  if (!service.IsRun()) return PlaceOf(controller, service.Processes());
  const absl::StatusOr<LimitCgroup> own = service.OwnCgroup(controller);
  if (!own.ok()) return own.status();
  return LimitPlace{*own, /*own=*/true};
}

absl::Status CheckNotMoved(const LimitPlace& place, const RunningService& service, const Journal& journal) {
  if (service.IsRun()) return absl::OkStatus();
  for (const PendingUndo& pending : journal.Pending()) {
    if (pending.undo().made_cgroup().folder() != place.cgroup.folder) continue;
    return absl::FailedPreconditionError("another fault has moved it into a cgroup already; let one end before the other begins");
  }
  return absl::OkStatus();
}

absl::Status ServiceLimit::Pend(const Undo& undo) {
  const absl::StatusOr<uint64_t> number = journal_->Pend(undo);
  if (number.ok()) pending_.emplace_back(*number, undo);
  return number.status();
}

absl::Status ServiceLimit::Enter() {
  if (service_->Processes().empty()) return absl::FailedPreconditionError("it has no process");
  const absl::StatusOr<LimitPlace> place = PlaceOfService(controller_, *service_);
  if (!place.ok()) return place.status();
  if (place->own) {
    cgroup_ = place->cgroup;
    return CheckNotMoved(*place, *service_, *journal_);
  }
  const absl::StatusOr<LimitCgroup> below = BelowOf(place->cgroup, service_->name());
  if (!below.ok()) return below.status();
  Undo undo;
  undo.mutable_made_cgroup()->set_folder(below->folder);
  const absl::Status pended = Pend(undo);
  if (!pended.ok()) return pended;
  const absl::StatusOr<LimitCgroup> made = MakeBelow(place->cgroup, service_->name());
  if (!made.ok()) return made.status();
  cgroup_ = *made;
  made_ = true;
  return MoveAllInto(cgroup_, [this] { return service_->Processes(); });
}

absl::Status ServiceLimit::Lower(const std::string& file, int64_t to, const std::function<bool()>& again) {
  const std::string path = FileOf(cgroup_, file);
  const std::string text_before(absl::StripAsciiWhitespace(Slurp(path)));
  const absl::StatusOr<int64_t> before = ReadLimitNumber(path);
  if (!before.ok()) return before.status();
  if (*before <= to) {
    return absl::FailedPreconditionError(absl::StrCat(path, " is ", *before, " already, and ", to, " would take nothing away"));
  }
  if (!made_) {
    for (const PendingUndo& pending : journal_->Pending()) {
      if (pending.undo().cgroup_value().file() != path) continue;
      // Each would put back what the other had set.
      return absl::FailedPreconditionError(
          absl::StrCat("another fault has set ", path, " already; let one end before the other begins"));
    }
    Undo undo;
    undo.mutable_cgroup_value()->set_file(path);
    undo.mutable_cgroup_value()->set_before(text_before);
    undo.mutable_cgroup_value()->set_during(absl::StrCat(to));
    const absl::Status pended = Pend(undo);
    if (!pended.ok()) return pended;
  }
  absl::Status written;
  do {
    written = WriteCgroupFile(path, absl::StrCat(to));
  } while (!written.ok() && again && again());
  if (!written.ok()) return written;
  const absl::StatusOr<int64_t> now = ReadLimitNumber(path);
  if (!now.ok()) return now.status();
  if (*now == to) return absl::OkStatus();
  // TakeBack would take it for somebody else's.
  WriteCgroupFile(path, text_before).IgnoreError();
  return absl::InternalError(absl::StrCat(path, " says ", *now, " after ", to, " was written"));
}

absl::Status ServiceLimit::TakeBack() {
  absl::Status first;
  // The latest change first: v1 wants memory.memsw.limit_in_bytes to be the higher one at every moment.
  for (size_t i = pending_.size(); i-- > 0;) {
    const absl::Status status = squall::TakeBack(pending_[i].second);
    first.Update(status);
    if (!status.ok()) continue;
    journal_->Done(pending_[i].first);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return first;
}

absl::StatusOr<int64_t> ReadLimitNumber(const std::string& path) {
  const std::string text = Slurp(path);
  int64_t number = std::numeric_limits<int64_t>::max();
  if (absl::StripAsciiWhitespace(text) == "max" || absl::SimpleAtoi(text, &number)) return number;
  return absl::NotFoundError(absl::StrCat("there is no limit in ", path));
}

int64_t SumBelow(const LimitCgroup& cgroup, const std::string& file, const std::string& key) {
  int64_t sum = ReadCgroupKey(FileOf(cgroup, file), key).value_or(0);
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(cgroup.folder, error)) {
    if (entry.is_directory(error)) sum += SumBelow({cgroup.controller, cgroup.version, entry.path()}, file, key);
  }
  return sum;
}

}  // namespace squall
