// What a server says it handles, it handles.
// expect: a message in Handles has no matching public on\(\)
#include "tests/wont_compile/case.h"

class Store : public Server {
 public:
  using Handles = Messages<Get, Note>;
  std::string on(Get& get) { return get.key; }
#ifdef CONTROL
  void on(const Note&) {}
#endif
};

void misuse() { static_cast<void>(start<Store>(1s, {})); }
