// A wait without an end is said on purpose.
// expect: a bound comes first.*forever
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(forever, [](Note) {});
#else
  receive([](Note) {});
#endif
}
