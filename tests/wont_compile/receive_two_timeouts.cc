// The second can never run.
// expect: there are two Timeout clauses
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(
      5s, [](Note) {}, [](Timeout) {});
#else
  receive(
      5s, [](Timeout) {}, [](Timeout) {});
#endif
}
