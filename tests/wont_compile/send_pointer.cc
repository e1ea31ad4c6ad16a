// What a pointer points at stays with the sender.
// expect: its target is not sent along
#include "tests/wont_compile/case.h"

void misuse(Pid to, Note note) {
#ifdef CONTROL
  send(to, std::move(note));
#else
  send(to, &note);
#endif
}
