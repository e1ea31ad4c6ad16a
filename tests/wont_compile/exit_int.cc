// ::exit(3) would end the program, not the process.
// expect: ::exit\(3\) would end the node: exit\(Reason\) ends this process
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  exit(Reason("out_of_luck"));
#else
  exit(3);
#endif
}
