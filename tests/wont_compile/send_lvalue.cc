// A copy nobody asked for: send takes over what it is given.
// expect: send takes the object over
#include "tests/wont_compile/case.h"

void misuse(Pid to, Note note) {
#ifdef CONTROL
  send(to, std::move(note));
#else
  send(to, note);
#endif
}
