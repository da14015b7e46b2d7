#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "controller/small_run.h"
#include "controller/timeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string PathTo(const std::string& name) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
  remove(path.c_str());
  return path;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

absl::StatusOr<Timeline> ReadBytes(const std::string& bytes) {
  const std::string path = PathTo("bytes.timeline");
  std::ofstream(path, std::ios::binary) << bytes;
  return ReadTimeline(path);
}

// The bytes of a file that holds these records.
std::string Written(const std::vector<Record>& records) {
  const std::string path = PathTo("written.timeline");
  absl::StatusOr<TimelineWriter> writer = TimelineWriter::Create(path);
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (const Record& record : records) EXPECT_TRUE(writer->Append(record).ok());
  EXPECT_TRUE(writer->Close().ok());
  return Contents(path);
}

TEST(TimelineFile, GivesBackWhatWasWritten) {
  const absl::StatusOr<Timeline> read = ReadBytes(Written(SmallRun()));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->header.scenario().name(), "small");
  ASSERT_TRUE(read->footer.has_value());
  EXPECT_EQ(read->footer->ending(), Footer::COMPLETED);
  EXPECT_EQ(read->last_ns, 9'000'000'000);

  const std::vector<Request>& requests = read->requests.at("checkout");
  ASSERT_THAT(requests, SizeIs(2));
  EXPECT_EQ(requests[0].intended_ns, 1'000'000'000);
  EXPECT_EQ(requests[0].AnswerNs(), 1'499'980'000);
  EXPECT_EQ(requests[0].LatencyNs(), 1'500'000'000);
  EXPECT_EQ(requests[0].number, 1);
  EXPECT_EQ(requests[0].status, 504);
  EXPECT_EQ(requests[0].outcome, ERROR);
  EXPECT_EQ(requests[1].intended_ns, 2'000'000'000);
  EXPECT_EQ(requests[1].number, 2);

  const std::vector<Call>& calls = read->calls.at("recommend");
  ASSERT_THAT(calls, SizeIs(2));
  EXPECT_EQ(calls[0].start_ns, 2'500'000'000);
  EXPECT_EQ(calls[0].end_ns, 2'502'000'000);
  EXPECT_EQ(calls[0].result, CALLER_LEFT);
  EXPECT_EQ(calls[1].status, 200);

  const LoadTotals& totals = read->loads.at("checkout");
  EXPECT_EQ(totals.intended, 6);
  EXPECT_EQ(totals.sent, 4);
  EXPECT_EQ(totals.not_sent, 2);
  EXPECT_EQ(totals.trace_prefix, 77u);
  EXPECT_EQ(read->PhaseStart(PhaseEvent::FAULTS), 4);
  EXPECT_EQ(read->PhaseStart(PhaseEvent::DONE), std::nullopt);
  EXPECT_THAT(read->stalls, SizeIs(1));
}

TEST(TimelineFile, IsRejectedWithAnyByteFlipped) {
  const std::string whole = Written(SmallRun());
  ASSERT_TRUE(ReadBytes(whole).ok());
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bit : {0, 3, 7}) {
      std::string broken = whole;
      broken[at] = static_cast<char>(broken[at] ^ 1 << bit);
      const absl::Status status = ReadBytes(broken).status();
      // The byte of the version may become that of another one.
      ASSERT_TRUE(absl::IsDataLoss(status) || (at == 16 && absl::IsFailedPrecondition(status)))
          << "byte " << at << ", bit " << bit << ": " << status;
    }
  }
}

TEST(TimelineFile, IsRejectedWhenCutOffAnywhere) {
  const std::string whole = Written(SmallRun());
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status = ReadBytes(whole.substr(0, size)).status();
    ASSERT_TRUE(absl::IsDataLoss(status)) << "cut at " << size << ": " << status;
    ASSERT_THAT(status.message(), HasSubstr(absl::StrCat("cut off at byte ", size))) << "cut at " << size;
  }
}

TEST(TimelineFile, IsRejectedWithMoreBehindItsEnd) {
  const std::string whole = Written(SmallRun());
  EXPECT_TRUE(absl::IsDataLoss(ReadBytes(whole + "x").status()));
  // Eight zeros are an empty record with the right checksum.
  EXPECT_TRUE(absl::IsDataLoss(ReadBytes(whole + std::string(8, '\0')).status()));
  std::vector<Record> records = SmallRun();
  records.push_back(FooterRecord());
  EXPECT_THAT(ReadBytes(Written(records)).status().message(), HasSubstr("a record after the last one"));
}

TEST(TimelineFile, SaysWhereTheDamageIs) {
  const std::string first = Written({HeaderRecord()});
  std::string whole = Written(SmallRun());
  whole[first.size() + 20] ^= 1;
  EXPECT_THAT(
      ReadBytes(whole).status().message(),
      HasSubstr(absl::StrCat("is damaged at byte ", first.size(), ": the checksum of its record is wrong")));
}

TEST(TimelineFile, IsRejectedWhenOfAnotherVersion) {
  std::string whole = Written(SmallRun());
  whole[16] = '2';
  const absl::Status status = ReadBytes(whole).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("version other than 1"));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadBytes("squall timeline 12\n").status()));
}

