// Overflows planted on purpose: a process writes one element behind an array, `heap` or `stack` as its argument says.
// planted_test.py expects AddressSanitizer to report it.
#include <erlking/erlking.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace {

[[gnu::noinline]] void planted_write(volatile int* array, std::size_t at) { array[at] = 1; }

void overflow_heap(std::size_t size) {
  auto array = std::make_unique<int[]>(size);
  planted_write(array.get(), size);
}
void overflow_stack(std::size_t size) {
  volatile int array[16] = {};
  planted_write(array, size);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace erlking;
  const std::string_view where = argc > 1 ? argv[1] : "";
  if (where != "heap" && where != "stack") return 2;
  Options options;
  options.workers = 2;
  return Runtime(options).run([heap = where == "heap"] {
    yield();  // on a stack that has been left and entered again
    heap ? overflow_heap(16) : overflow_stack(16);
  });
}
