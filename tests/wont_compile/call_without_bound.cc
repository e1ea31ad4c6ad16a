// There is no default: how long a caller can wait is the caller's to say.
// expect: (expects|requires) 3 arguments
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  call(to, Get{"key"}, forever);
#else
  call(to, Get{"key"});
#endif
}
