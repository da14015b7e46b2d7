#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/harness.h"

namespace squall {

// A client that everybody knows, or such a client over TLS or IPv6.
enum class Client { kCurl, kCurl6, kWrk, kRedis, kPsql, kGrpc, kCurlTls, kWrkTls, kRedisTls, kGrpcTls };
std::string NameOf(Client client);

// How much is asked for: a few bytes, or 64 KiB.
enum class Size { kSmall, kBig };

// nginx, redis-server, PostgreSQL and a gRPC server on ports of their own, in a folder of their own, and what to type to
// ask them. Stopped on destruction.
class ClientServers {
 public:
  // `grpc_echo`: the path of tests/target/grpc_echo.
  explicit ClientServers(const std::string& grpc_echo);
  ~ClientServers();
  // Says what is missing on this machine; empty: nothing.
  static std::string Missing();

  // Each client has doors of its own, so that an edge is one client's: a port, and one or more addresses.
  int PortOf(Client client) const { return ports_[static_cast<size_t>(client)]; }
  std::vector<std::string> HostsOf(Client client) const;

  // The command that asks the server at host:port, and gives up after `patience` where the client has such a thing.
  std::vector<std::string> Command(Client client, const std::string& host, int port, Size size, double patience) const;
  // What is printed when all is well. wrk tells figures: empty.
  std::string RightAnswer(Client client, Size size) const;
  // The same for a client that stays: its command, and what is typed to ask. Redis, psql and gRPC only.
  std::vector<std::string> Stays(Client client, const std::string& host, int port, Size size, double patience) const;
  std::string Typed(Client client, Size size) const;

  const std::string& folder() const { return folder_; }
  std::string ca_cert() const { return folder_ + "/ca.crt"; }
  std::string ca_key() const { return folder_ + "/ca.key"; }

 private:
  void MakeCertificates();
  void StartNginx();
  void StartRedis();
  void StartPostgres();
  void StartGrpc();
  void WaitUntilAllAnswer();
  void Do(const std::vector<std::string>& argv, const std::string& user = "");

  const std::string grpc_echo_;
  std::string folder_;
  std::vector<int> ports_;
  std::vector<std::unique_ptr<Process>> servers_;
};

}  // namespace squall
