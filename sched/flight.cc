#include "sched/flight.h"

#include "base/assert.h"

#include <bit>
#include <sys/mman.h>

namespace erlking::sched {

bool Flight::open(std::size_t words) noexcept {
  EK_CHECK(words_ == nullptr);
  if (words == 0) return true;
  words = std::bit_ceil(words);
  // Pages of zeros, which cost nothing until they are written: FlightKind::none.
  void* const memory =
      ::mmap(nullptr, words * sizeof *words_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  static_assert(sizeof *words_ == 8 && std::atomic<std::uint64_t>::is_always_lock_free);
  mask_ = words - 1;
  words_ = static_cast<std::atomic<std::uint64_t>*>(memory);
  return true;
}

Flight::~Flight() {
  if (words_ != nullptr) ::munmap(words_, size() * sizeof *words_);
}

void Flight::mark(FlightKind kind, base::Nanos now) noexcept {
  if (words_ == nullptr) return;
  marked_at_.store(now, base::relaxed);  // relaxed: an estimate
  record(value_word(static_cast<std::uint64_t>(now), kind));
}

}  // namespace erlking::sched
