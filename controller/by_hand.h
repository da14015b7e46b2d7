#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "proto/scenario.pb.h"

// What an operator injects by hand, from flags: each flag is a field of the schema and is read as YAML is, by the same
// reader. A new fault has its flags without a line here. Pure functions.
namespace squall {

// A flag of `squall inject KIND`.
struct HandFlag {
  enum Of { kFault, kTiming, kAttach, kService, kEdge };
  Of of = kFault;
  std::string name;  // without dashes in front: "restart-after"
  const google::protobuf::FieldDescriptor* field = nullptr;
};

// The kinds of faults that can be injected by hand: fields of the oneof of Fault.
std::vector<const google::protobuf::FieldDescriptor*> FaultKinds();

// A kind of faults that cannot: it acts on the load of a run. `kind` as users write it.
bool NeedsALoad(absl::string_view kind);

// The fault's own fields, when it ends, and where it acts. No two have the same name.
std::vector<HandFlag> HandFlags(const google::protobuf::FieldDescriptor& kind);

struct HandRequest {
  const google::protobuf::FieldDescriptor* kind = nullptr;
  std::map<std::string, std::vector<std::string>> values;  // by flag, as given
  // The file whose services and edges are meant: flags stand in for what it says of them. Empty: there is none.
  std::string path;
  std::string text;
  std::map<std::string, std::string> vars;
};

struct HandScenario {
  // The fault, and nothing but the service and the edge on which it acts. Without load and assertions.
  Scenario scenario;
  // Each with its flag, or its place in the file; empty: it can be injected.
  std::vector<std::string> mistakes;
};
HandScenario ReadByHand(const HandRequest& request);

// "squall inject latency --listen 8080 --to 127.0.0.1:9090 --delay 500ms --for 10s": right as it stands.
std::string HandExample(const google::protobuf::FieldDescriptor& kind);

}  // namespace squall
