// ::sleep(5) would stop the worker.
// expect: ::sleep\(5\) would stop the worker: say 5s
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  sleep(5s);
#else
  sleep(5);
#endif
}
