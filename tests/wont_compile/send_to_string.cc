// A string is not yet a name.
// expect: a name is written Name\{"store"\}
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  send(Name{"store"}, Note{});
#else
  send("store", Note{});
#endif
}
