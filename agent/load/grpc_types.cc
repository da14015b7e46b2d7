#include "agent/load/grpc_types.h"

#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/descriptor_database.h>
#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/load/grpc_call.h"
#include "agent/load/http2.h"
#include "base/clock.h"
#include "proto/reflection.pb.h"

namespace squall {
namespace {

namespace pb = google::protobuf;

constexpr size_t kMostBytes = 16 << 20;  // of one answer
constexpr size_t kMostFiles = 1000;
constexpr std::array<absl::string_view, 2> kReflections = {"grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                                                           "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"};

class FirstError : public pb::compiler::MultiFileErrorCollector {
 public:
  void AddError(const std::string& file, int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat(file, ":", line + 1, ":", column + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class FileTypes : public GrpcTypes {
 public:
  const pb::DescriptorPool& pool() const override { return pool_; }
  absl::Status Import(const std::filesystem::path& path, const std::string& folder) {
    tree_.MapPath("", path.is_absolute() ? path.parent_path().string() : folder);
    files_.RecordErrorsTo(&errors_);
    const std::string name = path.is_absolute() ? path.filename().string() : path.lexically_normal().string();
    if (pool_.FindFileByName(name) != nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError(
        errors_.text().empty() ? absl::StrCat(path.string(), " cannot be used as a .proto file") : errors_.text());
  }

 private:
  FirstError errors_;
  pb::compiler::DiskSourceTree tree_;
  // Google's own files, which few have in their folders.
  pb::DescriptorPoolDatabase known_{*pb::DescriptorPool::generated_pool()};
  pb::compiler::SourceTreeDescriptorDatabase files_{&tree_, &known_};
  pb::DescriptorPool pool_{&files_, files_.GetValidationErrorCollector()};
};

class ServerTypes : public GrpcTypes {
 public:
  const pb::DescriptorPool& pool() const override { return pool_; }

  // True: it is new, and what it imports is wanted.
  absl::StatusOr<bool> Add(const std::string& bytes) {
    pb::FileDescriptorProto file;
    if (!file.ParseFromString(bytes)) return absl::FailedPreconditionError("the reflection of the server answers with what is no descriptor");
    if (!names_.insert(file.name()).second) return false;
    for (const std::string& import : file.dependency()) wanted_.insert(import);
    files_.Add(file);
    return true;
  }
  // A file that another imports and that is not there.
  std::optional<std::string> Missing() const {
    for (const std::string& name : wanted_) {
      if (names_.count(name) == 0 && pb::DescriptorPool::generated_pool()->FindFileByName(name) == nullptr) return name;
    }
    return std::nullopt;
  }
  size_t size() const { return names_.size(); }

 private:
  std::set<std::string> names_, wanted_;
  pb::SimpleDescriptorDatabase files_;
  pb::DescriptorPoolDatabase known_{*pb::DescriptorPool::generated_pool()};
  pb::MergedDescriptorDatabase both_{&files_, &known_};
  pb::DescriptorPool pool_{&both_};
};

// One call, waited for. The answer has a status of gRPC, or the error says why there is none.
absl::StatusOr<Answer> CallAndWait(Target& target, const HttpRequest& request, absl::Time until) {
  const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return absl::ErrnoToStatus(errno, "no descriptor left for a load");
  if (target.event() >= 0) {
    epoll_event event = {};
    event.events = EPOLLIN;
    epoll_ctl(epoll.get(), EPOLL_CTL_ADD, target.event(), &event);
  }
  Http2Requests requests;
  requests.scheme = target.tls() == nullptr ? "http" : "https";
  requests.authority = target.text();
  requests.keep = {/*headers=*/true, kMostBytes};
  requests.grpc = true;
  requests.kinds = {request};
  Exchange exchange;
  exchange.request.sent_ns = BootNanos();
  Http2Transport transport(target, epoll.get(), requests);
  transport.Send(exchange);
  while (!transport.HasEnded()) {
    const int64_t left_ms = absl::ToInt64Milliseconds(until - absl::Now());
    if (left_ms <= 0) return absl::UnavailableError(absl::StrCat(target.text(), " did not answer in time"));
    std::array<epoll_event, 16> events;
    const int count = epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), static_cast<int>(left_ms));
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == 0) {
        target.DrainEvent();
        transport.HandleAddresses();
      } else {
        transport.HandleEvent(events[i].data.u64, events[i].events);
      }
    }
  }
  const EndedExchange ended = transport.TakeEnded()[0];
  if (ended.failure) return absl::UnavailableError(ended.why);
  return std::move(exchange.answer);
}

// Asks for files, with the first version of reflection that the server has. `version` is kept from call to call.
absl::StatusOr<ReflectionResponse> Ask(Target& target, const ReflectionRequest& question, const HeaderList& metadata,
                                       const std::string& run_id, absl::Time until, size_t& version) {
  while (true) {
    const absl::StatusOr<HttpRequest> request = MakeGrpcRequest(kReflections[version], question.SerializeAsString(), metadata, run_id);
    if (!request.ok()) return request.status();
    absl::StatusOr<Answer> answer = CallAndWait(target, *request, until);
    if (!answer.ok()) return absl::Status(answer.status().code(), absl::StrCat("the types cannot be asked for: ", answer.status().message()));
    ReflectionResponse response;
    if (*answer->grpc_status == 0 && response.ParseFromString(answer->body)) return response;
    if (*answer->grpc_status == static_cast<int>(absl::StatusCode::kUnimplemented) && version + 1 < kReflections.size()) {
      ++version;
      continue;
    }
    const std::string* const said = FindHeader(answer->headers, "grpc-message");
    return absl::FailedPreconditionError(
        absl::StrCat(target.text(), " does not tell its types by reflection (",
                     absl::StatusCodeToString(static_cast<absl::StatusCode>(*answer->grpc_status)), said == nullptr ? "" : ": ",
                     said == nullptr ? "" : *said, "): give its .proto file with `proto`"));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcTypes>> TypesFromFile(const std::string& proto, const std::string& folder) {
  auto types = std::make_unique<FileTypes>();
  if (const absl::Status status = types->Import(proto, folder); !status.ok()) return status;
  return types;
}

absl::StatusOr<std::unique_ptr<GrpcTypes>> TypesFromServer(Target& target, const HeaderList& metadata, const std::string& run_id,
                                                           const std::vector<std::string>& services, absl::Duration patience) {
  const absl::Time until = absl::Now() + patience;
  auto types = std::make_unique<ServerTypes>();
  size_t version = 0, asked = 0;
  while (true) {
    ReflectionRequest question;
    if (asked < services.size()) {
      question.set_file_containing_symbol(services[asked++]);
    } else if (const std::optional<std::string> missing = types->Missing(); missing && types->size() < kMostFiles) {
      question.set_file_by_filename(*missing);
    } else {
      return types;
    }
    const absl::StatusOr<ReflectionResponse> response = Ask(target, question, metadata, run_id, until, version);
    if (!response.ok()) return response.status();
    bool any = false;
    for (const std::string& file : response->file_descriptor_response().file_descriptor_proto()) {
      const absl::StatusOr<bool> added = types->Add(file);
      if (!added.ok()) return added.status();
      any |= *added;
    }
    if (response->has_error_response()) {
      return absl::FailedPreconditionError(
          absl::StrCat(target.text(), " does not know ", question.file_containing_symbol(), question.file_by_filename(), ": ",
                       response->error_response().error_message()));
    }
    // It would be asked for for ever.
    if (!any && !question.file_by_filename().empty()) {
      return absl::FailedPreconditionError(absl::StrCat(target.text(), " does not tell ", question.file_by_filename(), ", which its types need"));
    }
  }
}

}  // namespace squall
