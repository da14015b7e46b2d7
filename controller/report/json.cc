#include <memory>
#include <string>
#include <vector>

#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/json_util.h"

namespace squall {
namespace {

// Makes all strings valid UTF-8: what services print ends up in reasons, and JSON cannot hold anything else.
void MakeValid(google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        MakeValid(*(field->is_repeated() ? reflection.MutableRepeatedMessage(&message, field, i)
                                         : reflection.MutableMessage(&message, field)));
      } else if (field->type() == FieldDescriptor::TYPE_STRING && field->is_repeated()) {
        reflection.SetRepeatedString(&message, field, i,
                                     ValidText(reflection.GetRepeatedString(message, field, i)));
      } else if (field->type() == FieldDescriptor::TYPE_STRING) {
        reflection.SetString(&message, field, ValidText(reflection.GetString(message, field)));
      }
    }
  }
}

}  // namespace

std::string JsonText(const google::protobuf::Message& message, bool lines) {
  const std::unique_ptr<google::protobuf::Message> valid(message.New());
  valid->CopyFrom(message);
  MakeValid(*valid);
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = lines;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Printing into memory fails only for text that is not UTF-8 and for descriptors that are not linked in.
  const auto status = google::protobuf::util::MessageToJsonString(*valid, &json, options);
  return status.ok() ? json : "{}\n";
}

std::string JsonReport(const RunResult& result) { return JsonText(result, /*lines=*/true); }

std::string JsonReport(const SuiteResult& result) { return JsonText(result, /*lines=*/true); }

}  // namespace squall
