// A request is answered by what on() returns, or later, not by either.
// expect: two handlers for one request: on\(M&\) and on\(M&, From<M>\)
#include "tests/wont_compile/case.h"

class Store : public Server {
 public:
  using Handles = Messages<Get>;
  std::string on(Get& get) { return get.key; }
#ifndef CONTROL
  void on(Get& get, From<Get> from) { from.reply(get.key); }
#endif
};

void misuse() { static_cast<void>(start<Store>(1s, {})); }
