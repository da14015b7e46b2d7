#include "agent/service.h"

#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent/doctor.h"
#include "base/clock.h"
#include "base/durations.h"
#include "base/version.h"

namespace squall {
namespace {

constexpr absl::Duration kDrain = absl::Seconds(30);

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace

AgentService::AgentService(MainThread* main_thread, Journal* journal, std::vector<std::string> leftovers,
                           std::function<void()> lease_begins, std::function<void(const std::string&)> log)
    : main_thread_(main_thread),
      journal_(journal),
      leftovers_(std::move(leftovers)),
      lease_begins_(std::move(lease_begins)),
      log_(std::move(log)) {}

AgentService::~AgentService() { Shutdown(); }

void AgentService::Shutdown() {
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mutex_);
    shutdown_ = true;
    session = session_;
  }
  if (session == nullptr) return;
  session->Cancel();
  session->Finish(absl::ZeroDuration());
  session->events().Close();
}

int64_t AgentService::ExpiresNs() {
  absl::MutexLock lock(&mutex_);
  return session_ == nullptr ? 0 : session_->ExpiresNs();
}

bool AgentService::HasServed() {
  absl::MutexLock lock(&mutex_);
  return has_served_ && session_ == nullptr;
}

absl::StatusOr<std::shared_ptr<Session>> AgentService::Find(const std::string& run_id) {
  absl::MutexLock lock(&mutex_);
  if (session_ == nullptr || session_->run_id() != run_id) {
    return absl::NotFoundError(absl::StrCat("run '", run_id, "' is not open on this agent: its lease is over"));
  }
  return session_;
}

grpc::Status AgentService::Hold(grpc::ServerContext* context, grpc::ServerReaderWriter<AgentEvent, Renewal>* stream) {
  Renewal first;
  if (!stream->Read(&first) || first.run_id().empty()) {
    return ToGrpc(absl::InvalidArgumentError("the first message must name the run"));
  }
  const absl::Duration lease = ToDuration(first.lease());
  if (lease < absl::Seconds(1) || lease > absl::Seconds(60)) {
    return ToGrpc(absl::InvalidArgumentError("the lease must be 1 s to 60 s long"));
  }
  const Caller caller = callers_ == nullptr ? Caller{"", context->peer()} : callers_->Find(context->peer());
  const std::string holder = absl::StrCat(first.holder(), caller.name.empty() ? "" : absl::StrCat(", certificate ", caller.name));
  std::shared_ptr<Session> session;
  {
    absl::MutexLock lock(&mutex_);
    if (shutdown_) return ToGrpc(absl::UnavailableError("the agent is stopping"));
    if (session_ != nullptr) {
      log_(absl::StrCat("refused, ", holder, ": held by ", session_->holder()));
      return ToGrpc(absl::AlreadyExistsError(absl::StrCat("this agent is held by ", session_->holder())));
    }
    session = std::make_shared<Session>(first.run_id(), holder, lease, ToDuration(first.expected()), main_thread_,
                                        journal_);
    session_ = session;
  }
  lease_begins_();
  log_(absl::StrCat("begins, ", holder, ", from ", caller.address));
  context->AddInitialMetadata("squall-run", "open");
  stream->SendInitialMetadata();

  // Three that watch each other: the reader renews, the writer tells, and this one ends the run when the stream or the
  // lease does, whatever the other two wait for.
  std::atomic<bool> stream_over = false;
  std::thread reader([&] {
    Renewal renewal;
    while (stream->Read(&renewal)) session->Renew();
    stream_over = true;
  });
  std::atomic<bool> writer_over = false;
  std::thread writer([&] {
    AgentEvent event;
    while (!session->events().ClosedAndEmpty()) {
      if (session->events().Pop(event, absl::Milliseconds(100)) && !stream->Write(event)) break;
    }
    writer_over = true;
  });
  while (!stream_over && !writer_over && !context->IsCancelled() && !session->LeaseIsOver()) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  const bool silent = session->LeaseIsOver();
  session->Cancel();
  const FinishReply finished = session->Finish(absl::ZeroDuration());
  session->events().Close();
  log_(absl::StrCat("ended, run ", session->run_id(), silent ? ": nothing was heard of its controller for the lease" : "",
                    finished.not_healed().empty() ? "" : absl::StrCat("; NOT HEALED: ", absl::StrJoin(finished.not_healed(), "; "))));
  // A controller that is gone or stopped does not read: do not wait for it to.
  const int64_t deadline = BootNanos() + 2'000'000'000;
  while (!writer_over && !context->IsCancelled() && !session->LeaseIsOver() && BootNanos() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  context->TryCancel();
  writer.join();
  reader.join();
  {
    absl::MutexLock lock(&mutex_);
    session_.reset();
    has_served_ = true;
  }
  session.reset();
  malloc_trim(0);  // what a long run held is of no use to an agent that waits for the next
  return grpc::Status::OK;
}

grpc::Status AgentService::ReadClock(grpc::ServerContext*, const ReadClockRequest*, ReadClockReply* reply) {
  reply->set_boottime_ns(BootNanos());
  return grpc::Status::OK;
}

grpc::Status AgentService::Prepare(grpc::ServerContext*, const PrepareRequest* request, PrepareReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  absl::StatusOr<PrepareReply> prepared = (*session)->Prepare(*request);
  if (!prepared.ok()) return ToGrpc(prepared.status());
  *reply = *std::move(prepared);
  for (const std::string& left : leftovers_) reply->add_notes(absl::StrCat("from before this run: ", left));
  return grpc::Status::OK;
}

grpc::Status AgentService::StartServices(grpc::ServerContext*, const StartServicesRequest* request,
                                         StartServicesReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  absl::StatusOr<StartServicesReply> started = (*session)->StartServices();
  if (!started.ok()) return ToGrpc(started.status());
  *reply = *std::move(started);
  return grpc::Status::OK;
}

grpc::Status AgentService::StartLoad(grpc::ServerContext*, const StartLoadRequest* request, StartLoadReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  const absl::StatusOr<int64_t> started = (*session)->StartLoad();
  if (!started.ok()) return ToGrpc(started.status());
  reply->set_started_ns(*started);
  return grpc::Status::OK;
}

grpc::Status AgentService::StartSteps(grpc::ServerContext*, const StartStepsRequest* request, StartStepsReply*) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  (*session)->StartSteps(*request);
  return grpc::Status::OK;
}

