// std::move of a const object moves nothing.
// expect: a message is movable, not const
#include "tests/wont_compile/case.h"

void misuse(Pid to) {
#ifdef CONTROL
  Note note;
  send(to, std::move(note));
#else
  const Note note;
  send(to, std::move(note));
#endif
}
