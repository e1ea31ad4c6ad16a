// A race planted on purpose: two processes on two workers count in one plain int. planted_test.py expects
// ThreadSanitizer to report it; a suite that stays silent here would be silent about ours, too.
#include <erlking/erlking.h>

#include <atomic>
#include <chrono>

int main() {
  using namespace erlking;
  using namespace std::chrono_literals;
  static int planted_counter = 0;
  static std::atomic<int> ready{0};
  Options options;
  options.workers = 2;
  return Runtime(options).run([] {
    const auto count = [] {
      // They meet without ordering each other: relaxed.
      ready.fetch_add(1, std::memory_order_relaxed);
      while (ready.load(std::memory_order_relaxed) < 2) {
      }
      for (int i = 0; i < 10'000; ++i) {
        planted_counter = planted_counter + 1;
        if (i % 100 == 0) yield();
      }
    };
    for (int worker = 0; worker < 2; ++worker) spawn_monitor({.worker = worker}, count);
    for (int ended = 0; ended < 2; ++ended) receive(60s, [](Down) {});
  });
}
