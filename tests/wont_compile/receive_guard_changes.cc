// A guard looks at messages that are then left where they are.
// expect: the predicate must take the clause's message as const&
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, when([](const Note& note) { return note.n > 1; }, [](Note) {}));
#else
  receive(5s, when([](Note& note) { return ++note.n > 1; }, [](Note) {}));
#endif
}
