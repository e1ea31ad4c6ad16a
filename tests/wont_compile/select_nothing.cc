// It could only wait.
// expect: select needs something to wait for
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  select(5s, [](Note) {});
#else
  select(5s);
#endif
}
