#include "base/clock.h"

#include <time.h>

namespace erlking::base {

Nanos monotonic_now() noexcept {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);  // cannot fail with this clock and a valid pointer
  return Nanos{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace erlking::base
