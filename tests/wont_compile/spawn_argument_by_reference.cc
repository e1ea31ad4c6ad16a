// Processes share nothing: arguments are moved in.
// expect: Spawnable<
#include "tests/wont_compile/case.h"

void misuse(Note note) {
#ifdef CONTROL
  spawn([](const Note&) {}, note);
#else
  spawn([](Note&) {}, note);
#endif
}
