#include "controller/by_hand.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "controller/scenario.h"
#include "controller/scenario_samples.h"
#include "controller/schema.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;

const FieldDescriptor& Kind(const std::string& name) {
  for (const FieldDescriptor* kind : FaultKinds()) {
    if (YamlName(*kind) == name) return *kind;
  }
  ADD_FAILURE() << "no fault " << name;
  return *FaultKinds().front();
}

// As a shell would give it: "squall inject KIND --flag value --flag value"; lists with commas.
HandRequest Words(const std::string& line) {
  std::vector<std::string> words = absl::StrSplit(line, ' ');
  HandRequest request;
  request.kind = &Kind(words[2]);
  for (size_t i = 3; i + 1 < words.size(); i += 2) {
    request.values[std::string(absl::StripPrefix(words[i], "--"))].push_back(words[i + 1]);
  }
  return request;
}

HandScenario Read(const std::string& line) { return ReadByHand(Words(line)); }
HandScenario ReadWith(const std::string& text, const std::string& line) {
  HandRequest request = Words(line);
  request.path = "s.yaml";
  request.text = text;
  return ReadByHand(request);
}
std::string Mistakes(const HandScenario& hand) { return absl::StrJoin(hand.mistakes, "\n"); }

// ---- every fault, those of tomorrow too

TEST(ByHand, ExampleOfEveryFaultIsRightAsItStands) {
  for (const FieldDescriptor* kind : FaultKinds()) {
    const HandScenario hand = Read(HandExample(*kind));
    EXPECT_EQ(Mistakes(hand), "") << HandExample(*kind);
    ASSERT_EQ(hand.scenario.faults_size(), 1) << HandExample(*kind);
    const Fault& fault = hand.scenario.faults(0);
    EXPECT_EQ(fault.kind_case(), kind->number());
    ASSERT_EQ(hand.scenario.services_size(), 1);
    EXPECT_EQ(hand.scenario.services(0).attach().listen(), 8080);
  }
}

TEST(ByHand, EveryFieldOfEveryFaultIsAFlagOfItsOwnName) {
  for (const FieldDescriptor* kind : FaultKinds()) {
    std::set<std::string> names;
    std::set<const FieldDescriptor*> fields;
    for (const HandFlag& flag : HandFlags(*kind)) {
      EXPECT_TRUE(names.insert(flag.name).second) << YamlName(*kind) << " has two flags --" << flag.name;
      // The names of the command's own.
      for (const char* taken : {"scenario", "var", "agent", "dry-run", "json", "help"}) EXPECT_NE(flag.name, taken);
      fields.insert(flag.field);
    }
    for (int i = 0; i < kind->message_type()->field_count(); ++i) {
      EXPECT_EQ(fields.count(kind->message_type()->field(i)), 1u)
          << YamlName(*kind) << "." << kind->message_type()->field(i)->name() << " cannot be given by hand";
    }
  }
}

