#include "controller/scenario.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/durations.h"
#include "controller/scalars.h"
#include "controller/scenario_samples.h"
#include "controller/schema.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

namespace fs = std::filesystem;

LoadedScenario Parse(std::string text, const std::map<std::string, std::string>& vars = {}) {
  return ParseScenario("s.yaml", std::move(text), vars);
}

// The minimal scenario with `from` replaced by `to`.
std::string Minimal(absl::string_view from, absl::string_view to) {
  EXPECT_TRUE(absl::StrContains(kMinimalScenario, from)) << from;
  return absl::StrReplaceAll(kMinimalScenario, {{from, to}});
}

std::string MistakesOf(std::string text) { return FormatMistakes(Parse(std::move(text))); }

std::string ReadAll(const fs::path& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

TEST(Scenario, MinimalLoadsWithoutMistakes) { EXPECT_EQ(MistakesOf(kMinimalScenario), ""); }

TEST(TlsVerified, IsAboutTheOnlyTlsFaultAndOneThatTells) {
  const auto with = [](const std::string& faults, const std::string& verified) {
    const std::string text = kMinimalScenario;
    return absl::StrCat(text.substr(0, text.find("faults:")), "faults:\n", faults, "    for: 10s\nassert:\n  - tls_verified: ",
                        verified, "\n");
  };
  const LoadedScenario one = Parse(with("  - tls: {how: untrusted}\n", "{}"));
  EXPECT_EQ(FormatMistakes(one), "");
  EXPECT_EQ(one.scenario.assertions(0).tls_verified().fault(), "tls");
  EXPECT_EQ(one.scenario.assertions(0).tls_verified().at_least(), 1);
  EXPECT_EQ(MistakesOf(with("  - latency: {delay: 500ms}\n", "{}")),
            "s.yaml:13:19: this needs a tls fault, and the file has none; write for example faults: [{tls: {how: untrusted}, for: "
            "10s}]\n");
  EXPECT_EQ(MistakesOf(with("  - tls: {how: untrusted}\n    for: 1s\n  - tls: {how: alert}\n    at: 5s\n", "{}")),
            "s.yaml:16:19: fault is missing, and there are 2 tls faults; write fault: tls or tls-2\n");
  EXPECT_EQ(MistakesOf(with("  - latency: {delay: 500ms}\n", "{fault: latency}")),
            "s.yaml:13:27: tls_verified is about a tls fault, and \"latency\" is latency; name a tls fault\n");
  EXPECT_EQ(MistakesOf(with("  - tls: {how: cut}\n", "{}")),
            "s.yaml:13:19: no client can complete a handshake under \"tls\", whatever it checks; give it how: expired, wrong_name, "
            "untrusted or old_version\n");
}

TEST(TlsFault, NeedsBothOfItsCaAndNoNameThatItDoesNotUse) {
  const auto with = [](const std::string& tls) { 
    const std::string text = kMinimalScenario;
    return absl::StrCat(text.substr(0, text.find("faults:")), "faults:\n  - tls: ", tls, "\n    for: 10s\nassert: [{recovery: {within: 1s}}]\n");
  };
  EXPECT_EQ(MistakesOf(with("{how: expired, ca_cert: ca.crt, ca_key: ca.key}")), "");
  EXPECT_EQ(MistakesOf(with("{how: untrusted, ca_cert: ca.crt}")),
            "s.yaml:10:36: ca_cert alone signs nothing; write ca_key too, or neither\n");
  EXPECT_EQ(MistakesOf(with("{how: wrong_name, ca_cert: ca.crt, ca_key: ca.key, server_name: bank}")),
            "s.yaml:10:74: with how: wrong_name the certificate is for a name that nobody has; leave out server_name\n");
}

// What is refused for one scenario must not be refused for those beside it.
TEST(ProcessFaults, ThatLeaveSomethingToJudgeAreNoMistakes) {
  const auto with = [](const std::string& fault, const std::string& assertion) {
    const std::string text = kMinimalScenario;
    return absl::StrCat(text.substr(0, text.find("services:")), "services:\n  orders: {attach: {listen: 8080}}\n  recommend: {attach: {listen: 9090}}\n",
                        "edges:\n  recommend: {from: orders, to: \"127.0.0.1:9090\"}\n",
                        "load:\n  checkout: {http: {url: \"http://127.0.0.1:8080/order\"}, rate: 200/s}\nfaults:\n  - {", fault,
                        ", for: 10s}\nassert:\n  - ", assertion, "\n");
  };
  EXPECT_EQ(MistakesOf(with("abandon: {patience: 50ms, share: 99%}, for: 10s}\n  - {latency: {delay: 900ms}, at: 1s", "timeout: {deadline: 300ms}")), "");
  EXPECT_EQ(MistakesOf(with("abandon: {patience: 400ms}, for: 10s}\n  - {latency: {delay: 900ms}, at: 1s", "timeout: {deadline: 300ms}")), "");
  EXPECT_EQ(MistakesOf(with("pause: {service: recommend}", "circuit_breaker: {open_time: 2s}")), "");
  EXPECT_EQ(MistakesOf(with("pause: {service: recommend}", "timeout: {deadline: 300ms}")), "");
  EXPECT_EQ(MistakesOf(with("pause: {service: orders, each: 9s}", "recovery: {within: 10s}")), "");
}

TEST(Scenario, FullLoadsWithoutMistakes) { EXPECT_EQ(MistakesOf(kFullScenario), ""); }

TEST(Scenario, MinimalHasItsReferencesNamesAndDefaultsFilledIn) {
  const Scenario scenario = Parse(kMinimalScenario).scenario;
  EXPECT_EQ(scenario.services(0).name(), "orders");
  EXPECT_EQ(scenario.services(0).attach().listen(), 8080);
  EXPECT_EQ(scenario.edges(0).from(), "orders");
  EXPECT_EQ(scenario.edges(0).protocol(), Edge::PROTOCOL_HTTP);
  EXPECT_EQ(scenario.load(0).rate(), 200);
  EXPECT_EQ(scenario.load(0).http().method(), "GET");
  EXPECT_EQ(scenario.load(0).give_up_after().seconds(), 5);
  EXPECT_EQ(scenario.load(0).max_in_flight(), 4000);
  EXPECT_EQ(scenario.load(0).rejected_when().status(0), 429);
  EXPECT_FALSE(scenario.load(0).has_degraded_when());
  EXPECT_EQ(scenario.steady().errors(), 1);
  EXPECT_FALSE(scenario.steady().has_p99());
  const Fault& fault = scenario.faults(0);
  EXPECT_EQ(fault.name(), "latency");
  EXPECT_EQ(fault.latency().edge(), "recommend");
  EXPECT_EQ(fault.latency().direction(), DIRECTION_RESPONSE);
  EXPECT_EQ(ToDuration(fault.latency().delay()), absl::Milliseconds(500));
  EXPECT_EQ(fault.for_().seconds(), 10);
  const Timeout& timeout = scenario.assertions(0).timeout();
  EXPECT_EQ(timeout.load(), "checkout");
  EXPECT_EQ(timeout.fault(), "");
  EXPECT_EQ(timeout.at_least(), 20);
  EXPECT_FALSE(timeout.has_margin());
  EXPECT_EQ(ToDuration(scenario.assertions(1).circuit_breaker().closes_within()), absl::Seconds(8));
  const Recovery& recovery = scenario.assertions(2).recovery();
  EXPECT_EQ(recovery.since(), Recovery::SINCE_HEAL);
  EXPECT_DOUBLE_EQ(recovery.latency_factor(), 1.2);
  EXPECT_EQ(ToDuration(recovery.latency_slack()), absl::Milliseconds(5));
  EXPECT_DOUBLE_EQ(recovery.errors_slack(), 0.5);
  EXPECT_DOUBLE_EQ(recovery.goodput(), 95);
  EXPECT_EQ(recovery.windows(), 10);
}

TEST(Scenario, FullIsReadAsWritten) {
  const Scenario scenario = Parse(kFullScenario).scenario;
  EXPECT_EQ(scenario.seed(), 42);
  EXPECT_EQ(scenario.tags_size(), 2);
  EXPECT_EQ(scenario.services(0).run(2), "--recommend=127.0.0.1:19090");
  EXPECT_EQ(scenario.services(0).env().at("PORT"), "8080");
  EXPECT_EQ(scenario.load(0).http().body(), "{\"sku\": 7}");
  EXPECT_EQ(scenario.load(0).http().headers().at("x-cost"), "${5}");
  EXPECT_EQ(scenario.load(0).rate(), 200);
  EXPECT_EQ(scenario.load(0).rejected_when().status_size(), 2);
  EXPECT_EQ(scenario.load(1).steps(0).rate(), 100);
  // Zero as given, not the default of 1%.
  EXPECT_EQ(scenario.steady().errors(), 0);
  EXPECT_EQ(scenario.faults(1).name(), "kill");
  EXPECT_EQ(scenario.faults(2).name(), "kill-2");
  EXPECT_EQ(scenario.faults(2).kill().signal(), "SIGKILL");
  EXPECT_FALSE(scenario.faults(2).kill().has_restart_after());
  EXPECT_EQ(scenario.assertions(1).name(), "recovery");
  EXPECT_EQ(scenario.assertions(2).name(), "after-slow");
  EXPECT_EQ(scenario.assertions(3).name(), "recovery-2");
  EXPECT_EQ(scenario.assertions(1).recovery().since(), Recovery::SINCE_INJECT);
  EXPECT_EQ(scenario.assertions(3).recovery().since(), Recovery::SINCE_HEAL);
}

TEST(Scenario, NamesThatAreTakenAreNotGivenAgain) {
  const Scenario scenario =
      Parse(Minimal("  - circuit_breaker: {open_time: 2s}",
                    "  - recovery: {within: 9s}\n  - {name: recovery-2, recovery: {within: 8s}}"))
          .scenario;
  EXPECT_EQ(scenario.assertions(1).name(), "recovery");
  EXPECT_EQ(scenario.assertions(2).name(), "recovery-2");
  EXPECT_EQ(scenario.assertions(3).name(), "recovery-3");
}

// Each file says in its first lines what is found in it, no more and no less.
TEST(WrongScenarios, SayWhatIsWrongAndWhatToWriteInstead) {
  int files = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator("tests/scenarios/wrong")) {
    if (entry.path().extension() != ".yaml") continue;
    ++files;
    const std::string text = ReadAll(entry.path());
    const std::string name = entry.path().filename();
    std::string expected;
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (!absl::StartsWith(line, "# expect: ")) break;
      absl::StrAppend(&expected, name, ":", line.substr(10), "\n");
    }
    EXPECT_NE(expected, "") << name << " expects nothing";
    EXPECT_EQ(FormatMistakes(ParseScenario(name, text, {})), expected) << name;
  }
  EXPECT_GE(files, 30);
}

