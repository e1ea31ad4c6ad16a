// The right to answer belongs to another request.
// expect: From<Request> from\): the types differ
#include "tests/wont_compile/case.h"

void misuse() {
#ifdef CONTROL
  receive(5s, [](Get&, From<Get>) {});
#else
  receive(5s, [](Note&, From<Get>) {});
#endif
}
