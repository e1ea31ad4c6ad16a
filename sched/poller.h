// Poller: what a worker waits at beside its inbox and its wheel: the driver of input and output (io). One per worker,
// set once by its thread; a worker without one sleeps on a futex. What its owner does with it:
//   at ticks, and before it looks for work elsewhere    poll(), while it is_active()
//   to sleep, while it is_active()                      sleep(), which wake() ends
// Between the announcement of a sleep and the sleep the owner looks at asked(), as at its inbox (inbox.h I1).
#pragma once

#include "base/clock.h"

#include <cstdint>

namespace erlking::sched {

class Poller {
 public:
  virtual ~Poller() = default;

  // --- owner thread only ---

  /// Whether anything waits in it, or for it: a request may come for what has just ended.
  bool is_active() const noexcept { return pending_ != 0 || asked(); }
  /// Begins what has gathered, and makes ready whose waits have ended. Does not wait.
  virtual void poll() noexcept = 0;
  /// Right after poll(): waits until a wait has ended, wake(), or `timeout` ns have passed (kForever: no bound).
  virtual void sleep(base::Nanos timeout) noexcept = 0;

  // --- any thread ---

  /// Whether another thread wants something done by poll().
  virtual bool asked() const noexcept = 0;
  /// Ends the sleep, or the next one.
  virtual void wake() noexcept = 0;

 protected:
  std::uint64_t pending_ = 0;  // operations begun and not yet ended
};

}  // namespace erlking::sched
