// Fifty what?
// expect: a bound has a unit: 5s, 50ms
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  send(to, Note{}, 50ms);
#else
  send(to, Note{}, 50);
#endif
}
