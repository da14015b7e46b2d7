#include "controller/run_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "controller/assertions/judge.h"
#include "controller/report/report.h"
#include "controller/scalars.h"

namespace squall {

absl::StatusOr<std::string> MakeRunFolder(const std::string& runs_folder, const std::string& run_id) {
  const std::string folder = absl::StrCat(runs_folder, "/", run_id);
  std::error_code error;
  std::filesystem::create_directories(runs_folder, error);
  if (!error && !std::filesystem::create_directory(folder, error) && !error) {
    return absl::AlreadyExistsError(absl::StrCat(folder, " is there already"));
  }
  if (!error) std::filesystem::create_directory(absl::StrCat(folder, "/logs"), error);
  if (error) {
    return absl::PermissionDeniedError(absl::StrCat("cannot make the run's folder ", folder, ": ", error.message(),
                                                    "; choose another place with --runs=FOLDER"));
  }
  return folder;
}

absl::Status WriteFile(const std::string& path, const std::string& text) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t size = write(fd.get(), text.data() + done, text.size() - done);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot write ", path));
    done += static_cast<size_t>(size);
  }
  return absl::OkStatus();
}

std::string TimelinePath(const std::string& folder) { return absl::StrCat(folder, "/timeline.squall"); }

absl::StatusOr<Judged> JudgeFolder(const std::string& folder, bool inconclusive_fails) {
  absl::StatusOr<Timeline> timeline = ReadTimeline(TimelinePath(folder));
  if (!timeline.ok()) return timeline.status();
  if (const absl::Status sound = CheckValues(*timeline->header.mutable_scenario()); !sound.ok()) {
    return absl::DataLossError(absl::StrCat(TimelinePath(folder), ": the scenario in it is none: ", sound.message()));
  }
  Judged judged;
  judged.timeline = *std::move(timeline);
  judged.result = Summarize(judged.timeline);
  absl::Status status = WriteFile(absl::StrCat(folder, "/verdicts.json"), JsonReport(judged.result));
  if (status.ok()) {
    status = WriteFile(absl::StrCat(folder, "/junit.xml"), JunitReport(judged.result, inconclusive_fails));
  }
  if (status.ok()) {
    status = WriteFile(absl::StrCat(folder, "/report.html"), HtmlReport(judged.result, judged.timeline));
  }
  if (!status.ok()) return status;
  return judged;
}

}  // namespace squall
