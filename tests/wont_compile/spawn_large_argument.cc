// Arguments lie on the new stack.
// expect: pass what is large in a std::unique_ptr
#include "tests/wont_compile/case.h"

using Large = std::array<char, 4000>;

void misuse() {
#ifdef CONTROL
  spawn([](const std::unique_ptr<Large>&) {}, std::make_unique<Large>());
#else
  spawn([](const Large&) {}, Large{});
#endif
}
