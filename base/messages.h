#pragma once

#include <algorithm>

#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace squall {

// The first message of `list` with this `name`; nullptr: none.
template <typename List>
const typename List::value_type* FindNamed(const List& list, absl::string_view name) {
  const auto found = std::find_if(list.begin(), list.end(), [&](const auto& each) { return each.name() == name; });
  return found == list.end() ? nullptr : &*found;
}

// The field that is set in the message's oneof `kind`; nullptr: none.
inline const google::protobuf::FieldDescriptor* KindField(const google::protobuf::Message& message) {
  return message.GetReflection()->GetOneofFieldDescriptor(message, message.GetDescriptor()->FindOneofByName("kind"));
}

}  // namespace squall
