// A reason says something.
// expect: a reason is a name, not a number: exit\(pid, Reason\("overloaded"\)\)
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  exit(to, Reason("overloaded"));
#else
  exit(to, 3);
#endif
}
