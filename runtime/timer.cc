#include "runtime/timer.h"

#include "base/log.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <cstring>
#include <sched.h>

namespace erlking {

using base::Nanos;
using base::relaxed;

namespace detail {

namespace {

constexpr unsigned kWorkerShift = 52, kIndexShift = TimerWord<base::Real>::kGenerationBits;
static_assert(kIndexShift + TimerTable::kIndexBits == kWorkerShift);

TimerRef ref_of(const Core& core, const UserTimer& timer) noexcept {
  return {std::uint64_t{core.index()} << kWorkerShift | std::uint64_t{timer.index()} << kIndexShift |
          timer.word.generation()};
}
std::uint32_t generation_of(TimerRef ref) noexcept {
  return static_cast<std::uint32_t>(ref.id) & (TimerWord<base::Real>::kGenerations - 1);
}

// --- what hangs on a timer: its item; on that, in `next`, the name it is for ---

struct NameBlock {
  std::size_t length;
  char* text() noexcept { return reinterpret_cast<char*>(this + 1); }
  std::string_view view() noexcept { return {text(), length}; }
  static std::size_t bytes(std::size_t length) noexcept { return sizeof(NameBlock) + length; }
};

NameBlock* new_name(const Name& name) noexcept {
  const std::string_view text = name.node.empty() ? name.name : std::string_view();  // no other nodes yet: nobody's
  void* const block = heap().allocate_plain(NameBlock::bytes(text.size()));
  if (block == nullptr) return nullptr;
  auto* const made = new (block) NameBlock{text.size()};
  if (!text.empty()) std::memcpy(made->text(), text.data(), text.size());
  return made;
}

NameBlock* name_on(Item* item) noexcept { return reinterpret_cast<NameBlock*>(item->next); }

Item* item_on(const UserTimer& timer) noexcept { return reinterpret_cast<Item*>(timer.number); }

void free_name(NameBlock* name) noexcept { heap().free_plain(name, NameBlock::bytes(name->length)); }

void drop(Item* item, bool named) noexcept {
  if (named) free_name(name_on(item));
  drop_item(item);
}

// --- places: TM5 ---

bool is_self(const Process* self, Pid pid) noexcept { return self != nullptr && self->pid() == pid; }

// False: it has no place left.
bool take_place(Process& self, Process& target, Pid pid) noexcept {
  if (&target == &self) {
    const std::int32_t own = self.timer_room();
    if (own + self.timer_room_shared.load(relaxed) <= 0) return false;  // relaxed: a count, as all of them
    self.set_timer_room(own - 1);
    return true;
  }
  const std::int32_t shared = target.timer_room_shared.fetch_sub(1, relaxed);
  if (target.timer_room() + shared > 0 && target.mailbox.id() == pid.id) [[likely]]
    return true;
  target.timer_room_shared.fetch_add(1, relaxed);
  return target.mailbox.id() != pid.id;  // it has just ended: the place is nobody's
}

void give_place(System& system, Process* self, Pid pid) noexcept {
  if (is_self(self, pid)) return self->set_timer_room(self->timer_room() + 1);
  Process& process = system.process(pid);
  if (process.mailbox.id() == pid.id) process.timer_room_shared.fetch_add(1, relaxed);
}

// --- the table: TM4 ---

// Takes back the timers of processes that have ended; their items go to `dead`, to be dropped when the table is whole.
std::uint32_t sweep(Core& core, Item*& dead) noexcept {
  System& system = core.system();
  std::uint32_t swept = 0;
  for (std::uint32_t i = 0; i < core.timers.used(); ++i) {
    UserTimer& timer = *core.timers.find(i);
    if (!timer.word.is_armed() || timer.word.is_named()) continue;
    const Pid pid{timer.target};
    if (system.process(pid).mailbox.is_open(pid.id) || !timer.word.end()) continue;
    core.wheel().cancel(timer);
    item_on(timer)->next = dead;
    dead = item_on(timer);
    core.timers.give(timer);
    ++swept;
  }
  return swept;
}

UserTimer* take_slow(Core& core, Item*& dead) noexcept {
  if (sweep(core, dead) * 2 <= core.timers.used()) core.timers.grow();  // false: perhaps the sweep has found some
  return core.timers.take();
}

void drop_all(Item* item) noexcept {
  while (item != nullptr) {
    Item* const following = item->next;
    drop_item(item);
    item = following;
  }
}

// --- delivery: TM6 ---

// On the worker, outside any process; it has its stamp. False: nobody there; the item is dropped.
bool deliver(Core& core, Item* item, Pid to) noexcept {
  Process& target = core.system().process(to);
  item->set_flags(Item::kTimed);
  switch (target.mailbox.push_signal(item, to.id)) {
    case Push::closed:
      drop_item(item);
      return false;
    case Push::woke:
      target.note_ready();
      core.enqueue(target);
      return true;
    default:
      return true;
  }
}

// To whoever has the name now, who is charged for it.
void deliver_by_name(Core& core, Item* item, std::string_view name) noexcept {
  const Pid to = core.system().registry.find(name);
  if (!to) return drop_item(item);
  core.system().process(to).timer_room_shared.fetch_sub(1, relaxed);  // before it can be received
  item->stamp = to.id;
  deliver(core, item, to);
}

// One beat of an interval. False: it ends.
bool beat(Core& core, Item* source, Pid target, NameBlock* name) noexcept {
  System& system = core.system();
  const Pid to = name != nullptr ? system.registry.find(name->view()) : target;
  Process& process = system.process(to);
  if (!process.mailbox.is_open(to.id)) return name != nullptr;
  if (process.timer_room_shared.fetch_sub(1, relaxed) + process.timer_room() <= 0) {
    process.timer_room_shared.fetch_add(1, relaxed);
    return true;
  }
  Beat& head = *static_cast<Beat*>(source->untyped_body());
  try {
    deliver(core, head.make(head, name != nullptr ? to.id : source->stamp), to);
    return true;
  } catch (const std::bad_alloc&) {
    process.timer_room_shared.fetch_add(1, relaxed);
    return true;
  } catch (...) {
    process.timer_room_shared.fetch_add(1, relaxed);
    base::log(base::Level::error, "timer", "an interval ends: what makes its messages has thrown");
    return false;
  }
}

Nanos next_beat(Nanos due, Nanos now, Nanos period) noexcept {
  if (now > due) due += (now - due) / period * period;  // these are left out
  return base::after(due, period);
}

// An interval is due. False: cancelled, the node comes back.
void fire_interval(Core& core, UserTimer& timer) noexcept {
  if (!timer.word.begin_beat()) return;  // TM3
  Item* const source = item_on(timer);
  const bool named = timer.word.is_named();
  const Pid charged{timer.target};
  if (beat(core, source, charged, named ? name_on(source) : nullptr)) {
    const Nanos period = static_cast<Beat*>(source->untyped_body())->period;
    core.wheel().arm_at(timer, next_beat(timer.when.load(relaxed), core.system().now(), period));
    return timer.word.end_beat();
  }
  timer.word.end();
  core.timers.give(timer);
  give_place(core.system(), nullptr, charged);
  drop(source, named);
}

}  // namespace

// --- the verbs -------------------------------------------------------------------------------------------------------

std::expected<TimerRef, TimerError> arm_timer(Process& self, const To& to, Item* item, const Bound& when, TimerRef* ref,
                                              bool interval) noexcept {
  System& system = *self.system;
  Core& core = core_of(self);
  const bool named = to.is_name();
  const auto [charged, stamp] = named ? Target{self.pid()} : to.target(system);
  Process& process = charged == self.pid() ? self : system.process(charged);
  const bool open = &process == &self || process.mailbox.is_open(charged.id);
  if (open && !take_place(self, process, charged)) return std::unexpected(TimerError::system_limit);
  Item* dead = nullptr;
  UserTimer* timer = core.timers.take();
  if (timer == nullptr) [[unlikely]]
    timer = take_slow(core, dead);
  item->next = nullptr;
  if (timer != nullptr && named) {
    item->next = reinterpret_cast<Item*>(new_name(to.name()));
    if (item->next == nullptr) core.timers.give(*std::exchange(timer, nullptr));
  }
  if (timer == nullptr) [[unlikely]] {
    give_place(system, &self, charged);
    drop_all(dead);
    return std::unexpected(TimerError::no_memory);
  }
  const TimerRef made = ref_of(core, *timer);
  if (!open) [[unlikely]] {  // SEMANTICS 7.4
    timer->word.put_away();
    core.timers.give(*timer);
    item->next = dead;
    dead = item;
  } else {
    if (ref != nullptr) *ref = made;
    std::atomic_ref(timer->target).store(charged.id, base::release);  // [timer-target]
    timer->number = reinterpret_cast<std::uintptr_t>(item);
    item->stamp = stamp;
    if (when.is_absolute()) [[unlikely]] {
      core.wheel().arm_at(*timer, when.ns());
    } else {
      core.wheel().arm_after(*timer, when.ns());
    }
    timer->word.arm(named, interval);
  }
  if (dead != nullptr) [[unlikely]]
    drop_all(dead);
  return made;
}

namespace {

// Where a reference leads; null: nowhere.
struct Found {
  Core* core = nullptr;
  UserTimer* timer = nullptr;
};
// `own`: the caller's core, or null; mostly it leads there.
Found find(System& system, Core* own, TimerRef ref) noexcept {
  const auto worker = static_cast<unsigned>(ref.id >> kWorkerShift);
  Core* core = own;
  if (own == nullptr || own->index() != worker) [[unlikely]] {
    if (worker >= system.scheduler->size()) return {};
    core = &static_cast<Core&>(system.scheduler->worker(worker));
  }
  return {core,
          core->timers.find(static_cast<std::uint32_t>(ref.id >> kIndexShift) & ((1u << TimerTable::kIndexBits) - 1))};
}

}  // namespace

Nanos cancel_timer(System& system, Process* self, TimerRef ref) noexcept {
  Core* const here = self != nullptr ? &core_of(*self) : nullptr;
  const auto [core, timer] = find(system, here, ref);
  if (timer == nullptr) return kNoTimer;
  const std::uint32_t generation = generation_of(ref);
  const auto now = [&system] { return system.now(); };
  Nanos left = 0;
  bool named = false;
  Item* item = nullptr;
  Pid charged;
  for (unsigned turns = 0;; ++turns) {
    const auto look = timer->word.look(generation);
    if (!look.armed) return kNoTimer;
    left = timer->left(now);
    named = look.named;
    if (core == here) {
      if (!timer->word.cancel_own(generation)) return kNoTimer;
      item = item_on(*timer);
      charged = Pid{timer->target};
      core->wheel().cancel(*timer);
      core->timers.give(*timer);
      break;
    }
    using Cancel = TimerWord<base::Real>::Cancel;
    const Cancel cancelled = timer->word.cancel(generation);
    if (cancelled == Cancel::gone) return kNoTimer;
    if (cancelled == Cancel::won) {
      item = item_on(*timer);
      charged = Pid{timer->target};
      core->return_timer(*timer);  // TM7
      break;
    }
    if (turns < 100) {
      base::Real::pause();
    } else {
      ::sched_yield();
    }
  }
  const bool meant = named || is_self(self, charged) || system.process(charged).mailbox.is_open(charged.id);
  give_place(system, self, charged);
  drop(item, named);
  return meant ? left : kNoTimer;  // SEMANTICS 7.4
}

Nanos read_timer(System& system, TimerRef ref) noexcept {
  const UserTimer* const timer = find(system, nullptr, ref).timer;
  if (timer == nullptr) return kNoTimer;
  const std::uint32_t generation = generation_of(ref);
  const auto look = timer->word.look(generation);
  if (!look.armed) return kNoTimer;
  const Nanos left = timer->left([&system] { return system.now(); });
  const Pid charged{std::atomic_ref(timer->target).load(base::acquire)};  // [timer-target]
  if (!timer->word.look(generation).armed) return kNoTimer;               // what was read may be a later timer's
  if (!look.named && !system.process(charged).mailbox.is_open(charged.id)) return kNoTimer;
  return left;
}

// --- the worker ------------------------------------------------------------------------------------------------------

void fire_timer(Core& core, UserTimer& timer) noexcept {
  if (timer.word.is_interval()) return fire_interval(core, timer);
  const bool named = timer.word.is_named();
  if (!timer.word.end()) return;  // TM2
  Item* const item = item_on(timer);
  const Pid charged{timer.target};
  core.flight().record(flight_word(charged, FlightWord::timer));
  core.timers.give(timer);
  if (!named) {
    deliver(core, item, charged);
    return;
  }
  NameBlock* const name = name_on(item);
  give_place(core.system(), nullptr, charged);
  deliver_by_name(core, item, name->view());
  free_name(name);
}

void put_away_timer(Core& core, UserTimer& timer) noexcept {
  timer.word.put_away();
  core.timers.give(timer);
}

void drop_timers(Core& core) noexcept {
  for (std::uint32_t i = 0; i < core.timers.used(); ++i) {
    UserTimer& timer = *core.timers.find(i);
    if (!timer.word.is_armed()) continue;
    const bool named = timer.word.is_named();
    if (!timer.word.end()) continue;
    core.wheel().cancel(timer);
    core.timers.give(timer);
    drop(item_on(timer), named);
  }
}

Turns::Turns(Duration period, Pace pace)
    : self_(require_process("repeat_every")),
      period_(std::max<Nanos>(period.count(), 1)),
      pace_(pace),
      at_(self_.system->now()) {}

void Turns::next() {
  if (pace_ == Pace::fixed_pause) return sleep(Duration(period_));
  const Nanos behind = self_.system->now() - at_;
  if (behind > period_) {
    const Nanos out = (behind - 1) / period_;  // a turn due just now is not out
    missed_ += static_cast<std::uint64_t>(out);
    at_ += out * period_;
  }
  at_ = base::after(at_, period_);
  sleep(base::to_time_point(at_));
}

}  // namespace detail

std::string_view to_string(TimerError error) noexcept {
  return error == TimerError::system_limit ? "system_limit" : "no_memory";
}

}  // namespace erlking
