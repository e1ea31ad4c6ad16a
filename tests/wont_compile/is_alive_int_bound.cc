// Five what?
// expect: a bound has a unit: 5s, 50ms
#include "tests/wont_compile/case.h"

bool misuse(Pid pid) {
#ifdef CONTROL
  return is_alive(pid, 5s);
#else
  return is_alive(pid, 5);
#endif
}
