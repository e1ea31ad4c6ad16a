// One and a half what?
// expect: a bound has a unit: 5s, 50ms
#include "tests/wont_compile/case.h"

auto misuse(Pid pid) {
#ifdef CONTROL
  return process_info(pid, 1500ms);
#else
  return process_info(pid, 1.5);
#endif
}
