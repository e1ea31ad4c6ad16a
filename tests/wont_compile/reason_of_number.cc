// A reason says something.
// expect: a reason is a name, not a number: Reason\("disk_full"\)
#include "tests/wont_compile/case.h"

Reason misuse() {
#ifdef CONTROL
  return Reason("disk_full", "/var");
#else
  return Reason(28);
#endif
}
