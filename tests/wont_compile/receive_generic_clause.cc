// Which message would it take?
// expect: a clause names its message's type: it is no \[\]\(auto\)
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](Message) {});
#else
  receive(5s, [](auto) {});
#endif
}
