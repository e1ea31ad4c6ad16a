// The catch-all has taken everything before.
// expect: a clause after the catch-all \[\]\(Message\) can never run
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(
      5s, [](Note) {}, [](Message) {}, [](Timeout) {});
#else
  receive(
      5s, [](Message) {}, [](Note) {});
#endif
}
