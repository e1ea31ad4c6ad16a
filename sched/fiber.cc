#include "sched/fiber.h"

#if defined(__SANITIZE_THREAD__)

#include "base/compiler.h"

#include <utility>
#include <vector>

namespace erlking::sched {

namespace {

constexpr std::size_t kKept = 64;  // by a thread
constexpr unsigned kUses = 64;

struct Kept {
  ~Kept() {
    for (const FiberHandles& fiber : fibers) __tsan_destroy_fiber(fiber.tsan);
  }
  std::vector<FiberHandles> fibers;
};

// Of the thread that runs: a task that was on another one finds that one's list nowhere.
EK_NOIPA std::vector<FiberHandles>& kept() {
  thread_local Kept of_thread;
  return of_thread.fibers;
}

}  // namespace

EK_NOIPA void tsan_take_fiber(FiberHandles& handles) {
  std::vector<FiberHandles>& fibers = kept();
  if (fibers.empty()) {
    handles = {__tsan_create_fiber(0), 0};
  } else {
    handles = fibers.back();
    fibers.pop_back();
  }
  ++handles.tsan_uses;
}

EK_NOIPA void tsan_give_fiber(FiberHandles& handles) noexcept {
  const FiberHandles fiber = std::exchange(handles, {});
  if (fiber.tsan == nullptr) return;
  std::vector<FiberHandles>& fibers = kept();
  if (fiber.tsan_uses >= kUses || fibers.size() >= kKept) return __tsan_destroy_fiber(fiber.tsan);
  try {
    fibers.push_back(fiber);
  } catch (const std::bad_alloc&) {
    __tsan_destroy_fiber(fiber.tsan);
  }
}

void tsan_wear_out(FiberHandles& handles) noexcept { handles.tsan_uses = kUses; }

}  // namespace erlking::sched

#endif
