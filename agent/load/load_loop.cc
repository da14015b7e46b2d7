#include "agent/load/load_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "agent/load/trace.h"
#include "base/clock.h"
#include "base/durations.h"

namespace squall {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kFlushEvery = 250 * kMillisecond;
// Time for the thread to start, so that the first request is not the latest.
constexpr int64_t kHeadStart = 5 * kMillisecond;
// Overdue requests sent in a row before answers get a turn; they are due still, so the timer fires at once.
constexpr int kSendsInARow = 64;
// Rows in a record, so that one record stays well below what gRPC takes.
constexpr int kRows = 20'000;
// Requests that are sent again have numbers of their own, which no load reaches.
constexpr int64_t kFirstRetryNumber = int64_t{1} << 40;
// A status of gRPC in the timeline.
constexpr int32_t kGrpcStatus = 1000;
// Bytes of an error that is told.
constexpr size_t kMostError = 500;

// What an event is about; more are the transport's.
enum EventId : uint64_t { kPace, kFlush, kWake, kAddresses };

timespec ToTimespec(int64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// Fires at this instant of CLOCK_BOOTTIME, at once when it has passed, never when there is none.
void ArmAt(const Fd& timer, std::optional<int64_t> at_ns, int64_t every_ns = 0) {
  itimerspec spec = {};
  if (at_ns.has_value()) spec.it_value = ToTimespec(std::max<int64_t>(*at_ns, 1));
  spec.it_interval = ToTimespec(every_ns);
  timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &spec, nullptr);
}

// Timers and the eventfd alike are read as a counter of 8 bytes. Nothing to read is fine.
void Drain(const Fd& fd) {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(fd.get(), &count, sizeof count);
}

absl::Status Watch(const Fd& epoll, int fd, EventId id) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (fd >= 0 && epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "no descriptor left for a load");
}

}  // namespace

absl::StatusOr<std::unique_ptr<LoadLoop>> LoadLoop::Make(const Load& load, const std::string& run_id, uint64_t seed,
                                                         const std::string& folder, Sink sink) {
  if (load.max_in_flight() < 1) return absl::InvalidArgumentError("max_in_flight must be 1 or more");
  if (ToDuration(load.give_up_after()) <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("give_up_after must be longer than no time");
  }
  absl::StatusOr<Kinds> kinds = Kinds::Make(load, seed);
  if (!kinds.ok()) return kinds.status();
  // Its rates are looked at before anybody is asked for types.
  if (const auto pacer = Pacer::Make(load, 0); !pacer.ok()) return pacer.status();
  const uint64_t trace_prefix = TracePrefix(run_id, load.name(), seed);
  const Matchers matchers = MatchersOf(load);
  absl::StatusOr<std::unique_ptr<Carrier>> carrier =
      MakeCarrier(load, run_id, folder, trace_prefix, {matchers.NeedHeaders(), matchers.NeedBody() ? kMatchedBody : 0});
  if (!carrier.ok()) return carrier.status();
  const int64_t start_ns = BootNanos() + kHeadStart;
  auto loop = absl::WrapUnique(
      new LoadLoop(load, trace_prefix, *std::move(kinds), start_ns, *Pacer::Make(load, start_ns), std::move(sink)));
  if (absl::Status status = loop->Open(*std::move(carrier)); !status.ok()) return status;
  return loop;
}

LoadLoop::LoadLoop(const Load& load, uint64_t trace_prefix, Kinds kinds, int64_t start_ns, Pacer pacer, Sink sink)
    : load_(load.name()),
      trace_prefix_(trace_prefix),
      kinds_(std::move(kinds)),
      matchers_(MatchersOf(load)),
      patience_ns_(absl::ToInt64Nanoseconds(ToDuration(load.give_up_after()))),
      max_in_flight_(static_cast<size_t>(load.max_in_flight())),
      started_ns_(start_ns),
      sink_(std::move(sink)),
      next_retry_number_(kFirstRetryNumber),
      columns_(load.name()),
      offer_(std::move(pacer)) {}

