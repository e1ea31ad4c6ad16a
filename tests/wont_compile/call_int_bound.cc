// Five what?
// expect: a bound has a unit: 5s, 50ms
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  call(to, Get{"key"}, 5s);
#else
  call(to, Get{"key"}, 5);
#endif
}
