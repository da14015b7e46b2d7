#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "controller/report/escape.h"
#include "controller/report/report.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/type_resolver_util.h"

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
  // Maps in the order of their keys: the same message gives the same text.
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    valid->SerializePartialToCodedStream(&coded);
  }
  static google::protobuf::util::TypeResolver* const kTypes = google::protobuf::util::NewTypeResolverForDescriptorPool(
      "type.googleapis.com", google::protobuf::DescriptorPool::generated_pool());
  std::string json;
  // Printing into memory fails only for text that is not UTF-8 and for descriptors that are not linked in.
  const auto status = google::protobuf::util::BinaryToJsonString(
      kTypes, absl::StrCat("type.googleapis.com/", message.GetDescriptor()->full_name()), bytes, &json, options);
  return status.ok() ? json : "{}\n";
}

std::string JsonReport(const RunResult& result) { return JsonText(result, /*lines=*/true); }

std::string JsonReport(const SuiteResult& result) { return JsonText(result, /*lines=*/true); }

}  // namespace squall
