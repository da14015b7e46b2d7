#include "agent/net/conversation.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "agent/net/http1.h"
#include "agent/net/http2.h"

namespace squall {
namespace {

// As much of the preface as tells it from a method of HTTP/1.
constexpr absl::string_view kPrefaceBegins = "PRI";
constexpr size_t kMaxEarly = 64 << 10;

}  // namespace

Conversation::Conversation(bool parse, int64_t opened_ns, RequestFaults* faults, CallObserver observer, std::string deadline_header)
    : parts_(faults, std::move(observer), std::move(deadline_header)), kind_(parse ? Kind::kUnknown : Kind::kOpaque), opened_ns_(opened_ns) {}

void Conversation::FromService(absl::string_view bytes, int64_t now_ns) {
  if (Broken() || service_ended_) return;
  if (bytes.empty()) {
    service_ended_ = true;
    if (kind_ == Kind::kUnknown && !first_.empty()) {
      if (!first_passed_) parts_.to_dependency += first_;
      first_.clear();
      kind_ = Kind::kOpaque;
    }
    if (protocol_ != nullptr) protocol_->ServiceEnded(now_ns);
    // A caller that has closed its side no longer waits for an answer.
    if (parts_.calls.size() > 0 || kind_ == Kind::kOpaque) OnClose(CALLER_LEFT, now_ns);
    return LookAtProtocol(now_ns);
  }
  if (kind_ == Kind::kUnknown) return Recognize(bytes, now_ns);
  if (kind_ == Kind::kOpaque) {
    parts_.to_dependency.append(bytes.data(), bytes.size());
    return;
  }
  protocol_->FromService(bytes, now_ns);
  LookAtProtocol(now_ns);
}

void Conversation::Recognize(absl::string_view bytes, int64_t now_ns) {
  if (first_.empty()) begun_ns_ = now_ns;
  const size_t before = first_.size();
  first_.append(bytes.data(), std::min(bytes.size(), kPrefaceBegins.size() - before));
  const bool preface = absl::StartsWith(kPrefaceBegins, first_);
  if (preface && first_.size() < kPrefaceBegins.size()) {
    // Not known yet. With a fault it waits, since it may be a request that is hit.
    if (!parts_.FaultsActive() || first_passed_) {
      parts_.to_dependency.append(first_, first_passed_ ? before : 0, std::string::npos);
      first_passed_ = true;
    }
    return;
  }
  const std::string begun = first_passed_ ? first_.substr(0, before) : "";
  std::string held = first_passed_ ? "" : first_.substr(0, before);
  first_.clear();
  kind_ = Kind::kProtocol;
  if (preface) {
    protocol_ = std::make_unique<Http2>(parts_, begun);
  } else {
    protocol_ = std::make_unique<Http1>(parts_, begun, begun_ns_);
  }
  // What the dependency said first has been passed on; the protocol hears it too.
  const std::string passed = std::exchange(parts_.to_service, "");
  if (!early_.empty()) protocol_->FromDependency(early_, now_ns);
  early_.clear();
  early_.shrink_to_fit();
  parts_.to_service = passed;
  if (protocol_->state() == Protocol::State::kFollowed) {
    if (!held.empty()) protocol_->FromService(held, begun_ns_);
    if (protocol_->state() == Protocol::State::kFollowed) {
      protocol_->FromService(bytes, now_ns);
    } else {
      parts_.to_dependency.append(bytes.data(), bytes.size());
    }
  } else {
    parts_.to_dependency += held;
    parts_.to_dependency.append(bytes.data(), bytes.size());
  }
  LookAtProtocol(now_ns);
}

void Conversation::FromDependency(absl::string_view bytes, int64_t now_ns) {
  if (Broken() || dependency_ended_) return;
  if (bytes.empty()) {
    dependency_ended_ = true;
    if (protocol_ != nullptr) protocol_->DependencyEnded(now_ns);
    return LookAtProtocol(now_ns);
  }
  if (kind_ == Kind::kProtocol) {
    protocol_->FromDependency(bytes, now_ns);
    return LookAtProtocol(now_ns);
  }
  if (kind_ == Kind::kUnknown) {
    if (early_.size() + bytes.size() > kMaxEarly) {
      if (!first_passed_) parts_.to_dependency += first_;
      first_.clear();
      early_.clear();
      kind_ = Kind::kOpaque;
    } else {
      early_.append(bytes.data(), bytes.size());
    }
  }
  parts_.to_service.append(bytes.data(), bytes.size());
}

// Once a protocol is not understood, it is forgotten.
void Conversation::LookAtProtocol(int64_t now_ns) {
  if (protocol_ == nullptr || protocol_->state() != Protocol::State::kOpaque) return;
  protocol_.reset();
  kind_ = Kind::kOpaque;
  // What had begun as HTTP is not known to have ended.
  if (!closed_) parts_.calls.EndUnanswered(STILL_OPEN, now_ns);
}

Conversation::Output Conversation::TakeToDependency() {
  Output output = {std::exchange(parts_.to_dependency, ""), false};
  if (!service_ended_ || told_dependency_) return output;
  const bool held = protocol_ != nullptr && !Broken() && protocol_->HeldToDependency() > 0;
  if (!held) output.end = told_dependency_ = true;
  return output;
}

Conversation::Output Conversation::TakeToService() {
  Output output = {std::exchange(parts_.to_service, ""), false};
  parts_.taken_to_service += output.bytes.size();
  if (told_service_) return {};
  if (!dependency_ended_ && !parts_.end_to_service) return output;
  const bool held = protocol_ != nullptr && !Broken() && (protocol_->HeldToService() > 0 || protocol_->OwesAnswer());
  if (!held || parts_.end_to_service) output.end = told_service_ = true;
  return output;
}

void Conversation::Written(size_t bytes, int64_t now_ns) {
  written_ += bytes;
  parts_.calls.Written(written_, now_ns);
  OnTime(now_ns);  // answers of ours may have waited for that
}

bool Conversation::WantsFromService() const {
  if (service_ended_) return false;
  return protocol_ == nullptr ||
         (protocol_->HeldToDependency() < kMaxHeld && protocol_->OwnToService() < kMaxHeld && !OutputWaits());
}

bool Conversation::WantsFromDependency() const {
  if (dependency_ended_) return false;
  return protocol_ == nullptr || (protocol_->HeldToService() < kMaxHeld && !OutputWaits());
}

// What either side says may be answered by us, to either side.
bool Conversation::OutputWaits() const {
  return parts_.to_dependency.size() >= kMaxHeld || parts_.to_service.size() >= kMaxHeld;
}

int64_t Conversation::NextDueNs() const { return protocol_ == nullptr ? kNothingDue : protocol_->NextDueNs(); }

void Conversation::OnTime(int64_t now_ns) {
  if (protocol_ == nullptr || Broken()) return;
  protocol_->OnTime(now_ns);
  LookAtProtocol(now_ns);
}

void Conversation::Forget(RequestFaults::Kind kind, int64_t now_ns) {
  if (kind_ == Kind::kUnknown && !first_passed_ && !first_.empty() && !parts_.FaultsActive()) {
    parts_.to_dependency += first_;
    first_passed_ = true;
  }
  if (protocol_ == nullptr || Broken()) return;
  protocol_->Forget(kind, now_ns);
  LookAtProtocol(now_ns);
}

bool Conversation::HoldsFor(RequestFaults::Kind kind) const {
  return protocol_ != nullptr && !Broken() && protocol_->HoldsFor(kind);
}

void Conversation::OnClose(CallResult result, int64_t now_ns) {
  if (closed_) return;
  closed_ = true;
  if (kind_ == Kind::kUnknown && (!first_.empty() || !early_.empty())) kind_ = Kind::kOpaque;
  if (kind_ == Kind::kOpaque || (Requests() == 0 && result == CONNECT_REFUSED)) {
    const uint64_t connection = parts_.calls.Begin(opened_ns_);
    parts_.calls.End(connection, result == CONNECT_REFUSED ? CONNECT_REFUSED : CONNECTION, now_ns);
    return;
  }
  parts_.calls.EndAll(result, now_ns);
}

bool Conversation::Idle() const {
  if (kind_ == Kind::kUnknown) return first_.empty();
  return protocol_ != nullptr && parts_.calls.size() == 0 && protocol_->Idle();
}

}  // namespace squall
