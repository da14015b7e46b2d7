#include "tests/e2e/client_servers.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

constexpr int kClients = 10;
constexpr char kPattern[] = "0123456789abcdef";
constexpr int kBigRepeats = 4096;

std::string Text(Size size) {
  std::string text;
  for (int i = 0; i < (size == Size::kBig ? kBigRepeats : 1); ++i) text += kPattern;
  return text;
}
const char* Key(Size size) { return size == Size::kBig ? "big" : "small"; }
int Bytes(Size size) { return static_cast<int>(Text(size).size()); }
bool IsTls(Client client) { return NameOf(client).find("tls") != std::string::npos; }

std::string PostgresPrograms() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", error)) {
    if (fs::exists(entry.path() / "bin/initdb")) return entry.path() / "bin";
  }
  return "";
}

std::string Sql(Size size) { return absl::StrCat("select repeat('", kPattern, "', ", size == Size::kBig ? kBigRepeats : 1, ");"); }

std::string Postgres(const std::string& host, int port, int patience) {
  return absl::StrCat("host=", host, " port=", port, " user=squall dbname=postgres sslmode=disable gssencmode=disable connect_timeout=",
                      patience);
}

// Clients that tell wrk's figures ask so seldom that the machine has time for the others.
constexpr char kNginx[] = R"(daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  ssl_certificate server.crt;
  ssl_certificate_key server.key;
  limit_req_zone $connection zone=paced:4m rate=10r/s;
  server {
    listen 127.0.0.1:CURL4;
    listen 127.0.0.2:CURL4;
    listen [::1]:CURL6;
    listen 127.0.0.1:CURLTLS ssl;
    root www;
  }
  server {
    listen 127.0.0.1:WRK4;
    listen 127.0.0.2:WRK4;
    listen 127.0.0.1:WRKTLS ssl;
    root www;
    location /small { limit_req zone=paced burst=20; }
  }
}
)";

}  // namespace

std::string NameOf(Client client) {
  static const char* const kNames[kClients] = {"curl",     "curl-v6", "wrk",       "redis-cli", "psql", "grpc",
                                               "curl-tls", "wrk-tls", "redis-tls", "grpc-tls"};
  return kNames[static_cast<size_t>(client)];
}

std::vector<std::string> ClientServers::HostsOf(Client client) const {
  if (client == Client::kCurl6) return {"[::1]"};
  if (IsTls(client)) return {"127.0.0.1"};
  return {"127.0.0.1", "127.0.0.2"};
}

std::string ClientServers::Missing() {
  std::vector<std::string> missing;
  for (const char* program : {"/usr/bin/curl", "/usr/bin/wrk", "/usr/bin/redis-cli", "/usr/bin/redis-server", "/usr/bin/psql",
                              "/usr/sbin/nginx", "/usr/bin/openssl"}) {
    if (!fs::exists(program)) missing.push_back(program);
  }
  if (PostgresPrograms().empty()) missing.push_back("/usr/lib/postgresql/*/bin/initdb");
  return absl::StrJoin(missing, ", ");
}

ClientServers::ClientServers(const std::string& grpc_echo) : grpc_echo_(grpc_echo) {
  char name[] = "/tmp/squall-clients-XXXXXX";
  folder_ = mkdtemp(name);
  fs::permissions(folder_, fs::perms::all);
  for (int i = 0; i < kClients; ++i) ports_.push_back(FreePort());
  MakeCertificates();
  StartNginx();
  StartRedis();
  StartPostgres();
  StartGrpc();
  WaitUntilAllAnswer();
}

ClientServers::~ClientServers() {
  // SIGINT ends PostgreSQL without waiting for sessions; the others take it as SIGTERM.
  for (const auto& server : servers_) server->Signal(SIGINT);
  for (const auto& server : servers_) EXPECT_GE(server->Wait(absl::Seconds(10)), 0) << server->Output();
  std::error_code error;
  fs::remove_all(folder_, error);
}

