#include "controller/assertions/tls_verified.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "controller/assertions/fault_time.h"
#include "controller/assertions/gates.h"
#include "controller/assertions/verdicts.h"
#include "controller/assertions/words.h"

namespace squall {
namespace {

// What the answer to a handshake says of the client.
enum class Meaning {
  kCompleted,  // it took what it must refuse
  kRefused,    // it refused that, as far as can be told
  kUnknownCa,  // it refused the CA, which is not what is wrong
  kNothing,    // it came to no answer, or to one that has other reasons
};

template <size_t N>
bool IsOneOf(absl::string_view answer, const std::array<absl::string_view, N>& answers) {
  return std::find(answers.begin(), answers.end(), answer) != answers.end();
}

// Alerts that a client sends over a certificate. Not all libraries have one for each reason, and some hang up without one.
constexpr std::array<absl::string_view, 8> kOverCertificate = {
    "bad_certificate", "certificate_expired", "certificate_unknown", "certificate_revoked",
    "unsupported_certificate", "unknown_ca", "access_denied", "bad_certificate_status_response"};
constexpr std::array<absl::string_view, 3> kHungUp = {"closed", "closed_unused", "reset"};
// Alerts over a version or what comes with it: OpenSSL sends the second where the signatures of TLS 1.1 are too weak for it.
constexpr std::array<absl::string_view, 5> kOverVersion = {"protocol_version", "internal_error", "handshake_failure",
                                                           "insufficient_security", "illegal_parameter"};

Meaning MeaningOf(TlsFault::How how, absl::string_view answer) {
  if (answer == "completed") return Meaning::kCompleted;
  if (how == TlsFault::HOW_OLD_VERSION) {
    // Who looks at the certificate, or comes to the end of the handshake, has taken the version.
    if (IsOneOf(answer, kOverCertificate) || answer == "closed_unused") return Meaning::kCompleted;
    const bool refused = IsOneOf(answer, kOverVersion) || answer == "closed" || answer == "reset";
    return refused ? Meaning::kRefused : Meaning::kNothing;
  }
  if (answer == "unknown_ca" && how != TlsFault::HOW_UNTRUSTED) return Meaning::kUnknownCa;
  return IsOneOf(answer, kOverCertificate) || IsOneOf(answer, kHungUp) || answer == "internal_error" ? Meaning::kRefused
                                                                                                    : Meaning::kNothing;
}

std::string Shown(TlsFault::How how) {
  switch (how) {
    case TlsFault::HOW_EXPIRED:
      return "a certificate that has expired";
    case TlsFault::HOW_WRONG_NAME:
      return "a certificate for another name";
    case TlsFault::HOW_UNTRUSTED:
      return "a certificate of a CA that nobody knows";
    case TlsFault::HOW_OLD_VERSION:
      return "TLS 1.1";
    default:
      return "";
  }
}

struct Counts {
  int64_t completed = 0;
  int64_t refused = 0;
  int64_t unknown_ca = 0;
  int64_t nothing = 0;
  std::string in_words;  // "40 unknown_ca, 2 closed"

  int64_t Tried() const { return completed + refused; }
};

Counts CountsOf(TlsFault::How how, const Evidence& evidence) {
  Counts counts;
  std::vector<std::pair<int64_t, std::string>> answers;
  for (const auto& [answer, count] : evidence.handshakes()) {
    answers.emplace_back(-count, answer);
    switch (MeaningOf(how, answer)) {
      case Meaning::kCompleted:
        counts.completed += count;
        break;
      case Meaning::kRefused:
        counts.refused += count;
        break;
      case Meaning::kUnknownCa:
        counts.unknown_ca += count;
        break;
      case Meaning::kNothing:
        counts.nothing += count;
        break;
    }
  }
  std::sort(answers.begin(), answers.end());
  counts.in_words = absl::StrJoin(answers, ", ", [](std::string* out, const auto& each) {
    absl::StrAppend(out, Grouped(-each.first), " ", each.second);
  });
  return counts;
}

Obstacle TooFew(const TlsVerified& spec, const Fault& fault, const Counts& counts) {
  const std::string seen =
      absl::StrCat(counts.Tried() == 0 ? "no TLS handshake" : absl::StrCat("only ", Counted(counts.Tried(), "TLS handshake")),
                   " over ", fault.tls().edge(), " came to an answer that tells while ", fault.name(), " acted; at least ",
                   Grouped(spec.at_least()), counts.Tried() == 0 && spec.at_least() == 1 ? " is" : " are", " needed",
                   counts.in_words.empty() ? "" : absl::StrCat(" (", counts.in_words, ")"));
  if (counts.unknown_ca > 0) {
    return {absl::StrCat(seen, ": the certificate was refused for its CA"),
            "name the CA that the service trusts: `ca_cert` and `ca_key` are not those of one"};
  }
  return {seen,
          "raise `rate`, `for`, or the service's patience; a service that keeps its connections makes no handshake: write "
          "`existing: reset` on the edge"};
}

}  // namespace

Judgement JudgeTlsVerified(const TlsVerified& spec, const Timeline& timeline) {
  if (auto obstacle = SteadyGate(timeline)) return Obstructed(*obstacle);
  const FaultTime time = TimeOf(timeline, spec.fault());
  if (auto obstacle = FaultGate(timeline, time, /*must_be_over=*/true)) return Obstructed(*obstacle);
  const Fault& fault = *time.parts.front().fault;
  const TlsFault::How how = fault.tls().how();
  if (time.parts.size() > 1 || Shown(how).empty()) {
    return Obstructed({absl::StrCat(time.Names(), " shows nothing that only a client with proper checks refuses"),
                       "name one tls fault with how: expired, wrong_name, untrusted or old_version"});
  }
  const Counts counts = CountsOf(how, time.parts.front().span->evidence);
  Verdict verdict;
  verdict.set_samples(counts.Tried());
  verdict.set_limit("none completed");
  verdict.set_measured(absl::StrCat(Grouped(counts.completed), " of ", Grouped(counts.Tried()), " completed"));
  AddDetail(verdict, "shown", Shown(how));
  AddDetail(verdict, "handshakes", counts.in_words);
  if (counts.completed > 0) {
    verdict.set_result(Verdict::FAIL);
    verdict.set_first_broken_ns(*time.injected_ns);
    const std::string share = absl::StrCat(Grouped(counts.completed), " of ", Counted(counts.Tried(), "TLS handshake"));
    verdict.set_reason(how == TlsFault::HOW_OLD_VERSION
                           ? absl::StrCat("went on with ", Shown(how), ", which it must refuse, in ", share)
                           : absl::StrCat("completed ", share, " with ", Shown(how), ", which it must refuse"));
    return {std::move(verdict), true};
  }
  if (counts.Tried() < spec.at_least()) {
    Judgement judgement = Obstructed(TooFew(spec, fault, counts), std::move(verdict));
    judgement.final = true;
    return judgement;
  }
  verdict.set_result(Verdict::PASS);
  verdict.set_reason(absl::StrCat("refused ", counts.Tried() == 1 ? "the only" : absl::StrCat("all ", Grouped(counts.Tried())),
                                  counts.Tried() == 1 ? " TLS handshake" : " TLS handshakes", " with ", Shown(how), " (",
                                  counts.in_words, ")"));
  return {std::move(verdict), true};
}

}  // namespace squall
