#include "tests/fuzz/script.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  squall::RunScript(data, size, /*http2=*/false);
  return 0;
}
