#include "controller/formats.h"

#include <arpa/inet.h>

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/grpc_codes.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr size_t kLongestName = 100;
constexpr size_t kLongestHost = 253;
constexpr absl::string_view kNameCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";

template <typename... Args>
absl::Status WrongText(absl::string_view text, const Args&... args) {
  return absl::InvalidArgumentError(absl::StrCat(Quoted(text), " ", args...));
}

bool HasOnly(absl::string_view text, absl::string_view characters) {
  return text.find_first_not_of(characters) == absl::string_view::npos;
}

bool IsPort(absl::string_view text) {
  int port = 0;
  return !text.empty() && text.size() <= 5 && HasOnly(text, "0123456789") && absl::SimpleAtoi(text, &port) &&
         port >= 1 && port <= 65535;
}

bool IsIpv6(absl::string_view text) {
  in6_addr address;
  return text.size() < INET6_ADDRSTRLEN && inet_pton(AF_INET6, std::string(text).c_str(), &address) == 1;
}

bool IsIpv4(absl::string_view text) {
  in_addr address;
  return text.size() < INET_ADDRSTRLEN && inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}

// An IPv4 address or a host name. What has only digits and points is meant as an address and must be one.
bool IsHost(absl::string_view text) {
  if (text.empty() || text.size() > kLongestHost) return false;
  if (HasOnly(text, "0123456789.")) return IsIpv4(text);
  return HasOnly(text, kNameCharacters) && absl::ascii_isalnum(text.front());
}

absl::Status CheckHost(absl::string_view text, absl::string_view host) {
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    if (IsIpv6(host.substr(1, host.size() - 2))) return absl::OkStatus();
    return WrongText(text, "has no IPv6 address in its brackets; write for example [::1]:9090");
  }
  if (IsHost(host)) return absl::OkStatus();
  return WrongText(text, "has no host in front of its port; write for example 127.0.0.1:9090");
}

const std::vector<std::string>& Signals() {
  static const auto& signals = *new std::vector<std::string>{
      "SIGABRT", "SIGALRM", "SIGBUS",    "SIGCHLD",  "SIGCONT", "SIGFPE",  "SIGHUP",  "SIGILL",
      "SIGINT",  "SIGIO",   "SIGKILL",   "SIGPIPE",  "SIGPROF", "SIGPWR",  "SIGQUIT", "SIGSEGV",
      "SIGSTOP", "SIGSYS",  "SIGTERM",   "SIGTRAP",  "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG",
      "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ"};
  return signals;
}

}  // namespace

absl::Status CheckName(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("is empty; write a name");
  if (text.size() > kLongestName) return WrongText(text, "is too long; write at most 100 characters");
  if (!HasOnly(text, kNameCharacters)) {
    return WrongText(text, "is not a name; write letters, digits, '-', '_' and '.' only");
  }
  if (!absl::ascii_isalnum(text.front())) {
    return WrongText(text, "is not a name; begin with a letter or digit");
  }
  return absl::OkStatus();
}

absl::Status CheckAddress(absl::string_view text, bool any_host) {
  if (text.empty()) return absl::InvalidArgumentError("is empty; write for example 127.0.0.1:9090");
  if (absl::StrContains(text, "://")) {
    return WrongText(text, "is a URL; write HOST:PORT only, for example 127.0.0.1:9090");
  }
  if (IsIpv6(text)) return WrongText(text, "is an IPv6 address without a port; write \"[", text, "]:9090\"");
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || absl::EndsWith(text, "]")) {
    return HasOnly(text, "0123456789") ? WrongText(text, "has no host; write \"127.0.0.1:", text, "\"")
                                       : WrongText(text, "has no port; write \"", text, ":9090\"");
  }
  const absl::string_view host = text.substr(0, colon);
  if (any_host && host == "*" && IsPort(text.substr(colon + 1))) return absl::OkStatus();
  if (!IsPort(text.substr(colon + 1))) {
    return WrongText(text,
                     "has no port from 1 to 65535 after its last ':'; write for example 127.0.0.1:9090");
  }
  if (IsIpv6(host)) return WrongText(text, "needs brackets; write \"[", host, "]", text.substr(colon), "\"");
  return CheckHost(text, host);
}

std::string PlainAddress(absl::string_view address) {
  const size_t colon = address.rfind(':');
  const std::string port(address.substr(std::min(colon, address.size())));
  std::string host = absl::AsciiStrToLower(absl::StripSuffix(address.substr(0, colon), "."));
  if (host.size() < 2 || host.front() != '[') return host + port;
  in6_addr ip;
  if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &ip) != 1) return host + port;
  char plain[INET6_ADDRSTRLEN];
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&ip);
  const void* bytes = v4 ? &ip.s6_addr[12] : &ip.s6_addr[0];
  inet_ntop(v4 ? AF_INET : AF_INET6, bytes, plain, sizeof(plain));
  return v4 ? plain + port : absl::StrCat("[", plain, "]", port);
}

absl::Status CheckUrl(absl::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("is empty; write for example http://127.0.0.1:8080/");
  absl::string_view rest = text;
  if (!absl::ConsumePrefix(&rest, "http://") && !absl::ConsumePrefix(&rest, "https://")) {
    return WrongText(text, "is not an absolute URL; write for example http://127.0.0.1:8080/");
  }
  for (char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7F) {
      return WrongText(text, "has a space or control character; write it as %XX, for example %20");
    }
  }
  const absl::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (absl::StrContains(authority, "@")) {
    return WrongText(text, "has a user name in it; write an `authorization` header instead");
  }
  const size_t colon = absl::EndsWith(authority, "]") ? absl::string_view::npos : authority.rfind(':');
  if (colon != absl::string_view::npos && !IsPort(authority.substr(colon + 1))) {
    return WrongText(text,
                     "has no port from 1 to 65535 after its host; write for example http://127.0.0.1:8080/");
  }
  return CheckHost(text, authority.substr(0, colon));
}

absl::Status CheckSignal(absl::string_view text) {
  for (const std::string& signal : Signals()) {
    if (text == signal) return absl::OkStatus();
  }
  if (text == "9") return WrongText(text, "is not the name of a signal; write SIGKILL");
  if (text == "15") return WrongText(text, "is not the name of a signal; write SIGTERM");
  for (const std::string& signal : Signals()) {
    if (absl::EqualsIgnoreCase(text, signal) || absl::EqualsIgnoreCase(absl::StrCat("SIG", text), signal)) {
      return WrongText(text, "is not the name of a signal; write ", signal);
    }
  }
  const std::string nearest = Nearest(text, Signals());
  return WrongText(text, "is not the name of a signal; ",
                   nearest.empty() ? "write for example SIGKILL or SIGTERM"
                                   : absl::StrCat("did you mean ", Quoted(nearest), "?"));
}

absl::Status CheckGrpcStatus(absl::string_view text) {
  if (GrpcCodeOf(text)) return absl::OkStatus();
  const std::string upper = absl::AsciiStrToUpper(text);
  if (GrpcCodeOf(upper)) return WrongText(text, "is not the name of a gRPC status code; write ", upper);
  std::vector<std::string> names;
  for (int code = 0; code <= kLastGrpcCode; ++code) names.emplace_back(GrpcCodeName(code));
  const std::string nearest = Nearest(text, names);
  return WrongText(text, "is not the name of a gRPC status code; ",
                   nearest.empty() ? "write for example UNAVAILABLE" : absl::StrCat("did you mean ", Quoted(nearest), "?"));
}

}  // namespace squall
