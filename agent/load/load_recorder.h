// What a load told, for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/load/load_generator.h"

namespace squall {

struct Row {
  int64_t number;
  int64_t intended_us;
  int64_t lag_us;
  int64_t latency_us;
  int status;
  Outcome outcome;
  uint32_t retry_after_ms;
  bool retried;
  uint32_t kind;
  bool reused;
};

inline std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << "request " << row.number << ": " << Outcome_Name(row.outcome) << " " << row.status << " after " << row.latency_us << " us";
}

// Reads records back into rows.
class Recorder {
 public:
  LoadGenerator::Sink Sink() {
    return [this](Record record) {
      absl::MutexLock lock(&mutex_);
      if (record.has_load_share()) {
        shares_.push_back(record.load_share());
        return;
      }
      if (record.has_load_stats()) {
        intended_ += record.load_stats().intended();
        sent_ += record.load_stats().sent();
        not_sent_ += record.load_stats().not_sent();
        if (!record.load_stats().first_error().empty()) errors_.push_back(record.load_stats().first_error());
        last_ = record.load_stats();
        return;
      }
      const Requests& columns = record.requests();
      ASSERT_EQ(columns.load(), "checkout");
      int64_t number = 0, intended_us = 0;
      for (int i = 0; i < columns.outcome_size(); ++i) {
        number += columns.number(i);
        intended_us += columns.intended_us(i);
        rows_.push_back({number, intended_us, columns.lag_us(i), columns.latency_us(i),
                         static_cast<int>(columns.status(i)), columns.outcome(i),
                         columns.retry_after_ms_size() > 0 ? columns.retry_after_ms(i) : 0,
                         columns.retried_size() > 0 && columns.retried(i) != 0,
                         columns.kind_size() > 0 ? columns.kind(i) : 0, columns.reused_size() > 0 && columns.reused(i) != 0});
      }
    };
  }

  // False when a minute was not enough.
  bool WaitFor(size_t rows) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return rows_.size() >= rows; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  }
  bool WaitForIntended(int64_t intended) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return intended_ >= intended; };
    return mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Minutes(1));
  }

  // In the order of their number.
  std::vector<Row> Rows() {
    absl::MutexLock lock(&mutex_);
    std::vector<Row> rows = rows_;
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.number < b.number; });
    return rows;
  }
  std::map<Outcome, int> Outcomes() {
    std::map<Outcome, int> outcomes;
    for (const Row& row : Rows()) ++outcomes[row.outcome];
    return outcomes;
  }
  int64_t Intended() { return Locked(intended_); }
  int64_t Sent() { return Locked(sent_); }
  int64_t NotSent() { return Locked(not_sent_); }
  LoadStats Last() { return Locked(last_); }
  std::vector<std::string> Errors() { return Locked(errors_); }
  std::vector<LoadShare> Shares() { return Locked(shares_); }

 private:
  template <typename T>
  T Locked(const T& value) {
    absl::MutexLock lock(&mutex_);
    return value;
  }

  absl::Mutex mutex_;
  std::vector<Row> rows_;
  int64_t intended_ = 0, sent_ = 0, not_sent_ = 0;
  LoadStats last_;
  std::vector<LoadShare> shares_;
  std::vector<std::string> errors_;
};

}  // namespace squall