TEST(WrongScenarios, OfBytesThatAreNoTextSayWhere) {
  EXPECT_EQ(MistakesOf(""),
            "s.yaml:1:1: the file is empty; the least is squall, name, services, edges, load, faults and "
            "assert (see "
            "`squall explain`)\n");
  EXPECT_EQ(MistakesOf("a: b\nc: \xff\n"),
            "s.yaml:2:4: byte 0xff is not UTF-8; save the file in the UTF-8 encoding\n");
  EXPECT_EQ(MistakesOf(std::string("a: \0b\n", 6)), "s.yaml:1:4: control character 0x00; remove it\n");
  EXPECT_EQ(MistakesOf("\xed\xa0\x80"),
            "s.yaml:1:1: byte 0xed is not UTF-8; save the file in the UTF-8 encoding\n");
  EXPECT_EQ(MistakesOf(Minimal("slow", "\"slow\\0\"")).find("s.yaml:2:7: "), 0u);
}

TEST(WrongScenarios, AreReportedUpToAHundredMistakes) {
  std::string text = kMinimalScenario;
  for (int i = 0; i < 150; ++i) absl::StrAppend(&text, "zzz", i, ": 1\n");
  const LoadedScenario loaded = Parse(text);
  ASSERT_EQ(loaded.mistakes.size(), 101u);
  EXPECT_EQ(loaded.mistakes.back().message, "and 50 more mistakes from here on");
}

