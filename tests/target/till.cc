// A reference service: asks a bank over HTTPS for every payment, and checks whom it talks to. Each check is a flag, which can be
// given a value that leaves it out.
#include <CLI/CLI.hpp>
#include <string>

#include "tests/target/flags.h"
#include "tests/target/server.h"

int main(int argc, char** argv) {
  using namespace squall::target;
  BlockStopSignals();

  int port = 0;
  std::string name = "bank.test", at, ca;
  bool verify = true, old_tls = false;
  CLI::App app("till: GET /pay asks the bank, on a connection of its own; GET /healthz answers with ok.");
  app.add_option("--port", port, "Port to listen on, on 127.0.0.1")->required()->check(CLI::Range(1, 65535));
  app.add_option("--bank", name, "Name that the bank's certificate must carry")->capture_default_str();
  app.add_option("--bank-at", at, "IPv4 HOST:PORT of the bank")->required();
  app.add_option("--ca", ca, "PEM file of the CA that the bank's certificate must be of")->required();
  app.add_option("--verify", verify, "false: takes every certificate")->capture_default_str();
  app.add_option("--old-tls", old_tls, "true: speaks TLS 1.0 and 1.1 too")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto bank = ParseHostPort(at);
  if (!bank) {
    fprintf(stderr, "--bank-at=%s is no address; write HOST:PORT\n", at.c_str());
    return 1;
  }

  Server server(/*threads=*/128);
  server.Get("/pay", [&](const httplib::Request&, httplib::Response& response) {
    httplib::SSLClient client(name, bank->port);
    client.set_hostname_addr_map({{name, bank->host}});
    client.set_ca_cert_path(ca.c_str());
    client.enable_server_certificate_verification(verify);
    client.set_connection_timeout(1);
    client.set_read_timeout(1);
    SSL_CTX_set_min_proto_version(client.ssl_context(), old_tls ? TLS1_VERSION : TLS1_2_VERSION);
    if (old_tls) {
      SSL_CTX_set_security_level(client.ssl_context(), 0);
      SSL_CTX_set_cipher_list(client.ssl_context(), "DEFAULT@SECLEVEL=0");
    }
    const httplib::Result result = client.Get("/charge");
    if (result && result->status == 200) {
      response.set_content("paid\n", "text/plain");
    } else {
      response.status = 502;
      response.set_content("the bank: " + to_string(result.error()) + "\n", "text/plain");
    }
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    response.set_content("ok\n", "text/plain");
  });
  return server.Serve("127.0.0.1", port) ? 0 : 1;
}
