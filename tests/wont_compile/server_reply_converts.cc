// A request's on() returns its Reply, nothing that converts to it.
// expect: a message in Handles has no matching public on\(\)
#include "tests/wont_compile/case.h"

class Store : public Server {
 public:
  using Handles = Messages<Get>;
#ifdef CONTROL
  std::string on(Get& get) { return get.key; }
#else
  const char* on(Get& get) { return get.key.c_str(); }
#endif
};

void misuse() { static_cast<void>(start<Store>(1s, {})); }
