#include "controller/timeline.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Record HeaderRecord() {
  Record record;
  Scenario& scenario = *record.mutable_header()->mutable_scenario();
  scenario.set_name("small");
  scenario.add_services()->set_name("orders");
  scenario.add_edges()->set_name("recommend");
  scenario.add_load()->set_name("checkout");
  scenario.add_faults()->set_name("slow");
  scenario.add_faults()->set_name("gone");
  return record;
}

// Two requests: due at 2 s and 1 s, so that they are out of order.
Record RequestsRecord() {
  Record record;
  Requests& columns = *record.mutable_requests();
  columns.set_load("checkout");
  columns.add_intended_us(2'000'000);
  columns.add_intended_us(-1'000'000);
  for (const int lag : {10, 20}) columns.add_lag_us(static_cast<uint32_t>(lag));
  for (const int latency : {5'000, 1'500'000}) columns.add_latency_us(static_cast<uint32_t>(latency));
  for (const int status : {200, 504}) columns.add_status(static_cast<uint32_t>(status));
  columns.add_outcome(OK);
  columns.add_outcome(ERROR);
  columns.add_number(2);
  columns.add_number(-1);
  return record;
}

Record ArrivalsRecord() {
  Record record;
  Arrivals& columns = *record.mutable_arrivals();
  columns.set_edge("recommend");
  columns.add_start_us(3'000'000);
  columns.add_start_us(-500'000);
  columns.add_duration_us(1'000);
  columns.add_duration_us(2'000);
  columns.add_status(200);
  columns.add_status(0);
  columns.add_result(ANSWERED);
  columns.add_result(CALLER_LEFT);
  return record;
}

Record FaultRecord(FaultEvent::State state, int64_t at_ns) {
  Record record;
  record.mutable_fault()->set_fault("slow");
  record.mutable_fault()->set_state(state);
  record.mutable_fault()->set_at_ns(at_ns);
  return record;
}

Record FooterRecord() {
  Record record;
  record.mutable_footer()->set_ending(Footer::COMPLETED);
  record.mutable_footer()->set_at_ns(9'000'000'000);
  return record;
}

std::vector<Record> SmallRun() {
  Record phase;
  phase.mutable_phase()->set_phase(PhaseEvent::FAULTS);
  phase.mutable_phase()->set_at_ns(4);
  Record stats;
  stats.mutable_load_stats()->set_load("checkout");
  stats.mutable_load_stats()->set_at_ns(5);
  stats.mutable_load_stats()->set_intended(3);
  stats.mutable_load_stats()->set_sent(2);
  stats.mutable_load_stats()->set_not_sent(1);
  stats.mutable_load_stats()->set_trace_prefix(77);
  Record stall;
  stall.mutable_stall()->set_start_ns(6);
  stall.mutable_stall()->set_length_ns(7);
  return {HeaderRecord(), RequestsRecord(), ArrivalsRecord(), phase, stats, stats, stall, FooterRecord()};
}

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

// A timeline that has its header.
Timeline Begun() {
  Timeline timeline;
  EXPECT_TRUE(timeline.Add(HeaderRecord()).ok());
  return timeline;
}

std::string Refusal(const Record& record) {
  Timeline timeline = Begun();
  const absl::Status status = timeline.Add(record);
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_TRUE(timeline.requests["checkout"].empty());
  EXPECT_TRUE(timeline.calls["recommend"].empty());
  return std::string(status.message());
}

TEST(Timeline, RefusesColumnsOfDifferentLengths) {
  Record record = RequestsRecord();
  record.mutable_requests()->add_lag_us(1);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 requests");
  record = RequestsRecord();
  record.mutable_requests()->mutable_number()->RemoveLast();
  EXPECT_EQ(Refusal(record), "columns of 2 and 1 requests");
  record = ArrivalsRecord();
  record.mutable_arrivals()->add_result(ANSWERED);
  EXPECT_EQ(Refusal(record), "columns of 2 and 3 calls");
}

TEST(Timeline, RefusesRequestsThatContradictThemselves) {
  Record record = RequestsRecord();
  record.mutable_requests()->set_lag_us(1, 1'500'001);
  EXPECT_EQ(Refusal(record), "request 1 of its record ended before it was sent");
  record = RequestsRecord();
  record.mutable_requests()->set_outcome(0, OUTCOME_UNSPECIFIED);
  EXPECT_EQ(Refusal(record), "request 0 of its record has no known outcome");
  record.mutable_requests()->set_outcome(0, static_cast<Outcome>(99));
  EXPECT_EQ(Refusal(record), "request 0 of its record has no known outcome");
  record = RequestsRecord();
  record.mutable_requests()->set_intended_us(0, INT64_MAX);
  EXPECT_EQ(Refusal(record), "request 0 of its record has a start out of range");
  record = RequestsRecord();
  record.mutable_requests()->set_number(0, INT64_MIN);
  EXPECT_EQ(Refusal(record), "request 1 of its record has a number out of range");
  record = ArrivalsRecord();
  record.mutable_arrivals()->set_result(1, CALL_RESULT_UNSPECIFIED);
  EXPECT_EQ(Refusal(record), "call 1 of its record has no known result");
  record.mutable_arrivals()->set_start_us(1, INT64_MIN);
  EXPECT_EQ(Refusal(record), "call 1 of its record has a start out of range");
}

TEST(Timeline, RefusesNamesThatTheHeaderDoesNotHave) {
  Record record = RequestsRecord();
  record.mutable_requests()->set_load("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a load 'other'"));
  record = ArrivalsRecord();
  record.mutable_arrivals()->set_edge("other");
  EXPECT_THAT(Refusal(record), HasSubstr("an edge 'other'"));
  record = FaultRecord(FaultEvent::INJECTED, 1);
  record.mutable_fault()->set_fault("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a fault 'other'"));
  record.mutable_service()->set_service("other");
  EXPECT_THAT(Refusal(record), HasSubstr("service 'other'"));
  record.mutable_sample()->set_service("other");
  EXPECT_THAT(Refusal(record), HasSubstr("service 'other'"));
  record.mutable_load_stats()->set_load("other");
  EXPECT_THAT(Refusal(record), HasSubstr("a load 'other'"));
  record.mutable_edge_stats()->set_edge("other");
  EXPECT_THAT(Refusal(record), HasSubstr("edge 'other'"));
}

TEST(Timeline, RefusesOtherContradictions) {
  EXPECT_EQ(Refusal(HeaderRecord()), "a second header");
  EXPECT_EQ(Refusal(Record()), "a record of no known kind");
  EXPECT_THAT(Refusal(FaultRecord(FaultEvent::STATE_UNSPECIFIED, 1)), HasSubstr("without a known state"));
  EXPECT_EQ(Refusal(FaultRecord(FaultEvent::INJECTED, INT64_MAX)), "a time out of range");
  Record record;
  record.mutable_stall()->set_length_ns(-1);
  EXPECT_EQ(Refusal(record), "a stall out of range");
  record.mutable_stall()->set_length_ns(INT64_MAX);
  EXPECT_EQ(Refusal(record), "a stall out of range");
  record.mutable_load_stats()->set_load("checkout");
  record.mutable_load_stats()->set_sent(-1);
  EXPECT_EQ(Refusal(record), "negative counts of load 'checkout'");
  Timeline timeline;
  record.mutable_header();
  EXPECT_EQ(timeline.Add(record).message(), "a header without a scenario");
}

TEST(Timeline, FollowsAFault) {
  Timeline timeline = Begun();
  ASSERT_THAT(timeline.faults, SizeIs(2));
  Record injected = FaultRecord(FaultEvent::INJECTED, 10);
  injected.mutable_fault()->mutable_evidence()->set_calls(1);
  ASSERT_TRUE(timeline.Add(injected).ok());
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALING, 20)).ok());
  Record healed = FaultRecord(FaultEvent::HEALED, 21);
  healed.mutable_fault()->mutable_evidence()->set_calls(5);
  ASSERT_TRUE(timeline.Add(healed).ok());
  const FaultSpan& slow = *timeline.FindFault("slow");
  EXPECT_EQ(slow.injected_ns, 10);
  EXPECT_EQ(slow.heal_asked_ns, 20);
  EXPECT_EQ(slow.healed_ns, 21);
  EXPECT_EQ(slow.evidence.calls(), 5);
  EXPECT_EQ(timeline.FindFault("gone")->injected_ns, std::nullopt);
  EXPECT_EQ(timeline.FindFault("other"), nullptr);
}

TEST(Timeline, KeepsTheFirstTimeWhenAFaultIsHealedTwice) {
  Timeline timeline = Begun();
  for (const int64_t at : {5, 6}) ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALED, at)).ok());
  EXPECT_EQ(timeline.FindFault("slow")->healed_ns, 5);
}