TEST(WrongScenarios, MistakesComeInTheOrderOfTheFile) {
  const LoadedScenario loaded = Parse(Minimal("500ms", "500").append("zzz: 1\n").insert(0, "yyy: 1\n"));
  ASSERT_EQ(loaded.mistakes.size(), 3u);
  EXPECT_EQ(loaded.mistakes[0].line, 1);
  EXPECT_EQ(loaded.mistakes[1].line, 11);
  EXPECT_EQ(loaded.mistakes[2].line, 17);
}

TEST(References, VarsOfTheCommandLineWin) {
  const std::string text = absl::StrReplaceAll(kFullScenario, {{"seed: 42\n", ""}});
  const LoadedScenario loaded = Parse(text, {{"rate", "500/s"}});
  EXPECT_EQ(FormatMistakes(loaded), "");
  EXPECT_EQ(loaded.scenario.load(0).rate(), 500);
  EXPECT_EQ(loaded.scenario.vars().at("rate"), "500/s");
}

TEST(References, VarsOfTheCommandLineMustBeInTheFile) {
  EXPECT_EQ(FormatMistakes(Parse(kFullScenario, {{"rat", "1/s"}})),
            "s.yaml:5:7: --var rat is not among the file's vars; did you mean \"rate\"?\n");
}

