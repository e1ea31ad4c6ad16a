// send: moves an object into a message and delivers it; never waits, unless given a bound.
//
//   send(pid, Ping{1});              queued | full | noproc, at once
//   send(pid, std::move(big), 50ms); waits for room, at most so long
//   send(Name{"store"}, Put{…});     resolved now; unregistered: noproc
//   send(alias, Answer{7});          to the process that made the alias; dropped there if it is no longer active
//   send(pid, std::move(message));   a Message received, passed on as it is
//
// A refused object is moved back into the argument. Refusals are counted on the receiver (process_info).
// Cost: one block popped, the object moved in, one CAS on the receiver's line; no allocation of the system's, no lock.
#pragma once

#include "runtime/bound.h"
#include "runtime/message.h"
#include "runtime/pid.h"
#include "runtime/process.h"
#include "runtime/region.h"
#include "runtime/system.h"

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace erlking {

/// What became of a send.
enum class Delivery : std::uint8_t {
  queued,  ///< in the receiver's mailbox
  full,    ///< refused: the mailbox is at its bound (and stayed so for the time given)
  noproc,  ///< no such process, or no such name
};

namespace detail {
/// A process, and the stamp of what is sent to it: its pid, or the ref of an alias (A1).
struct Target {
  Pid pid;
  std::uint64_t stamp = pid.id;
};
/// Who has the name now; nobody, for a name at another node, too: there is none yet.
Pid resolve(const System& system, Name name);
}  // namespace detail

/// Where to send: a Pid, a Name (resolved by each send), or an Alias (looked at when the message is delivered).
class To {
 public:
  /// That process.
  To(Pid pid) noexcept : pid_(pid) {}
  /// Whoever has the name when something is sent.
  To(Name name) noexcept : name_(name), kind_(Kind::name) {}
  To(const char*) = delete;  // a name is written Name{"store"}
  /// The alias's process, if it is active when the message is delivered.
  To(Alias alias) noexcept : pid_(alias.owner), ref_(alias.ref), kind_(Kind::alias) {}
  /// Who is meant, now.
  [[gnu::always_inline]] detail::Target target(const System& system) const {
    if (kind_ == Kind::pid) [[likely]]
      return {pid_};
    return kind_ == Kind::alias ? detail::Target{pid_, ref_} : detail::Target{detail::resolve(system, name_)};
  }
  /// Whether it is a name; and the name, if it is.
  bool is_name() const noexcept { return kind_ == Kind::name; }
  Name name() const noexcept { return name_; }  ///< only of a name

 private:
  enum class Kind : std::uint8_t { pid, name, alias };
  Pid pid_;
  union {
    Name name_;
    std::uint64_t ref_ = 0;
  };
  Kind kind_ = Kind::pid;
};

namespace detail {

template <class T>
inline constexpr std::size_t item_bytes = Item::body_offset<T> + sizeof(T);

/// An Item holding a T made of `args`, stamped as its target says. Throws std::bad_alloc (args untouched) and what that
/// constructor throws.
template <class T, class... Args>
[[gnu::always_inline]] inline Item* make_item_in_verb(std::uint64_t stamp, Args&&... args) {
  constexpr std::size_t bytes = item_bytes<T>;
  constexpr unsigned cls = gc::size_class(bytes);
  void* block;
  {
    const sched::TouchInVerb touch;
    if constexpr (cls == gc::kLarge) {
      block = heap().allocate_large(bytes);
    } else {
      block = heap().allocate(cls);
    }
  }
  if (block == nullptr) [[unlikely]]
    throw std::bad_alloc();
  Item* const item = new (block) Item;
  item->stamp = stamp;
  item->type = &type_info_of<T>;
  item->bytes = bytes;
  item->flags = Item::kInUse | Item::kCounted | (gc_pointer_free<T> ? Item::kPointerFree : 0);
  [[maybe_unused]] bool tells = false;
  if constexpr (!std::is_trivially_destructible_v<T>) {
    tells = gc::holds() != nullptr;
    if (tells) [[unlikely]]
      begin_body(*item);
  }
  if constexpr (std::is_nothrow_constructible_v<T, Args&&...>) {
    new (item->body<T>()) T(std::forward<Args>(args)...);
  } else {
    try {
      new (item->body<T>()) T(std::forward<Args>(args)...);
    } catch (...) {
      if (tells) end_body(*item);
      const sched::Touch touch;
      heap().free_bytes(block, bytes);
      throw;
    }
  }
  if constexpr (!std::is_trivially_destructible_v<T>) {
    if (tells) [[unlikely]]
      end_body(*item);
  }
  return item;
}
/// The same anywhere, not only after a safe point without code of the user's in between (sched/touch.h N2).
template <class T, class... Args>
[[gnu::always_inline]] inline Item* make_item(std::uint64_t stamp, Args&&... args) {
  sched::note_touch();
  return make_item_in_verb<T>(stamp, std::forward<Args>(args)...);
}

/// Moves what was refused back to where it was moved from.
template <class T>
void put_back(T& value, T& refused) {
  if constexpr (std::is_move_assignable_v<T>) {
    value = std::move(refused);
  } else {
    std::destroy_at(&value);
    std::construct_at(&value, std::move(refused));
  }
}

/// Moves a refused item's body back and frees the block, also if that move throws.
template <class T>
void take_back(Item* item, T& value) {
  struct Free {
    Item* item;
    ~Free() {
      std::destroy_at(item->body<T>());
      const sched::Touch touch;
      heap().free_bytes(item, item->bytes);
    }
  } free{item};
  put_back(value, *item->body<T>());
}

inline Delivery delivery_of(Push push, Process& target) noexcept {
  switch (push) {
    case Push::full:
      target.refused.fetch_add(1, base::relaxed);  // relaxed: a statistic
      return Delivery::full;
    case Push::closed:
      return Delivery::noproc;
    default:
      return Delivery::queued;
  }
}

/// push_message() of a process with extras (Process::extras); `flight`: the running worker's, null on other threads.
Push push_with_extras(Process& target, Item* item, Pid to, sched::Flight* flight) noexcept;

/// Delivers from the running process `self`, after a safe point without code of the user's in between.
[[gnu::always_inline]] inline Push push_in_verb(Process& self, Process& target, Item* item, Pid to) noexcept {
  const sched::TouchInVerb touch;
  sched::Worker& worker = *self.worker;
  if (target.home.load(base::relaxed) != worker.index()) worker.count_cross();  // relaxed: the governor's estimate
  Push push;
  if (target.extras.load(base::relaxed) == 0) [[likely]] {  // relaxed: MB2
    push = target.mailbox.push_message(item, to.id);
  } else {
    push = push_with_extras(target, item, to, &worker.flight());
  }
  if (push == Push::woke) {
    __builtin_prefetch(&target.start);  // it runs soon, on lines that may be cold
    __builtin_prefetch(&target.inbox_head);
    if (const void* const sp = target.sp.load(base::relaxed); sched::is_stack(sp)) {
      // A frame that waits, and its caller's. Ring of 1,000: 35.7 ns a hop with one line, 33.6 with four, six: 36.4.
      for (int line = 0; line != 4; ++line) __builtin_prefetch(static_cast<const std::byte*>(sp) + line * 64);
    }
    target.note_ready();
    self.worker->ready(target);  // perhaps another now: what is metered asks the user's code (memory.h)
  }
  return push;
}
/// Delivers from the running process `self`.
[[gnu::always_inline]] inline Push push_from(Process& self, Process& target, Item* item, Pid to) noexcept {
  sched::note_touch();
  return push_in_verb(self, target, item, to);
}
/// The same right after make_item_in_verb<T>().
template <class T>
[[gnu::always_inline]] inline Push push_made(Process& self, Process& target, Item* item, Pid to) noexcept {
  if constexpr (!std::is_trivially_move_constructible_v<T>) sched::note_touch();
  return push_in_verb(self, target, item, to);
}

/// Delivers from any thread.
Push push_from_outside(System& system, Process& target, Item* item, Pid to) noexcept;

}  // namespace detail

/// Delivers without waiting. Takes rvalues only; a refused object is moved back into the argument. Throws
/// std::bad_alloc if there is no memory for the message. A safe point.
template <Sendable T>
Delivery send(const To& address, T&& message) {
  Process& self = require_process("send");
  self.checkpoint();
  const auto [to, stamp] = address.target(*self.system);
  Process& target = self.system->process(to);
  Item* const item = detail::make_item_in_verb<T>(stamp, std::move(message));
  const Push push = detail::push_made<T>(self, target, item, to);
  if (push >= Push::full) [[unlikely]]
    detail::take_back(item, message);
  return detail::delivery_of(push, target);
}

/// Waits for room in the receiver's mailbox, at most `bound`; ends with noproc if it dies meanwhile.
template <Sendable T>
Delivery send(const To& address, T&& message, Bound bound) {
  Process& self = require_process("send");
  self.checkpoint();
  const auto [to, stamp] = address.target(*self.system);
  Process& target = self.system->process(to);
  Item* const item = detail::make_item_in_verb<T>(stamp, std::move(message));
  Push push = detail::push_made<T>(self, target, item, to);
  if (push >= Push::full) [[unlikely]] {
    try {
      if (push == Push::full && !bound.is_poll()) push = detail::push_waiting(*self.system, self, to, item, bound);
    } catch (...) {  // killed while it waited
      detail::take_back(item, message);
      throw;
    }
    if (push >= Push::full) detail::take_back(item, message);
  }
  return detail::delivery_of(push, target);
}

/// Passes a received message on, without touching its body. Refused: it is still the caller's. An empty Message:
/// noproc. On a heap with regions one that another process has received: std::logic_error.
Delivery send(const To& address, Message&& message);

// What cannot be sent; the compiler shows the line, and so the way out.
template <detail::Lent T>
Delivery send(const To&, T&&, auto&&...) = delete;  // its target is not sent along: send a std::string, a vector, a Ref
template <detail::Kept T>
Delivery send(const To&, T&&, auto&&...) = delete;  // send takes the object over: std::move(x), or a copy T(x)
template <detail::Fixed T>
Delivery send(const To&, T&&, auto&&...) = delete;  // a message is movable, not const, aligned to 64 bytes at most

}  // namespace erlking
