#include "agent/load/http_loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "agent/load/trace.h"
#include "base/clock.h"

namespace squall {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kFlushEvery = 250 * kMillisecond;
// Overdue requests sent in a row before answers get a turn; they are due still, so the timer fires at once.
constexpr int kSendsInARow = 64;
// Rows in a record, so that one record stays well below what gRPC takes.
constexpr int kRows = 20'000;
// Requests that are sent again have numbers of their own, which no load reaches.
constexpr int64_t kFirstRetryNumber = int64_t{1} << 40;

timespec ToTimespec(int64_t ns) {
  return {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
}

// Fires at this instant of CLOCK_BOOTTIME, at once when it has passed, never when there is none.
void ArmAt(int timer, std::optional<int64_t> at_ns, int64_t every_ns = 0) {
  itimerspec spec = {};
  if (at_ns.has_value()) spec.it_value = ToTimespec(std::max<int64_t>(*at_ns, 1));
  spec.it_interval = ToTimespec(every_ns);
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr);
}

// Timers and the eventfd alike are read as a counter of 8 bytes. Nothing to read is fine.
void Drain(int fd) {
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(fd, &count, sizeof count);
}

absl::Status Watch(int epoll, int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (fd >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0) return absl::OkStatus();
  return absl::ErrnoToStatus(errno, "no descriptor left for a load");
}

uint32_t ToEpoll(int what) {
  uint32_t events = 0;
  if (what & CURL_POLL_IN) events |= EPOLLIN;
  if (what & CURL_POLL_OUT) events |= EPOLLOUT;
  return events;
}

int ToCurl(uint32_t events) {
  int what = 0;
  if (events & (EPOLLIN | EPOLLHUP)) what |= CURL_CSELECT_IN;
  if (events & EPOLLOUT) what |= CURL_CSELECT_OUT;
  if (events & EPOLLERR) what |= CURL_CSELECT_ERR;
  return what;
}

// The same for the same seed and number, whenever the fault begins: splitmix64, https://prng.di.unimi.it/splitmix64.c.
bool IsImpatient(const Impatience& impatience, int64_t number) {
  uint64_t z = impatience.seed + (static_cast<uint64_t>(number) + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return 100 * static_cast<double>(z >> 11) * 0x1p-53 < impatience.percent;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpLoop>> HttpLoop::Make(const Load& load, absl::string_view run_id,
                                                         uint64_t seed, int64_t start_ns, Sink sink) {
  absl::StatusOr<HttpRequest> request = MakeHttpRequest(load, run_id);
  if (!request.ok()) return request.status();
  absl::StatusOr<Pacer> pacer = Pacer::Make(load, start_ns);
  if (!pacer.ok()) return pacer.status();
  if (load.max_in_flight() < 1) return absl::InvalidArgumentError("max_in_flight must be 1 or more");
  std::unique_ptr<HttpLoop> loop = absl::WrapUnique(new HttpLoop(
      *std::move(request), *std::move(pacer), load, TracePrefix(run_id, load.name(), seed), std::move(sink)));
  if (absl::Status status = loop->Open(); !status.ok()) return status;
  return loop;
}

HttpLoop::HttpLoop(HttpRequest request, Pacer pacer, const Load& load, uint64_t trace_prefix, Sink sink)
    : request_(std::move(request)),
      load_(load.name()),
      trace_prefix_(trace_prefix),
      max_in_flight_(static_cast<size_t>(load.max_in_flight())),
      sink_(std::move(sink)),
      next_retry_number_(kFirstRetryNumber),
      columns_(load.name()),
      pacer_(std::move(pacer)) {}

absl::Status HttpLoop::Open() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  pace_timer_ = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  curl_timer_ = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  flush_timer_ = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  for (const int fd : {pace_timer_, curl_timer_, flush_timer_, wake_}) {
    if (absl::Status status = Watch(epoll_, fd); !status.ok()) return status;
  }
  multi_ = curl_multi_init();
  if (multi_ == nullptr) return absl::ResourceExhaustedError("libcurl could not be made ready");
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &OnSocket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &OnTimer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_NOTHING));
  // Room to keep every connection: throwing out the oldest would walk through all of them.
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(max_in_flight_ + 16));
  // The first is made now, so that a request that cannot be made at all is an error of the start.
  absl::StatusOr<std::unique_ptr<HttpTransfer>> transfer =
      HttpTransfer::Make(&request_, trace_prefix_, &open_sockets_);
  if (!transfer.ok()) return transfer.status();
  idle_.push_back(*std::move(transfer));
  return absl::OkStatus();
}

