// Only the clause of a call has a second argument.
// expect: a clause is \[\]\(Msg m\), or for a call
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](Get, From<Get>) {});
#else
  receive(5s, [](Note, int) {});
#endif
}
