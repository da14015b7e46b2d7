#pragma once

#include <functional>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "agent/callers.h"
#include "agent/session.h"
#include "proto/agent.grpc.pb.h"

namespace squall {

// The gRPC face of the agent: one run at a time, each a Session. grpc::Status is used here and nowhere else in the agent.
// Thread-safe.
class AgentService : public Agent::Service {
 public:
  // `leftovers`: what agents before this one left and could not be healed, told to every controller. `lease_begins` is called once a run
  // is open, before anything is done for it. `log` takes a line for each run that begins, ends or is refused.
  AgentService(MainThread* main_thread, Journal* journal, std::vector<std::string> leftovers,
               std::function<void()> lease_begins, std::function<void(const std::string&)> log);
  ~AgentService() override;

  // Who is behind the connections that gRPC was given as descriptors. REQUIRES: nobody is served yet.
  void SetCallers(const Callers* callers) { callers_ = callers; }
  // Finishes the run that is open, if any, and refuses new ones.
  void Shutdown();
  // By when everything has to be undone, as the run's lease says (see Session); 0: nothing is done.
  int64_t ExpiresNs();
  // The first run has come and gone.
  bool HasServed();

  grpc::Status Hold(grpc::ServerContext* context, grpc::ServerReaderWriter<AgentEvent, Renewal>* stream) override;
  grpc::Status ReadClock(grpc::ServerContext*, const ReadClockRequest*, ReadClockReply* reply) override;
  grpc::Status Prepare(grpc::ServerContext*, const PrepareRequest* request, PrepareReply* reply) override;
  grpc::Status StartServices(grpc::ServerContext*, const StartServicesRequest* request,
                             StartServicesReply* reply) override;
  grpc::Status StartLoad(grpc::ServerContext*, const StartLoadRequest* request, StartLoadReply* reply) override;
  grpc::Status StartSteps(grpc::ServerContext*, const StartStepsRequest* request, StartStepsReply*) override;
  grpc::Status ShareLoad(grpc::ServerContext*, const ShareLoadRequest* request, ShareLoadReply*) override;
  grpc::Status TakeSnapshot(grpc::ServerContext*, const TakeSnapshotRequest* request, TakeSnapshotReply*) override;
  grpc::Status StopLoad(grpc::ServerContext*, const StopLoadRequest* request, StopLoadReply*) override;
  grpc::Status Inject(grpc::ServerContext*, const InjectRequest* request, FaultReply* reply) override;
  grpc::Status Heal(grpc::ServerContext*, const HealRequest* request, FaultReply* reply) override;
  grpc::Status Finish(grpc::ServerContext*, const FinishRequest* request, FinishReply* reply) override;
  grpc::Status ListRuns(grpc::ServerContext*, const ListRunsRequest*, ListRunsReply* reply) override;
  grpc::Status EndRuns(grpc::ServerContext*, const EndRunsRequest* request, EndRunsReply* reply) override;
  grpc::Status Diagnose(grpc::ServerContext*, const DiagnoseRequest*, DiagnoseReply* reply) override;

 private:
  absl::StatusOr<std::shared_ptr<Session>> Find(const std::string& run_id);
  // The run that is served now; null without one.
  std::shared_ptr<Session> Open();

  MainThread* const main_thread_;
  Journal* const journal_;
  const std::vector<std::string> leftovers_;
  const std::function<void()> lease_begins_;
  const std::function<void(const std::string&)> log_;
  const Callers* callers_ = nullptr;
  absl::Mutex mutex_;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
  bool shutdown_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_served_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace squall
