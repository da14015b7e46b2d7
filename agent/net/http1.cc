#include "agent/net/http1.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/net/call_headers.h"

namespace squall {

Http1::Http1(ConversationParts& parts, absl::string_view begun, int64_t begun_ns) : parts_(parts), begin_ns_(begun_ns) {
  http_parser_init(&request_, HTTP_REQUEST);
  http_parser_init(&response_, HTTP_RESPONSE);
  request_.data = this;
  response_.data = this;
  if (begun.empty()) return;
  boundary_ = false;
  http_parser_execute(&request_, &RequestSettings(), begun.data(), begun.size());
}

const http_parser_settings& Http1::RequestSettings() {
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_url = [](http_parser* parser, const char* at, size_t size) {
      Self(parser)->collected_.url.append(at, size);
      return 0;
    };
    s.on_header_field = [](http_parser* parser, const char* at, size_t size) {
      Collected& collected = Self(parser)->collected_;
      if (!collected.open) return 0;
      if (collected.in_value || collected.headers.empty()) collected.headers.emplace_back();
      collected.in_value = false;
      collected.headers.back().first.append(at, size);
      return 0;
    };
    s.on_header_value = [](http_parser* parser, const char* at, size_t size) {
      Collected& collected = Self(parser)->collected_;
      if (!collected.open || collected.headers.empty()) return 0;
      collected.in_value = true;
      collected.headers.back().second.append(at, size);
      return 0;
    };
    s.on_headers_complete = [](http_parser* parser) { return Self(parser)->OnRequestHeaders(); };
    s.on_message_complete = [](http_parser* parser) {
      Self(parser)->message_complete_ = true;
      http_parser_pause(parser, 1);  // the next byte is another request's
      return 0;
    };
    return s;
  }();
  return settings;
}

const http_parser_settings& Http1::ResponseSettings() {
  static const http_parser_settings settings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_headers_complete = [](http_parser* parser) { return Self(parser)->OnResponseHeaders(); };
    s.on_message_complete = [](http_parser* parser) {
      Self(parser)->answer_complete_ = true;
      http_parser_pause(parser, 1);
      return 0;
    };
    return s;
  }();
  return settings;
}

int Http1::OnRequestHeaders() {
  if (calls_.size() >= kMaxOpenCalls) return -1;  // nobody pipelines so many: stop listening
  Call call;
  call.id = parts_.calls.Begin(begin_ns_);
  call.head = request_.method == HTTP_HEAD;
  call.connect = request_.method == HTTP_CONNECT;
  call.upgrade = request_.upgrade != 0;
  collected_.open = false;
  CallHeaders headers(parts_.deadline_header);
  for (auto& [name, value] : collected_.headers) {
    absl::AsciiStrToLower(&name);
    headers.Add(name, value);
  }
  headers.Fill(/*grpc=*/false, *parts_.calls.Find(call.id));
  calls_.push_back(std::move(call));
  if (fate_ == Fate::kUndecided) {
    headers_complete_ = true;
    http_parser_pause(&request_, 1);
  }
  return 0;
}

int Http1::OnResponseHeaders() {
  if (calls_.empty()) return 0;
  const Call& call = calls_.front();
  if (call.head) return 1;  // has no body
  return call.connect && response_.status_code / 100 == 2 ? 1 : 0;
}

void Http1::FromService(absl::string_view bytes, int64_t now_ns) {
  now_ns_ = now_ns;
  if (hung_up_) return;
  if (waiting_from_ < waiting_.size()) {
    waiting_.append(bytes.data(), bytes.size());
    return GoOn();
  }
  const size_t used = Requests(bytes);
  if (used < bytes.size()) waiting_.append(bytes.data() + used, bytes.size() - used);
}

// Goes on with what waits, if it may.
void Http1::GoOn() {
  while (waiting_from_ < waiting_.size() && !Stopped() && state_ == State::kFollowed) {
    waiting_from_ += Requests(absl::string_view(waiting_).substr(waiting_from_));
  }
  if (waiting_from_ == waiting_.size() || state_ != State::kFollowed) {
    waiting_.clear();
    waiting_from_ = 0;
  } else if (waiting_from_ > waiting_.size() / 2) {
    waiting_.erase(0, waiting_from_);
    waiting_from_ = 0;
  }
  if (waiting_.empty()) PassHalf();
}

