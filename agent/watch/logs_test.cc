// Real files.
#include "agent/watch/logs.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace squall {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

int64_t ResidentBytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::vector<std::string> Split(std::vector<std::string> pieces) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  const auto take = [&](absl::string_view line) { lines.emplace_back(line); };
  for (const std::string& piece : pieces) splitter.Add(piece, take);
  splitter.End(take);
  return lines;
}

TEST(LineSplitter, MakesLinesOfPieces) {
  EXPECT_THAT(Split({"one\ntw", "o\n", "", "\nthree"}), ElementsAre("one", "two", "", "three"));
  EXPECT_THAT(Split({"one\r", "\ntwo\r\n"}), ElementsAre("one", "two"));
  EXPECT_THAT(Split({"\n"}), ElementsAre(""));
  EXPECT_THAT(Split({}), IsEmpty());
}

TEST(LineSplitter, KeepsTheBeginningOfALongLine) {
  const std::string part(10'000, 'x');
  EXPECT_THAT(Split({part, part, part + "\nnext"}), ElementsAre(std::string(LineSplitter::kMostBytes, 'x'), "next"));
  EXPECT_THAT(Split({part + part + "\nnext\n"}), ElementsAre(std::string(LineSplitter::kMostBytes, 'x'), "next"));
}

class LogWatchTest : public ::testing::Test {
 protected:
  LogWatchTest() {
    char path[] = "/tmp/squall-logs-XXXXXX";
    folder_ = mkdtemp(path);
    file_ = folder_ + "/orders.log";
  }
  ~LogWatchTest() override {
    watch_.reset();
    for (const char* name : {"/orders.log", "/orders.log.1", "/orders.log.2"}) unlink((folder_ + name).c_str());
    rmdir(folder_.c_str());
  }
  void Write(const std::string& text) const { std::ofstream(file_, std::ios::app | std::ios::binary) << text; }
  void Watch(bool file = true, std::vector<LinePattern> patterns = {{"opens", "breaker .*opened"}, {"all", "."}}) {
    watch_ = std::make_unique<LogWatch>("orders", file ? file_ : "", patterns, [this](const Record& record) {
      absl::MutexLock lock(&mutex_);
      records_.push_back(record.log());
    });
  }
  // What the assertion was told until so many of its lines were.
  std::vector<std::string> Told(const std::string& assertion, size_t least) {
    for (int i = 0; i < 2000; ++i) {
      std::vector<std::string> lines = ToldNow(assertion);
      if (lines.size() >= least) return lines;
      absl::SleepFor(absl::Milliseconds(5));
    }
    return ToldNow(assertion);
  }
  std::vector<std::string> ToldNow(const std::string& assertion) {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> lines;
    for (const LogLines& record : records_) {
      for (const LogLines::Match& match : record.matches()) {
        if (match.assertion() == assertion) lines.push_back(match.line());
      }
    }
    return lines;
  }
  int64_t Lines() {
    absl::MutexLock lock(&mutex_);
    int64_t lines = 0;
    for (const LogLines& record : records_) lines += record.lines();
    return lines;
  }

  std::string folder_, file_;
  absl::Mutex mutex_;
  std::vector<LogLines> records_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<LogWatch> watch_;
};

TEST_F(LogWatchTest, TellsPrintedLinesThatMatchAndCountsAll) {
  Watch(/*file=*/false);
  watch_->Printed("starting\nbreaker for recomm");
  watch_->Printed("end opened\n");
  EXPECT_THAT(Told("opens", 1), ElementsAre("breaker for recommend opened"));
  EXPECT_THAT(Told("all", 2), ElementsAre("starting", "breaker for recommend opened"));
  EXPECT_EQ(Lines(), 2);
}

TEST_F(LogWatchTest, ALineWithoutAnEndIsToldWhenTheOutputEnds) {
  Watch(/*file=*/false);
  watch_->Printed("panic: breaker opened");
  watch_->Tell();
  EXPECT_THAT(ToldNow("all"), IsEmpty());
  watch_->Printed("");
  watch_->Tell();
  EXPECT_THAT(ToldNow("all"), ElementsAre("panic: breaker opened"));
}

TEST_F(LogWatchTest, WhatWasWrittenBeforeTellIsToldByIt) {
  Write("old\n");
  Watch();
  Write("in the file\n");
  watch_->Printed("printed\n");
  watch_->Tell();
  EXPECT_EQ(Lines(), 2);
}

TEST_F(LogWatchTest, ReadsAFileFromTheStartOfTheRunOn) {
  Write("from before the run\n");
  Watch();
  Write("first\nsec");
  EXPECT_THAT(Told("all", 1), ElementsAre("first"));
  Write("ond\n");
  EXPECT_THAT(Told("all", 2), ElementsAre("first", "second"));
}

TEST_F(LogWatchTest, ReadsAFileThatAppearsLaterFromItsBeginning) {
  Watch();
  absl::SleepFor(absl::Milliseconds(60));
  Write("first\n");
  EXPECT_THAT(Told("all", 1), ElementsAre("first"));
}

TEST_F(LogWatchTest, FollowsRotationAndWhoStillWritesToTheOldFile) {
  Write("before\n");
  Watch();
  std::ofstream old(file_, std::ios::app);
  old << "one\n" << std::flush;
  ASSERT_EQ(rename(file_.c_str(), (file_ + ".1").c_str()), 0);
  Write("two\n");
  EXPECT_THAT(Told("all", 2), ElementsAre("one", "two"));
  old << "late\n" << std::flush;
  EXPECT_THAT(Told("all", 3), ElementsAre("one", "two", "late"));
  ASSERT_EQ(rename(file_.c_str(), (file_ + ".2").c_str()), 0);
  Write("three\n");
  EXPECT_THAT(Told("all", 4), ElementsAre("one", "two", "late", "three"));
}

TEST_F(LogWatchTest, ReadsAFileThatWasCutOffFromItsBeginning) {
  Write("a long line from before the run\n");
  Watch();
  Write("one\n");
  EXPECT_THAT(Told("all", 1), ElementsAre("one"));
  ASSERT_EQ(truncate(file_.c_str(), 0), 0);
  Write("two\n");
  EXPECT_THAT(Told("all", 2), ElementsAre("one", "two"));
}

TEST_F(LogWatchTest, TellsTwentyMatchesARecordAndCountsTheRest) {
  Watch(/*file=*/false, {{"all", "line"}, {"none", "absent"}});
  std::string text;
  for (int i = 0; i < 5000; ++i) absl::StrAppend(&text, "line ", i, "\n");
  watch_->Printed(text);
  watch_->Tell();
  absl::MutexLock lock(&mutex_);
  int64_t lines = 0, told = 0;
  for (const LogLines& record : records_) {
    lines += record.lines();
    EXPECT_LE(record.matches_size(), 20);
    for (const LogLines::Match& match : record.matches()) told += 1 + match.more();
    for (int i = 0; i + 1 < record.matches_size(); ++i) EXPECT_EQ(record.matches(i).more(), 0);
  }
  EXPECT_EQ(lines, 5000);
  EXPECT_EQ(told, 5000);
}

TEST_F(LogWatchTest, WhateverBytesThereAreValidTextIsTold) {
  Watch(/*file=*/false, {{"all", "."}, {"across", "größer .*x.*yy"}});
  std::string text = absl::StrCat("größer \xFF\xC3 ", absl::string_view("\0x\0", 3), "\x1B[31m ", std::string(5000, 'y'), "\n");
  watch_->Printed(text);
  watch_->Tell();
  const std::vector<std::string> lines = ToldNow("all");
  ASSERT_THAT(lines, SizeIs(1));
  EXPECT_THAT(ToldNow("across"), SizeIs(1)) << "a dot stands for what is no character, too";
  EXPECT_THAT(lines[0], AllOf(HasSubstr("größer \uFFFD\uFFFD \uFFFDx\uFFFD\uFFFD[31m yyy"), SizeIs(500)));
}

TEST_F(LogWatchTest, EndlessOutputWithoutALineTakesNoMemory) {
  Watch(/*file=*/false);
  const std::string zeroes(1 << 20, '\0');
  const int64_t before = ResidentBytes();
  for (int i = 0; i < 64; ++i) watch_->Printed(zeroes);
  EXPECT_LT(ResidentBytes() - before, 16 << 20);
  watch_->Printed("\nnext\n");
  watch_->Tell();
  EXPECT_EQ(Lines(), 2);
  EXPECT_THAT(ToldNow("all"), ElementsAre(SizeIs(498), "next"));
}

TEST_F(LogWatchTest, AnEndlessFileEndsWithTheWatch) {
  Watch();
  ASSERT_EQ(truncate((Write("x\n"), file_.c_str()), 1 << 30), 0);  // a gibibyte of zeroes
  Write("\nlast\n");
  const absl::Time begun = absl::Now();
  watch_.reset();
  EXPECT_LT(absl::Now() - begun, absl::Seconds(5));
}

class CheckLogsTest : public LogWatchTest {
 protected:
  CheckLogsTest() {
    Service& service = *scenario_.add_services();
    service.set_name("orders");
    service.add_run("bin/orders");
    service.set_log_file("orders.log");
    Assertion& assertion = *scenario_.add_assertions();
    assertion.set_name("opens");
    assertion.mutable_log()->set_service("orders");
    assertion.mutable_log()->set_matches("opened");
  }
  absl::Status Check() { return CheckLogs(scenario_, folder_, reply_); }
  Scenario scenario_;
  PrepareReply reply_;
};

TEST_F(CheckLogsTest, AFileThatCanBeReadIsFineAndOneToComeIsNoted) {
  EXPECT_TRUE(Check().ok());
  EXPECT_THAT(reply_.notes(), ElementsAre(HasSubstr("orders.log is not there: it is read from its beginning")));
  reply_.Clear();
  Write("x\n");
  EXPECT_TRUE(Check().ok());
  EXPECT_THAT(reply_.notes(), IsEmpty());
}

TEST_F(CheckLogsTest, RefusesWhatCannotBeRead) {
  scenario_.mutable_services(0)->set_log_file("/proc");
  EXPECT_THAT(std::string(Check().message()), HasSubstr("service orders: log_file /proc is no regular file"));
  scenario_.mutable_services(0)->set_log_file("/etc/hostname/orders.log");
  EXPECT_THAT(std::string(Check().message()), HasSubstr("cannot read log_file /etc/hostname/orders.log"));
  scenario_.mutable_assertions(0)->mutable_log()->set_matches("(opened");
  EXPECT_THAT(std::string(Check().message()), HasSubstr("assertion opens: '(opened' is no regular expression"));
}

TEST_F(CheckLogsTest, RefusesToJudgeWhatAnAttachedServicePrints) {
  Service& service = *scenario_.mutable_services(0);
  service.clear_run();
  service.mutable_attach()->set_pid(4711);
  service.clear_log_file();
  EXPECT_THAT(std::string(Check().message()), HasSubstr("what orders prints cannot be seen"));
}

TEST_F(CheckLogsTest, AFileThatNoAssertionIsAboutIsNotLookedAt) {
  scenario_.mutable_services(0)->set_log_file("/proc");
  scenario_.clear_assertions();
  EXPECT_TRUE(Check().ok());
}

}  // namespace
}  // namespace squall
