#include "agent/journal.h"

#include <endian.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/undo.h"
#include "base/frames.h"
#include "base/local_folder.h"

namespace squall {
namespace {

constexpr absl::string_view kFirstWords = "squall journal ";
constexpr absl::string_view kFirstLine = "squall journal 2       \n";
constexpr size_t kEntriesAt = kFirstLine.size() + sizeof(int64_t);
constexpr int64_t kExpiryStepNs = 100'000'000;
static_assert(kFirstLine.size() % sizeof(int64_t) == 0, "nobody is to see half an expiry");
constexpr uint32_t kMostEntryBytes = 1 << 20;

// For this user only; those above it as they come.
absl::Status MakeFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), error);
  if (mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", folder));
}

// Its name is on the disk too once its folder is synced.
absl::Status SyncFolder(const std::string& folder) {
  const Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot sync ", folder));
  return absl::OkStatus();
}

}  // namespace

std::string BootId() {
  return std::string(absl::StripAsciiWhitespace(Slurp("/proc/sys/kernel/random/boot_id")));
}

absl::StatusOr<std::string> JournalFolder() {
  const char* given = getenv("SQUALL_STATE_DIR");
  const passwd* user = getpwuid(geteuid());
  std::string folder = geteuid() == 0    ? "/var/lib/squall"
                       : user != nullptr ? absl::StrCat(user->pw_dir, "/.local/state/squall")
                                         : LocalFolder();
  if (given != nullptr && given[0] == '/') folder = given;
  absl::Status made = MakeFolder(folder);
  if (!made.ok() && given == nullptr) {  // a user without a home
    folder = LocalFolder();
    made = MakeFolder(folder);
  }
  struct stat about;
  if (!made.ok() || stat(folder.c_str(), &about) != 0) {
    return absl::UnavailableError(absl::StrCat("no journal can be kept: ", made.message(), "; set SQUALL_STATE_DIR to a folder of this user's own"));
  }
  // What is read there is done with this user's privileges.
  if (!S_ISDIR(about.st_mode) || about.st_uid != geteuid() || ((about.st_mode & 022) != 0 && chmod(folder.c_str(), 0700) != 0)) {
    return absl::PermissionDeniedError(absl::StrCat(folder, " belongs to others, and the journal must not; set SQUALL_STATE_DIR"));
  }
  return folder;
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Create(const std::string& folder) {
  const absl::StatusOr<ProcStat> self = ReadStat(getpid());
  if (!self.ok()) return self.status();
  std::unique_ptr<Journal> journal(new Journal);
  const std::string path = absl::StrCat(folder, "/", self->id.pid, "-", self->id.start_ticks, ".journal");
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", path));
  JournalEntry owner;
  owner.mutable_owner()->set_boot_id(BootId());
  *owner.mutable_owner()->mutable_agent() = ToProto(self->id);
  std::string bytes(kFirstLine);
  bytes.resize(kEntriesAt);
  AppendFrame(owner.SerializeAsString(), bytes);
  if (write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) || fsync(fd.get()) != 0) {
    const absl::Status status = absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
    unlink(path.c_str());
    return status;
  }
  const absl::Status synced = SyncFolder(folder);
  if (!synced.ok()) return synced;
  journal->path_ = path;
  journal->fd_ = std::move(fd);
  absl::MutexLock lock(&journal->mutex_);
  journal->empty_size_ = journal->size_ = static_cast<int64_t>(bytes.size());
  return journal;
}

Journal::~Journal() {
  absl::MutexLock lock(&mutex_);
  if (fd_ && pending_.empty()) unlink(path_.c_str());
}

void Journal::SetExpiry(int64_t expires_ns) {
  absl::MutexLock lock(&expiry_mutex_);
  const bool both = expires_ns != 0 && expires_ns_ != 0;
  if (!fd_ || (both ? std::llabs(expires_ns - expires_ns_) < kExpiryStepNs : expires_ns == expires_ns_)) return;
  const int64_t bytes = static_cast<int64_t>(htole64(static_cast<uint64_t>(expires_ns)));
  if (pwrite(fd_.get(), &bytes, sizeof(bytes), kFirstLine.size()) == sizeof(bytes)) expires_ns_ = expires_ns;
}

