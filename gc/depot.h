// Where magazines of free blocks change threads: a stack per size class, last in, first out, so that what comes back is
// as warm as may be. Intrusive: a magazine waiting here is kept in its own first block. Bounded by the memory there is:
// nothing new is carved for a class while a magazine of it waits.
// Thread-safe: one spin lock per class, taken once per magazine and held for a few instructions.
#pragma once

#include "base/atomic.h"
#include "base/mutex.h"
#include "gc/block.h"
#include "gc/size_class.h"

namespace erlking::gc {

class Depot {
 public:
  Depot() noexcept = default;
  Depot(const Depot&) = delete;
  Depot& operator=(const Depot&) = delete;

  /// Keeps a magazine (not empty) of class `cls`. Any thread.
  void put(unsigned cls, Magazine magazine) noexcept;
  /// The magazine put last, or an empty one. Any thread.
  Magazine take(unsigned cls) noexcept;

 private:
  struct Waiting;  // a magazine, seen as its first block
  struct alignas(base::kCacheLine) Stack {
    base::SpinLock lock;
    Waiting* top EK_GUARDED_BY(lock) = nullptr;
  };
  Stack stacks_[kClasses];
};

}  // namespace erlking::gc