// Parses and disposes of bytes; returns how many. Fewer than all: the rest has to wait.
size_t Http1::Requests(absl::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size()) {
    const absl::string_view rest = bytes.substr(used);
    if (hung_up_) return bytes.size();
    if (upgrading_) {
      unparsed_ = true;
      parts_.to_dependency.append(rest.data(), rest.size());
      return bytes.size();
    }
    if (Stopped()) return used;
    if (boundary_) {
      boundary_ = false;
      fate_ = parts_.FaultsActive() ? Fate::kUndecided : Fate::kPass;
      begin_ns_ = now_ns_;
      collected_ = Collected();
    }
    http_parser_pause(&request_, 0);
    const size_t parsed = http_parser_execute(&request_, &RequestSettings(), rest.data(), rest.size());
    const http_errno error = HTTP_PARSER_ERRNO(&request_);
    if (error != HPE_OK && error != HPE_PAUSED) {
      if (GiveUp()) parts_.to_dependency.append(rest.data(), rest.size());
      return bytes.size();
    }
    Dispose(rest.substr(0, parsed));
    used += parsed;
    if (headers_complete_) {
      headers_complete_ = false;
      Decide();
      continue;
    }
    if (message_complete_) {
      message_complete_ = false;
      boundary_ = true;
      upgrading_ = request_.upgrade != 0 && fate_ == Fate::kPass;
    } else if (parsed < rest.size()) {
      // An upgrade ends the parser's work early; anything else would be a bug of ours, and must not spin.
      if (GiveUp()) parts_.to_dependency.append(bytes.data() + used, bytes.size() - used);
      return bytes.size();
    }
  }
  return used;
}

void Http1::Dispose(absl::string_view bytes) {
  switch (fate_) {
    case Fate::kPass:
      parts_.to_dependency.append(bytes.data(), bytes.size());
      break;
    case Fate::kUndecided:
      undecided_.append(bytes.data(), bytes.size());
      break;
    case Fate::kDrop:
      break;
  }
}

// The header of the request at hand is complete.
void Http1::Decide() {
  RequestView view;
  view.method = http_method_str(static_cast<http_method>(request_.method));
  view.path = collected_.url;
  bool expects = false;
  for (const auto& [name, value] : collected_.headers) {
    view.headers.emplace_back(name, value);
    expects |= name == "expect";
  }
  if (parts_.FaultsActive()) decision_ = parts_.faults->Decide(view, parts_.touched);
  if (!decision_.Hits()) return Release(/*natural=*/false);
  // A client that has asked whether to send the body may or may not send it after another answer.
  calls_.back().close = expects || http_should_keep_alive(&request_) == 0;
  since_ns_ = now_ns_;
  due_ns_ = now_ns_ + decision_.DelayNs();
  blocked_ = true;
  if (due_ns_ <= now_ns_) Release(/*natural=*/false);
}

// The request at hand goes on, or is answered.
void Http1::Release(bool natural) {
  blocked_ = false;
  if (natural) parts_.faults->NoteHeld(decision_, now_ns_ - since_ns_);
  if (decision_.Answer() != nullptr) {
    fate_ = Fate::kDrop;
    if (!calls_.empty()) {  // else the dependency has answered what it was not asked
      calls_.back().own = calls_.back().ready = true;
      calls_.back().answer = decision_.Answer();
      owed_bytes_ += decision_.Answer()->body.size();
    }
  } else {
    fate_ = Fate::kPass;
    parts_.to_dependency += undecided_;
  }
  undecided_.clear();
  decision_ = RequestFaults::Decision();
  AnswerReady();
}

void Http1::OnTime(int64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ != State::kFollowed) return;
  if (blocked_ && now_ns >= due_ns_) Release(/*natural=*/true);
  GoOn();
}

void Http1::Forget(RequestFaults::Kind kind, int64_t now_ns) {
  now_ns_ = now_ns;
  PassHalf();
  if (!blocked_ || !decision_.hit[kind]) return;
  decision_.Forget(kind);
  due_ns_ = since_ns_ + decision_.DelayNs();
  if (!decision_.Hits() || due_ns_ <= now_ns) Release(/*natural=*/false);
  GoOn();
}

// Gives the answers whose turn it is.
void Http1::AnswerReady() {
  while (!calls_.empty() && calls_.front().ready) {
    const Call call = calls_.front();
    calls_.pop_front();
    owed_bytes_ -= call.answer->body.size();
    WriteAnswer(call);
    SeenCall* seen = parts_.calls.Find(call.id);
    if (seen != nullptr) seen->status = call.answer->status;
    parts_.calls.EndAt(call.id, call.answer->status >= 500 ? FAILED : ANSWERED, parts_.OffsetToService(), now_ns_);
    if (!call.close) continue;
    parts_.end_to_service = true;
    hung_up_ = true;
    return;
  }
}

