// A message that names no reply is sent, not called.
// expect: T::Reply.*invalid|no type named 'Reply'
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  call(to, Get{"key"}, 5s);
#else
  call(to, Note{}, 5s);
#endif
}
