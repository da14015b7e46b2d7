#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/frames.h"
#include "controller/timeline.h"

namespace squall {
namespace {

constexpr absl::string_view kMagic = "squall timeline ";
constexpr absl::string_view kFirstLine = "squall timeline 1\n";
constexpr uint32_t kMaxRecordBytes = 64 << 20;
constexpr size_t kFlushBytes = 64 << 10;

// Reads exactly `size` bytes at `offset` into `out`; fewer only at the end of the file.
absl::Status ReadAt(int fd, const std::string& path, int64_t offset, size_t size, std::string& out) {
  out.resize(size);
  size_t have = 0;
  while (have < size) {
    const ssize_t n = pread(fd, out.data() + have, size - have, offset + static_cast<int64_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  out.resize(have);
  return absl::OkStatus();
}

// Reads a file in large pieces and hands out views into them.
class PieceReader {
 public:
  PieceReader(int fd, std::string path, int64_t size) : fd_(fd), path_(std::move(path)), size_(size) {}

  int64_t offset() const { return offset_; }
  int64_t left() const { return size_ - offset_; }

  // The next `size` bytes, valid until the next call; fewer when the file ends before.
  absl::StatusOr<absl::string_view> Take(size_t size) {
    const size_t want = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(size), left()));
    if (offset_ < piece_at_ ||
        offset_ + static_cast<int64_t>(want) > piece_at_ + static_cast<int64_t>(piece_.size())) {
      const size_t read = std::max<size_t>(want, static_cast<size_t>(std::min<int64_t>(kPieceBytes, left())));
      if (absl::Status status = ReadAt(fd_, path_, offset_, read, piece_); !status.ok()) return status;
      piece_at_ = offset_;
    }
    const absl::string_view view =
        absl::string_view(piece_).substr(static_cast<size_t>(offset_ - piece_at_), want);
    offset_ += static_cast<int64_t>(view.size());
    return view;
  }

 private:
  static constexpr int64_t kPieceBytes = 1 << 20;
  const int fd_;
  const std::string path_;
  const int64_t size_;
  int64_t offset_ = 0;
  std::string piece_;
  int64_t piece_at_ = 0;
};

absl::Status CheckFirstLine(absl::string_view line, const std::string& path) {
  if (line == kFirstLine) return absl::OkStatus();
  if (absl::StartsWith(kFirstLine, line)) {
    return absl::DataLossError(
        absl::StrCat(path, " was cut off at byte ", line.size(), ", in its first line"));
  }
  absl::string_view version = line;
  absl::ConsumeSuffix(&version, "\n");
  if (absl::ConsumePrefix(&version, kMagic) && !version.empty() && version != "1" &&
      std::all_of(version.begin(), version.end(), absl::ascii_isdigit)) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is a timeline of a version other than 1: use the squall that wrote it"));
  }
  return absl::DataLossError(absl::StrCat(path, " is no squall timeline, or is damaged at byte 0"));
}

// Makes room for `more` entries and those still to come, as many per byte as so far, so that a long run does
// not need twice its memory while a vector grows.
template <typename Entry>
void ReserveFor(int more, double share_read, std::vector<Entry>& entries) {
  const size_t needed = entries.size() + static_cast<size_t>(more);
  if (needed <= entries.capacity()) return;
  const auto expected = static_cast<size_t>(static_cast<double>(needed) / share_read * 1.02);
  entries.reserve(std::max(needed + needed / 8, expected));
}

absl::Status ReadRecords(PieceReader& reader, const std::string& path, Timeline& timeline) {
  const auto size = static_cast<double>(reader.offset() + reader.left());
  Record record;
  while (reader.left() > 0) {
    const int64_t at = reader.offset();
    auto damaged = [&](absl::string_view what) {
      return absl::DataLossError(absl::StrCat(path, " is damaged at byte ", at, ": ", what));
    };
    auto cut_off = [&] {
      return absl::DataLossError(
          absl::StrCat(path, " was cut off at byte ", reader.offset(), ", in a record"));
    };
    const absl::StatusOr<absl::string_view> frame = reader.Take(kFrameBytes);
    if (!frame.ok()) return frame.status();
    if (frame->size() < kFrameBytes) return cut_off();
    const FrameHead head = ParseFrameHead(*frame);
    if (head.length > kMaxRecordBytes) return damaged(absl::StrCat("a record of ", head.length, " bytes"));
    const absl::StatusOr<absl::string_view> payload = reader.Take(head.length);
    if (!payload.ok()) return payload.status();
    if (payload->size() < head.length) return cut_off();
    if (!IsWhole(head, *payload)) return damaged("the checksum of its record is wrong");
    if (!record.ParseFromArray(payload->data(), static_cast<int>(head.length))) return damaged("not a record");
    const double share_read = static_cast<double>(reader.offset()) / size;
    if (record.has_requests()) {
      ReserveFor(record.requests().intended_us_size(), share_read,
                 timeline.requests[record.requests().load()]);
    } else if (record.has_arrivals()) {
      ReserveFor(record.arrivals().start_us_size(), share_read, timeline.calls[record.arrivals().edge()]);
    }
    if (const absl::Status added = timeline.Add(record); !added.ok()) return damaged(added.message());
  }
  if (!timeline.footer) {
    return absl::DataLossError(
        absl::StrCat(path, " was cut off at byte ", reader.offset(),
                     ": it has no last record. The run did not end, or is still going on"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TimelineWriter> TimelineWriter::Create(const std::string& path) {
  // Never over another run's timeline.
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot create ", path));
  TimelineWriter writer(fd, path);
  writer.buffer_ = std::string(kFirstLine);
  if (absl::Status status = writer.Flush(); !status.ok()) return status;
  return writer;
}

TimelineWriter::TimelineWriter(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

TimelineWriter::TimelineWriter(TimelineWriter&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)), buffer_(std::move(other.buffer_)) {}

TimelineWriter& TimelineWriter::operator=(TimelineWriter&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

TimelineWriter::~TimelineWriter() {
  if (fd_ < 0) return;
  // Who cares about errors calls Close().
  Flush().IgnoreError();
  if (fd_ >= 0) close(fd_);
}

absl::Status TimelineWriter::Append(const Record& record) {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat(path_, " is closed"));
  std::string payload;
  if (!record.SerializeToString(&payload) || payload.size() > kMaxRecordBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a record of ", record.ByteSizeLong(), " bytes is too long"));
  }
  AppendFrame(payload, buffer_);
  return buffer_.size() >= kFlushBytes ? Flush() : absl::OkStatus();
}

absl::Status TimelineWriter::Close() {
  if (fd_ < 0) return absl::FailedPreconditionError(absl::StrCat(path_, " is closed"));
  if (absl::Status status = Flush(); !status.ok()) return status;
  const bool synced = fsync(fd_) == 0;
  const int error = errno;
  const bool closed = close(std::exchange(fd_, -1)) == 0;
  if (!synced) return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path_, " to its disk"));
  if (!closed) return absl::ErrnoToStatus(errno, absl::StrCat("cannot close ", path_));
  return absl::OkStatus();
}

absl::Status TimelineWriter::Flush() {
  absl::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t n = write(fd_, rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      // What follows a torn record could not be read, so that nothing may.
      close(std::exchange(fd_, -1));
      return absl::ErrnoToStatus(error, absl::StrCat("cannot write ", path_));
    }
    rest.remove_prefix(static_cast<size_t>(n));
  }
  buffer_.clear();
  return absl::OkStatus();
}

absl::StatusOr<Timeline> ReadTimeline(const std::string& path) {
  // O_NONBLOCK: a FIFO by this name must not hang us.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  const absl::Cleanup closer = [fd] { close(fd); };
  struct stat about;
  if (fstat(fd, &about) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
  if (!S_ISREG(about.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is not a file"));

  PieceReader reader(fd, path, about.st_size);
  const absl::StatusOr<absl::string_view> line = reader.Take(kFirstLine.size());
  if (!line.ok()) return line.status();
  if (absl::Status status = CheckFirstLine(*line, path); !status.ok()) return status;

  Timeline timeline;
  if (absl::Status status = ReadRecords(reader, path, timeline); !status.ok()) return status;
  timeline.Sort();
  return timeline;
}

}  // namespace squall
