// The caller is asleep while its reply is moved.
// expect: a Reply must be movable without throwing
#include "tests/wont_compile/case.h"

#ifdef CONTROL
constexpr bool kThrows = false;
#else
constexpr bool kThrows = true;
#endif
struct Fragile {
  Fragile() = default;
  Fragile(Fragile&&) noexcept(!kThrows);
  Fragile& operator=(Fragile&&) noexcept(!kThrows);
};
struct Ask {
  using Reply = Fragile;
};

void misuse(From<Ask> from) { from.reply(Fragile{}); }
