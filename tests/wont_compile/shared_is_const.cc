// Others read it at the same time.
// expect: in read-only object|returns a const value
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  Note note{1};
  note.n = 2;
  Ref<const Note> shared = share(std::move(note));
#else
  Ref<const Note> shared = share(Note{1});
  shared->n = 2;
#endif
}
