// HTTP/2 between two strict peers: nghttp2's sessions check frames, states, windows and header blocks on both sides.
#include "agent/net/http2.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/net/conversation_harness.h"

namespace squall {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Seen {
  std::map<std::string, std::string> headers;
  std::string body;
  bool ended = false;
  int64_t closed = -1;  // the error code
};

// One end of the connection.
class Peer {
 public:
  Peer(bool client, std::vector<nghttp2_settings_entry> settings = {}, bool read = true) : client_(client), read_(read) {
    nghttp2_session_callbacks* callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t value_size, uint8_t, void* self) {
          Of(self).seen[frame->hd.stream_id].headers[std::string(name, name + name_size)] = std::string(value, value + value_size);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* self) {
          Of(self).seen[id].body.append(data, data + size);
          if (Of(self).read_) nghttp2_session_consume(session, id, size);
          Of(self).unread_[id] += Of(self).read_ ? 0 : size;
          return 0;
        });
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          const bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
          if (ends) Of(self).seen[frame->hd.stream_id].ended = true;
          if (ends && !Of(self).client_) Of(self).to_answer.push_back(frame->hd.stream_id);
          if (frame->hd.type != NGHTTP2_GOAWAY) return 0;
          Of(self).goaway = true;
          Of(self).errors.emplace_back(absl::StrCat("GOAWAY ", frame->goaway.error_code, " ", absl::string_view(
              reinterpret_cast<const char*>(frame->goaway.opaque_data), frame->goaway.opaque_data_len)));
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(
        callbacks, [](nghttp2_session*, int32_t id, uint32_t error, void* self) {
          Of(self).seen[id].closed = error;
          return 0;
        });
    nghttp2_session_callbacks_set_error_callback2(callbacks, [](nghttp2_session*, int, const char* text, size_t size, void* self) {
      Of(self).errors.emplace_back(text, size);
      return 0;
    });
    nghttp2_option* option;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    (client ? nghttp2_session_client_new2 : nghttp2_session_server_new2)(&session_, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  }
  ~Peer() { nghttp2_session_del(session_); }

  int32_t Request(const Headers& headers, const std::string& body = "") { return Submit(0, headers, body, {}); }
  void Answer(int32_t id, const Headers& headers, const std::string& body = "", const Headers& trailers = {}) {
    Submit(id, headers, body, trailers);
  }
  void Reset(int32_t id) { nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL); }
  void Read() {
    read_ = true;
    for (auto& [id, size] : unread_) nghttp2_session_consume(session_, id, size);
    unread_.clear();
  }
  std::string Send() {
    std::string bytes;
    const uint8_t* data;
    for (ssize_t size; (size = nghttp2_session_mem_send(session_, &data)) > 0;) bytes.append(data, data + size);
    return bytes;
  }
  void Receive(const std::string& bytes) {
    const ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    ASSERT_EQ(used, static_cast<ssize_t>(bytes.size())) << (used < 0 ? nghttp2_strerror(static_cast<int>(used)) : "");
  }
  nghttp2_session* session() { return session_; }

  std::map<int32_t, Seen> seen;
  std::vector<int32_t> to_answer;
  bool goaway = false;
  std::vector<std::string> errors;

 private:
  struct Body {
    std::string text;
    size_t sent = 0;
    Headers trailers;
  };
  static Peer& Of(void* self) { return *static_cast<Peer*>(self); }
  static std::vector<nghttp2_nv> List(const Headers& headers) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : headers) {
      list.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
    }
    return list;
  }
  int32_t Submit(int32_t id, const Headers& headers, const std::string& body, const Headers& trailers) {
    bodies_.push_back(std::make_unique<Body>(Body{body, 0, trailers}));
    nghttp2_data_provider provider;
    provider.source.ptr = bodies_.back().get();
    provider.read_callback = [](nghttp2_session* session, int32_t stream, uint8_t* out, size_t most, uint32_t* flags,
                                nghttp2_data_source* source, void*) {
      Body& of = *static_cast<Body*>(source->ptr);
      const size_t size = std::min(most, of.text.size() - of.sent);
      memcpy(out, of.text.data() + of.sent, size);
      of.sent += size;
      if (of.sent == of.text.size()) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (!of.trailers.empty()) {
          *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
          const std::vector<nghttp2_nv> list = List(of.trailers);
          nghttp2_submit_trailer(session, stream, list.data(), list.size());
        }
      }
      return static_cast<ssize_t>(size);
    };
    const std::vector<nghttp2_nv> list = List(headers);
    const bool has_body = !body.empty() || !trailers.empty();
    if (!client_) return nghttp2_submit_response(session_, id, list.data(), list.size(), has_body ? &provider : nullptr);
    return nghttp2_submit_request(session_, nullptr, list.data(), list.size(), has_body ? &provider : nullptr, nullptr);
  }

  bool client_;
  bool read_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, size_t> unread_;
  std::vector<std::unique_ptr<Body>> bodies_;
};

