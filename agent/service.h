#pragma once

#include <functional>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "agent/session.h"
#include "proto/agent.grpc.pb.h"

namespace squall {

// The gRPC face of the agent: one run at a time, each a Session. grpc::Status is used here and nowhere else in the agent.
// Thread-safe.
class AgentService : public Agent::Service {
 public:
  // `log` takes a line for each run that begins, ends or is refused.
  AgentService(MainThread* main_thread, const Guardian* guardian, std::function<void(const std::string&)> log);
  ~AgentService() override;

  // Finishes the run that is open, if any, and refuses new ones.
  void Shutdown();
  // The first run has come and gone.
  bool HasServed();

  grpc::Status Hold(grpc::ServerContext* context, grpc::ServerReaderWriter<AgentEvent, Renewal>* stream) override;
  grpc::Status ReadClock(grpc::ServerContext*, const ReadClockRequest*, ReadClockReply* reply) override;
  grpc::Status Prepare(grpc::ServerContext*, const PrepareRequest* request, PrepareReply* reply) override;
  grpc::Status StartServices(grpc::ServerContext*, const StartServicesRequest* request,
                             StartServicesReply* reply) override;
  grpc::Status StartLoad(grpc::ServerContext*, const StartLoadRequest* request, StartLoadReply* reply) override;
  grpc::Status StartSteps(grpc::ServerContext*, const StartStepsRequest* request, StartStepsReply*) override;
  grpc::Status StopLoad(grpc::ServerContext*, const StopLoadRequest* request, StopLoadReply*) override;
  grpc::Status Inject(grpc::ServerContext*, const InjectRequest* request, FaultReply* reply) override;
  grpc::Status Heal(grpc::ServerContext*, const HealRequest* request, FaultReply* reply) override;
  grpc::Status Finish(grpc::ServerContext*, const FinishRequest* request, FinishReply* reply) override;
  grpc::Status ListRuns(grpc::ServerContext*, const ListRunsRequest*, ListRunsReply* reply) override;
  grpc::Status EndRuns(grpc::ServerContext*, const EndRunsRequest* request, EndRunsReply* reply) override;

 private:
  absl::StatusOr<std::shared_ptr<Session>> Find(const std::string& run_id);
  // The run that is served now; null without one.
  std::shared_ptr<Session> Open();

  MainThread* const main_thread_;
  const Guardian* const guardian_;
  const std::function<void(const std::string&)> log_;
  absl::Mutex mutex_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool shutdown_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_served_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace squall