void ClientServers::Do(const std::vector<std::string>& argv, const std::string& user) {
  Process::Options options;
  options.folder = folder_;
  options.user = user;
  Process process(argv, options);
  EXPECT_EQ(process.Wait(absl::Seconds(60)), 0) << absl::StrJoin(argv, " ") << "\n" << process.Output();
}

void ClientServers::MakeCertificates() {
  Do({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
      "/CN=test CA", "-keyout", "ca.key", "-out", "ca.crt"});
  Do({"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
      "/CN=server.test", "-addext", "subjectAltName=DNS:server.test,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
      "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.crt"});
  // Servers and agents run as other users, too.
  for (const char* key : {"ca.key", "server.key"}) fs::permissions(fs::path(folder_) / key, fs::perms::others_read, fs::perm_options::add);
}

void ClientServers::StartNginx() {
  fs::create_directories(folder_ + "/www");
  for (const Size size : {Size::kSmall, Size::kBig}) std::ofstream(folder_ + "/www/" + Key(size)) << Text(size);
  std::ofstream(folder_ + "/nginx.conf") << absl::StrReplaceAll(kNginx, {{"CURL4", absl::StrCat(PortOf(Client::kCurl))},
                                                                         {"CURL6", absl::StrCat(PortOf(Client::kCurl6))},
                                                                         {"CURLTLS", absl::StrCat(PortOf(Client::kCurlTls))},
                                                                         {"WRK4", absl::StrCat(PortOf(Client::kWrk))},
                                                                         {"WRKTLS", absl::StrCat(PortOf(Client::kWrkTls))}});
  servers_.push_back(std::make_unique<Process>(
      std::vector<std::string>{"/usr/sbin/nginx", "-p", folder_, "-c", folder_ + "/nginx.conf", "-e", "stderr"}));
}

void ClientServers::StartRedis() {
  servers_.push_back(std::make_unique<Process>(std::vector<std::string>{
      "/usr/bin/redis-server", "--port", absl::StrCat(PortOf(Client::kRedis)), "--tls-port", absl::StrCat(PortOf(Client::kRedisTls)),
      "--tls-cert-file", folder_ + "/server.crt", "--tls-key-file", folder_ + "/server.key", "--tls-auth-clients", "no",
      "--tls-ca-cert-file", ca_cert(), "--bind", "127.0.0.1", "127.0.0.2", "--save", "", "--appendonly", "no", "--dir", folder_}));
}

void ClientServers::StartPostgres() {
  const std::string user = IsRoot() ? "nobody" : "";
  const std::string programs = PostgresPrograms();
  Do({programs + "/initdb", "--pgdata", folder_ + "/pg", "--auth=trust", "--username=squall", "--no-sync", "--encoding=UTF8",
      "--locale=C"},
     user);
  Process::Options options;
  options.user = user;
  servers_.push_back(std::make_unique<Process>(
      std::vector<std::string>{programs + "/postgres", "-D", folder_ + "/pg", "-p", absl::StrCat(PortOf(Client::kPsql)), "-h",
                               "127.0.0.1,127.0.0.2", "-k", folder_, "-F"},
      options));
}

void ClientServers::StartGrpc() {
  servers_.push_back(std::make_unique<Process>(
      std::vector<std::string>{grpc_echo_, absl::StrCat("--serve=127.0.0.1:", PortOf(Client::kGrpc)),
                               absl::StrCat("--serve=127.0.0.2:", PortOf(Client::kGrpc))}));
  servers_.push_back(std::make_unique<Process>(
      std::vector<std::string>{grpc_echo_, absl::StrCat("--serve=127.0.0.1:", PortOf(Client::kGrpcTls)), "--cert",
                               folder_ + "/server.crt", "--key", folder_ + "/server.key"}));
}

