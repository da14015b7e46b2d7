#pragma once

#include <string>
#include <vector>

#include "agent/net/conversation.h"

namespace squall {

// A conversation between nobody: tests put in what both sides say and look at what comes out.
struct Talk {
  explicit Talk(bool parse = true)
      : conversation(parse, /*opened_ns=*/5, &faults, [this](const SeenCall& call) { calls.push_back(call); },
                     kDeadlineHeader) {}
  static constexpr char kDeadlineHeader[] = "x-wait";

  // What comes out at the other side; what goes to the service counts as written.
  std::string FromService(const std::string& bytes, int64_t now = 10) {
    conversation.FromService(bytes, now);
    return ToDependency(now);
  }
  std::string FromDependency(const std::string& bytes, int64_t now = 20) {
    conversation.FromDependency(bytes, now);
    return ToService(now);
  }
  std::string ToDependency(int64_t now = 10) {
    const Conversation::Output output = conversation.TakeToDependency();
    dependency_ended |= output.end;
    return output.bytes;
  }
  std::string ToService(int64_t now = 20) {
    const Conversation::Output output = conversation.TakeToService();
    service_ended |= output.end;
    conversation.Written(output.bytes.size(), now);
    return output.bytes;
  }
  void Http(const std::string& path, int status, int64_t delay_ns = 0, const std::string& body = "", double percent = 100) {
    HttpFault fault;
    fault.set_path(path);
    fault.set_status(status);
    fault.set_body(body);
    fault.set_percent(percent);
    fault.mutable_delay()->set_nanos(static_cast<int32_t>(delay_ns));
    faults.Set(fault, /*seed=*/7);
  }
  void Grpc(const std::string& method, GrpcFault::Code code, const std::string& message, int64_t delay_ns = 0) {
    GrpcFault fault;
    fault.set_method(method);
    fault.set_code(code);
    fault.set_message(message);
    fault.set_percent(100);
    fault.mutable_delay()->set_nanos(static_cast<int32_t>(delay_ns));
    faults.Set(fault, /*seed=*/7);
  }
  void Heal(RequestFaults::Kind kind, int64_t now) {
    faults.Clear(kind);
    conversation.Forget(kind, now);
  }

  RequestFaults faults;
  std::vector<SeenCall> calls;
  Conversation conversation;
  bool dependency_ended = false;
  bool service_ended = false;
};

}  // namespace squall
