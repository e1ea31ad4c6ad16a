// A message travels by moving.
// expect: a message is movable, not const
#include "tests/wont_compile/case.h"

struct Guarded {
  std::mutex mutex;
};

void misuse(Pid to) {
#ifdef CONTROL
  send(to, std::make_unique<Guarded>());
#else
  send(to, Guarded{});
#endif
}
