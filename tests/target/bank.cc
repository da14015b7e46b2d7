// A reference service: a dependency that speaks TLS.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include <httplib.h>

int main(int argc, char** argv) {
  int port = 0;
  std::string cert, key;
  CLI::App app("bank: GET /charge over HTTPS answers with charged.");
  app.add_option("--port", port, "Port to listen on, on 127.0.0.1")->required()->check(CLI::Range(1, 65535));
  app.add_option("--cert", cert, "PEM file of its certificate")->required();
  app.add_option("--key", key, "PEM file of its key")->required();
  CLI11_PARSE(app, argc, argv);

  httplib::SSLServer server(cert.c_str(), key.c_str());
  if (!server.is_valid()) {
    fprintf(stderr, "cannot use %s with %s\n", cert.c_str(), key.c_str());
    return 1;
  }
  server.Get("/charge", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("charged\n", "text/plain");
  });
  return server.listen("127.0.0.1", port) ? 0 : 1;
}
