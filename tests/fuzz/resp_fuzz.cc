// libFuzzer's target for the parser of examples/kv: resp_fuzz tests/fuzz/corpus/resp
#include "tests/fuzz/resp.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (!kv::fuzz::resp_holds({reinterpret_cast<const char*>(bytes), size})) std::abort();
  return 0;
}
