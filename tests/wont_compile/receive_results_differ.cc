// What would it return?
// expect: the clauses of a receive return values of a common type
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(
      5s, [](Note) { return 1; }, [](Timeout) { return 0; });
#else
  receive(
      5s, [](Note) { return 1; }, [](Timeout) {});
#endif
}
