// Inbox: where other threads put what a worker is to run, and how its sleep ends: many producers, one owner.
//   operation     who          what it says
//   push          any thread   true: the owner slept and this caller owes it the wake (a futex, an eventfd)
//   rouse         any thread   the same without an element
//   take          owner, thief everything, oldest first; null: nothing (an exchange: two takers share nothing)
//   may_sleep     owner        true: nothing came since it was announced; sleep while is_asleep()
//   awake         owner        the sleep is over
//   I1  push: CAS on the head (seq_cst), then a load of asleep (seq_cst). The owner: asleep = 1 (seq_cst), then a load
//       of the head (seq_cst). One of them sees the other: nobody sleeps on an element [inbox-sleep].
//   I2  Whoever exchanges asleep from 1 to 0 owes the wake: one wake per sleep; an owner that wakes by itself may find
//       one under way, which its next sleep then ends at once: harmless.
//   I3  The head's CAS releases the element, take()'s exchange acquires it [inbox-head].
// Cost of a push: one CAS, one load; one exchange more if the owner sleeps.
#pragma once

#include "base/atomic.h"

#include <cstdint>

namespace erlking::sched {

/// `T` needs a member `T* link`.
template <class Sync, class T>
class Inbox {
 public:
  bool push(T& element) noexcept {
    T* head = head_.load(base::relaxed);  // relaxed: the CAS proves it
    do {
      element.link = head;
    } while (!head_.compare_exchange_weak(head, &element, base::seq_cst, base::relaxed));  // [inbox-head] [inbox-sleep]
    return rouse();
  }

  bool rouse() noexcept {
    if (asleep_.load(base::seq_cst) == 0) return false;  // [inbox-sleep] I1
    return asleep_.exchange(0, base::acq_rel) != 0;      // I2
  }

  T* take() noexcept {
    if (head_.load(base::relaxed) == nullptr) return nullptr;  // relaxed: a look; the exchange takes
    T* newest = head_.exchange(nullptr, base::acquire);        // [inbox-head]
    T* oldest = nullptr;
    while (newest != nullptr) {
      T* const following = newest->link;
      newest->link = oldest;
      oldest = newest;
      newest = following;
    }
    return oldest;
  }

  bool may_sleep() noexcept {
    asleep_.store(1, base::seq_cst);  // [inbox-sleep] I1
    return head_.load(base::seq_cst) == nullptr;
  }
  void awake() noexcept { asleep_.store(0, base::seq_cst); }

  bool is_asleep() const noexcept { return asleep_.load(base::seq_cst) != 0; }
  bool empty() const noexcept { return head_.load(base::seq_cst) == nullptr; }
  /// What the owner sleeps on (a futex word).
  auto& sleep_word() noexcept { return asleep_; }

 private:
  typename Sync::template atomic<T*> head_{nullptr};
  typename Sync::template atomic<std::uint32_t> asleep_{0};
};

}  // namespace erlking::sched