absl::Status LoadLoop::Open(std::unique_ptr<Carrier> carrier) {
  carrier_ = std::move(carrier);
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  pace_timer_ = Fd(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  flush_timer_ = Fd(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  wake_ = Fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  absl::Status status = Watch(epoll_, pace_timer_.get(), kPace);
  status.Update(Watch(epoll_, flush_timer_.get(), kFlush));
  status.Update(Watch(epoll_, wake_.get(), kWake));
  if (const int event = carrier_->target().event(); event >= 0) status.Update(Watch(epoll_, event, kAddresses));
  transport_ = carrier_->MakeTransport(epoll_.get());
  return status;
}

LoadLoop::~LoadLoop() = default;

void LoadLoop::StartSteps(int64_t at_ns, const std::optional<Retries::Rules>& retry) {
  {
    absl::MutexLock lock(&mutex_);
    command_.steps_at_ns = at_ns;
    if (retry) command_.retry = retry;
  }
  Wake();
}

void LoadLoop::Stop(int64_t until_ns) {
  {
    absl::MutexLock lock(&mutex_);
    command_.stop_until_ns = std::min(until_ns, command_.stop_until_ns.value_or(until_ns));
  }
  Wake();
}

void LoadLoop::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then it wakes as well.
  [[maybe_unused]] const ssize_t put = write(wake_.get(), &one, sizeof one);
}

void LoadLoop::Run() {
  ArmPace();
  ArmAt(flush_timer_, BootNanos() + kFlushEvery, kFlushEvery);
  std::array<epoll_event, 128> events;
  while (!stop_until_ns_.has_value() || (!in_flight_.empty() && BootNanos() < *stop_until_ns_)) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      HandleEvent(events[i].data.u64, events[i].events);
      // What is due goes first, however many answers are waiting.
      SendDue();
      Collect();
    }
    HangUpDue();
    GiveUpDue();
    Collect();
    ArmPace();
  }
  AbandonRest();
  Flush();
}

void LoadLoop::HandleEvent(uint64_t id, uint32_t events) {
  switch (id) {
    case kPace:
      return Drain(pace_timer_);
    case kFlush:
      Drain(flush_timer_);
      transport_->Tidy(BootNanos());
      return Flush();
    case kWake:
      Drain(wake_);
      return HandleCommands();
    case kAddresses:
      carrier_->target().DrainEvent();
      return transport_->HandleAddresses();
    default:
      return transport_->HandleEvent(id, events);
  }
}

void LoadLoop::HandleCommands() {
  Command command;
  {
    absl::MutexLock lock(&mutex_);
    command = command_;
  }
  for (const Offer::Share& share : offer_.TakeShares()) {
    Record record;
    record.mutable_load_share()->set_load(load_);
    record.mutable_load_share()->set_at_ns(share.at_ns);
    record.mutable_load_share()->set_share(share.share);
    sink_(std::move(record));
  }
  if (command.steps_at_ns) offer_.StartSteps(*command.steps_at_ns);
  if (command.retry && !retries_) retries_.emplace(*command.retry);
  stop_until_ns_ = command.stop_until_ns;
}

void LoadLoop::ArmPace() {
  std::optional<int64_t> at_ns = stop_until_ns_;
  const auto or_at = [&](std::optional<int64_t> other_ns) {
    if (other_ns && (!at_ns || *other_ns < *at_ns)) at_ns = other_ns;
  };
  if (!stop_until_ns_) {
    at_ns = offer_.NextDueNs();
    or_at(NextRetryNs(BootNanos()));
  }
  if (!hanging_up_.empty()) or_at(std::get<0>(*hanging_up_.begin()));
  if (!in_flight_.empty()) or_at(in_flight_.front().request.sent_ns + patience_ns_);
  ArmAt(pace_timer_, at_ns);
}

std::optional<int64_t> LoadLoop::NextRetryNs(int64_t now_ns) const {
  if (!retries_) return std::nullopt;
  const std::optional<Pacer::Quiet> quiet = offer_.QuietBeforeNext();
  // One that is late is not sent into the rest before the load goes on.
  return quiet ? retries_->NextNs(std::max(quiet->from_ns, now_ns), quiet->until_ns) : std::nullopt;
}

void LoadLoop::SendDue() {
  if (stop_until_ns_.has_value()) return;
  for (int i = 0; i < kSendsInARow; ++i) {
    const int64_t now_ns = BootNanos();
    const std::optional<Offer::Due> due = offer_.TakeDue(now_ns);
    if (!due) {
      const std::optional<int64_t> retry_ns = NextRetryNs(now_ns);
      if (!retry_ns || *retry_ns > now_ns) return;
      retries_->Sent(now_ns);
      Send(next_retry_number_++, now_ns, now_ns, /*retried=*/true);
      continue;
    }
    Send(due->number, due->intended_ns, now_ns);
  }
}

void LoadLoop::Send(int64_t number, int64_t intended_ns, int64_t now_ns, bool retried) {
  ++intended_;
  if (in_flight_.size() >= max_in_flight_) {
    ++not_sent_;
    if (retried) retries_->Ended();
    return;
  }
  if (idle_.empty()) idle_.emplace_back();
  in_flight_.splice(in_flight_.end(), idle_, idle_.begin());
  Exchange& exchange = in_flight_.back();
  exchange.place = std::prev(in_flight_.end());
  exchange.request = {number, intended_ns, now_ns};
  exchange.request.retried = retried;
  exchange.request.kind = kinds_.Of(number);
  exchange.hang_ups = offer_.CountSent(number, now_ns);
  for (const auto& [at_ns, id] : exchange.hang_ups) hanging_up_.emplace(at_ns, &exchange, id);
  ++sent_;
  transport_->Send(exchange);
}