void Http1::WriteAnswer(const Call& call) {
  const OwnAnswer& answer = *call.answer;
  const bool no_body = answer.status == 204 || answer.status == 304;
  absl::StrAppend(&parts_.to_service, "HTTP/1.1 ", answer.status, " ",
                  http_status_str(static_cast<http_status>(answer.status)), "\r\n");
  if (!no_body) {
    absl::StrAppend(&parts_.to_service, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: ", answer.body.size(), "\r\n");
  }
  if (call.close) parts_.to_service += "Connection: close\r\n";
  parts_.to_service += "\r\n";
  if (!no_body && !call.head) parts_.to_service += answer.body;
}

void Http1::FromDependency(absl::string_view bytes, int64_t now_ns) {
  now_ns_ = now_ns;
  while (!bytes.empty() && !hung_up_) {
    if (state_ != State::kFollowed) {
      if (state_ == State::kOpaque) parts_.to_service.append(bytes.data(), bytes.size());
      return;
    }
    http_parser_pause(&response_, 0);
    const size_t parsed = http_parser_execute(&response_, &ResponseSettings(), bytes.data(), bytes.size());
    const http_errno error = HTTP_PARSER_ERRNO(&response_);
    if ((error != HPE_OK && error != HPE_PAUSED) || (parsed < bytes.size() && !answer_complete_)) {
      if (!GiveUp()) return;
      PassWaiting();
      parts_.to_service.append(bytes.data(), bytes.size());
      return;
    }
    parts_.to_service.append(bytes.data(), parsed);
    bytes.remove_prefix(parsed);
    if (answer_complete_) OnResponseComplete();
  }
}

void Http1::OnResponseComplete() {
  answer_complete_ = false;
  const int status = static_cast<int>(response_.status_code);
  if ((status < 200 && status != 101) || calls_.empty()) return;  // interim
  const Call call = calls_.front();
  calls_.pop_front();
  SeenCall* seen = parts_.calls.Find(call.id);
  if (seen != nullptr) seen->status = status;
  parts_.calls.EndAt(call.id, status >= 500 ? FAILED : ANSWERED, parts_.OffsetToService(), now_ns_);
  if (call.upgrade && upgrading_ && calls_.empty()) {
    const bool changed = status == 101 || (call.connect && status / 100 == 2);
    upgrading_ = false;
    if (changed || unparsed_) {
      if (GiveUp()) PassWaiting();
      return;
    }
  }
  AnswerReady();
  GoOn();
}

void Http1::ServiceEnded(int64_t now_ns) {
  now_ns_ = now_ns;
  service_ended_ = true;
  PassHalf();
}

// Half a request, of which nothing more comes (what the dependency makes of it is its own affair), or with no fault left.
void Http1::PassHalf() {
  if ((service_ended_ || !parts_.FaultsActive()) && !blocked_ && !boundary_ && fate_ == Fate::kUndecided) {
    parts_.to_dependency += undecided_;
    undecided_.clear();
    fate_ = Fate::kPass;
  }
}

void Http1::DependencyEnded(int64_t now_ns) {
  now_ns_ = now_ns;
  if (state_ != State::kFollowed || hung_up_ || calls_.empty()) return;
  // An answer without a length ends with the connection.
  http_parser_pause(&response_, 0);
  http_parser_execute(&response_, &ResponseSettings(), nullptr, 0);
  if (answer_complete_) OnResponseComplete();
}

size_t Http1::HeldToDependency() const { return undecided_.size() + waiting_.size() - waiting_from_; }

bool Http1::OwesAnswer() const { return blocked_ && decision_.Answer() != nullptr && calls_.size() == 1; }

bool Http1::GiveUp() {
  const bool owes = std::any_of(calls_.begin(), calls_.end(), [](const Call& call) { return call.own; });
  if (blocked_ || owes || (fate_ == Fate::kDrop && !boundary_)) {
    state_ = State::kBroken;
    return false;
  }
  state_ = State::kOpaque;
  parts_.to_dependency += undecided_;
  undecided_.clear();
  calls_.clear();
  return true;
}

void Http1::PassWaiting() {
  parts_.to_dependency.append(waiting_, waiting_from_, std::string::npos);
  waiting_.clear();
  waiting_from_ = 0;
}

}  // namespace squall
