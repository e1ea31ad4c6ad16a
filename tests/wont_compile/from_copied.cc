// There is one right to answer.
// expect: deleted.*From<
#include "tests/wont_compile/case.h"

void misuse(From<Get> from) {
#ifdef CONTROL
  From<Get> other = std::move(from);
  other.reply("value");
#else
  From<Get> other = from;
  other.reply("value");
#endif
}