TEST(References, AreToTheDependencyItselfWithoutARelay) {
  const std::string text = absl::StrReplaceAll(kFullScenario, {{", relay_at: \"127.0.0.1:19090\"", ""}});
  EXPECT_EQ(Parse(text).scenario.services(0).run(2), "--recommend=127.0.0.1:9090");
}

TEST(References, AreToTheFirstOfSeveralAddresses) {
  const std::string text = absl::StrReplaceAll(
      kFullScenario, {{"to: \"127.0.0.1:9090\", protocol: http, relay_at: \"127.0.0.1:19090\"",
                       "to: [\"127.0.0.2:9090\", \"127.0.0.1:9090\", \"*:9091\"]"}});
  const LoadedScenario loaded = Parse(text);
  EXPECT_EQ(FormatMistakes(loaded), "");
  EXPECT_EQ(loaded.scenario.services(0).run(2), "--recommend=127.0.0.2:9090");
}

TEST(References, OfAnEdgeFollowItsVars) {
  const std::string text = absl::StrReplaceAll(
      kFullScenario, {{"relay_at: \"127.0.0.1:19090\"", "relay_at: \"127.0.0.1:${vars.port}\""},
                      {"vars: {", "vars: {port: 7, "}});
  const LoadedScenario loaded = Parse(text);
  EXPECT_EQ(FormatMistakes(loaded), "");
  EXPECT_EQ(loaded.scenario.services(0).run(2), "--recommend=127.0.0.1:7");
}

TEST(Secrets, AreKeptAsTextUntilTheyArePutIn) {
  setenv("SQUALL_TEST_SECRET", "hunter2", 1);
  LoadedScenario loaded = Parse(absl::StrReplaceAll(
      kFullScenario, {{"\"$${5}\"", "\"Bearer ${secret.SQUALL_TEST_SECRET} $${secret.X} ${vars.odd}\""},
                      {"vars: {", "vars: {odd: \"$${secret.Y}\", "}}));
  EXPECT_EQ(FormatMistakes(loaded), "");
  EXPECT_EQ(loaded.scenario.DebugString().find("hunter2"), std::string::npos);
  ASSERT_TRUE(PutInLate(loaded.scenario, {"/runs/r", "/scenarios"}).ok());
  EXPECT_EQ(loaded.scenario.load(0).http().headers().at("x-cost"), "Bearer hunter2 ${secret.X} ${secret.Y}");
}

