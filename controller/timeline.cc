#include "controller/timeline.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"

namespace squall {
namespace {

constexpr absl::string_view kMagic = "squall timeline ";
constexpr absl::string_view kFirstLine = "squall timeline 1\n";
constexpr size_t kFrameBytes = 8;
constexpr uint32_t kMaxRecordBytes = 64 << 20;
constexpr size_t kFlushBytes = 64 << 10;

// No run lasts 30 years; beyond that sums of nanoseconds would overflow.
constexpr int64_t kMaxNs = 1'000'000'000'000'000'000;
constexpr int64_t kMaxUs = kMaxNs / 1000;

bool InRange(int64_t ns) { return ns >= -kMaxNs && ns <= kMaxNs; }

absl::Status Contradiction(absl::string_view what) { return absl::InvalidArgumentError(what); }

template <typename Entries>
bool Names(const Entries& entries, absl::string_view name) {
  return std::any_of(entries.begin(), entries.end(), [&](const auto& entry) { return entry.name() == name; });
}

absl::Status AddHeader(const Header& header, Timeline& timeline) {
  if (timeline.header.has_scenario()) return Contradiction("a second header");
  if (!header.has_scenario()) return Contradiction("a header without a scenario");
  timeline.header = header;
  timeline.faults.clear();
  for (const Fault& fault : header.scenario().faults()) {
    timeline.faults.emplace_back().name = fault.name();
  }
  return absl::OkStatus();
}

absl::Status AddRequests(const Requests& columns, Timeline& timeline) {
  if (!Names(timeline.header.scenario().load(), columns.load())) {
    return Contradiction(
        absl::StrCat("requests of a load '", columns.load(), "' that the scenario does not have"));
  }
  const int n = columns.intended_us_size();
  for (const int size : {columns.lag_us_size(), columns.latency_us_size(), columns.status_size(),
                         columns.outcome_size(), columns.number_size()}) {
    if (size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " requests"));
  }
  std::vector<Request>& requests = timeline.requests[columns.load()];
  const size_t before = requests.size();
  auto broken = [&](int i, absl::string_view what) {
    requests.resize(before);
    return Contradiction(absl::StrCat("request ", i, " of its record ", what));
  };
  int64_t intended_us = 0;
  int64_t number = 0;
  int64_t last_ns = timeline.last_ns;
  for (int i = 0; i < n; ++i) {
    if (__builtin_add_overflow(intended_us, columns.intended_us(i), &intended_us) || intended_us > kMaxUs ||
        intended_us < -kMaxUs) {
      return broken(i, "has a start out of range");
    }
    if (__builtin_add_overflow(number, columns.number(i), &number))
      return broken(i, "has a number out of range");
    const Outcome outcome = columns.outcome(i);
    if (outcome == OUTCOME_UNSPECIFIED || !Outcome_IsValid(outcome)) return broken(i, "has no known outcome");
    if (columns.lag_us(i) > columns.latency_us(i)) return broken(i, "ended before it was sent");
    Request& request = requests.emplace_back();
    request.intended_ns = intended_us * 1000;
    request.sent_ns = request.intended_ns + int64_t{columns.lag_us(i)} * 1000;
    request.end_ns = request.intended_ns + int64_t{columns.latency_us(i)} * 1000;
    request.number = number;
    request.status = static_cast<int32_t>(columns.status(i));
    request.outcome = outcome;
    last_ns = std::max(last_ns, request.end_ns);
  }
  timeline.last_ns = last_ns;
  return absl::OkStatus();
}

absl::Status AddArrivals(const Arrivals& columns, Timeline& timeline) {
  if (!Names(timeline.header.scenario().edges(), columns.edge())) {
    return Contradiction(
        absl::StrCat("calls over an edge '", columns.edge(), "' that the scenario does not have"));
  }
  const int n = columns.start_us_size();
  for (const int size : {columns.duration_us_size(), columns.status_size(), columns.result_size()}) {
    if (size != n) return Contradiction(absl::StrCat("columns of ", n, " and ", size, " calls"));
  }
  std::vector<Call>& calls = timeline.calls[columns.edge()];
  const size_t before = calls.size();
  auto broken = [&](int i, absl::string_view what) {
    calls.resize(before);
    return Contradiction(absl::StrCat("call ", i, " of its record ", what));
  };
  int64_t start_us = 0;
  int64_t last_ns = timeline.last_ns;
  for (int i = 0; i < n; ++i) {
    if (__builtin_add_overflow(start_us, columns.start_us(i), &start_us) || start_us > kMaxUs ||
        start_us < -kMaxUs) {
      return broken(i, "has a start out of range");
    }
    const CallResult result = columns.result(i);
    if (result == CALL_RESULT_UNSPECIFIED || !CallResult_IsValid(result))
      return broken(i, "has no known result");
    Call& call = calls.emplace_back();
    call.start_ns = start_us * 1000;
    call.end_ns = call.start_ns + int64_t{columns.duration_us(i)} * 1000;
    call.status = static_cast<int32_t>(columns.status(i));
    call.result = result;
    last_ns = std::max(last_ns, call.end_ns);
  }
  timeline.last_ns = last_ns;
  return absl::OkStatus();
}

absl::Status AddLoadStats(const LoadStats& stats, Timeline& timeline) {
  if (!Names(timeline.header.scenario().load(), stats.load())) {
    return Contradiction(
        absl::StrCat("counts of a load '", stats.load(), "' that the scenario does not have"));
  }
  if (stats.intended() < 0 || stats.sent() < 0 || stats.not_sent() < 0) {
    return Contradiction(absl::StrCat("negative counts of load '", stats.load(), "'"));
  }
  LoadTotals& totals = timeline.loads[stats.load()];
  totals.intended += stats.intended();
  totals.sent += stats.sent();
  totals.not_sent += stats.not_sent();
  if (stats.trace_prefix() != 0) totals.trace_prefix = stats.trace_prefix();
  totals.series.push_back(stats);
  return absl::OkStatus();
}

absl::Status AddFaultEvent(const FaultEvent& event, Timeline& timeline) {
  const auto span = std::find_if(timeline.faults.begin(), timeline.faults.end(),
                                 [&](const FaultSpan& each) { return each.name == event.fault(); });
  if (span == timeline.faults.end()) {
    return Contradiction(
        absl::StrCat("an event of a fault '", event.fault(), "' that the scenario does not have"));
  }
  switch (event.state()) {
    case FaultEvent::INJECTED:
      if (!span->injected_ns) span->injected_ns = event.at_ns();
      break;
    case FaultEvent::HEALING:
      if (!span->heal_asked_ns) span->heal_asked_ns = event.at_ns();
      break;
    case FaultEvent::HEALED:
      if (span->injected_ns && event.at_ns() < *span->injected_ns) {
        return Contradiction(absl::StrCat("fault '", event.fault(), "' was healed before it was injected"));
      }
      if (!span->healed_ns) span->healed_ns = event.at_ns();
      // A later look at the world settles what an earlier one could not.
      span->healing_not_confirmed = false;
      break;
    case FaultEvent::INJECTION_FAILED:
      span->injection_failed = true;
      break;
    case FaultEvent::HEALING_NOT_CONFIRMED:
      span->healing_not_confirmed = true;
      break;
    default:
      return Contradiction(absl::StrCat("an event of fault '", event.fault(), "' without a known state"));
  }
  if (!event.message().empty()) span->message = event.message();
  if (event.has_evidence()) span->evidence = event.evidence();
  return absl::OkStatus();
}

// The time of a record that carries one instant.
int64_t InstantOf(const Record& record) {
  switch (record.kind_case()) {
    case Record::kFault:
      return record.fault().at_ns();
    case Record::kPhase:
      return record.phase().at_ns();
    case Record::kService:
      return record.service().at_ns();
    case Record::kHost:
      return record.host().at_ns();
    case Record::kSample:
      return record.sample().at_ns();
    case Record::kLoadStats:
      return record.load_stats().at_ns();
    case Record::kFooter:
      return record.footer().at_ns();
    case Record::kEdgeStats:
      return record.edge_stats().at_ns();
    case Record::kHeader:
    case Record::kRequests:
    case Record::kArrivals:
    case Record::kStall:
    case Record::KIND_NOT_SET:
      return 0;
  }
  return 0;
}

absl::Status AddKind(const Record& record, Timeline& timeline) {
  const Scenario& scenario = timeline.header.scenario();
  switch (record.kind_case()) {
    case Record::kHeader:
      return AddHeader(record.header(), timeline);
    case Record::kRequests:
      return AddRequests(record.requests(), timeline);
    case Record::kArrivals:
      return AddArrivals(record.arrivals(), timeline);
    case Record::kFault:
      return AddFaultEvent(record.fault(), timeline);
    case Record::kPhase:
      timeline.phases.push_back(record.phase());
      return absl::OkStatus();
    case Record::kService:
      if (!Names(scenario.services(), record.service().service())) {
        return Contradiction(
            absl::StrCat("an event of an unknown service '", record.service().service(), "'"));
      }
      timeline.services.push_back(record.service());
      return absl::OkStatus();
    case Record::kStall: {
      const Stall& stall = record.stall();
      if (!InRange(stall.start_ns()) || !InRange(stall.length_ns()) || stall.length_ns() < 0) {
        return Contradiction("a stall out of range");
      }
      timeline.stalls.push_back(stall);
      timeline.last_ns = std::max(timeline.last_ns, stall.start_ns() + stall.length_ns());
      return absl::OkStatus();
    }
    case Record::kHost:
      timeline.host.push_back(record.host());
      return absl::OkStatus();
    case Record::kSample:
      if (!Names(scenario.services(), record.sample().service())) {
        return Contradiction(
            absl::StrCat("a sample of an unknown service '", record.sample().service(), "'"));
      }
      timeline.samples[record.sample().service()].push_back(record.sample());
      return absl::OkStatus();
    case Record::kLoadStats:
      return AddLoadStats(record.load_stats(), timeline);
    case Record::kFooter:
      timeline.footer = record.footer();
      return absl::OkStatus();
    case Record::kEdgeStats:
      if (!Names(scenario.edges(), record.edge_stats().edge())) {
        return Contradiction(absl::StrCat("counters of an unknown edge '", record.edge_stats().edge(), "'"));
      }
      timeline.edge_stats[record.edge_stats().edge()].push_back(record.edge_stats());
      return absl::OkStatus();
    case Record::KIND_NOT_SET:
      return Contradiction("a record of no known kind");
  }
  return Contradiction("a record of no known kind");
}

// Records come nearly in order, so that most calls find nothing to do.
template <typename Entries, typename Key>
void SortBy(Entries& entries, Key key) {
  auto less = [&](const auto& a, const auto& b) { return key(a) < key(b); };
  if (!std::is_sorted(entries.begin(), entries.end(), less))
    std::stable_sort(entries.begin(), entries.end(), less);
}

uint32_t Crc32(absl::string_view bytes) {
  return static_cast<uint32_t>(
      crc32(0L, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

void PutLittleEndian(uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift & 0xff));
}

uint32_t GetLittleEndian(const char* bytes) {
  uint32_t value = 0;
  for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

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
    const uint32_t length = GetLittleEndian(frame->data());
    const uint32_t crc = GetLittleEndian(frame->data() + 4);
    if (length > kMaxRecordBytes) return damaged(absl::StrCat("a record of ", length, " bytes"));
    const absl::StatusOr<absl::string_view> payload = reader.Take(length);
    if (!payload.ok()) return payload.status();
    if (payload->size() < length) return cut_off();
    if (Crc32(*payload) != crc) return damaged("the checksum of its record is wrong");
    if (!record.ParseFromArray(payload->data(), static_cast<int>(length))) return damaged("not a record");
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

bool IsError(Outcome outcome) {
  switch (outcome) {
    case OK:
    case DEGRADED:
    case REJECTED:
    case ABANDONED:
      return false;
    default:
      return true;
  }
}

absl::Status Timeline::Add(const Record& record) {
  if (!record.has_header() && !header.has_scenario()) return Contradiction("a record before the header");
  if (footer) return Contradiction("a record after the last one");
  const int64_t instant = InstantOf(record);
  if (!InRange(instant)) return Contradiction("a time out of range");
  if (absl::Status status = AddKind(record, *this); !status.ok()) return status;
  last_ns = std::max(last_ns, instant);
  return absl::OkStatus();
}

void Timeline::Sort() {
  // std::sort needs no second copy, which a stable one of ten million requests would.
  auto earlier = [](const Request& a, const Request& b) {
    return std::tie(a.intended_ns, a.number) < std::tie(b.intended_ns, b.number);
  };
  for (auto& [load, list] : requests) {
    if (!std::is_sorted(list.begin(), list.end(), earlier)) std::sort(list.begin(), list.end(), earlier);
  }
  auto sooner = [](const Call& a, const Call& b) {
    return std::tie(a.start_ns, a.end_ns) < std::tie(b.start_ns, b.end_ns);
  };
  for (auto& [edge, list] : calls) {
    if (!std::is_sorted(list.begin(), list.end(), sooner)) std::sort(list.begin(), list.end(), sooner);
  }
  auto at = [](const auto& entry) { return entry.at_ns(); };
  for (auto& [load, totals] : loads) SortBy(totals.series, at);
  for (auto& [edge, list] : edge_stats) SortBy(list, at);
  for (auto& [service, list] : samples) SortBy(list, at);
  SortBy(phases, at);
  SortBy(services, at);
  SortBy(host, at);
  SortBy(stalls, [](const Stall& stall) { return stall.start_ns(); });
}

const FaultSpan* Timeline::FindFault(absl::string_view name) const {
  for (const FaultSpan& fault : faults) {
    if (fault.name == name) return &fault;
  }
  return nullptr;
}

std::optional<int64_t> Timeline::PhaseStart(PhaseEvent::Phase phase) const {
  for (const PhaseEvent& event : phases) {
    if (event.phase() == phase) return event.at_ns();
  }
  return std::nullopt;
}

std::string TraceId(uint64_t prefix, int64_t number) {
  return absl::StrFormat("%016x%016x", prefix, static_cast<uint64_t>(number));
}

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
  PutLittleEndian(static_cast<uint32_t>(payload.size()), buffer_);
  PutLittleEndian(Crc32(payload), buffer_);
  buffer_ += payload;
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
