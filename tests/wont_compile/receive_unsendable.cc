// No such message can ever come.
// expect: a clause for what cannot be sent can never run
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](const std::string&) {});
#else
  receive(5s, [](const char*) {});
#endif
}