HttpLoop::~HttpLoop() {
  for (const auto& transfer : in_flight_) curl_multi_remove_handle(multi_, transfer->easy());
  in_flight_.clear();
  idle_.clear();
  if (multi_ != nullptr) curl_multi_cleanup(multi_);
  for (const int fd : {epoll_, pace_timer_, curl_timer_, flush_timer_, wake_}) {
    if (fd >= 0) close(fd);
  }
}

void HttpLoop::StartSteps(int64_t at_ns, const std::optional<Retries::Rules>& retry) {
  {
    absl::MutexLock lock(&mutex_);
    command_.steps_at_ns = at_ns;
    if (retry) command_.retry = retry;
  }
  Wake();
}

void HttpLoop::Stop(int64_t until_ns) {
  {
    absl::MutexLock lock(&mutex_);
    command_.stop_until_ns = std::min(until_ns, command_.stop_until_ns.value_or(until_ns));
  }
  Wake();
}

int HttpLoop::StartHangUps(const Impatience& impatience) {
  absl::MutexLock lock(&mutex_);
  hang_ups_[next_id_] = {impatience, /*over=*/false, sent_in_all_, {}};
  return next_id_++;
}

void HttpLoop::EndHangUps(int id) {
  absl::MutexLock lock(&mutex_);
  HangUps& hang_ups = hang_ups_.at(id);
  if (hang_ups.over) return;
  hang_ups.over = true;
  hang_ups.seen.requests = sent_in_all_ - hang_ups.sent_before;
}

HungUp HttpLoop::SeenHangUps(int id) const {
  absl::MutexLock lock(&mutex_);
  const HangUps& hang_ups = hang_ups_.at(id);
  HungUp seen = hang_ups.seen;
  if (!hang_ups.over) seen.requests = sent_in_all_ - hang_ups.sent_before;
  return seen;
}

int HttpLoop::StartSurge(double times) {
  int id = 0;
  {
    absl::MutexLock lock(&mutex_);
    id = next_id_++;
    const int64_t now_ns = BootNanos();
    surges_[id] = {times, now_ns, pacer_.DueBy(now_ns), sent_in_all_, std::nullopt};
    SetTimes(now_ns);
  }
  Wake();  // the next is due sooner
  return id;
}

void HttpLoop::EndSurge(int id) {
  absl::MutexLock lock(&mutex_);
  Surge& surge = surges_.at(id);
  if (surge.rates) return;
  const int64_t now_ns = BootNanos();
  surge.rates = RatesOf(surge, now_ns);
  SetTimes(now_ns);
}

SurgeRates HttpLoop::SeenSurge(int id) const {
  absl::MutexLock lock(&mutex_);
  const Surge& surge = surges_.at(id);
  return surge.rates ? *surge.rates : RatesOf(surge, BootNanos());
}

void HttpLoop::SetTimes(int64_t now_ns) {
  double times = 1;
  for (const auto& [id, surge] : surges_) times *= surge.rates ? 1 : surge.times;
  pacer_.SetTimes(times, now_ns);
}

SurgeRates HttpLoop::RatesOf(const Surge& surge, int64_t now_ns) const {
  const double seconds = static_cast<double>(now_ns - surge.began_ns) / 1e9;
  if (seconds <= 0) return {};
  SurgeRates rates;
  rates.requested = (pacer_.DueBy(now_ns) - surge.due_before) / seconds;
  rates.base = rates.requested / surge.times;
  rates.achieved = static_cast<double>(sent_in_all_ - surge.sent_before) / seconds;
  return rates;
}

void HttpLoop::Wake() {
  const uint64_t one = 1;
  // Fails only when the counter is full, and then it wakes as well.
  [[maybe_unused]] const ssize_t put = write(wake_, &one, sizeof one);
}

void HttpLoop::Run() {
  ArmPace();
  ArmAt(flush_timer_, BootNanos() + kFlushEvery, kFlushEvery);
  std::array<epoll_event, 128> events;
  while (!stop_until_ns_.has_value() || (!in_flight_.empty() && BootNanos() < *stop_until_ns_)) {
    const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      HandleEvent(events[i].data.fd, events[i].events);
      // What is due goes first, however many answers are waiting.
      SendDue();
    }
    HangUpDue();
    ArmPace();
  }
  AbandonRest();
  Flush();
}

