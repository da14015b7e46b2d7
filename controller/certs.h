#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/tls.h"

// Certificates for those who have no CA of their own: EC P-256, in one folder. Nothing is ever overwritten; keys are for
// their owner alone.
namespace squall {

struct MadeCertificate {
  std::string cert;  // paths
  std::string key;
  absl::Time until;
};

// FOLDER/ca.crt and FOLDER/ca.key, valid for ten years. Makes the folder. ALREADY_EXISTS when either file is there.
absl::StatusOr<MadeCertificate> MakeCa(const std::string& folder);

// FOLDER/NAME.crt and FOLDER/NAME.key, signed by the CA in the folder, valid for a year. The certificate carries `name` and
// `hosts`, which are host names and addresses. INVALID_ARGUMENT for what is no such name, ALREADY_EXISTS as above.
absl::StatusOr<MadeCertificate> IssueCertificate(const std::string& folder, const std::string& name,
                                                 const std::vector<std::string>& hosts, TlsRole role);

}  // namespace squall
