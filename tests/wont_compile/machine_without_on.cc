// A state machine says it takes what it has no function for.
// expect: a message in Handles has no matching public on\(\)
#include "tests/wont_compile/case.h"

class Machine : public StateMachine<Machine, int> {
 public:
  using Handles = Messages<Note, Get>;
  Machine() : StateMachine(0) {}
  void on(Note) {}
#ifdef CONTROL
  std::string on(Get&) { return {}; }
#endif
};

void misuse() { (void)start_link<Machine>(5s, {}); }