void HttpLoop::HandleEvent(int fd, uint32_t events) {
  if (fd == pace_timer_) {
    Drain(fd);
  } else if (fd == flush_timer_) {
    Drain(fd);
    Flush();
  } else if (fd == curl_timer_) {
    Drain(fd);
    Kick(CURL_SOCKET_TIMEOUT, 0);
  } else if (fd == wake_) {
    Drain(fd);
    HandleCommands();
  } else {
    Kick(fd, ToCurl(events));
  }
}

void HttpLoop::HandleCommands() {
  Command command;
  {
    absl::MutexLock lock(&mutex_);
    command = command_;
  }
  if (command.steps_at_ns.has_value()) {
    absl::MutexLock lock(&mutex_);
    pacer_.StartSteps(*command.steps_at_ns);
  }
  if (command.retry && !retries_) retries_.emplace(*command.retry);
  stop_until_ns_ = command.stop_until_ns;
}

void HttpLoop::ArmPace() {
  std::optional<int64_t> at_ns = stop_until_ns_;
  const auto or_at = [&](std::optional<int64_t> other_ns) {
    if (other_ns && (!at_ns || *other_ns < *at_ns)) at_ns = other_ns;
  };
  if (!stop_until_ns_) {
    {
      absl::MutexLock lock(&mutex_);
      at_ns = pacer_.NextDueNs();
    }
    or_at(NextRetryNs(BootNanos()));
  }
  if (!hanging_up_.empty()) or_at(std::get<0>(*hanging_up_.begin()));
  ArmAt(pace_timer_, at_ns);
}

std::optional<int64_t> HttpLoop::NextRetryNs(int64_t now_ns) const {
  if (!retries_) return std::nullopt;
  absl::MutexLock lock(&mutex_);
  const std::optional<Pacer::Quiet> quiet = pacer_.QuietBeforeNext();
  // One that is late is not sent into the rest before the load goes on.
  return quiet ? retries_->NextNs(std::max(quiet->from_ns, now_ns), quiet->until_ns) : std::nullopt;
}

void HttpLoop::SendDue() {
  if (stop_until_ns_.has_value()) return;
  for (int i = 0; i < kSendsInARow; ++i) {
    const int64_t now_ns = BootNanos();
    const std::optional<Due> due = TakeDue(now_ns);
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

std::optional<HttpLoop::Due> HttpLoop::TakeDue(int64_t now_ns) {
  absl::MutexLock lock(&mutex_);
  const std::optional<int64_t> due_ns = pacer_.NextDueNs();
  if (!due_ns || *due_ns > now_ns) return std::nullopt;
  const Due due = {pacer_.NextNumber(), *due_ns};
  pacer_.Advance();
  return due;
}

void HttpLoop::Send(int64_t number, int64_t intended_ns, int64_t now_ns, bool retried) {
  ++intended_;
  std::unique_ptr<HttpTransfer> transfer = in_flight_.size() < max_in_flight_ ? TakeTransfer() : nullptr;
  if (transfer == nullptr) {
    ++not_sent_;
    if (retried) retries_->Ended();
    return;
  }
  // libcurl looks for a kept connection by walking through all that there are. While a target says nothing
  // these are thousands, all of them busy.
  const bool fresh = open_sockets_ <= static_cast<int64_t>(in_flight_.size());
  transfer->Prepare(number, intended_ns, now_ns, fresh, retried);
  ChooseClient(*transfer);
  transfer->slot = in_flight_.size();
  CURL* const easy = transfer->easy();
  in_flight_.push_back(std::move(transfer));
  ++sent_;
  curl_multi_add_handle(multi_, easy);
  Kick(CURL_SOCKET_TIMEOUT, 0);
}

void HttpLoop::ChooseClient(HttpTransfer& transfer) {
  absl::MutexLock lock(&mutex_);
  ++sent_in_all_;
  for (const auto& [id, hang_ups] : hang_ups_) {
    if (hang_ups.over || !IsImpatient(hang_ups.impatience, transfer.number())) continue;
    const int64_t at_ns = transfer.sent_ns() + hang_ups.impatience.patience_ns;
    transfer.hang_ups.emplace_back(at_ns, id);
    hanging_up_.emplace(at_ns, &transfer, id);
  }
}

void HttpLoop::HangUpDue() {
  bool any = false;
  while (!hanging_up_.empty()) {
    const auto [at_ns, transfer, id] = *hanging_up_.begin();
    const int64_t now_ns = BootNanos();
    if (at_ns > now_ns) break;
    hanging_up_.erase(hanging_up_.begin());
    {
      absl::MutexLock lock(&mutex_);
      HangUps& hang_ups = hang_ups_.at(id);
      if (hang_ups.over) continue;
      ++hang_ups.seen.abandoned;
    }
    columns_.Add(transfer->Abandon(now_ns));
    // Closes the connection: an answer is still to come on it.
    curl_multi_remove_handle(multi_, transfer->easy());
    if (retries_ && transfer->retried()) retries_->Ended();
    Release(transfer);
    any = true;
  }
  // What libcurl wants to do at once since then.
  if (any) Kick(CURL_SOCKET_TIMEOUT, 0);
}

std::unique_ptr<HttpTransfer> HttpLoop::TakeTransfer() {
  if (idle_.empty()) {
    absl::StatusOr<std::unique_ptr<HttpTransfer>> made =
        HttpTransfer::Make(&request_, trace_prefix_, &open_sockets_);
    return made.ok() ? *std::move(made) : nullptr;
  }
  std::unique_ptr<HttpTransfer> transfer = std::move(idle_.back());
  idle_.pop_back();
  return transfer;
}

void HttpLoop::Kick(curl_socket_t socket, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, socket, events, &running);
  // From inside its callback libcurl must not be called, so a timer that is due already waits until here. A
  // few turns are enough for anything but a fault of libcurl's; the timer takes over then.
  for (int turn = 0; std::exchange(curl_is_due_, false); ++turn) {
    if (turn == 4) {
      ArmAt(curl_timer_, 1);
      break;
    }
    curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  Collect();
}

void HttpLoop::Collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    HttpTransfer* const transfer = HttpTransfer::Of(message->easy_handle);
    const HttpTransfer::Ended ended = transfer->End(message->data.result, BootNanos());
    curl_multi_remove_handle(multi_, transfer->easy());
    if (ended.never_sent) {
      --sent_;
      ++not_sent_;
      absl::MutexLock lock(&mutex_);
      --sent_in_all_;
    } else {
      columns_.Add(ended.request);
    }
    if (retries_) {
      if (ended.request.retried) {
        retries_->Ended();
      } else if (const std::optional<int64_t> wait_ns = WaitOf(ended.request.retry_after_ms)) {
        retries_->Add(ended.request.end_ns + *wait_ns);
      }
    }
    Release(transfer);
    if (columns_.size() >= kRows) Flush();
  }
}

