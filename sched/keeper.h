// Keeper: the office of the one sleeping worker that looks, now and then, whether those awake need help.
//   operation       who                     what it says
//   take            a worker                true: it is the keeper
//   resign          the keeper              the office is vacant; it looks whether others are active after that
//   must_appoint    who has turned active   true: vacant (and if it was its own, it is no more): wake a sleeper
//   may_lie_down    who announced a sleep   false: vacant, and others are active: do not sleep, look again
//   K1  Who turns active is asleep no more (seq_cst, inbox.h), then looks at the office (seq_cst). The keeper vacates
//       the office (seq_cst), then looks whether others are active (seq_cst). One of them sees the other
//       [keeper-office].
//   K2  Who finds the office vacant as it turns active looks for a sleeper after that (seq_cst). Who lies down is
//       asleep (seq_cst), then looks at the office, and if that is vacant whether others are active (both seq_cst). One
//       of them sees the other, so no worker is active beside sleepers of which none is the keeper or being woken
//       [keeper-sleep]. Without the second look: who resigned and saw all asleep lay down for good beside one that had
//       woken in between, found nobody asleep to appoint, and did not switch.
// Cost: nothing on the hot path; of a sleep one load, of a turn to activity one load.
#pragma once

#include "base/atomic.h"

namespace erlking::sched {

template <class Sync>
class Keeper {
 public:
  static constexpr int kNone = -1;

  /// Looks that may be outdated.
  bool is(int worker) const noexcept { return holder_.load(base::relaxed) == worker; }
  bool vacant() const noexcept { return is(kNone); }

  bool take(int worker) noexcept {
    int none = kNone;
    return holder_.compare_exchange_strong(none, worker, base::seq_cst, base::relaxed);
  }
  void resign() noexcept { holder_.store(kNone, base::seq_cst); }  // [keeper-office] K1

  bool must_appoint(int worker) noexcept {
    const bool was = is(worker) && holder_.compare_exchange_strong(worker, kNone, base::seq_cst, base::relaxed);
    return was || holder_.load(base::seq_cst) == kNone;  // [keeper-office] [keeper-sleep] K1, K2
  }

  template <class OthersActive>
  bool may_lie_down(OthersActive others_active) const noexcept {
    return holder_.load(base::seq_cst) != kNone || !others_active();  // [keeper-sleep] K2
  }

 private:
  typename Sync::template atomic<int> holder_{kNone};
};

}  // namespace erlking::sched