absl::Status Journal::Append(const JournalEntry& entry) {
  if (!fd_) return absl::FailedPreconditionError("there is no journal");
  std::string bytes;
  AppendFrame(entry.SerializeAsString(), bytes);
  const ssize_t written = pwrite(fd_.get(), bytes.data(), bytes.size(), size_);
  if (written != static_cast<ssize_t>(bytes.size()) || fdatasync(fd_.get()) != 0) {
    const int error = written < 0 ? errno : ENOSPC;
    // Half a frame would hide what is written after it.
    (void)!ftruncate(fd_.get(), size_);
    return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path_));
  }
  size_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Journal::Pend(const Undo& undo) {
  absl::MutexLock lock(&mutex_);
  JournalEntry entry;
  entry.mutable_pending()->set_number(last_ + 1);
  *entry.mutable_pending()->mutable_undo() = undo;
  const absl::Status status = Append(entry);
  if (!status.ok()) return status;
  pending_[++last_] = undo;
  return last_;
}

void Journal::Done(uint64_t number) {
  absl::MutexLock lock(&mutex_);
  if (pending_.erase(number) == 0) return;
  JournalEntry entry;
  entry.set_done(number);
  // Where this cannot be written it is taken back once more, which does nothing.
  Append(entry).IgnoreError();
  // Nothing to remember but whose it is: the file does not grow for ever.
  if (pending_.empty() && ftruncate(fd_.get(), empty_size_) == 0) size_ = empty_size_;
}

std::vector<PendingUndo> Journal::Pending() const {
  absl::MutexLock lock(&mutex_);
  std::vector<PendingUndo> pending;
  for (const auto& [number, undo] : pending_) {
    pending.emplace_back();
    pending.back().set_number(number);
    *pending.back().mutable_undo() = undo;
  }
  return pending;
}

absl::StatusOr<JournalContent> ParseJournal(absl::string_view bytes) {
  if (absl::StartsWith(bytes, kFirstWords) && bytes.size() >= kFirstLine.size() && !absl::StartsWith(bytes, kFirstLine)) {
    return absl::UnimplementedError("it is of another version of squall, whose agent has to take it back");
  }
  if (!absl::StartsWith(bytes, kFirstLine)) return absl::DataLossError("it is no journal of squall's");
  if (bytes.size() < kEntriesAt) return absl::DataLossError("it does not say whose it is");
  JournalContent content;
  memcpy(&content.expires_ns, bytes.data() + kFirstLine.size(), sizeof(content.expires_ns));
  content.expires_ns = static_cast<int64_t>(le64toh(static_cast<uint64_t>(content.expires_ns)));
  bytes.remove_prefix(kEntriesAt);
  std::map<uint64_t, Undo> pending;
  bool owned = false;
  while (!bytes.empty()) {
    JournalEntry entry;
    const FrameHead head = bytes.size() < kFrameBytes ? FrameHead{} : ParseFrameHead(bytes.substr(0, kFrameBytes));
    const absl::string_view payload = bytes.size() < kFrameBytes ? "" : bytes.substr(kFrameBytes, head.length);
    if (bytes.size() < kFrameBytes || head.length > kMostEntryBytes || !IsWhole(head, payload) ||
        !entry.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
      content.torn = true;
      break;
    }
    bytes.remove_prefix(kFrameBytes + payload.size());
    switch (entry.kind_case()) {
      case JournalEntry::kOwner:
        content.owner = entry.owner();
        owned = true;
        break;
      case JournalEntry::kPending:
        pending[entry.pending().number()] = entry.pending().undo();
        break;
      case JournalEntry::kDone:
        pending.erase(entry.done());
        break;
      case JournalEntry::KIND_NOT_SET:
        break;
    }
  }
  if (!owned) return absl::DataLossError("it does not say whose it is");
  for (auto& [number, undo] : pending) {
    content.pending.emplace_back();
    content.pending.back().set_number(number);
    *content.pending.back().mutable_undo() = std::move(undo);
  }
  return content;
}

absl::StatusOr<JournalContent> ReadJournal(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat about;
  if (!fd || fstat(fd.get(), &about) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  if (!S_ISREG(about.st_mode)) return absl::DataLossError(absl::StrCat(path, " is not a file"));
  absl::StatusOr<JournalContent> content = ParseJournal(Slurp(path));
  if (!content.ok()) return absl::Status(content.status().code(), absl::StrCat(path, ": ", content.status().message()));
  return content;
}

}  // namespace squall
