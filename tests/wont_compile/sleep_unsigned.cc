// The very type ::sleep takes.
// expect: ::sleep\(5\) would stop the worker: say 5s
#include "tests/wont_compile/case.h"

void misuse(unsigned seconds) {
#ifdef CONTROL
  sleep(std::chrono::seconds(seconds));
#else
  sleep(seconds);
#endif
}
