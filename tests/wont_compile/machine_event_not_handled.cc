// What it lets happen later is nothing it takes.
// expect: an event must be named in Handles
#include "tests/wont_compile/case.h"

class Machine : public StateMachine<Machine, int> {
 public:
#ifdef CONTROL
  using Handles = Messages<Note, Get>;
#else
  using Handles = Messages<Get>;
#endif
  Machine() : StateMachine(0) {}
  void on(Note) {}
  std::string on(Get&) {
    state_timeout(5s, Note{});
    return {};
  }
};

void misuse() { (void)start_link<Machine>(5s, {}); }