Headers Get(const std::string& path, const Headers& more = {}) {
  Headers headers = {{":method", "GET"}, {":scheme", "http"}, {":path", path}, {":authority", "x"}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}
Headers Grpc(const std::string& path, const Headers& more = {}) {
  Headers headers = {{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "x"},
                     {"content-type", "application/grpc"}, {"te", "trailers"}};
  headers.insert(headers.end(), more.begin(), more.end());
  return headers;
}

// Client, conversation, server.
struct Line {
  explicit Line(std::vector<nghttp2_settings_entry> of_client = {}, std::vector<nghttp2_settings_entry> of_server = {},
                bool client_reads = true)
      : client(true, of_client, client_reads), server(false, of_server) {}
  // Until nobody has anything to say. The server answers each request with 200 and its path.
  void Run() {
    for (int i = 0; i < 1000; ++i) {
      const std::string up = client.Send();
      const std::string down = server.Send();
      if (!up.empty()) talk.conversation.FromService(up, now);
      if (!down.empty()) talk.conversation.FromDependency(down, now);
      talk.conversation.OnTime(now);
      ASSERT_FALSE(talk.conversation.Broken());
      server.Receive(talk.ToDependency(now));
      const std::string to_client = talk.ToService(now);
      client.Receive(to_client);
      bool answered = false;
      for (const int32_t id : std::exchange(server.to_answer, {})) {
        if (!answers) continue;
        answered = true;
        const auto& headers = server.seen[id].headers;
        server.Answer(id, {{":status", "200"}, {"x-path", headers.at(":path")}, {"content-type", "text/plain"}},
                      body.empty() ? "answer to " + headers.at(":path") : body);
      }
      if (up.empty() && down.empty() && to_client.empty() && !answered && !nghttp2_session_want_write(client.session()) &&
          !nghttp2_session_want_write(server.session())) {
        return;
      }
    }
    FAIL() << "they go on and on";
  }

  Peer client;
  Peer server;
  Talk talk;
  int64_t now = 10;
  bool answers = true;
  std::string body;
};

TEST(Http2, WithoutFaultBytesPassUntouchedAndCallsAreCounted) {
  Line line;
  const int32_t a = line.client.Request(Get("/a"));
  const int32_t b = line.client.Request(Get("/b"), "body");
  const std::string up = line.client.Send();
  std::string passed;
  for (const char byte : up) passed += line.talk.FromService(std::string(1, byte));
  EXPECT_EQ(passed, up);
  line.server.Receive(passed);
  line.Run();
  EXPECT_EQ(line.client.seen[a].body, "answer to /a");
  EXPECT_EQ(line.client.seen[b].body, "answer to /b");
  ASSERT_EQ(line.talk.calls.size(), 2u);
  EXPECT_EQ(line.talk.calls[0].status, 200);
  EXPECT_EQ(line.talk.calls[0].result, ANSWERED);
}

TEST(Http2, OwnAnswersComeWithBodyAndOthersPassBesideThem) {
  Line line;
  line.Run();
  line.talk.Http("/x", 503, 0, "gone");
  std::vector<int32_t> hit, passed;
  for (int i = 0; i < 50; ++i) {
    hit.push_back(line.client.Request(Get("/x", {{"x-count", absl::StrCat(i)}}), i % 2 ? "some body" : ""));
    passed.push_back(line.client.Request(Get(absl::StrCat("/", i), {{"x-count", absl::StrCat(i)}})));
    if (i % 7 == 0) line.Run();
  }
  line.Run();
  for (const int32_t id : hit) {
    EXPECT_EQ(line.client.seen[id].headers[":status"], "503");
    EXPECT_EQ(line.client.seen[id].body, "gone");
    EXPECT_EQ(line.server.seen.count(id), 0u) << "the dependency saw it";
  }
  for (const int32_t id : passed) {
    EXPECT_EQ(line.client.seen[id].headers[":status"], "200") << id;
    EXPECT_EQ(line.client.seen[id].headers["x-path"], line.server.seen[id].headers[":path"]);
  }
  EXPECT_EQ(line.talk.calls.size(), 100u);
  EXPECT_EQ(std::count_if(line.talk.calls.begin(), line.talk.calls.end(),
                          [](const SeenCall& call) { return call.status == 503 && call.result == FAILED; }),
            50);
}

TEST(Http2, GrpcFaultEndsTheCallWithItsStatusAndMessage) {
  Line line;
  line.talk.Grpc("/shop.Recommend/*", GrpcFault::CODE_UNAVAILABLE, "no 100 %");
  const int32_t hit = line.client.Request(Grpc("/shop.Recommend/List", {{"grpc-timeout", "250m"}}), "\0\0\0\0\0");
  const int32_t other = line.client.Request(Grpc("/shop.Orders/List"), "x");
  line.Run();
  EXPECT_EQ(line.client.seen[hit].headers["grpc-status"], "14");
  EXPECT_EQ(line.client.seen[hit].headers["grpc-message"], "no 100 %25");
  EXPECT_EQ(line.client.seen[hit].headers["content-type"], "application/grpc");
  EXPECT_TRUE(line.client.seen[hit].ended);
  EXPECT_EQ(line.client.seen[other].body, "answer to /shop.Orders/List");
  ASSERT_EQ(line.talk.calls.size(), 2u);
  EXPECT_EQ(line.talk.calls[0].grpc_status, 14);
  EXPECT_EQ(line.talk.calls[0].timeout_ms, 250);
  EXPECT_EQ(line.talk.calls[0].result, FAILED);
}

TEST(Http2, HeadersTellTheRequestOfALoadAndHowLongTheCallerWaits) {
  constexpr char kTrace[] = "00-4bf92f3577b34da60000000000000007-00f067aa0ba902b7-01";
  for (const bool changed : {false, true}) {
    Line line;
    if (changed) line.talk.Http("/hit", 503);
    line.client.Request(Get("/hit", {{"traceparent", kTrace}, {"x-wait", "1.5s"}}));
    line.Run();
    line.client.Request(Get("/passed", {{"traceparent", kTrace}, {"x-wait", "250"}, {"grpc-timeout", "1m"}}));
    line.Run();
    line.client.Request(Grpc("/s/M", {{"grpc-timeout", "1S"}, {"x-wait", "2s"}}), "x");
    line.Run();
    line.client.Request(Get("/plain", {{"traceparent", "00-4bf92f"}, {"x-wait", "soon"}}));
    line.Run();
    ASSERT_EQ(line.talk.calls.size(), 4u);
    EXPECT_EQ(line.talk.calls[0].status, changed ? 503 : 200);
    for (const size_t i : {0u, 1u}) {
      ASSERT_TRUE(line.talk.calls[i].trace);
      EXPECT_EQ(line.talk.calls[i].trace->prefix, 0x4bf92f3577b34da6u);
      EXPECT_EQ(line.talk.calls[i].trace->number, 7);
    }
    EXPECT_EQ(line.talk.calls[0].timeout_ms, 1500);
    EXPECT_EQ(line.talk.calls[1].timeout_ms, 250) << "grpc-timeout is for gRPC";
    EXPECT_EQ(line.talk.calls[2].timeout_ms, 1000) << "the sooner of both";
    EXPECT_FALSE(line.talk.calls[3].trace);
    EXPECT_FALSE(line.talk.calls[3].timeout_ms);
  }
}

TEST(Http2, StatusOfAGrpcCallComesFromItsTrailers) {
  Line line;
  line.answers = false;
  const std::vector<std::pair<std::string, CallResult>> cases = {{"0", ANSWERED}, {"5", ANSWERED}, {"13", FAILED}, {"4", FAILED}};
  for (const auto& [status, result] : cases) {
    const int32_t id = line.client.Request(Grpc("/s/M"), "x");
    line.Run();
    line.server.Answer(id, {{":status", "200"}, {"content-type", "application/grpc"}}, "y", {{"grpc-status", status}});
    line.Run();
    EXPECT_EQ(line.talk.calls.back().grpc_status, std::stoi(status));
    EXPECT_EQ(line.talk.calls.back().result, result) << status;
  }
}

TEST(Http2, DelayedRequestsAreOvertakenByOthers) {
  Line line;
  line.talk.Http("/slow", 0, 100);
  const int32_t slow = line.client.Request(Get("/slow", {{"x-a", "1"}}), "body of the slow one");
  const int32_t fast = line.client.Request(Get("/fast", {{"x-a", "1"}}));
  line.Run();
  EXPECT_EQ(line.client.seen[fast].body, "answer to /fast");
  EXPECT_FALSE(line.client.seen[slow].ended);
  line.now = 115;
  line.Run();
  EXPECT_EQ(line.client.seen[slow].body, "answer to /slow");
  const int32_t next = line.client.Request(Get("/next", {{"x-a", "1"}}), "more");
  line.Run();
  EXPECT_EQ(line.client.seen[next].body, "answer to /next");
  EXPECT_EQ(line.talk.faults.EvidenceOf(RequestFaults::kHttp).achieved_p50_ns(), 105);
  EXPECT_EQ(line.talk.calls.size(), 3u);
}

TEST(Http2, HealingLetsGoWhatIsHeld) {
  Line line;
  line.talk.Http("", 503, 1'000'000);
  const int32_t id = line.client.Request(Get("/a"), "body");
  line.Run();
  EXPECT_TRUE(line.talk.conversation.HoldsFor(RequestFaults::kHttp));
  line.talk.Heal(RequestFaults::kHttp, line.now);
  line.talk.Heal(RequestFaults::kHttp, line.now);
  EXPECT_FALSE(line.talk.conversation.HoldsFor(RequestFaults::kHttp));
  line.Run();
  EXPECT_EQ(line.client.seen[id].body, "answer to /a");
  EXPECT_EQ(line.server.seen[1].body, "body");
}

TEST(Http2, HealingDoesNotWaitForTheRestOfAFrame) {
  for (const uint8_t type : {kPing, kSettings, kGoaway, FrameType{99}}) {
    Line line;
    line.talk.Http("/a", 0, 1'000'000);
    const int32_t id = line.client.Request(Get("/a"));
    line.Run();
    std::string frame;
    AppendFrame(frame, type, type == kPing ? kEndStream : 0, 0, std::string(type == kSettings ? 12 : 8, '\0'));
    line.server.Receive(line.talk.FromService(frame.substr(0, 12)));
    line.talk.Heal(RequestFaults::kHttp, line.now);
    EXPECT_FALSE(line.talk.conversation.HoldsFor(RequestFaults::kHttp)) << int{type};
    line.server.Receive(line.talk.ToDependency());
    EXPECT_EQ(line.server.seen.count(id), 1u);
    EXPECT_EQ(line.talk.FromService(frame.substr(12)), frame) << int{type};
  }
}

TEST(Http2, HealingLetsGoHalfARequest) {
  std::string first, rest;
  AppendFrame(first, kHeaders, 0, 1, "\x82\x84");
  AppendFrame(rest, kContinuation, kEndHeaders, 1, std::string("\x86\x41\x01x", 4));
  AppendFrame(rest, kData, kEndStream, 1, "body");
  std::string settings;
  AppendFrame(settings, kSettings, 0, 0, "");
  const std::string all = first + rest;
  for (size_t half = 1; half < all.size(); ++half) {
    Talk talk;
    talk.FromService(std::string(kHttp2Preface) + settings);
    talk.Http("/never", 503);
    std::string passed = talk.FromService(all.substr(0, half));
    talk.Heal(RequestFaults::kHttp, 20);
    passed += talk.ToDependency();
    EXPECT_EQ(passed, all.substr(0, half)) << half;
    EXPECT_EQ(talk.FromService(all.substr(half)), all.substr(half)) << half;
    EXPECT_EQ(talk.conversation.OpenCalls(), 1) << half;
  }
}

TEST(Http2, CallersThatResetHeldAndPassedCallsHaveLeft) {
  Line line;
  line.answers = false;
  line.talk.Http("/held", 0, 1000);
  const int32_t held = line.client.Request(Get("/held"), "body");
  const int32_t passed = line.client.Request(Get("/passed"));
  line.Run();
  line.client.Reset(held);
  line.client.Reset(passed);
  line.Run();
  line.now = 5000;
  line.Run();
  EXPECT_EQ(line.server.seen.size(), 1u) << "the held one never reaches the dependency";
  ASSERT_EQ(line.talk.calls.size(), 2u);
  for (const SeenCall& call : line.talk.calls) EXPECT_EQ(call.result, CALLER_LEFT);
}

// The relay holds back what the conversation has let go.
TEST(Http2, CallersThatResetWhileTheirAnswersAreHeldBackLeaveThen) {
  for (const bool own : {false, true}) {
    Line line;
    line.client.Request(Get("/first"));
    line.Run();
    if (own) line.talk.Http("/held", 503, 0, "ours");
    const std::vector<int32_t> ids = {line.client.Request(Get("/held")), line.client.Request(Get("/held")),
                                      line.client.Request(Get("/held"))};
    line.talk.conversation.FromService(line.client.Send(), 100);
    line.server.Receive(line.talk.ToDependency());
    if (!own) {
      for (const int32_t id : ids) line.server.Answer(id, {{":status", "200"}}, "answer");
      line.talk.conversation.FromDependency(line.server.Send(), 200);
    }
    const std::string held = line.talk.conversation.TakeToService().bytes;
    ASSERT_EQ(line.talk.calls.size(), 1u);
    line.client.Reset(ids[1]);
    line.talk.conversation.FromService(line.client.Send(), 300);
    ASSERT_EQ(line.talk.calls.size(), 2u) << own;
    EXPECT_EQ(line.talk.calls[1].result, CALLER_LEFT);
    EXPECT_EQ(line.talk.calls[1].end_ns, 300);
    line.talk.conversation.Written(held.size(), 900);
    ASSERT_EQ(line.talk.calls.size(), 4u);
    EXPECT_EQ(line.talk.calls[2].result, own ? FAILED : ANSWERED);
    EXPECT_EQ(line.talk.calls[2].end_ns, 900);
    // Who resets what it has got whole has not left.
    line.client.Reset(ids[0]);
    line.talk.conversation.FromService(line.client.Send(), 950);
    EXPECT_EQ(line.talk.calls.size(), 4u);
  }
}

TEST(Http2, CallersThatResetWhileTheyUploadAndTheEarlyAnswerIsHeldBackLeaveThen) {
  Line line;
  const int32_t id = line.client.Request(Get("/upload"), std::string(100'000, 'x'));  // more than the window
  line.talk.conversation.FromService(line.client.Send(), 100);
  line.server.Receive(line.talk.ToDependency());
  line.server.Answer(id, {{":status", "413"}}, "too much");
  line.talk.conversation.FromDependency(line.server.Send(), 200);
  const std::string held = line.talk.conversation.TakeToService().bytes;
  ASSERT_TRUE(line.talk.calls.empty());
  line.client.Reset(id);
  line.talk.conversation.FromService(line.client.Send(), 300);
  line.talk.conversation.Written(held.size(), 900);
  ASSERT_EQ(line.talk.calls.size(), 1u);
  EXPECT_EQ(line.talk.calls[0].result, CALLER_LEFT);
  EXPECT_EQ(line.talk.calls[0].end_ns, 300);
}

TEST(Http2, CallersThatResetAreKnownHoweverManyAnswersWentBefore) {
  Line line;
  line.client.Request(Get("/first"));
  line.Run();
  for (int round = 0; round < 50; ++round) {
    const std::vector<int32_t> ids = {line.client.Request(Get("/held")), line.client.Request(Get("/held"))};
    line.talk.conversation.FromService(line.client.Send(), 100);
    line.server.Receive(line.talk.ToDependency());
    for (const int32_t id : ids) line.server.Answer(id, {{":status", "200"}}, "answer");
    line.talk.conversation.FromDependency(line.server.Send(), 200);
    const std::string held = line.talk.conversation.TakeToService().bytes;
    line.client.Reset(ids[1]);
    line.talk.conversation.FromService(line.client.Send(), 300);
    line.server.Receive(line.talk.ToDependency());
    ASSERT_EQ(line.talk.calls.back().result, CALLER_LEFT) << round;
    line.talk.conversation.Written(held.size(), 400);
    line.client.Receive(held);
    ASSERT_EQ(line.talk.calls.size(), 3u + 2 * static_cast<size_t>(round));
    ASSERT_EQ(line.talk.calls.back().result, ANSWERED) << round;
  }
}

TEST(Http2, DependencyThatResetsOrGoesAwayHasLeft) {
  Line line;
  line.answers = false;
  const int32_t a = line.client.Request(Get("/a"));
  const int32_t b = line.client.Request(Get("/b"));
  line.Run();
  line.server.Reset(a);
  line.Run();
  nghttp2_submit_goaway(line.server.session(), NGHTTP2_FLAG_NONE, a, NGHTTP2_NO_ERROR, nullptr, 0);
  line.Run();
  EXPECT_TRUE(line.client.goaway);
  EXPECT_EQ(line.client.seen[b].closed, NGHTTP2_REFUSED_STREAM);
  ASSERT_EQ(line.talk.calls.size(), 2u);
  for (const SeenCall& call : line.talk.calls) EXPECT_EQ(call.result, PEER_LEFT);
}

TEST(Http2, HeldCallsAreRefusedWhenTheDependencyGoesAway) {
  Line line;
  line.talk.Http("/held", 0, 1000);
  const int32_t held = line.client.Request(Get("/held"), "body");
  line.client.Request(Get("/other"));
  line.Run();
  nghttp2_submit_goaway(line.server.session(), NGHTTP2_FLAG_NONE, 3, NGHTTP2_NO_ERROR, nullptr, 0);
  line.Run();
  line.now = 2000;
  line.Run();
  EXPECT_EQ(line.client.seen[held].closed, NGHTTP2_REFUSED_STREAM);
}

TEST(Http2, OwnBodiesKeepTheWindowsOfBothSides) {
  // The client does not read at first: our bodies fill half of the connection's window, and the dependency, which knows nothing
  // of them, fills the rest and has to wait. nghttp2 ends the connection of whoever overruns a window.
  Line line({}, {}, /*client_reads=*/false);
  line.talk.Http("/x", 500, 0, std::string(30'000, 'x'));
  const int32_t ours = line.client.Request(Get("/x"));
  line.Run();
  line.body = std::string(60'000, 'y');
  const int32_t theirs = line.client.Request(Get("/y"));
  line.Run();
  EXPECT_EQ(line.client.seen[ours].body.size(), 30'000u);
  EXPECT_LT(line.client.seen[theirs].body.size(), 40'000u);
  EXPECT_FALSE(line.client.seen[theirs].ended);
  line.client.Read();
  line.Run();
  EXPECT_TRUE(line.client.seen[theirs].body == line.body);
  line.talk.Heal(RequestFaults::kHttp, line.now);
  for (int i = 0; i < 10; ++i) {
    const int32_t id = line.client.Request(Get("/z"));
    line.Run();
    EXPECT_TRUE(line.client.seen[id].body == line.body);
  }
}

TEST(Http2, OwnBodiesWaitForSmallWindowsOfTheClient) {
  Line line({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 100}});
  line.talk.Http("", 500, 0, std::string(5'000, 'x'));
  std::vector<int32_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(line.client.Request(Get("/x")));
  line.Run();
  for (const int32_t id : ids) EXPECT_EQ(line.client.seen[id].body.size(), 5'000u);
}

TEST(Http2, LargerWindowsOfTheClientHoldOnceTheyAreAcknowledged) {
  Line line({{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}});
  nghttp2_session_set_local_window_size(line.client.session(), NGHTTP2_FLAG_NONE, 0, 1 << 20);
  line.talk.Http("/x", 503, 0, std::string(200'000, 'x'));
  const int32_t id = line.client.Request(Get("/x"));
  line.server.Receive(line.talk.FromService(line.client.Send()));
  const std::string settings = line.server.Send();
  const absl::string_view unacknowledged = absl::string_view(settings).substr(0, kFrameHeaderSize);
  line.client.Receive(line.talk.FromDependency(std::string(unacknowledged)));
  EXPECT_LE(line.client.seen[id].body.size(), 65535u);
  line.client.Receive(line.talk.FromDependency(settings.substr(kFrameHeaderSize)));
  line.Run();
  EXPECT_EQ(line.client.seen[id].body.size(), 200'000u);
  EXPECT_TRUE(line.client.seen[id].ended);
}

TEST(Http2, BodiesOfWithheldRequestsDoNotUseUpTheWindow) {
  Line line;
  line.talk.Http("/x", 503);
  for (int i = 0; i < 40; ++i) {
    line.client.Request(Get("/x"), std::string(10'000, 'b'));
    line.Run();
  }
  const int32_t id = line.client.Request(Get("/y"), std::string(60'000, 'b'));
  line.Run();
  EXPECT_TRUE(line.client.seen[id].ended);
}

TEST(Http2, TablesOfAnySizeStayInStep) {
  for (const uint32_t client : {0u, 100u, 4096u, 60'000u}) {
    for (const uint32_t server : {0u, 100u, 4096u, 60'000u}) {
      SCOPED_TRACE(absl::StrCat(client, " ", server));
      Line line({{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, client}}, {{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, server}});
      line.talk.Http("/x", 503, 0, "", /*percent=*/50);
      for (int i = 0; i < 60; ++i) {
        line.client.Request(Get(i % 3 ? "/x" : "/y", {{"x-long", std::string(i * 7 % 300, 'l')}, {"x-n", absl::StrCat(i % 11)}}));
        if (i % 5 == 4) line.Run();
        if (i == 30) {
          const nghttp2_settings_entry smaller = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 50};
          nghttp2_submit_settings(line.client.session(), NGHTTP2_FLAG_NONE, &smaller, 1);
          nghttp2_submit_settings(line.server.session(), NGHTTP2_FLAG_NONE, &smaller, 1);
        }
      }
      line.Run();
      EXPECT_EQ(line.talk.calls.size(), 60u);
      for (auto& [id, seen] : line.client.seen) EXPECT_TRUE(seen.ended) << id;
      EXPECT_FALSE(line.client.goaway);
      EXPECT_FALSE(line.server.goaway);
    }
  }
}

TEST(Http2, ManyRandomRunsLeaveBothPeersSatisfied) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Line line;
    std::vector<int32_t> ids;
    for (int i = 0; i < 60; ++i) {
      const auto roll = random() % 12;
      if (roll == 0) line.talk.Http("/a*", random() % 2 ? 503 : 0, static_cast<int64_t>(random() % 50), std::string(random() % 3000, 'b'), 50);
      if (roll == 1) line.talk.Heal(RequestFaults::kHttp, line.now);
      if (roll == 2) line.talk.Grpc("/a*", GrpcFault::CODE_ABORTED, "m", static_cast<int64_t>(random() % 50));
      if (roll == 3) line.talk.Heal(RequestFaults::kGrpc, line.now);
      line.now += static_cast<int64_t>(random() % 20);
      const std::string path = random() % 2 ? "/a" : "/b";
      const Headers more = {{"x-n", absl::StrCat(random() % 5)}};
      ids.push_back(line.client.Request(random() % 2 ? Get(path, more) : Grpc(path, more), std::string(random() % 2000, 'r')));
      if (random() % 4 == 0) {
        const size_t which = random() % ids.size();
        line.client.Reset(ids[which]);
        ids.erase(ids.begin() + static_cast<long>(which));  // twice would be an error of the client
      }
      if (random() % 3 == 0) line.Run();
    }
    line.Run();
    line.now += 1000;
    line.Run();
    for (auto& [id, seen] : line.client.seen) EXPECT_TRUE(seen.ended || seen.closed >= 0) << id;
    EXPECT_FALSE(line.client.goaway);
    EXPECT_FALSE(line.server.goaway);
    EXPECT_EQ(line.talk.conversation.OpenCalls(), 0);
    for (const std::string& e : line.client.errors) ADD_FAILURE() << "client: " << e;
    for (const std::string& e : line.server.errors) ADD_FAILURE() << "server: " << e;
  }
}

std::string Frames(const std::vector<std::string>& frames) {
  std::string bytes(kHttp2Preface);
  for (const std::string& frame : frames) bytes += frame;
  return bytes;
}

TEST(Http2, HostileFramesPassUntouchedWhileNothingWasChanged) {
  std::string settings;
  AppendFrame(settings, kSettings, 0, 0, "");
  std::string endless;
  AppendFrame(endless, kHeaders, 0, 1, "\x82");
  for (int i = 0; i < 20'000; ++i) AppendFrame(endless, kContinuation, 0, 1, "");
  std::string bomb;  // 3900 bytes in the table, and then a thousand times the same
  std::string block = std::string("\x40\x01x\x7f\xbd\x1d", 6) + std::string(3900, 'x') + std::string(1000, '\xbe');
  AppendFrame(bomb, kHeaders, kEndHeaders | kEndStream, 1, block);
  std::string large;
  AppendFrame(large, kSettings, 0, 0, std::string(100'000, '\0'));
  std::string streams;
  for (uint32_t id = 1; id < 3 * Http2::kMaxStreams; id += 2) AppendFrame(streams, kHeaders, kEndHeaders, id, "\x82");
  for (const std::string& hostile : {endless, bomb, large, streams}) {
    for (const bool fault : {false, true}) {
      Talk talk;
      if (fault) talk.Http("/never", 503);
      const std::string bytes = Frames({hostile});
      EXPECT_EQ(talk.FromService(bytes), bytes);
      EXPECT_FALSE(talk.conversation.Idle());
      EXPECT_FALSE(talk.conversation.Broken());
      EXPECT_EQ(talk.FromService("anything"), "anything");
    }
    Talk changed;
    changed.Http("/x", 503);
    std::string request;
    AppendFrame(request, kHeaders, kEndHeaders | kEndStream, 1, std::string("\x82\x04\x02/x", 5));
    changed.FromService(Frames({request}));
    changed.FromDependency(settings);
    EXPECT_EQ(changed.calls.size(), 1u);
    changed.FromService(hostile);
    EXPECT_TRUE(changed.conversation.Broken());
  }
}

// 3,900 bytes in the decoder's table, and fifteen times the same in each of many blocks.
TEST(Http2, SmallBlocksOfManyFieldsDoNotFillTheMemory) {
  const std::string entry = std::string("\x82\x40\x01x\x7f\xbd\x1d", 7) + std::string(3900, 'x');
  const std::string fields(15, '\xbe');
  for (const int64_t delay : {int64_t{0}, int64_t{1000}}) {
    for (const bool trailers : {false, true}) {
      Talk talk;
      talk.Http("/x", delay == 0 ? 503 : 0, delay);
      std::string first, more, settings;
      AppendFrame(settings, kSettings, 0, 0, std::string("\0\1\0\0\0\0", 6));  // no table: nothing is short there
      talk.FromDependency(settings);
      AppendFrame(first, kHeaders, kEndHeaders, 1, std::string("\x82\x04\x02/x", 5) + (delay > 0 ? entry.substr(1) : ""));
      if (delay == 0) AppendFrame(first, kHeaders, kEndHeaders, 3, entry);
      talk.FromService(Frames({first}));
      const uint32_t last = delay == 0 ? 3 : 1;
      const absl::string_view path("\x04\x02/x", 4);
      for (uint32_t i = 1; i < 2000; ++i) {
        const std::string block = absl::StrCat(delay == 0 || trailers ? absl::string_view() : path, fields);
        AppendFrame(more, kHeaders, kEndHeaders, trailers ? last : last + 2 * i, block);
      }
      talk.conversation.FromService(more, 20);
      EXPECT_TRUE(talk.conversation.Broken()) << delay << trailers;
      EXPECT_LT(talk.conversation.TakeToDependency().bytes.size(), 2 * Http2::kMaxUp);
    }
  }
}

TEST(Http2, WindowsGivenBackAreFewUntilTheyAreTaken) {
  Talk talk;
  talk.Http("/x", 503);
  std::string request, settings, to_answered, to_unknown;
  AppendFrame(request, kHeaders, kEndHeaders, 1, std::string("\x82\x04\x02/x", 5));
  AppendFrame(settings, kSettings, 0, 0, "");
  talk.FromService(Frames({request}));
  talk.FromDependency(settings);
  talk.Heal(RequestFaults::kHttp, 20);
  for (int i = 0; i < 5000; ++i) AppendFrame(to_answered, kData, 0, 1, "x");
  int reads = 0;
  for (; reads < 100 && talk.conversation.WantsFromService(); ++reads) talk.conversation.FromService(to_answered, 30);
  EXPECT_LT(reads, 15);
  talk.ToService();
  EXPECT_TRUE(talk.conversation.WantsFromService());
  // The other way round, for streams that ids no longer lead to.
  Talk other;
  other.Http("/x", 0, 10);
  AppendFrame(request, kHeaders, kEndHeaders, 3, std::string("\x82\x04\x02/y", 5));
  other.FromService(Frames({request}));
  other.conversation.OnTime(30);
  other.FromDependency(settings);
  for (int i = 0; i < 5000; ++i) AppendFrame(to_unknown, kData, 0, 77, "x");
  for (reads = 0; reads < 100 && other.conversation.WantsFromDependency(); ++reads) {
    other.conversation.FromDependency(to_unknown, 40);
  }
  EXPECT_LT(reads, 20);
  EXPECT_FALSE(other.conversation.Broken());
  other.ToDependency();
  EXPECT_TRUE(other.conversation.WantsFromDependency());
}

TEST(Http2, LargeBodiesWaitForTheDependencysFirstFrame) {
  Line line;
  nghttp2_session_set_local_window_size(line.client.session(), NGHTTP2_FLAG_NONE, 0, 100 << 20);
  line.talk.Http("/x", 503, 0, std::string(60'000, 'x'));
  std::vector<int32_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(line.client.Request(Get("/x")));
  line.server.Receive(line.talk.FromService(line.client.Send()));
  EXPECT_EQ(line.talk.ToService(), "");
  ASSERT_FALSE(line.talk.conversation.Broken());
  line.Run();
  for (const int32_t id : ids) EXPECT_EQ(line.client.seen[id].body.size(), 60'000u);
}

TEST(Http2, WindowsAreReadWhileTheDependencyWaitsForThem) {
  const std::vector<nghttp2_settings_entry> wide = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 4 << 20}};
  Line line(wide, {}, /*client_reads=*/false);
  nghttp2_session_set_local_window_size(line.client.session(), NGHTTP2_FLAG_NONE, 0, 3 << 20);
  line.Run();
  line.talk.Http("/x", 503, 0, std::string(5 << 19, 'x'));
  line.client.Request(Get("/x"));
  line.Run();
  line.body = std::string(2 << 20, 'y');
  const int32_t theirs = line.client.Request(Get("/y"));
  line.Run();
  EXPECT_FALSE(line.client.seen[theirs].ended);
  EXPECT_FALSE(line.talk.conversation.WantsFromDependency());
  EXPECT_TRUE(line.talk.conversation.WantsFromService());
  line.client.Read();
  line.Run();
  EXPECT_TRUE(line.client.seen[theirs].body == line.body);
}

TEST(Http2, WhatCannotGoOnOnceItWasChangedIsBroken) {
  Talk talk;
  talk.Http("/x", 503);
  std::string request, garbage;
  AppendFrame(request, kHeaders, kEndHeaders | kEndStream, 1, std::string("\x82\x04\x02/x", 5));
  talk.FromService(Frames({request}));
  EXPECT_EQ(talk.ToService(), "") << "nothing may stand before the dependency's SETTINGS";
  std::string settings;
  AppendFrame(settings, kSettings, 0, 0, "");
  EXPECT_GT(talk.FromDependency(settings).size(), settings.size());
  AppendFrame(garbage, kHeaders, kEndHeaders | kEndStream, 3, "\xff\xff\xff\xff\xff\xff");
  talk.FromService(garbage);
  EXPECT_TRUE(talk.conversation.Broken());
}

}  // namespace
}  // namespace squall
