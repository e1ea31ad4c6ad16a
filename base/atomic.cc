#include "base/atomic.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace erlking::base {

namespace detail {

std::atomic<int> fence_cell{0};

namespace {
bool register_membarrier() noexcept {
#if defined(__SANITIZE_THREAD__)
  return false;
#else
  return syscall(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}
}  // namespace

bool asymmetric_fences = register_membarrier();

}  // namespace detail

bool heavy_fence_is_asymmetric() noexcept { return detail::asymmetric_fences; }

void heavy_fence() noexcept {
  if (detail::asymmetric_fences && syscall(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) return;
  Real::fence();
}

}  // namespace erlking::base
