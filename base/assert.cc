#include "base/assert.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace erlking::base {

namespace {
std::atomic<CrashHook> crash_hook{nullptr};
}

void set_crash_hook(CrashHook hook) noexcept { crash_hook.store(hook, std::memory_order_release); }

void check_failed(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "erlking: internal error: %s:%d: check failed: %s\n", file, line, what);
  if (CrashHook hook = crash_hook.exchange(nullptr, std::memory_order_acq_rel)) hook();
  std::fflush(stderr);
  std::abort();
}

}  // namespace erlking::base
