#pragma once

#include <string>

#include "proto/agent.pb.h"

namespace squall {

// What `squall doctor` prints for people, no wider than `columns`, and no wider than is good to read. Pure.
std::string DoctorText(const DiagnoseReply& reply, int columns, bool color);

// Every kind of fault works, in all its ways.
bool AllWorks(const DiagnoseReply& reply);

}  // namespace squall
