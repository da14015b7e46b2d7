#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"

namespace squall {

// The reference of one part of the scenario file ("latency", "timeout", "scenario", ...), made from the
// schema and its comments; of an empty topic the list of all topics. At most 100 columns wide, with a newline
// at the end. NOT_FOUND, with the nearest topic, when there is none of that name. Pure function; thread-safe.
absl::StatusOr<std::string> Explain(absl::string_view topic);

// The reference of one field in a sentence, "How long bytes are held back (duration, 0s to 10m, required).", with a line
// more for each word that it takes; and of a message what its comment says. Empty for what is not part of a scenario. Pure functions; thread-safe.
std::string ExplainField(const google::protobuf::FieldDescriptor& field);
std::string ExplainMessage(const google::protobuf::Descriptor& type);

}  // namespace squall