TEST(Secrets, ThatAreGoneWhenTheRunStartsAreNotFound) {
  setenv("SQUALL_TEST_SECRET", "hunter2", 1);
  LoadedScenario loaded =
      Parse(absl::StrReplaceAll(kFullScenario, {{"\"$${5}\"", "\"${secret.SQUALL_TEST_SECRET}\""}}));
  EXPECT_EQ(FormatMistakes(loaded), "");
  unsetenv("SQUALL_TEST_SECRET");
  EXPECT_EQ(PutInLate(loaded.scenario, {"/runs/r", "/scenarios"}).code(), absl::StatusCode::kNotFound);
}

TEST(Folders, ArePutInWhenTheRunStartsUnlessEscaped) {
  LoadedScenario loaded = Parse(absl::StrReplaceAll(
      kFullScenario, {{"\"$${5}\"", "\"${run.folder} ${scenario.folder} $${run.folder}\""}}));
  EXPECT_EQ(FormatMistakes(loaded), "");
  ASSERT_TRUE(PutInLate(loaded.scenario, {"/runs/r", "/scenarios"}).ok());
  EXPECT_EQ(loaded.scenario.load(0).http().headers().at("x-cost"), "/runs/r /scenarios ${run.folder}");
}

TEST(Secrets, CannotStandWhereTextIsShownAndChecked) {
  setenv("SQUALL_TEST_SECRET", "orders", 1);
  EXPECT_EQ(MistakesOf(Minimal("name: recommend-slow", "name: \"${secret.SQUALL_TEST_SECRET}\"")),
            "s.yaml:2:7: a secret cannot stand in name, which is checked and shown; write the value, or use "
            "${vars.NAME}\n");
}

TEST(Secrets, PuttingInTouchesNothingElse) {
  const LoadedScenario loaded = Parse(kFullScenario);
  Scenario scenario = loaded.scenario;
  ASSERT_TRUE(PutInLate(scenario, {"/runs/r", "/scenarios"}).ok());
  EXPECT_EQ(scenario.DebugString(), loaded.scenario.DebugString());
}

TEST(Timing, IsRightExactlyOnTheLimit) {
  // deadline + 2 margins is 400ms.
  EXPECT_EQ(MistakesOf(Minimal("delay: 500ms", "delay: 400ms")), "");
  EXPECT_NE(MistakesOf(Minimal("delay: 500ms", "delay: 399ms")), "");
  EXPECT_NE(MistakesOf(Minimal("delay: 500ms", "delay: 450ms, jitter: 51ms")), "");
  EXPECT_EQ(MistakesOf(Minimal("delay: 500ms", "delay: 200ms, direction: both")), "");
  EXPECT_NE(MistakesOf(Minimal("rate: 200/s", "rate: 200/s, give_up_after: 400ms")), "");
  EXPECT_EQ(MistakesOf(Minimal("rate: 200/s", "rate: 200/s, give_up_after: 401ms")), "");
}

TEST(Timing, FaultsMayFollowEachOtherAtOnce) {
  EXPECT_EQ(
      MistakesOf(Minimal("    for: 10s", "    for: 10s\n  - latency: {delay: 1s}\n    at: 10s\n    for: 1s")),
      "");
  EXPECT_NE(MistakesOf(Minimal("    for: 10s",
                               "    for: 10s\n  - latency: {delay: 1s}\n    at: 9999ms\n    for: 1s")),
            "");
  EXPECT_EQ(MistakesOf(Minimal("    for: 10s",
                               "    for: 10s\n  - latency: {delay: 1s}\n    after: latency\n    for: 1s")),
            "");
}