TEST(Timeline, TakesALaterConfirmationOfHealing) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::INJECTED, 10)).ok());
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALING_NOT_CONFIRMED, 20)).ok());
  EXPECT_TRUE(timeline.FindFault("slow")->healing_not_confirmed);
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::HEALED, 30)).ok());
  EXPECT_FALSE(timeline.FindFault("slow")->healing_not_confirmed);
  EXPECT_EQ(timeline.FindFault("slow")->healed_ns, 30);
}

TEST(Timeline, RefusesHealingBeforeInjection) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(FaultRecord(FaultEvent::INJECTED, 10)).ok());
  EXPECT_THAT(timeline.Add(FaultRecord(FaultEvent::HEALED, 9)).message(),
              HasSubstr("before it was injected"));
}

TEST(Timeline, KnowsItsLatestTime) {
  Timeline timeline = Begun();
  ASSERT_TRUE(timeline.Add(RequestsRecord()).ok());
  EXPECT_EQ(timeline.last_ns, 2'500'000'000);
  ASSERT_TRUE(timeline.Add(ArrivalsRecord()).ok());
  EXPECT_EQ(timeline.last_ns, 3'001'000'000);
}

TEST(TraceId, IsThePrefixAndTheNumber) {
  EXPECT_EQ(TraceId(0x4bf92f3577b34da6, 1234), "4bf92f3577b34da600000000000004d2");
}

TEST(IsError, HoldsForFailuresOnly) {
  std::vector<Outcome> errors;
  for (int value = Outcome_MIN + 1; value <= Outcome_MAX; ++value) {
    if (IsError(static_cast<Outcome>(value))) errors.push_back(static_cast<Outcome>(value));
  }
  EXPECT_THAT(errors, ElementsAre(ERROR, TIMED_OUT, REFUSED, RESET));
}

}  // namespace
}  // namespace squall
