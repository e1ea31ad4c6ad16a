#include "sched/timer_wheel.h"

#include <algorithm>

namespace erlking::sched {

TimerWheel::TimerWheel(Nanos now) noexcept : now_(now), current_(static_cast<Tick>(now) >> kTickBits) {
  EK_CHECK(now >= 0);
  for (TimerLink& head : heads_) head.prev_ = head.next_ = &head;
}

// Empties a list, its nodes first to last, each of them to be put elsewhere. Their old neighbours are not told.
template <class F>
void TimerWheel::take_all(unsigned list, F&& put) noexcept {
  TimerLink& head = heads_[list];
  TimerLink* at = head.next_;
  head.prev_ = head.next_ = &head;
  while (at != &head) {
    TimerNode& node = static_cast<TimerNode&>(*at);
    at = at->next_;
    __builtin_prefetch(at->next_);
    put(node);
  }
}

void TimerWheel::anchor() noexcept {
  // A reached instant goes to the slot of current_: due at once, whatever its tick.
  take_all(kPast, [this](TimerNode& node) { place(node, current_); });
  take_all(kFresh, [this](TimerNode& node) {
    node.fresh_ = false;
    const Nanos instant = base::after(now_, ~instant_of(node));
    node.when.store(instant, base::release);  // [timer-when]
    place(node, instant <= now_ ? current_ : tick_of(instant));
  });
}

unsigned TimerWheel::reach(Tick target) noexcept {
  for (;;) {
    const Start start = first_start();
    if (start.tick > target) {
      current_ = target;
      return kLists;
    }
    current_ = start.tick;
    if (start.level == 0) return start.list;
    // A kept node's instant is behind: it is due now.
    take_all(start.list, [this](TimerNode& node) { place(node, std::max(tick_of(instant_of(node)), current_)); });
  }
}

void TimerWheel::keep(TimerNode& node) noexcept {
  EK_DCHECK(!node.is_armed());
  push(node, kLater);
}

void TimerWheel::place_kept(Tick target) noexcept {
  // current_ is the target, so the list this tick is in starts with it (T2): it can not be reached before.
  take_all(kLater, [this, target](TimerNode& node) { place(node, target + 1); });
}

Nanos TimerWheel::next() const noexcept {
  if (!list_empty(kFresh) || !list_empty(kPast)) return now_;
  const Tick tick = first_start().tick;
  return tick > static_cast<Tick>(kForever >> kTickBits) ? kForever : static_cast<Nanos>(tick << kTickBits);
}

std::size_t TimerWheel::size() const noexcept {
  std::size_t count = 0;
  for (const TimerLink& head : heads_) {
    for (const TimerLink* at = head.next_; at != &head; at = at->next_) ++count;
  }
  return count;
}

void TimerWheel::clear() noexcept {
  for (unsigned list = 0; list < kLists; ++list) {
    while (!list_empty(list)) unlink(first(list));
  }
}

void TimerWheel::validate() const noexcept {
  for (unsigned list = 0; list < kLists; ++list) {
    const unsigned level = list / kSlots;
    if (level < kLevels && !list_empty(list)) {
      EK_CHECK((occupancy_[level] >> (list % kSlots)) & 1);
      EK_CHECK((levels_ >> level) & 1);
    }
    for (const TimerLink* at = heads_[list].next_; at != &heads_[list]; at = at->next_) {
      const TimerNode& node = static_cast<const TimerNode&>(*at);
      EK_CHECK(at->next_->prev_ == at);
      if (level >= kLevels) continue;
      const unsigned shift = level * kGroupBits;
      const Tick above = (current_ >> shift >> kGroupBits) << kGroupBits;
      const Tick start = (above | (list % kSlots)) << shift;
      EK_CHECK(level == 0 ? start >= current_ : start > current_);
      EK_CHECK(tick_of(instant_of(node)) <
               start + (Tick{1} << shift));  // not in a slot behind its own; a kept one is ahead
    }
  }
}

}  // namespace erlking::sched
