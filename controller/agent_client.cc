#include "controller/agent_client.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/beside.h"
#include "base/clock.h"
#include "base/fd.h"
#include "controller/find_agent.h"

namespace squall {
namespace {

constexpr absl::Duration kLease = absl::Seconds(5);
constexpr absl::Duration kRenewEvery = absl::Seconds(1);

// Beside this program when installed, or in the neighbouring folder of a build.
// Looks every second whether the agent is still there: one that is stopped, or cut off, is given up after five.
grpc::ChannelArguments WithPings() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 4000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

AgentClient::AgentClient(std::shared_ptr<grpc::Channel> channel) : stub_(Agent::NewStub(channel)) {}

absl::StatusOr<std::unique_ptr<AgentClient>> AgentClient::StartChild() {
  const absl::StatusOr<std::string> program = FindBeside("squall-agent", {"../agent"});
  if (!program.ok()) return absl::NotFoundError(absl::StrCat(program.status().message(), ": install both together"));
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a socket for the agent");
  }
  Fd ours(ends[0]);
  const Fd theirs(ends[1]);
  const std::string fd_flag = absl::StrCat("--fd=", theirs.get());
  const char* argv[] = {program->c_str(), fd_flag.c_str(), nullptr};
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return absl::ErrnoToStatus(errno, "cannot fork");
  if (pid == 0) {
    fcntl(theirs.get(), F_SETFD, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);  // it heals, then ends
    if (getppid() != parent) _exit(127);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv(argv[0], const_cast<char* const*>(argv));
    _exit(127);
  }
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  std::unique_ptr<AgentClient> client(new AgentClient(
      grpc::CreateCustomInsecureChannelFromFd("squall-agent", ours.Release(), WithPings())));
  client->child_ = pid;
  return client;
}

absl::StatusOr<std::unique_ptr<AgentClient>> AgentClient::Connect(const std::string& address) {
  if (!absl::StartsWith(address, "unix:")) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", address, "': an agent is reached at unix:PATH; TCP is refused without mutual TLS: name the agent in agents.yaml"));
  }
  return std::unique_ptr<AgentClient>(new AgentClient(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), WithPings())));
}

absl::StatusOr<std::unique_ptr<AgentClient>> AgentClient::Connect(const AgentAt& agent, const TlsIdentity& identity) {
  const absl::Status modern = AllowOnlyTls13();
  if (!modern.ok()) return modern;
  const absl::StatusOr<std::string> address = FindAgent(agent, identity);
  if (!address.ok()) return address.status();
  grpc::ChannelArguments arguments = WithPings();
  arguments.SetSslTargetNameOverride(agent.name());  // its certificate is for its name, wherever it is
  const grpc::SslCredentialsOptions options = {identity.ca, identity.key, identity.cert};
  return std::unique_ptr<AgentClient>(
      new AgentClient(grpc::CreateCustomChannel(*address, grpc::SslCredentials(options), arguments)));
}

AgentClient::~AgentClient() {
  stop_renewing_ = true;
  if (renewer_.joinable()) renewer_.join();
  if (stream_ != nullptr) {
    stream_->WritesDone();
    if (!WaitForLastEvent(absl::Seconds(5))) hold_context_.TryCancel();
  }
  if (reader_.joinable()) reader_.join();
  // One that served no run waits for one.
  if (child_ > 0 && stream_ == nullptr) kill(child_, SIGTERM);
  stream_.reset();
  stub_.reset();
  if (child_ > 0 && !WaitForChild(absl::Seconds(5)).ok()) {
    // Its guardian undoes what it leaves.
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
}

absl::StatusOr<AgentClient::Clock> AgentClient::ReadClock() {
  Clock best;
  best.uncertainty_ns = std::numeric_limits<int64_t>::max();
  for (int i = 0; i < 8; ++i) {
    ReadClockReply reply;
    const int64_t before = BootNanos();
    const absl::Status status = Call(&Agent::Stub::ReadClock, ReadClockRequest(), reply);
    const int64_t after = BootNanos();
    if (!status.ok()) return status;
    const int64_t half = (after - before) / 2;
    if (half < best.uncertainty_ns) best = {reply.boottime_ns() - (before + half), half};
  }
  return best;
}

absl::Status AgentClient::Open(const std::string& run_id, const std::string& holder, absl::Duration expected,
                               std::function<void(AgentEvent)> on_event) {
  stream_ = stub_->Hold(&hold_context_);
  Renewal renewal;
  renewal.set_run_id(run_id);
  renewal.set_holder(holder);
  renewal.mutable_lease()->set_seconds(absl::ToInt64Seconds(kLease));
  renewal.mutable_expected()->set_seconds(absl::ToInt64Seconds(expected));
  stream_->Write(renewal);
  stream_->WaitForInitialMetadata();
  const bool is_open = hold_context_.GetServerInitialMetadata().count("squall-run") > 0;
  reader_ = std::thread([this, on_event = std::move(on_event)] {
    AgentEvent event;
    while (stream_->Read(&event)) on_event(std::move(event));
    stream_status_ = FromGrpc(stream_->Finish());
    stream_over_ = true;
  });
  if (!is_open) {
    stream_->WritesDone();
    reader_.join();
    stream_.reset();
    const absl::Status status = stream_status_;
    return status.ok() ? absl::UnavailableError("the agent ended the run at once") : status;
  }
  renewer_ = std::thread([this, run_id] {
    Renewal again;
    again.set_run_id(run_id);
    int64_t next = BootNanos();
    while (!stop_renewing_ && !stream_over_) {
      if (BootNanos() >= next) {
        if (!stream_->Write(again)) break;
        next = BootNanos() + absl::ToInt64Nanoseconds(kRenewEvery);
      }
      absl::SleepFor(absl::Milliseconds(10));
    }
  });
  return absl::OkStatus();
}

bool AgentClient::WaitForLastEvent(absl::Duration timeout) {
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(timeout);
  while (!stream_over_ && BootNanos() < deadline) absl::SleepFor(absl::Milliseconds(2));
  return stream_over_;
}

absl::Status AgentClient::WaitForChild(absl::Duration timeout) {
  const int64_t deadline = BootNanos() + absl::ToInt64Nanoseconds(timeout);
  while (child_ > 0) {
    int status = 0;
    if (waitpid(child_, &status, WNOHANG) == child_) {
      child_ = 0;
      if (WIFSIGNALED(status)) {
        return absl::AbortedError(absl::StrCat("the agent was ended by signal ", WTERMSIG(status)));
      }
      break;
    }
    if (BootNanos() >= deadline) return absl::DeadlineExceededError("the agent does not end");
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::OkStatus();
}

}  // namespace squall