TEST(Timing, QuietAfterAFaultIsAsLongAsItsRecoveryNeeds) {
  const auto with_kill_at = [](absl::string_view at) {
    std::string text =
        Minimal("    for: 10s", absl::StrCat("    for: 10s\n  - {kill: {}, after: latency, at: ", at, "}"));
    return absl::StrReplaceAll(text, {{"{within: 10s}", "{fault: latency, within: 10s}"}});
  };
  EXPECT_EQ(MistakesOf(with_kill_at("20s")), "");
  EXPECT_NE(MistakesOf(with_kill_at("19s")).find("write at: 20s\n"), std::string::npos);
}

TEST(Timing, WhatTheMessageSaysToWriteIsRight) {
  const std::string wrong =
      Minimal("    for: 10s", "    for: 10s\n  - {latency: {delay: 1s}, at: 4s, for: 1s}");
  EXPECT_NE(MistakesOf(wrong).find("write at: 10s or later"), std::string::npos);
  EXPECT_EQ(MistakesOf(absl::StrReplaceAll(wrong, {{"at: 4s", "at: 10s"}})), "");
}

TEST(Timing, AnAttachedServiceMayBeKilledAgain) {
  const std::string text =
      Minimal("  - latency: {delay: 500ms}\n    for: 10s",
              "  - latency: {delay: 500ms}\n    for: 10s\n  - kill: {}\n  - {kill: {}, at: 5s}");
  EXPECT_EQ(MistakesOf(text), "");
}

// One mistake must not be followed by others that it causes.
TEST(WrongScenarios, DoNotReportWhatOnlyFollows) {
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"delay: 500ms", "delay: 500"},
           {"deadline: 300ms", "deadline: 300"},
           {"for: 10s", "for: 10"},
           {"edges:", "egdes:"},
           {"load:", "laod:"},
           {"faults:", "fautls:"},
           {"assert:", "asert:"},
           {"  recommend: {to", "  re commend: {to"},
           {"rate: 200/s", "rate: 200"},
           {"to:", "too:"},
           {"attach:", "attach_:"},
       }) {
    const LoadedScenario loaded = Parse(Minimal(from, to));
    EXPECT_EQ(loaded.mistakes.size(), 1u) << to << "\n" << FormatMistakes(loaded);
  }
}

TEST(LoadScenario, FailsOnlyWhenTheFileCannotBeRead) {
  EXPECT_EQ(LoadScenario("no/such/file.yaml", {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(LoadScenario(".", {}).ok());
  EXPECT_FALSE(LoadScenario("/dev/zero", {}).ok());
  const std::string path = absl::StrCat(getenv("TEST_TMPDIR"), "/minimal.yaml");
  std::ofstream(path) << kMinimalScenario;
  const absl::StatusOr<LoadedScenario> loaded = LoadScenario(path, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->path, path);
  EXPECT_EQ(loaded->text, kMinimalScenario);
  EXPECT_TRUE(loaded->mistakes.empty());
}

// The schema's own bounds, defaults and examples must follow its rules.
TEST(Schema, DefaultsBoundsAndExamplesAreRight) {
  const google::protobuf::FileDescriptor* files[] = {
      Scenario::descriptor()->file(), Fault::descriptor()->file(), Assertion::descriptor()->file()};
  int checked = 0;
  for (const google::protobuf::FileDescriptor* file : files) {
    for (int m = 0; m < file->message_type_count(); ++m) {
      const google::protobuf::Descriptor& type = *file->message_type(m);
      for (int f = 0; f < type.field_count(); ++f) {
        const google::protobuf::FieldDescriptor& field = *type.field(f);
        if (field.is_map() || IsNested(field) || field.is_repeated()) continue;
        const FieldRules& field_rules = RulesOf(field);
        std::string example = absl::StrReplaceAll(field_rules.example(), {{"\"", ""}});
        for (const std::string& text :
             {field_rules.default_(), field_rules.min(), field_rules.max(), example}) {
          if (text.empty()) continue;
          ++checked;
          const absl::StatusOr<ScalarValue> value = ParseScalar(field, text);
          EXPECT_TRUE(value.ok()) << field.full_name() << ": " << value.status();
        }
      }
    }
  }
  EXPECT_GT(checked, 50);
}

}  // namespace
}  // namespace squall
