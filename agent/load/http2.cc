#include "agent/load/http2.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/load/grpc_call.h"
#include "agent/load/trace.h"

namespace squall {
namespace {

// Connections that a request may wait for, each of which has no room for it in the end.
constexpr int kTries = 5;
// Windows in which no answer waits for us.
constexpr int32_t kStreamWindow = 1 << 20;
constexpr int32_t kConnectionWindow = 1 << 28;

nghttp2_nv Field(absl::string_view name, absl::string_view value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

absl::string_view View(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

}  // namespace

Http2Transport::~Http2Transport() = default;

size_t Http2Transport::Line::Room() const {
  if (retired || connection.gone()) return 0;
  if (!settled) return owner->allowed_;
  if (nghttp2_session_check_request_allowed(session.get()) == 0) return 0;
  // One at least: a server that allows none is waited for, and not connected to again and again.
  return std::max<size_t>(nghttp2_session_get_remote_settings(session.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 1);
}

void Http2Transport::Send(Exchange& exchange) { Place(exchange); }

void Http2Transport::Place(Exchange& exchange) {
  const auto free = std::find_if(lines_.begin(), lines_.end(), [](const auto& line) { return line->used() < line->Room(); });
  const bool fresh = free == lines_.end();
  Line& line = fresh ? Open() : **free;
  exchange.connection = line.id;
  exchange.stream = 0;
  if (line.settled) {
    Submit(line, exchange);
    Flush(line);
    return;
  }
  if (++exchange.tries > kTries) {
    return Fail(exchange, Failure::kNotAccepted, absl::StrCat(target_.text(), " takes no requests on its connections (GOAWAY)"));
  }
  line.waiting.push_back(&exchange);
  if (!fresh) return;
  line.connection.Start();
  if (line.connection.IsOpen()) Begin(line);
  Flush(line);
}

Http2Transport::Line& Http2Transport::Open() {
  lines_.push_back(std::make_unique<Line>(this, next_id_++));
  return *lines_.back();
}

Http2Transport::Line* Http2Transport::Find(uint64_t id) {
  const auto found = std::lower_bound(lines_.begin(), lines_.end(), id, [](const auto& line, uint64_t wanted) { return line->id < wanted; });
  return found == lines_.end() || (*found)->id != id ? nullptr : found->get();
}

void Http2Transport::Close(uint64_t id) {
  std::erase_if(lines_, [id](const auto& line) { return line->id == id; });
}

void Http2Transport::Begin(Line& line) {
  if (target_.tls() != nullptr && line.connection.Protocol() != "h2") {
    FailAll(line, Failure::kNotUnderstood, absl::StrCat(target_.text(), " does not speak HTTP/2 over TLS: it did not choose h2 (ALPN)"));
    return;
  }
  static nghttp2_session_callbacks* const callbacks = MakeCallbacks();
  nghttp2_session* session = nullptr;
  if (nghttp2_session_client_new(&session, callbacks, &line) != 0) {
    FailAll(line, Failure::kNeverSent, "nghttp2 could not make a session: memory is short");
    return;
  }
  line.session.reset(session);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow);
}

void Http2Transport::Submit(Line& line, Exchange& exchange) {
  const HttpRequest& request = requests_.kinds[exchange.request.kind];
  const std::string parent = Traceparent(requests_.trace_prefix, exchange.request.number);
  const std::string* const host = FindHeader(request.headers, "host");
  const bool has_body = !request.body.empty() || request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  const std::string length = absl::StrCat(request.body.size());
  std::vector<nghttp2_nv> fields = {Field(":method", request.method), Field(":scheme", requests_.scheme),
                                    Field(":authority", host == nullptr ? requests_.authority : *host), Field(":path", request.path)};
  for (const auto& [name, value] : request.headers) {
    if (!absl::EqualsIgnoreCase(name, "host")) fields.push_back(Field(name, value));
  }
  fields.push_back(Field("traceparent", parent));
  if (has_body && !requests_.grpc) fields.push_back(Field("content-length", length));
  nghttp2_data_provider body = {};
  body.source.ptr = &line;
  body.read_callback = &ReadBody;
  exchange.sent_bytes = 0;
  exchange.request.reused = line.answered;
  exchange.stream =
      nghttp2_submit_request(line.session.get(), nullptr, fields.data(), fields.size(), request.body.empty() ? nullptr : &body, &exchange);
  if (exchange.stream < 0) {
    line.retired = true;
    Fail(exchange, Failure::kNeverSent, absl::StrCat("nghttp2 takes no more requests: ", nghttp2_strerror(exchange.stream)));
    return;
  }
  line.streams.insert(&exchange);
}

void Http2Transport::Flush(Line& line) {
  while (line.session != nullptr) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(line.session.get(), &data);
    if (size <= 0) break;
    line.connection.Send(View(data, static_cast<size_t>(size)));
  }
  if (line.session != nullptr && nghttp2_session_want_read(line.session.get()) == 0 &&
      nghttp2_session_want_write(line.session.get()) == 0) {
    FailAll(line, Failure::kNotUnderstood, absl::StrCat("what ", target_.text(), line.settled ? " answers breaks HTTP/2" : " answers is no HTTP/2"));
  } else if (line.connection.gone()) {
    FailAll(line, line.connection.gone()->failure, line.connection.gone()->why);
  }
  const bool over = line.connection.gone() || (line.retired && line.used() == 0);
  if (over) Close(line.id);
}

void Http2Transport::Fail(Exchange& exchange, Failure failure, const std::string& why) {
  if (requests_.grpc) exchange.answer.status = 0;  // HTTP's says nothing about a call without a status of its own
  Failed(exchange, failure, why);
}

void Http2Transport::FailAll(Line& line, Failure failure, const std::string& why) {
  line.retired = true;
  for (Exchange* const exchange : std::exchange(line.waiting, {})) Fail(*exchange, failure, why);
  for (Exchange* const exchange : std::exchange(line.streams, {})) {
    nghttp2_session_set_stream_user_data(line.session.get(), exchange->stream, nullptr);
    Fail(*exchange, failure, why);
  }
}

void Http2Transport::Leave(Line& line, Exchange& exchange) {
  if (line.session != nullptr && exchange.stream > 0) {
    nghttp2_session_set_stream_user_data(line.session.get(), exchange.stream, nullptr);
  }
  line.streams.erase(&exchange);
  std::erase(line.waiting, &exchange);
  if (line.used() == 0) line.idle_since_ns = BootNanos();
}

void Http2Transport::Abandon(Exchange& exchange, bool out_of_patience) {
  Line* const line = Find(exchange.connection);
  if (line == nullptr) return;
  // Nothing at all came meanwhile: the connection may be dead, and others need not find that out one by one.
  if (out_of_patience && line->last_read_ns < exchange.request.sent_ns) line->retired = true;
  if (exchange.stream > 0) nghttp2_submit_rst_stream(line->session.get(), NGHTTP2_FLAG_NONE, exchange.stream, NGHTTP2_CANCEL);
  Leave(*line, exchange);
  if (requests_.grpc) exchange.answer.status = 0;
  // What was not even connected is of no use to anybody.
  if (!line->settled && line->used() == 0) line->retired = true;
  Flush(*line);
}

void Http2Transport::HandleEvent(uint64_t id, uint32_t events) {
  Line* const line = Find(id);
  if (line == nullptr) return;
  in_.clear();
  line->connection.HandleEvent(events, in_);
  if (line->connection.IsOpen() && line->session == nullptr && !line->retired) Begin(*line);
  if (!in_.empty() && line->session != nullptr) {
    line->last_read_ns = BootNanos();
    const bool settled = line->settled;
    const ssize_t read = nghttp2_session_mem_recv(line->session.get(), reinterpret_cast<const uint8_t*>(in_.data()), in_.size());
    if (read < 0) FailAll(*line, Failure::kNotUnderstood, absl::StrCat("what ", target_.text(), " answers is no HTTP/2: ", nghttp2_strerror(static_cast<int>(read))));
    if (!settled && line->settled) {
      if (const size_t room = line->Room(); room > 0) allowed_ = std::min<size_t>(room, 100);
      std::deque<Exchange*> waiting = std::exchange(line->waiting, {});
      for (; !waiting.empty() && line->used() < line->Room(); waiting.pop_front()) Submit(*line, *waiting.front());
      // Those that it does not allow go elsewhere; that may open connections, but takes none away.
      for (Exchange* const exchange : waiting) Place(*exchange);
    }
  }
  Flush(*line);
}

void Http2Transport::HandleAddresses() {
  std::vector<uint64_t> waiting;
  for (const auto& line : lines_) {
    if (line->connection.IsWaitingForAddress()) waiting.push_back(line->id);
  }
  for (const uint64_t id : waiting) {
    Line& line = *Find(id);
    line.connection.Start();
    if (line.connection.IsOpen()) Begin(line);
    Flush(line);
  }
}

void Http2Transport::Tidy(int64_t now_ns) {
  std::vector<uint64_t> idle;
  for (const auto& line : lines_) {
    if (line->used() == 0 && now_ns - line->idle_since_ns >= kIdleNs) idle.push_back(line->id);
  }
  for (const uint64_t id : idle) {
    Line& line = *Find(id);
    if (line.session != nullptr) nghttp2_session_terminate_session(line.session.get(), NGHTTP2_NO_ERROR);
    line.retired = true;
    Flush(line);
  }
}

void Http2Transport::Complete(Line& line, Exchange& exchange) {
  line.answered = true;
  // It may have answered before it had everything.
  if (exchange.sent_bytes < requests_.kinds[exchange.request.kind].body.size()) {
    nghttp2_submit_rst_stream(line.session.get(), NGHTTP2_FLAG_NONE, exchange.stream, NGHTTP2_CANCEL);
  }
  Leave(line, exchange);
  if (requests_.grpc) FinishGrpcAnswer(exchange.answer, exchange.answer_bytes);
  Answered(exchange);
}

void Http2Transport::CloseStream(Line& line, Exchange& exchange, uint32_t error) {
  Leave(line, exchange);
  if (error == NGHTTP2_REFUSED_STREAM) {
    return Fail(exchange, Failure::kNotAccepted, absl::StrCat(target_.text(), " refused to process a request (GOAWAY or REFUSED_STREAM)"));
  }
  const bool broken = error == NGHTTP2_PROTOCOL_ERROR || error == NGHTTP2_HTTP_1_1_REQUIRED;
  Fail(exchange, broken ? Failure::kNotUnderstood : Failure::kDied,
       absl::StrCat(target_.text(), " ended a stream before its answer was through: ", nghttp2_http2_strerror(error)));
}

void Http2Transport::TakeHeader(Exchange& exchange, absl::string_view name, absl::string_view value) {
  if (name == ":status") {
    // Headers before belonged to an interim answer.
    exchange.answer.headers.clear();
    exchange.retry_after.reset();
    exchange.answer.status = 0;
    for (const char digit : value.substr(0, 3)) exchange.answer.status = exchange.answer.status * 10 + (digit - '0');
    if (exchange.answer.status / 100 == 1) exchange.answer.status = 0;
    return;
  }
  if (name == "retry-after") exchange.retry_after = std::string(value);
  if (requests_.grpc && name == "grpc-status") exchange.answer.grpc_status = ReadGrpcStatus(value);
  if (requests_.keep.headers) exchange.answer.headers.emplace_back(name, value);
}

void Http2Transport::TakeData(Exchange& exchange, absl::string_view data) {
  exchange.answer_bytes += data.size();
  std::string& body = exchange.answer.body;
  const size_t most = std::max(requests_.keep.body, requests_.grpc ? kGrpcFrame : size_t{0});
  if (body.size() < most) absl::StrAppend(&body, data.substr(0, most - body.size()));
}

Exchange* Http2Transport::ExchangeOf(nghttp2_session* session, int32_t stream) {
  return static_cast<Exchange*>(nghttp2_session_get_stream_user_data(session, stream));
}

int Http2Transport::OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Line& line = *static_cast<Line*>(user);
  if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) line.settled = true;
  if (frame->hd.type == NGHTTP2_GOAWAY) line.retired = true;
  const bool of_answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
  if (!of_answer || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  if (Exchange* const exchange = ExchangeOf(session, frame->hd.stream_id)) line.owner->Complete(line, *exchange);
  return 0;
}

int Http2Transport::OnNotSent(nghttp2_session* session, const nghttp2_frame* frame, int, void* user) {
  Line& line = *static_cast<Line*>(user);
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  if (Exchange* const exchange = ExchangeOf(session, frame->hd.stream_id)) line.owner->CloseStream(line, *exchange, NGHTTP2_REFUSED_STREAM);
  return 0;
}

ssize_t Http2Transport::ReadBody(nghttp2_session* session, int32_t stream, uint8_t* to, size_t size, uint32_t* flags,
                                 nghttp2_data_source* line, void*) {
  Exchange* const exchange = ExchangeOf(session, stream);
  if (exchange == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const std::string& body = static_cast<Line*>(line->ptr)->owner->requests_.kinds[exchange->request.kind].body;
  size = std::min(size, body.size() - exchange->sent_bytes);
  std::memcpy(to, body.data() + exchange->sent_bytes, size);
  exchange->sent_bytes += size;
  if (exchange->sent_bytes == body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  return static_cast<ssize_t>(size);
}

nghttp2_session_callbacks* Http2Transport::MakeCallbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &OnFrame);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, &OnNotSent);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
                    size_t value_size, uint8_t, void* user) {
        if (Exchange* const exchange = ExchangeOf(session, frame->hd.stream_id)) {
          static_cast<Line*>(user)->owner->TakeHeader(*exchange, View(name, name_size), View(value, value_size));
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session* session, uint8_t, int32_t stream, const uint8_t* data, size_t size, void* user) {
        if (Exchange* const exchange = ExchangeOf(session, stream)) static_cast<Line*>(user)->owner->TakeData(*exchange, View(data, size));
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session* session, int32_t stream, uint32_t error, void* user) {
    Line& line = *static_cast<Line*>(user);
    if (Exchange* const exchange = ExchangeOf(session, stream)) line.owner->CloseStream(line, *exchange, error);
    return 0;
  });
  return callbacks;
}

}  // namespace squall
