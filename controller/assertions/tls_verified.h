#pragma once

#include "controller/assertions/judge.h"
#include "controller/timeline.h"
#include "proto/assertion.pb.h"

namespace squall {

// While a tls fault acts, the service tries TLS handshakes and completes none. Pure.
Judgement JudgeTlsVerified(const TlsVerified& spec, const Timeline& timeline);

}  // namespace squall
