// The guard looks at another type than its clause takes.
// expect: the predicate must take the clause's message as const&
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, when([](const Note&) { return true; }, [](Note) {}));
#else
  receive(5s, when([](const Get&) { return true; }, [](Note) {}));
#endif
}
