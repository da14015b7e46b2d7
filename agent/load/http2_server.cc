#include "agent/load/http2_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace squall {
namespace {

nghttp2_nv Field(const std::string& name, const std::string& value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())), reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())),
          name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

std::vector<nghttp2_nv> Fields(const std::vector<std::pair<std::string, std::string>>& list) {
  std::vector<nghttp2_nv> fields;
  for (const auto& [name, value] : list) fields.push_back(Field(name, value));
  return fields;
}

}  // namespace

struct Http2Server::Peer {
  Http2Server* server;
  int fd, connection;
  int requests = 0;
  int open = 0;
  bool cut = false;
  nghttp2_session* session = nullptr;
  std::map<int32_t, Request> reading = {};
  std::map<int32_t, Reply> replies = {};
  std::map<int32_t, size_t> sent = {};
};

Http2Server::Http2Server(Script script, uint32_t streams) : script_(std::move(script)), streams_(streams) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener_, 1000) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    abort();
  }
  port_ = ntohs(address.sin_port);
  accepting_ = std::thread([this] { Run(); });
}

Http2Server::~Http2Server() {
  shutdown(listener_, SHUT_RDWR);
  accepting_.join();
  {
    absl::MutexLock lock(&mutex_);
    for (const int fd : fds_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : serving_) thread.join();
  for (const int fd : fds_) close(fd);
  close(listener_);
}

int Http2Server::Resets(uint32_t error) const {
  absl::MutexLock lock(&mutex_);
  const auto found = resets_.find(error);
  return found == resets_.end() ? 0 : found->second;
}

void Http2Server::Run() {
  while (true) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    absl::MutexLock lock(&mutex_);
    fds_.push_back(fd);
    const int connection = ++connections_;
    serving_.emplace_back([this, fd, connection] { Serve(fd, connection); });
  }
}

void Http2Server::Serve(int fd, int connection) {
  static nghttp2_session_callbacks* const callbacks = MakeCallbacks();
  Peer peer = {this, fd, connection};
  nghttp2_session_server_new(&peer.session, callbacks, &peer);
  const nghttp2_settings_entry setting = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_};
  nghttp2_submit_settings(peer.session, NGHTTP2_FLAG_NONE, &setting, streams_ == 0 ? 0 : 1);
  while (!peer.cut) {
    const uint8_t* data = nullptr;
    for (ssize_t size = 0; (size = nghttp2_session_mem_send(peer.session, &data)) > 0;) {
      if (send(fd, data, static_cast<size_t>(size), MSG_NOSIGNAL) < 0) break;
    }
    if (nghttp2_session_want_read(peer.session) == 0 && nghttp2_session_want_write(peer.session) == 0) break;
    uint8_t buffer[16384];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0 || nghttp2_session_mem_recv(peer.session, buffer, static_cast<size_t>(got)) < 0) break;
  }
  nghttp2_session_del(peer.session);
  shutdown(fd, SHUT_RDWR);
}

void Http2Server::Answer(Peer& peer, int32_t stream) {
  const Request& request = peer.reading[stream];
  Reply& reply = peer.replies[stream];
  reply = script_(request);
  switch (reply.then) {
    case Reply::kNothing:
      return;
    case Reply::kRst:
      nghttp2_submit_rst_stream(peer.session, NGHTTP2_FLAG_NONE, stream, reply.error);
      return;
    case Reply::kGoAway:
      // As if this one had come too late.
      nghttp2_submit_goaway(peer.session, NGHTTP2_FLAG_NONE, std::max(stream - 2, 0), NGHTTP2_NO_ERROR, nullptr, 0);
      return;
    case Reply::kCut:
      peer.cut = true;
      return;
    case Reply::kGoAwayAndAnswer:
      nghttp2_submit_goaway(peer.session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_NO_ERROR, nullptr, 0);
      break;
    case Reply::kAnswer:
      break;
  }
  std::vector<std::pair<std::string, std::string>> headers = {{":status", reply.status}};
  headers.insert(headers.end(), reply.headers.begin(), reply.headers.end());
  nghttp2_data_provider body = {};
  body.source.ptr = &peer;
  body.read_callback = [](nghttp2_session* session, int32_t id, uint8_t* to, size_t size, uint32_t* flags, nghttp2_data_source* source, void*) {
    Peer& of = *static_cast<Peer*>(source->ptr);
    const Reply& whole = of.replies[id];
    size_t& sent = of.sent[id];
    size = std::min(size, whole.body.size() - sent);
    memcpy(to, whole.body.data() + sent, size);
    sent += size;
    if (sent == whole.body.size()) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!whole.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::vector<nghttp2_nv> fields = Fields(whole.trailers);
        nghttp2_submit_trailer(session, id, fields.data(), fields.size());
      }
    }
    return static_cast<ssize_t>(size);
  };
  const std::vector<nghttp2_nv> fields = Fields(headers);
  const bool headers_only = reply.body.empty() && reply.trailers.empty();
  nghttp2_submit_response(peer.session, stream, fields.data(), fields.size(), headers_only ? nullptr : &body);
}

nghttp2_session_callbacks* Http2Server::MakeCallbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Peer& peer = *static_cast<Peer*>(user);
    Request& request = peer.reading[frame->hd.stream_id];
    request.connection = peer.connection;
    request.nth = ++peer.requests;
    ++peer.open;
    int most = peer.server->most_streams_;
    while (most < peer.open && !peer.server->most_streams_.compare_exchange_weak(most, peer.open)) {
    }
    return 0;
  });
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size, const uint8_t* value,
                    size_t value_size, uint8_t, void* user) {
        static_cast<Peer*>(user)->reading[frame->hd.stream_id].headers[std::string(reinterpret_cast<const char*>(name), name_size)] =
            std::string(reinterpret_cast<const char*>(value), value_size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t stream, const uint8_t* data, size_t size, void* user) {
        static_cast<Peer*>(user)->reading[stream].body.append(reinterpret_cast<const char*>(data), size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Peer& peer = *static_cast<Peer*>(user);
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
      absl::MutexLock lock(&peer.server->mutex_);
      ++peer.server->resets_[frame->rst_stream.error_code];
    }
    const bool of_request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!of_request || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
    ++peer.server->requests_;
    peer.server->Answer(peer, frame->hd.stream_id);
    return 0;
  });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, [](nghttp2_session*, int32_t stream, uint32_t, void* user) {
    Peer& peer = *static_cast<Peer*>(user);
    --peer.open;
    peer.reading.erase(stream);
    peer.replies.erase(stream);
    peer.sent.erase(stream);
    return 0;
  });
  return callbacks;
}

}  // namespace squall
