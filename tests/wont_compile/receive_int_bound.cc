// Five what?
// expect: a bound comes first, and has a unit
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](Note) {});
#else
  receive(5, [](Note) {});
#endif
}
