#include "controller/calibration.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/fnv.h"
#include "controller/confidence.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace squall {
std::string CalibrationDigest(const Scenario& scenario) {
  Scenario copy = scenario;
  copy.clear_seed();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream out(&stream);
    // Maps have no order of their own.
    out.SetSerializationDeterministic(true);
    copy.SerializeToCodedStream(&out);
  }
  return absl::StrFormat("%016x", Fnv1a(bytes));
}

Calibration CountFalseAlarms(const Scenario& scenario, const std::vector<RunResult>& runs, int64_t at_unix_ns) {
  Calibration calibration;
  calibration.set_runs(static_cast<int>(runs.size()));
  calibration.set_at_unix_ns(at_unix_ns);
  calibration.set_digest(CalibrationDigest(scenario));
  for (const Assertion& assertion : scenario.assertions()) {
    Calibration::OfAssertion& of = *calibration.add_assertions();
    of.set_assertion(assertion.name());
    for (const RunResult& run : runs) {
      for (const Verdict& verdict : run.verdicts()) {
        if (verdict.assertion() != assertion.name()) continue;
        of.set_failed(of.failed() + (verdict.result() == Verdict::FAIL));
        of.set_inconclusive(of.inconclusive() + (verdict.result() == Verdict::INCONCLUSIVE));
      }
    }
    if (!runs.empty()) of.set_at_most(MostOf(of.failed(), calibration.runs()));
  }
  return calibration;
}

std::string FalseAlarmText(const Calibration& calibration, const std::string& assertion) {
  for (const Calibration::OfAssertion& of : calibration.assertions()) {
    if (of.assertion() != assertion || calibration.runs() <= 0 || of.failed() > calibration.runs()) continue;
    return absl::StrFormat("in %d of %d runs without the faults: in fewer than %.2g %% of runs, at 95 %% confidence", of.failed(),
                           calibration.runs(), 100 * MostOf(of.failed(), calibration.runs()));
  }
  return "";
}

}  // namespace squall
