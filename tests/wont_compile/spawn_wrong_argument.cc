// A process cannot begin with what its function does not take.
// expect: Spawnable<
#include "tests/wont_compile/case.h"

void serve(int shard);

void misuse() {
#ifdef CONTROL
  spawn(serve, 7);
#else
  spawn(serve, std::string("7"));
#endif
}
