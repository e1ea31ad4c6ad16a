#include "gc/depot.h"

#include "base/assert.h"

#include <new>

namespace erlking::gc {

struct Depot::Waiting {
  Block* next;  // where Block::next is: the chain stays whole
  Waiting* below;
  unsigned count;
};

void Depot::put(unsigned cls, Magazine magazine) noexcept {
  EK_CHECK(magazine.head != nullptr && magazine.count != 0);
  static_assert(sizeof(Waiting) <= kGrain);
  Block* const next = magazine.head->next;
  unpoison(magazine.head, sizeof(Waiting));
  Waiting* const waiting = new (magazine.head) Waiting{next, nullptr, magazine.count};
  Stack& stack = stacks_[cls];
  const base::SpinLockGuard lock(stack.lock);
  waiting->below = stack.top;
  stack.top = waiting;
}

Magazine Depot::take(unsigned cls) noexcept {
  Stack& stack = stacks_[cls];
  Waiting* waiting;
  {
    const base::SpinLockGuard lock(stack.lock);
    waiting = stack.top;
    if (waiting == nullptr) return {};
    stack.top = waiting->below;
  }
  const unsigned count = waiting->count;
  Block* const head = new (waiting) Block{waiting->next};
  poison(head, class_size(cls));
  return {head, count};
}

}  // namespace erlking::gc
