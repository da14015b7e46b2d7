#include "controller/scenario.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "controller/repeats.h"
#include "controller/scenario_checks.h"
#include "controller/scenario_references.h"
#include "controller/schema.h"
#include "controller/wording.h"
#include "controller/yaml.h"

namespace squall {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

absl::Status FileError(int error, const std::string& path) {
  return absl::ErrnoToStatus(error, absl::StrCat("cannot read ", path));
}

void CheckOverrides(const YamlNode* root, const std::map<std::string, std::string>& overrides,
                    Reading& reading) {
  const YamlNode* vars = Find(root, "vars");
  std::vector<std::string> known;
  for (size_t i = 0; vars != nullptr && i + 1 < vars->items.size(); i += 2)
    known.push_back(vars->items[i]->text);
  for (const auto& [name, value] : overrides) {
    if (Find(vars, name) != nullptr) continue;
    const Position at = vars == nullptr ? reading.At("") : reading.At("vars");
    reading.Add(at, absl::StrCat("--var ", name, " is not among the file's vars; ",
                                 known.empty() ? absl::StrCat("add vars: {", name, ": ...}")
                                               : Suggestion(name, known)));
  }
}

absl::Status PutInto(Message& message, const LateValues& values) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    // Keys of a map are names, in which nothing is put.
    if (message.GetDescriptor()->options().map_entry() && field->number() == 1) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Message& inner = field->is_repeated() ? *reflection.MutableRepeatedMessage(&message, field, i)
                                              : *reflection.MutableMessage(&message, field);
        absl::Status status = PutInto(inner, values);
        if (!status.ok()) return status;
      } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
        absl::StatusOr<std::string> text =
            WithLateValues(field->is_repeated() ? reflection.GetRepeatedString(message, field, i)
                                                : reflection.GetString(message, field),
                           values);
        if (!text.ok()) return text.status();
        if (field->is_repeated()) {
          reflection.SetRepeatedString(&message, field, i, *std::move(text));
        } else {
          reflection.SetString(&message, field, *std::move(text));
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadYamlFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(errno, path);
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError(errno, path);
  if (S_ISDIR(info.st_mode)) return FileError(EISDIR, path);
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(absl::StrCat("cannot read ", path, ": not a file"));
  std::string text(kMostBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FileError(errno, path);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  text.resize(size);
  return text;
}

LoadedScenario ParseScenario(const std::string& path, std::string text,
                             const std::map<std::string, std::string>& vars, const AgentsFile& agents) {
  LoadedScenario loaded = ReadScenario(ParseYaml(text), vars, /*must_assert=*/true, agents);
  loaded.path = path;
  loaded.text = std::move(text);
  return loaded;
}

LoadedScenario ReadScenario(const YamlTree& tree, const std::map<std::string, std::string>& vars, bool must_assert,
                            const AgentsFile& agents) {
  LoadedScenario loaded;
  Reading reading;
  for (const Mistake& mistake : tree.mistakes) reading.Add({mistake.line, mistake.column}, mistake.message);
  if (tree.root != nullptr) {
    const References references(tree.root, vars);
    const Substitute substitute = [&](absl::string_view at, const std::string& scalar) {
      return references.Replace(at, scalar);
    };
    ReadYaml(*tree.root, substitute, loaded.scenario, reading);
    // Of what is no mapping at all there is nothing more to say.
    if (tree.root->kind == YamlNode::kMapping) {
      CheckOverrides(tree.root, vars, reading);
      AddKnownAgents(agents, loaded.scenario);
      FillIn(loaded.scenario, reading);
      CheckParts(loaded.scenario, must_assert, reading);
      CheckAgents(loaded.scenario, reading);
      CheckTiming(loaded.scenario, reading);
    }
  }
  loaded.mistakes = reading.Mistakes();
  if (loaded.mistakes.empty()) loaded.scenario = WithRepeats(loaded.scenario);
  return loaded;
}

absl::StatusOr<LoadedScenario> LoadScenario(const std::string& path,
                                            const std::map<std::string, std::string>& vars,
                                            const AgentsFile& agents) {
  absl::StatusOr<std::string> text = ReadYamlFile(path);
  if (!text.ok()) return text.status();
  return ParseScenario(path, *std::move(text), vars, agents);
}

std::string FormatMistakes(const LoadedScenario& loaded) { return FormatMistakes(loaded.path, loaded.mistakes); }

std::string FormatMistakes(const std::string& path, const std::vector<Mistake>& mistakes) {
  std::string out;
  for (const Mistake& mistake : mistakes) {
    absl::StrAppend(&out, path, ":", mistake.line, ":", mistake.column, ": ", mistake.message, "\n");
  }
  return out;
}

absl::Status PutInLate(Scenario& scenario, const LateValues& values) { return PutInto(scenario, values); }

}  // namespace squall
