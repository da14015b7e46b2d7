// The HTTP server of the reference services.
#pragma once

#include <httplib.h>

#include <functional>
#include <string>

namespace squall::target {

// httplib's server, made fit to be measured: a thread for every connection that a test opens, no Nagle, an
// accept queue that takes a burst, and connections that wait in poll instead of waking a hundred times a
// second.
class Server : public httplib::Server {
 public:
  explicit Server(size_t threads);
  ~Server() override;

  // Serves until SIGTERM or SIGINT, then answers what has been asked and returns. A message on standard error
  // and false when the address cannot be had. REQUIRES: BlockStopSignals() before the first thread of the
  // process was started. `on_stop` is called when the signal has come, before what is under way is waited
  // for.
  bool Serve(
      const std::string& host, int port, const std::function<void()>& on_stop = [] {});

 private:
  bool process_and_close_socket(socket_t sock) override;

  int stop_event_ = -1;  // readable for good once the server stops
};

// SIGTERM and SIGINT wait for Server::Serve from now on, in all threads that are started afterwards.
void BlockStopSignals();

}  // namespace squall::target
