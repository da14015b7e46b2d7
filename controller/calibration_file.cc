#include "controller/calibration_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "controller/calibration.h"
#include "controller/run_folder.h"
#include "google/protobuf/util/json_util.h"

namespace squall {
namespace {

std::string PathOf(const std::string& runs_folder, const Scenario& scenario) {
  return absl::StrCat(runs_folder, "/calibration/", scenario.name(), ".json");
}

}  // namespace

absl::Status WriteCalibration(const std::string& runs_folder, const Scenario& scenario, const Calibration& calibration) {
  const std::string path = PathOf(runs_folder, scenario);
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = options.preserve_proto_field_names = options.always_print_primitive_fields = true;
  const auto printed = google::protobuf::util::MessageToJsonString(calibration, &json, options);
  if (!printed.ok()) return absl::InternalError(absl::StrCat("cannot write ", path, ": ", printed.ToString()));
  return WriteFile(path, json);
}

absl::StatusOr<Calibration> ReadCalibration(const std::string& runs_folder, const Scenario& scenario) {
  const std::string path = PathOf(runs_folder, scenario);
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat(path, " is not there"));
  std::ostringstream text;
  text << file.rdbuf();
  Calibration calibration;
  if (!google::protobuf::util::JsonStringToMessage(text.str(), &calibration).ok() || calibration.runs() <= 0) {
    return absl::DataLossError(absl::StrCat(path, " is damaged; run squall calibrate again"));
  }
  if (calibration.digest() != CalibrationDigest(scenario)) return absl::NotFoundError(absl::StrCat(path, " is of another version of the scenario"));
  return calibration;
}

}  // namespace squall
