// It could take nothing.
// expect: receive needs a clause
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](Note) {});
#else
  receive(5s);
#endif
}