void ClientServers::WaitUntilAllAnswer() {
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] { return TryConnect(PortOf(Client::kRedis)) == 0; }));
  for (const Size size : {Size::kSmall, Size::kBig}) {
    Do({"redis-cli", "-p", absl::StrCat(PortOf(Client::kRedis)), "SET", Key(size), Text(size)});
  }
  for (int i = 0; i < kClients; ++i) {
    const auto client = static_cast<Client>(i);
    const bool v6 = client == Client::kCurl6;
    ASSERT_TRUE(v6 || Eventually(absl::Seconds(20), [&] { return TryConnect(PortOf(client)) == 0; })) << NameOf(client);
  }
  ASSERT_TRUE(Eventually(absl::Seconds(20), [this] {
    return Process({"psql", Postgres("127.0.0.1", PortOf(Client::kPsql), 2), "-c", "select 1"}).Wait(absl::Seconds(5)) == 0;
  }));
}

std::vector<std::string> ClientServers::Command(Client client, const std::string& host, int port, Size size,
                                                double patience) const {
  const std::string at = absl::StrCat(host, ":", port);
  const std::string url = absl::StrCat(IsTls(client) ? "https://" : "http://", at, "/", Key(size));
  const std::string seconds = absl::StrCat(patience);
  std::vector<std::string> argv;
  switch (client) {
    case Client::kCurl:
    case Client::kCurl6:
    case Client::kCurlTls:
      argv = {"curl", "--verbose", "--silent", "--show-error", "--noproxy", "*", "--max-time", seconds, url};
      if (IsTls(client)) argv.insert(argv.end(), {"--cacert", ca_cert()});
      return argv;
    case Client::kWrk:
    case Client::kWrkTls:
      // A big answer over few connections, so that some come whole in its second.
      return {"wrk", "--threads=1", size == Size::kBig ? "--connections=2" : "--connections=20", patience > 2 ? "--duration=2s" : "--duration=1s", "--timeout=9s", url};
    case Client::kRedis:
    case Client::kRedisTls:
      argv = {"redis-cli", "-h", host, "-p", absl::StrCat(port)};
      if (IsTls(client)) argv.insert(argv.end(), {"--tls", "--cacert", ca_cert()});
      argv.insert(argv.end(), {"GET", Key(size)});
      return argv;
    case Client::kPsql:
      return {"psql", Postgres(host, port, std::max(2, static_cast<int>(patience))), "-X", "-At", "-c", Sql(size)};
    case Client::kGrpc:
    case Client::kGrpcTls:
      argv = {grpc_echo_, absl::StrCat("--call=", at), absl::StrCat("--deadline=", seconds, "s"), absl::StrCat("--size=", Bytes(size))};
      if (IsTls(client)) argv.insert(argv.end(), {"--ca", ca_cert()});
      return argv;
  }
  return argv;
}

std::string ClientServers::RightAnswer(Client client, Size size) const {
  switch (client) {
    case Client::kCurl:
    case Client::kCurl6:
    case Client::kCurlTls:
      return Text(size);
    case Client::kWrk:
    case Client::kWrkTls:
      return "";
    default:
      return Text(size) + "\n";
  }
}

std::vector<std::string> ClientServers::Stays(Client client, const std::string& host, int port, Size size,
                                              double patience) const {
  switch (client) {
    case Client::kRedis:
      return {"redis-cli", "-h", host, "-p", absl::StrCat(port)};
    case Client::kPsql:
      return {"psql", Postgres(host, port, 5), "-X", "-At"};
    case Client::kGrpc:
      return {grpc_echo_, absl::StrCat("--call=", host, ":", port), absl::StrCat("--deadline=", patience, "s"),
              absl::StrCat("--size=", Bytes(size)), "--stdin"};
    default:
      return {};
  }
}

std::string ClientServers::Typed(Client client, Size size) const {
  switch (client) {
    case Client::kRedis:
      return absl::StrCat("GET ", Key(size), "\n");
    case Client::kPsql:
      return Sql(size) + "\n";
    default:
      return "\n";
  }
}

}  // namespace squall
