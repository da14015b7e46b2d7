#include "tests/fuzz/script.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "agent/net/conversation.h"
#include "agent/net/http2_frames.h"

namespace squall {
namespace {

void Check(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "does not hold: %s\n", what);
  abort();
}

// What waits on either way, with what the last read made of it.
constexpr size_t kMost = 8 << 20;

struct Input {
  int what = 0;
  std::string bytes;
};

enum What { kFromService, kFromDependency, kTime, kSetHttp, kSetGrpc, kClear, kWrite, kWhats };

std::vector<Input> ReadSteps(const uint8_t* data, size_t size, bool http2) {
  std::vector<Input> steps;
  if (http2) steps.push_back({kFromService, std::string(kHttp2Preface)});
  while (size > 0) {
    Input step;
    step.what = data[0] % kWhats;
    const int detail = data[0] / kWhats;
    ++data, --size;
    if (step.what <= kFromDependency) {
      if (size < 2) break;
      const size_t length = std::min<size_t>(data[0] | data[1] << 8, size - 2);
      step.bytes.assign(reinterpret_cast<const char*>(data) + 2, length);
      data += 2 + length;
      size -= 2 + length;
      if (length == 0) continue;
    } else {
      step.bytes.assign(1, static_cast<char>(detail));
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

struct Side {
  Conversation conversation;
  std::vector<std::pair<int, int>> calls;
  std::string to_dependency;
  std::string to_service;

  explicit Side(RequestFaults* faults)
      : conversation(/*parse=*/true, 0, faults,
                     [this](const SeenCall& call) { calls.emplace_back(call.status, static_cast<int>(call.result)); }) {}
  bool reads = true;  // the service; else what is for it waits, as behind a way that is full

  void Take(int64_t now) {
    const std::string up = conversation.TakeToDependency().bytes;
    Check(up.size() <= kMost, "no more is held for the dependency than is allowed");
    to_dependency += up;
    if (!reads) return;
    const std::string bytes = conversation.TakeToService().bytes;
    Check(bytes.size() <= kMost, "no more is held for the service than is allowed");
    to_service += bytes;
    conversation.Written(bytes.size(), now);
  }
  void Feed(int what, absl::string_view bytes, int64_t now) {
    if (what == kFromService) {
      conversation.FromService(bytes, now);
    } else {
      conversation.FromDependency(bytes, now);
    }
    Take(now);
  }
};

void WithoutFault(const std::vector<Input>& steps) {
  RequestFaults none;
  Side whole(&none), split(&none);
  std::string from_service, from_dependency;
  int64_t now = 1;
  for (const Input& step : steps) {
    if (step.what > kFromDependency) continue;
    ++now;
    (step.what == kFromService ? from_service : from_dependency) += step.bytes;
    whole.Feed(step.what, step.bytes, now);
    for (const char byte : step.bytes) split.Feed(step.what, {&byte, 1}, now);
    for (Side* side : {&whole, &split}) {
      Check(side->to_dependency == from_service, "bytes pass to the dependency untouched and at once");
      Check(side->to_service == from_dependency, "bytes pass to the service untouched and at once");
      Check(!side->conversation.Broken(), "a connection without a fault is never broken");
    }
    // An answer that is whole is told when it is written, which is later than that what follows it is no HTTP.
    for (Side* side : {&whole, &split}) std::sort(side->calls.begin(), side->calls.end());
    Check(whole.calls == split.calls, "calls are told the same in whatever pieces they come");
  }
}

void WithFaults(const std::vector<Input>& steps) {
  RequestFaults faults;
  Side side(&faults);
  Conversation& conversation = side.conversation;
  int64_t now = 1;
  size_t fed = 0;
  for (const Input& step : steps) {
    const int detail = step.bytes.empty() ? 0 : static_cast<unsigned char>(step.bytes[0]);
    switch (step.what) {
      case kFromService:
      case kFromDependency: {
        const bool wants =
            step.what == kFromService ? conversation.WantsFromService() : conversation.WantsFromDependency();
        if (!wants) break;
        fed += step.bytes.size();
        side.Feed(step.what, step.bytes, now);
        break;
      }
      case kTime:
        now += detail * 7'000'000;
        conversation.OnTime(now);
        break;
      case kSetHttp: {
        HttpFault fault;
        fault.set_percent(detail & 8 ? 50 : 100);
        if (detail & 1) fault.set_status(detail & 16 ? 204 : 503);
        if (detail & 2) fault.mutable_delay()->set_nanos(20'000'000);
        if (detail & 4) fault.set_body(std::string(detail * 3000, 'x'));
        faults.Set(fault, 7);
        break;
      }
      case kSetGrpc: {
        GrpcFault fault;
        fault.set_percent(100);
        if (detail & 1) fault.set_code(GrpcFault::CODE_UNAVAILABLE);
        if (detail & 2) fault.mutable_delay()->set_nanos(30'000'000);
        fault.set_message("ä%\n");
        faults.Set(fault, 8);
        break;
      }
      case kClear: {
        const auto kind = detail & 1 ? RequestFaults::kGrpc : RequestFaults::kHttp;
        faults.Clear(kind);
        conversation.Forget(kind, now);
        break;
      }
      case kWrite:
        side.reads = detail % 2 == 0;
        break;
      default:
        break;
    }
    side.Take(now);
    Check(conversation.NextDueNs() > 0, "what is due has a time");
  }
  for (const auto kind : {RequestFaults::kHttp, RequestFaults::kGrpc}) {
    faults.Clear(kind);
    conversation.Forget(kind, now);
  }
  side.reads = true;
  side.Take(now);
  conversation.FromService("", now);
  for (int i = 0; i < 3; ++i) {
    conversation.OnTime(now);
    side.Take(now);
  }
  Check(conversation.Broken() || conversation.NextDueNs() == kNothingDue, "nothing is due without a fault");
  conversation.FromDependency("", now);
  conversation.OnClose(PEER_LEFT, now);
  Check(conversation.OpenCalls() == 0, "no call outlives its connection");
  (void)fed;
}

}  // namespace

void RunScript(const uint8_t* data, size_t size, bool http2) {
  const std::vector<Input> steps = ReadSteps(data, size, http2);
  WithoutFault(steps);
  WithFaults(steps);
}

}  // namespace squall
