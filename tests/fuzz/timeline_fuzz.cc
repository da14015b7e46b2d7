// Timelines of records that no agent would write: each is refused with an error, or judged without harm.
#include "tests/fuzz/timeline_script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  squall::JudgeScript(data, size);
  return 0;
}
