// A handler takes its message's own type, none that it can be made into.
// expect: a message in Handles has no matching public on\(\)
#include "tests/wont_compile/case.h"

struct Number {
  Number(const Note& note) : n(note.n) {}
  int n;
};

class Store : public Server {
 public:
  using Handles = Messages<Note>;
#ifdef CONTROL
  void on(const Note&) {}
#else
  void on(const Number&) {}
#endif
};

void misuse() { static_cast<void>(start<Store>(1s, {})); }
