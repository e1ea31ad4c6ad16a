#include "runtime/select.h"

#include "runtime/system.h"

namespace erlking::detail {

bool RoomWatch::arm(Process& process) {
  slot_ = &process.system->process(target_);
  const bool linked = [&] {
    base::SpinLockGuard lock(slot_->waiters_lock);
    return waiter_.linked;
  }();
  SignalPtr nudge = linked ? nullptr : new_signal(SignalKind::nudge, target_);
  base::SpinLockGuard lock(slot_->waiters_lock);
  if (nudge != nullptr) {
    waiter_.process = &process;
    waiter_.nudge = nudge.release();
    link_waiter(*slot_, waiter_);
  }
  if (slot_->mailbox.probe(target_.id) == Push::full) return false;  // B2: after the joining
  unlink_waiter(*slot_, waiter_);
  return true;
}

void RoomWatch::disarm() noexcept {
  if (slot_ == nullptr) return;
  Process& target = *std::exchange(slot_, nullptr);
  SignalPtr unused;  // freed after the lock is left
  base::SpinLockGuard lock(target.waiters_lock);
  unlink_waiter(target, waiter_);
  unused.reset(std::exchange(waiter_.nudge, nullptr));
}

}  // namespace erlking::detail