void HttpLoop::Release(HttpTransfer* transfer) {
  for (const auto& [at_ns, id] : transfer->hang_ups) hanging_up_.erase({at_ns, transfer, id});
  const size_t slot = transfer->slot;
  idle_.push_back(std::move(in_flight_[slot]));
  if (slot + 1 < in_flight_.size()) {
    in_flight_[slot] = std::move(in_flight_.back());
    in_flight_[slot]->slot = slot;
  }
  in_flight_.pop_back();
}

void HttpLoop::AbandonRest() {
  const int64_t end_ns = BootNanos();
  std::sort(in_flight_.begin(), in_flight_.end(),
            [](const auto& a, const auto& b) { return a->number() < b->number(); });
  for (const auto& transfer : in_flight_) {
    columns_.Add(transfer->Abandon(end_ns));
    curl_multi_remove_handle(multi_, transfer->easy());
  }
  in_flight_.clear();
  hanging_up_.clear();
}

void HttpLoop::Flush() {
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
  sink_(std::move(record));
}

int HttpLoop::OnSocket(CURL*, curl_socket_t socket, int what, void* self, void* known) {
  HttpLoop& loop = *static_cast<HttpLoop*>(self);
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(loop.epoll_, EPOLL_CTL_DEL, socket, nullptr);
    return 0;
  }
  epoll_event event = {};
  event.events = ToEpoll(what);
  event.data.fd = socket;
  epoll_ctl(loop.epoll_, known == nullptr ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event);
  if (known == nullptr) curl_multi_assign(loop.multi_, socket, self);
  return 0;
}

int HttpLoop::OnTimer(CURLM*, long timeout_ms, void* self) {
  HttpLoop& loop = *static_cast<HttpLoop*>(self);
  loop.curl_is_due_ = timeout_ms == 0;
  if (timeout_ms == 0) return 0;
  ArmAt(loop.curl_timer_,
        timeout_ms < 0 ? std::nullopt : std::optional(BootNanos() + timeout_ms * kMillisecond));
  return 0;
}

}  // namespace squall