// A flag reads as the same text in YAML does: the same fault, or a mistake that names the flag.
TEST(ByHand, EveryFlagOfEveryFaultReadsAsYamlDoes) {
  for (const FieldDescriptor* kind : FaultKinds()) {
    for (const HandFlag& flag : HandFlags(*kind)) {
      if (flag.of != HandFlag::kFault || !RulesOf(*flag.field).refers_to().empty()) continue;
      // The others of a choice would stand in its way.
      HandRequest request = Words(HandExample(*kind));
      const google::protobuf::OneofDescriptor* oneof = flag.field->real_containing_oneof();
      for (int i = 0; oneof != nullptr && i < oneof->field_count(); ++i) request.values.erase(YamlName(*oneof->field(i)));
      HandRequest right = request;
      request.values[flag.name] = {"no such thing/"};
      const HandScenario hand = ReadByHand(request);
      // Free text can be anything.
      const bool is_text = flag.field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !RulesOf(*flag.field).signal() &&
                           !RulesOf(*flag.field).name();
      if (is_text) continue;
      ASSERT_FALSE(hand.mistakes.empty()) << YamlName(*kind) << " --" << flag.name;
      EXPECT_TRUE(absl::StartsWith(hand.mistakes[0], absl::StrCat("--", flag.name, ": "))) << hand.mistakes[0];
      EXPECT_TRUE(absl::StrContains(hand.mistakes[0], "no such thing")) << hand.mistakes[0];

      std::string value = ExampleValue(*flag.field);
      if (flag.field->is_map()) value = "x-test=1";
      if (flag.field->is_repeated() && !flag.field->is_map()) value = value.substr(1, value.size() - 2);
      // Nothing at all cannot be told from what is left out.
      if (!value.empty() && value[0] == '0' && !RulesOf(*flag.field).max().empty()) value = RulesOf(*flag.field).max();
      right.values[flag.name] = {value};
      const HandScenario read = ReadByHand(right);
      if (!read.mistakes.empty()) {
        // Right by itself; what it does not go with is said as anywhere else.
        EXPECT_TRUE(absl::StrContains(Mistakes(read), "; ")) << Mistakes(read);
        continue;
      }
      const Fault& fault = read.scenario.faults(0);
      const google::protobuf::Message& message = fault.GetReflection()->GetMessage(fault, kind);
      EXPECT_TRUE(flag.field->is_repeated() ? message.GetReflection()->FieldSize(message, flag.field) > 0
                                            : message.GetReflection()->HasField(message, flag.field))
          << YamlName(*kind) << " --" << flag.name;
    }
  }
}

TEST(ByHand, WhatIsRequiredAndMissingIsAskedForAsAFlag) {
  for (const FieldDescriptor* kind : FaultKinds()) {
    for (const HandFlag& flag : HandFlags(*kind)) {
      if (!RulesOf(*flag.field).required()) continue;
      HandRequest request = Words(HandExample(*kind));
      request.values.erase(flag.name);
      const std::string mistakes = Mistakes(ReadByHand(request));
      EXPECT_TRUE(absl::StartsWith(mistakes, absl::StrCat("--", flag.name, " is missing; write for example --", flag.name, " ")))
          << YamlName(*kind) << ": " << mistakes;
      EXPECT_FALSE(absl::StrContains(mistakes, "[")) << "lists are not written as in YAML: " << mistakes;
    }
  }
}

// ---- without a file

TEST(ByHand, LatencyIsTheScenarioThatAFileWouldSay) {
  const HandScenario hand = Read("squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 200ms --for 30s");
  ASSERT_EQ(Mistakes(hand), "");
  const LoadedScenario file = ParseScenario("s.yaml", R"(squall: 1
name: latency-by-hand
services: {target: {attach: {listen: 8080}}}
edges: {dependency: {to: "127.0.0.1:9090"}}
load: {any: {http: {url: "http://127.0.0.1:1/"}, rate: 1/s}}
faults: [{latency: {delay: 200ms}, for: 30s}]
assert: [{recovery: {within: 1s}}]
)",
                                            {});
  ASSERT_EQ(FormatMistakes(file), "");
  Scenario expected = file.scenario;
  expected.clear_load();
  expected.clear_assertions();
  EXPECT_EQ(hand.scenario.DebugString(), expected.DebugString());
}

TEST(ByHand, ServiceAndEdgeMayBeGivenNames) {
  const HandScenario hand = Read(
      "squall inject latency --edge recommend --to [::1]:9090 --relay-at 127.0.0.1:19090 --protocol tcp --pid 4711 --delay 1s --for 1m");
  ASSERT_EQ(Mistakes(hand), "");
  EXPECT_EQ(hand.scenario.edges(0).name(), "recommend");
  EXPECT_EQ(hand.scenario.edges(0).relay_at(), "127.0.0.1:19090");
  EXPECT_EQ(hand.scenario.edges(0).protocol(), Edge::PROTOCOL_TCP);
  EXPECT_EQ(hand.scenario.faults(0).latency().edge(), "recommend");
  EXPECT_EQ(hand.scenario.services(0).attach().pid(), 4711);
  EXPECT_EQ(Read("squall inject kill --service orders --listen 8080").scenario.faults(0).kill().service(), "orders");
}

