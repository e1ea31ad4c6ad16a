// The characters a view shows stay with the sender.
// expect: its target is not sent along: send a std::string
#include "tests/wont_compile/case.h"

void misuse(Pid to, std::string_view text) {
#ifdef CONTROL
  send(to, std::string(text));
#else
  send(to, std::string_view(text));
#endif
}