TEST(TimelineFile, IsRejectedWhenItIsSomethingElse) {
  for (const std::string& bytes : {std::string("\x7f"
                                               "ELF and so on and so on"),
                                   std::string(4096, '\0'), std::string("squall timeline one\n"),
                                   std::string("squall timeline \n\n\n")}) {
    const absl::Status status = ReadBytes(bytes).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("no squall timeline"));
  }
}

TEST(TimelineFile, IsRejectedWithAnImpossibleLength) {
  const std::string line = "squall timeline 1\n";
  EXPECT_THAT(ReadBytes(line + std::string(8, '\xff')).status().message(),
              HasSubstr("a record of 4294967295 bytes"));
  // Within the limit, but longer than the file.
  EXPECT_THAT(ReadBytes(line + std::string("\0\0\0\1\0\0\0\0abc", 11)).status().message(),
              HasSubstr("was cut off"));
}

TEST(TimelineFile, IsRejectedWithoutHeader) {
  EXPECT_THAT(ReadBytes(Written({RequestsRecord(), FooterRecord()})).status().message(),
              HasSubstr("a record before the header"));
}

TEST(TimelineFile, IsNotFoundWhereThereIsNone) {
  EXPECT_TRUE(absl::IsNotFound(ReadTimeline(PathTo("none")).status()));
  const std::string folder = PathTo("folder");
  mkdir(folder.c_str(), 0755);
  EXPECT_TRUE(absl::IsInvalidArgument(ReadTimeline(folder).status()));
  const std::string pipe = PathTo("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(ReadTimeline(pipe).status()));
}

TEST(TimelineFile, IsReadInPiecesHoweverLongItsRecordsAre) {
  std::vector<Record> records = {HeaderRecord()};
  // 3 MB in one record, and 3 MB in small ones.
  Record service;
  service.mutable_service()->set_service("orders");
  service.mutable_service()->set_message(std::string(3'000'000, 'x'));
  records.push_back(service);
  service.mutable_service()->set_message(std::string(997, 'y'));
  for (int i = 0; i < 3000; ++i) records.push_back(service);
  records.push_back(FooterRecord());
  const absl::StatusOr<Timeline> read = ReadBytes(Written(records));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_THAT(read->services, SizeIs(3001));
  EXPECT_EQ(read->services[0].message().size(), 3'000'000u);
  EXPECT_EQ(read->services[3000].message(), std::string(997, 'y'));
}

TEST(TimelineWriter, NeverWritesOverAnotherTimeline) {
  const std::string path = PathTo("once");
  ASSERT_TRUE(TimelineWriter::Create(path)->Close().ok());
  EXPECT_TRUE(absl::IsAlreadyExists(TimelineWriter::Create(path).status()));
}

TEST(TimelineWriter, WritesNothingMoreOnceClosed) {
  absl::StatusOr<TimelineWriter> writer = TimelineWriter::Create(PathTo("closed"));
  ASSERT_TRUE(writer->Close().ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(writer->Append(FooterRecord())));
  EXPECT_TRUE(absl::IsFailedPrecondition(writer->Close()));
}

TEST(TimelineWriter, KeepsWhatWasAppendedWhenItIsMovedOrForgotten) {
  const std::string path = PathTo("moved");
  {
    TimelineWriter writer = *TimelineWriter::Create(path);
    ASSERT_TRUE(writer.Append(HeaderRecord()).ok());
    TimelineWriter other = std::move(writer);
    ASSERT_TRUE(other.Append(FooterRecord()).ok());
  }
  EXPECT_TRUE(ReadTimeline(path).ok()) << ReadTimeline(path).status();
}

TEST(TimelineWriter, StopsAtTheFirstRecordThatDoesNotFit) {
  // A limit on the size of files stands in for a full disk.
  signal(SIGXFSZ, SIG_IGN);
  absl::StatusOr<TimelineWriter> writer = TimelineWriter::Create(PathTo("full"));
  ASSERT_TRUE(writer.ok());
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small = {1000, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  Record record;
  record.mutable_service()->set_message(std::string(100'000, 'x'));
  const absl::Status first = writer->Append(record);
  const absl::Status second = writer->Append(FooterRecord());
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  EXPECT_THAT(first.message(), HasSubstr("cannot write"));
  EXPECT_THAT(second.message(), HasSubstr("is closed"));
}

}  // namespace
}  // namespace squall