TEST(ByHand, FaultOnAServiceHasNoEdge) {
  const HandScenario hand = Read("squall inject kill --listen 8080 --signal SIGTERM");
  ASSERT_EQ(Mistakes(hand), "");
  EXPECT_EQ(hand.scenario.edges_size(), 0);
  EXPECT_EQ(hand.scenario.faults(0).kill().service(), "target");
}

TEST(ByHand, MistakesNameTheFlagAndWhatToWrite) {
  const std::string right = "squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 200ms --for 30s";
  ASSERT_EQ(Mistakes(Read(right)), "");
  const struct {
    const char* line;
    const char* mistakes;
  } cases[] = {
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 200 --for 30s",
       "--delay: a bare number has no unit; write 200ms or 200s"},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 11m --for 30s",
       "--delay: \"11m\" is too much; write 0s to 10m"},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 1s --jitter 2s --for 30s",
       "--jitter: jitter 2 s is more than delay 1 s; write 1s or less"},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 1s",
       "--for is missing: every fault has an end; write for example --for 10s"},
      {"squall inject latency --to 127.0.0.1:9090 --delay 1s --for 30s",
       "one of these is missing; write --listen 8080, --pid 4711, --command /usr/bin/orders --port=8080 or --cgroup "
       "/system.slice/orders.service"},
      {"squall inject latency --listen 8080 --delay 1s --for 30s",
       "--to is missing; write for example --to \"127.0.0.1:9090\""},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --pid 5 --delay 1s --for 30s",
       "--pid: pid and listen exclude each other; leave out one of them"},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 1s --for 30s --direction up",
       "--direction: \"up\" is not known here; write response, request or both"},
      {"squall inject latency --to 127.0.0.1:9090 --listen 8080 --delay 1s --delay 2s --for 30s",
       "--delay is given 2 times; write it once"},
      {"squall inject latency --to 9090 --listen 99999 --delay 1s --for 30s",
       "--listen: \"99999\" is too much; write 1 to 65535\n"
       "--to: \"9090\" has no host; write \"127.0.0.1:9090\""},
      {"squall inject kill --listen 8080 --for 10s",
       "--for: a kill happens at an instant; leave out `for`, and write restart_after in kill where the service is to be "
       "started again"},
  };
  for (const auto& each : cases) EXPECT_EQ(Mistakes(Read(each.line)), each.mistakes) << each.line;
}

// ---- with a file

TEST(ByHand, FileGivesTheServiceAndTheEdgeAndNothingElse) {
  const HandScenario hand = ReadWith(kMinimalScenario, "squall inject latency --delay 50ms --for 5s");
  ASSERT_EQ(Mistakes(hand), "");
  EXPECT_EQ(hand.scenario.services(0).name(), "orders");
  EXPECT_EQ(hand.scenario.edges(0).name(), "recommend");
  EXPECT_EQ(hand.scenario.edges(0).from(), "orders");
  EXPECT_EQ(hand.scenario.load_size(), 0);
  EXPECT_EQ(hand.scenario.assertions_size(), 0);
  ASSERT_EQ(hand.scenario.faults_size(), 1);
  EXPECT_EQ(hand.scenario.faults(0).latency().delay().nanos(), 50'000'000);
}