void LoadLoop::HangUpDue() {
  while (!hanging_up_.empty()) {
    const auto [at_ns, exchange, id] = *hanging_up_.begin();
    const int64_t now_ns = BootNanos();
    if (at_ns > now_ns) break;
    hanging_up_.erase(hanging_up_.begin());
    if (!offer_.FireHangUp(id)) continue;
    transport_->Abandon(*exchange, /*out_of_patience=*/false);
    Leave(*exchange, ABANDONED, now_ns);
    Collect();  // nobody hangs up on what has ended
  }
}

void LoadLoop::GiveUpDue() {
  while (!in_flight_.empty()) {
    Exchange& exchange = in_flight_.front();
    const int64_t now_ns = BootNanos();
    if (exchange.request.sent_ns + patience_ns_ > now_ns) break;
    transport_->Abandon(exchange, /*out_of_patience=*/true);
    exchange.request.status = exchange.answer.status;
    Leave(exchange, TIMED_OUT, now_ns);
    Collect();
  }
}

void LoadLoop::Leave(Exchange& exchange, Outcome outcome, int64_t now_ns) {
  exchange.request.end_ns = now_ns;
  exchange.request.outcome = outcome;
  columns_.Add(exchange.request);
  if (retries_ && exchange.request.retried) retries_->Ended();
  Release(exchange);
}

void LoadLoop::Collect() {
  while (transport_->HasEnded()) {
    for (const EndedExchange& ended : transport_->TakeEnded()) End(ended);
  }
  if (columns_.size() >= kRows) Flush();
}

void LoadLoop::End(const EndedExchange& ended) {
  Exchange& exchange = *ended.exchange;
  EndedRequest& request = exchange.request;
  request.end_ns = ended.end_ns;
  const std::optional<int> grpc_status = exchange.answer.grpc_status;
  request.status = grpc_status ? kGrpcStatus + *grpc_status : exchange.answer.status;
  if (ended.failure) {
    request.outcome = ToOutcome(*ended.failure);
    if (!std::exchange(had_error_, true)) first_error_ = ended.why.substr(0, kMostError);
  } else {
    request.outcome = ClassifyAnswer(matchers_, exchange.answer);
    if (request.outcome == REJECTED && exchange.retry_after) {
      request.retry_after_ms = RetryAfterColumn(*exchange.retry_after, absl::Now());
    }
  }
  if (ended.failure == Failure::kNeverSent) {
    --sent_;
    ++not_sent_;
    offer_.CountNotSent();
  } else {
    columns_.Add(request);
  }
  if (retries_) {
    if (request.retried) {
      retries_->Ended();
    } else if (const std::optional<int64_t> wait_ns = WaitOf(request.retry_after_ms)) {
      retries_->Add(request.end_ns + *wait_ns);
    }
  }
  Release(exchange);
}

void LoadLoop::Release(Exchange& exchange) {
  for (const auto& [at_ns, id] : exchange.hang_ups) hanging_up_.erase({at_ns, &exchange, id});
  exchange.Clear();
  // The last that was used is used next: it is in the cache still.
  idle_.splice(idle_.begin(), in_flight_, exchange.place);
}

void LoadLoop::AbandonRest() {
  const int64_t end_ns = BootNanos();
  for (Exchange& exchange : in_flight_) {
    transport_->Abandon(exchange, /*out_of_patience=*/false);
    exchange.request.end_ns = end_ns;
    exchange.request.outcome = ABANDONED;
    columns_.Add(exchange.request);
  }
  hanging_up_.clear();
  transport_.reset();
  in_flight_.clear();
}

void LoadLoop::Flush() {
  if (columns_.size() > 0) {
    Record record;
    *record.mutable_requests() = columns_.Take();
    sink_(std::move(record));
  }
  Record record;
  LoadStats& stats = *record.mutable_load_stats();
  stats.set_load(load_);
  stats.set_at_ns(BootNanos());
  stats.set_intended(std::exchange(intended_, 0));
  stats.set_sent(std::exchange(sent_, 0));
  stats.set_not_sent(std::exchange(not_sent_, 0));
  stats.set_in_flight(static_cast<int64_t>(in_flight_.size()));
  stats.set_trace_prefix(trace_prefix_);
  stats.set_first_error(std::exchange(first_error_, ""));
  sink_(std::move(record));
}

}  // namespace squall