grpc::Status AgentService::ShareLoad(grpc::ServerContext*, const ShareLoadRequest* request, ShareLoadReply*) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  return ToGrpc((*session)->ShareLoad(request->share()));
}

grpc::Status AgentService::TakeSnapshot(grpc::ServerContext*, const TakeSnapshotRequest* request, TakeSnapshotReply*) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  return ToGrpc((*session)->TakeSnapshot(request->moment(), request->cycle()));
}

grpc::Status AgentService::StopLoad(grpc::ServerContext*, const StopLoadRequest* request, StopLoadReply*) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  (*session)->StopLoad();
  return grpc::Status::OK;
}

grpc::Status AgentService::Inject(grpc::ServerContext*, const InjectRequest* request, FaultReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  absl::StatusOr<FaultEvent> event = (*session)->Inject(request->fault());
  if (!event.ok()) return ToGrpc(event.status());
  *reply->mutable_event() = *std::move(event);
  return grpc::Status::OK;
}

grpc::Status AgentService::Heal(grpc::ServerContext*, const HealRequest* request, FaultReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  absl::StatusOr<FaultEvent> event = (*session)->Heal(request->fault());
  if (!event.ok()) return ToGrpc(event.status());
  *reply->mutable_event() = *std::move(event);
  return grpc::Status::OK;
}

grpc::Status AgentService::Finish(grpc::ServerContext*, const FinishRequest* request, FinishReply* reply) {
  const auto session = Find(request->run_id());
  if (!session.ok()) return ToGrpc(session.status());
  if (request->at_once()) (*session)->Cancel();
  *reply = (*session)->Finish(request->at_once() ? absl::ZeroDuration() : kDrain);
  // Lets the stream end once everything has been told.
  (*session)->events().Close();
  return grpc::Status::OK;
}

std::shared_ptr<Session> AgentService::Open() {
  absl::MutexLock lock(&mutex_);
  return session_;
}

grpc::Status AgentService::ListRuns(grpc::ServerContext*, const ListRunsRequest*, ListRunsReply* reply) {
  if (const std::shared_ptr<Session> session = Open()) *reply->add_runs() = session->Describe();
  reply->set_agent_version(kVersion);
  char host[256] = {};
  gethostname(host, sizeof(host) - 1);
  reply->set_host(host);
  return grpc::Status::OK;
}

grpc::Status AgentService::EndRuns(grpc::ServerContext*, const EndRunsRequest* request, EndRunsReply* reply) {
  const std::shared_ptr<Session> session = Open();
  if (session == nullptr || (!request->run_id().empty() && request->run_id() != session->run_id())) {
    return grpc::Status::OK;
  }
  const FinishReply finished = session->End(request->by());
  reply->add_ended(session->run_id());
  *reply->mutable_not_healed() = finished.not_healed();
  return grpc::Status::OK;
}

grpc::Status AgentService::Diagnose(grpc::ServerContext*, const DiagnoseRequest*, DiagnoseReply* reply) {
  *reply = squall::Diagnose();
  return grpc::Status::OK;
}

}  // namespace squall