TEST(ByHand, ServiceThatTheFileRunsMustBeAttachedTo) {
  const HandScenario asked = ReadWith(kFullScenario, "squall inject latency --delay 50ms --for 5s");
  EXPECT_EQ(Mistakes(asked),
            "service \"orders\": the file would run it, and by hand squall only attaches to what is running; say which process "
            "it is: --listen PORT, --pid N, --command TEXT or --cgroup PATH");
  const HandScenario hand = ReadWith(kFullScenario, "squall inject latency --listen 8080 --delay 50ms --for 5s");
  ASSERT_EQ(Mistakes(hand), "");
  ASSERT_EQ(hand.scenario.services_size(), 1) << "a service that is not touched is not held either";
  EXPECT_EQ(hand.scenario.services(0).name(), "orders");
  EXPECT_EQ(hand.scenario.services(0).attach().listen(), 8080);
  EXPECT_EQ(hand.scenario.services(0).run_size(), 0);
  EXPECT_EQ(hand.scenario.services(0).env_size(), 0);
  EXPECT_EQ(hand.scenario.edges(0).relay_at(), "127.0.0.1:19090") << "as the file says";
}

TEST(ByHand, FlagsNameAServiceOfTheFileAndStandInForWhatItSays) {
  const HandScenario kill = ReadWith(kFullScenario, "squall inject kill --service recommend --pid 4711");
  ASSERT_EQ(Mistakes(kill), "");
  EXPECT_EQ(kill.scenario.services(0).name(), "recommend");
  EXPECT_EQ(kill.scenario.services(0).attach().pid(), 4711);
  const HandScenario relay =
      ReadWith(kFullScenario, "squall inject latency --listen 80 --relay-at 127.0.0.1:1234 --delay 5ms --for 5s");
  ASSERT_EQ(Mistakes(relay), "");
  EXPECT_EQ(relay.scenario.edges(0).relay_at(), "127.0.0.1:1234");
  EXPECT_EQ(relay.scenario.edges(0).to(0), "127.0.0.1:9090");
}

TEST(ByHand, AnEdgeOfSeveralAddressesIsWrittenWithTheFlagAgain) {
  const HandScenario hand = Read("squall inject latency --listen 80 --to 127.0.0.1:9090 --to [::1]:9090 --delay 5ms --for 5s");
  ASSERT_EQ(Mistakes(hand), "");
  ASSERT_EQ(hand.scenario.edges(0).to_size(), 2);
  EXPECT_EQ(hand.scenario.edges(0).to(1), "[::1]:9090");
}

TEST(ByHand, HasNoLoadAndSoNoFaultsOnOne) {
  for (const char* kind : {"abandon", "surge"}) {
    EXPECT_TRUE(NeedsALoad(kind)) << kind;
    for (const FieldDescriptor* known : FaultKinds()) EXPECT_NE(YamlName(*known), kind);
  }
  for (const FieldDescriptor* known : FaultKinds()) EXPECT_FALSE(NeedsALoad(YamlName(*known))) << YamlName(*known);
  EXPECT_FALSE(NeedsALoad("no_such_fault"));
}

TEST(ByHand, MistakesInTheFileAndAboutItAreToldApart) {
  EXPECT_EQ(Mistakes(ReadWith(kFullScenario, "squall inject latency --edge recomend --listen 80 --delay 5ms --for 5s")),
            "--edge: unknown edge \"recomend\"; did you mean \"recommend\"?");
  EXPECT_EQ(Mistakes(ReadWith(kFullScenario, "squall inject kill --pid 4711")),
            "--service is missing, and there are 2 services; write --service orders or recommend");
  EXPECT_EQ(Mistakes(ReadWith("squall: 1\nservices:\n  orders: {attach: {lissen: 1}}\n", "squall inject kill")),
            "s.yaml:3:21: unknown key \"lissen\"; did you mean \"listen\"?");
  EXPECT_TRUE(absl::StartsWith(Mistakes(ReadWith("[1, 2]", "squall inject kill")), "s.yaml:1:1: "));
  EXPECT_TRUE(absl::StartsWith(Mistakes(ReadWith("a: {", "squall inject kill")), "s.yaml:"));
  EXPECT_EQ(Mistakes(ReadWith(kFullScenario, "squall inject kill --service recommend --pid 4711 --restart-after 1s")),
            "--restart-after: squall did not start \"recommend\" and cannot start it again; leave out restart_after, write "
            "supervisor_within where somebody else does, or give the service run instead of attach");
}

}  // namespace
}  // namespace squall
