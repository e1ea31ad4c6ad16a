// A literal is an array, and would be a pointer at the other end.
// expect: its target is not sent along: send a std::string
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  send(to, std::string("text"));
#else
  send(to, "text");
#endif
}
