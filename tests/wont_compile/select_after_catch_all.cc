// The catch-all has taken every message before; a source may follow it.
// expect: a clause after the catch-all \[\]\(Message\) can never run
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  select(
      5s, [](Note) {}, [](Message) {}, on_room(self(), [] {}), [](Timeout) {});
#else
  select(
      5s, [](Message) {}, on_room(self(), [] {}), [](Note) {});
#endif
}
