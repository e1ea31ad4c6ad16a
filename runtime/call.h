// call: a request that is answered exactly once or not at all, and says which; the answer bypasses the mailbox.
//
//   struct Get { std::string key; using Reply = std::optional<std::string>; };
//   std::expected<Get::Reply, CallError> value = call(store, Get{"k"}, 1s);
//   receive(1s, [](Get& get, From<Get> from) { from.reply(find(get.key)); });        // the other side
//
// The caller's ticket is the cell: the reply is written into the caller's frame. A late reply finds the ticket closed
// and vanishes. A From dropped unanswered (its process died, the request was never received) answers `died` at once.
// Cost of a call beside two messages' worth of switching: one CAS to arm, one to claim; no allocation for the reply.
#pragma once

#include "runtime/fault.h"
#include "runtime/receive.h"
#include "runtime/send.h"

#include <expected>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

namespace erlking {

/// Why a call has no reply.
enum class CallFailure : std::uint8_t {
  timeout,       ///< the bound passed; the request may still be executed, its reply vanishes
  noproc,        ///< nobody there
  full,          ///< the mailbox stayed full until the bound passed, or a state machine may postpone no more
  died,          ///< the process ended, or let go of the request, without a reply: `why` tells its reason
  calling_self,  ///< would wait for itself
  noconnection,  ///< the node is not connected
  no_memory,     ///< no memory for the request
  refused,       ///< the process would not do it: `why` tells (sys.h, groups.h)
};
/// Its name, as above.
std::string_view to_string(CallFailure failure) noexcept;

/// What call() returns instead of a reply.
struct CallError {
  CallFailure kind = CallFailure::timeout;  ///< which failure
  /// Of died: the exit reason, or `normal` if the request was just dropped. Of refused: what it says.
  Reason why = {};
  friend bool operator==(const CallError&, const CallError&) = default;
};

namespace detail {

/// The reason a From dropped here should give: the running process's, if it is coming to its end.
Reason reason_of_dropping() noexcept;

/// An answer that is a message (request.h Q1): which request's.
struct AnswerHead {
  std::uint64_t ref;
};
template <class M>
struct Answer : AnswerHead {
  std::expected<typename M::Reply, CallError> value{std::unexpect};  // until it is answered: nothing
};
/// Sends an Answer, taken over, to `asker`. False: it is gone.
bool push_answer(Process& asker, Item* item) noexcept;

}  // namespace detail

/// The right to answer one call, once; from any process of the runtime. Dropped unanswered it answers `died`.
template <class M>
class From {
 public:
  using Reply = typename M::Reply;  ///< what reply() takes

  /// Nobody's: there is nothing to answer.
  From() noexcept = default;
  /// For the runtime.
  explicit From(detail::ReplyTo to) noexcept : to_(to) {}
  From(From&& other) noexcept : to_(other.to_) { other.forget(); }
  From& operator=(From&& other) noexcept {
    From(std::move(other)).swap(*this);
    return *this;
  }
  ~From() {
    if (to_.asker != nullptr) fail(CallError{CallFailure::died, detail::reason_of_dropping()});
  }

  /// Answers; a second time, or too late: nothing happens, and false is returned. To a request that is not a call
  /// (request.h) too late means that who sent it has ended: it gives a request up without telling.
  bool reply(Reply value) noexcept {
    sched::probe_stack();  // F4
    if constexpr (!std::is_trivially_copyable_v<Reply>) {
      const Uncontained half_answered;  // F3
      return answer([&](void* cell) { new (cell) Cell(std::in_place, std::move(value)); });
    }
    static_assert(std::is_nothrow_move_constructible_v<Reply>,
                  "a Reply must be movable without throwing: it is moved while the caller waits");
    return answer([&](void* cell) { new (cell) Cell(std::in_place, std::move(value)); });
  }
  /// Answers with a failure.
  bool fail(CallError error) noexcept {
    return answer([&](void* cell) { new (cell) Cell(std::unexpect, std::move(error)); });
  }
  /// Whether it can still be answered: it has been neither answered nor moved away.
  explicit operator bool() const noexcept { return to_.asker != nullptr; }
  /// When the caller gives up: what is answered later is answered for nobody. max(): never. To a process that is no
  /// behaviour it is said as of its caller's worker's last look at the clock: early by as long as the caller computed.
  Clock::time_point deadline() const noexcept { return base::to_time_point(to_.until); }

  /// The same as the runtime counts it; kForever: never.
  base::Nanos until() const noexcept { return to_.until; }
  /// For call(): whom to answer; and that nobody is to be answered.
  void aim(detail::ReplyTo to) noexcept { to_ = to; }
  void forget() noexcept { to_.asker = nullptr; }  ///< see aim()
  void swap(From& other) noexcept { std::swap(to_, other.to_); }

 private:
  using Cell = std::expected<Reply, CallError>;
  template <class Write>
  bool answer(Write&& write) noexcept {
    Process* const asker = std::exchange(to_.asker, nullptr);
    return asker != nullptr && (detail::answer_ticket(*asker, to_.number, write) || answer_by_message(*asker, write));
  }
  template <class Write>
  [[gnu::noinline]] bool answer_by_message(Process& asker, Write& write) noexcept {
    Item* const item = to_.message();
    if (item == nullptr) return false;
    auto& value = item->template body<detail::Answer<M>>()->value;
    std::destroy_at(&value);
    write(&value);
    return detail::push_answer(asker, item);
  }

  detail::ReplyTo to_;
};

namespace detail {

template <class M>
struct Called {
  M request;
  From<M> from;
};
template <class M>
struct OwnedBytes<Called<M>> {
  static constexpr bool none = owns_nothing<M>;
  static std::size_t of(const Called<M>& called) { return owned_bytes(called.request); }
};

/// The answer's place in the caller's frame; holds a value only once answered.
template <class M>
class ReplyCell {
 public:
  using Value = std::expected<typename M::Reply, CallError>;
  void* place() noexcept { return storage_; }
  /// Answered: the value, moved out.
  Value take() noexcept {
    auto* const value = std::launder(reinterpret_cast<Value*>(storage_));
    Value taken = std::move(*value);
    std::destroy_at(value);
    return taken;
  }
  void drop() noexcept { std::destroy_at(std::launder(reinterpret_cast<Value*>(storage_))); }

 private:
  alignas(Value) std::byte storage_[sizeof(Value)];
};

/// How a request travels: as a message, for which the mailbox must have room; or, what keeps a system in order, as a
/// signal does: never refused, in no bound, in its place among what its sender sent (SEMANTICS 14.1, 14.6).
enum class Lane : std::uint8_t { message, system };

/// When a call made now gives up, by the clock.
base::Nanos exact_deadline(const Process& asker, const Bound& bound) noexcept;
/// The same for a call to `target`.
inline base::Nanos call_deadline(Process& asker, Process& target, const Bound& bound) noexcept {
  const bool exactly = asker.is_port() || bound.is_forever() || bound.is_absolute() ||
                       target.tells_deadline.load(base::relaxed);  // relaxed: see there
  if (exactly) [[unlikely]]
    return exact_deadline(asker, bound);
  return base::after(asker.worker->wheel().now(), bound.ns());
}
/// `bound`, but not beyond the deadline of the call that `self`, a behaviour, handles.
Bound within_call(Process& self, const Bound& bound) noexcept;

/// The whole of a call for `asker`, the running process after a safe point without code of the user's in between, or a
/// port, to what a Target says.
template <Lane lane = Lane::message, Request M>
typename ReplyCell<M>::Value call_as(Process& asker, Pid to, std::uint64_t stamp, M&& request, const Bound& bound) {
  using Value = typename ReplyCell<M>::Value;
  const auto failed = [](CallFailure kind) { return Value(std::unexpect, CallError{kind, {}}); };
  System& system = *asker.system;
  if (to == asker.pid() && !asker.is_port()) return failed(CallFailure::calling_self);
  Process& target = system.process(to);
  ReplyCell<M> cell;
  struct Request {    // ours until it is delivered
    System* outside;  // a port's: the block is of the outside heap
    Item* item = nullptr;
    From<M>& from() noexcept { return item->body<Called<M>>()->from; }
    void make(std::uint64_t stamp, M&& request) {
      if (outside == nullptr) [[likely]] {
        item = make_item_in_verb<Called<M>>(stamp, std::move(request), From<M>{});
      } else {
        OutsideHeap scope(*outside);
        item = make_item<Called<M>>(stamp, std::move(request), From<M>{});
      }
    }
    ~Request() {
      if (item == nullptr) return;
      from().forget();
      if (outside == nullptr) [[likely]] {
        drop_item(item);
      } else {
        OutsideHeap scope(*outside);
        drop_item(item);
      }
    }
  } sent{asker.is_port() ? &system : nullptr};
  try {
    sent.make(stamp, std::move(request));
  } catch (const std::bad_alloc&) {
    return failed(CallFailure::no_memory);
  }
  if constexpr (lane == Lane::system) sent.item->flags &= static_cast<std::uint16_t>(~Item::kCounted);
  const base::Nanos gives_up = call_deadline(asker, target, bound);
  Bound until = bound;
  for (bool first = true;; first = false) {
    {
      TicketWait wait(asker, until, cell.place());
      struct Revoke {  // left by a throw: an answer that came all the same is dropped
        TicketWait& wait;
        ReplyCell<M>& cell;
        bool over = false;
        ~Revoke() {
          if (!over && wait.revoke()) cell.drop();
        }
      } revoke{wait, cell};
      sent.from().aim(ReplyTo{&asker, wait.number(), gives_up});
      if constexpr (lane == Lane::system) sched::note_touch();  // for wait()
      const Push pushed = lane == Lane::system ? push_uncounted(system, sent.item, to)
                          : asker.is_port()    ? push_from_outside(system, target, sent.item, to)
                                               : push_made<M>(asker, target, sent.item, to);
      if (pushed == Push::closed) return failed(CallFailure::noproc);
      if (pushed != Push::full) {
        sent.item = nullptr;
        const CallWatch watch(system.call_graph.get(), system, asker.pid(), wait.number(), to);
        if (system.call_graph != nullptr) [[unlikely]]
          sched::note_touch();
        while (wait.wait() == TicketWait::Ended::opened) sched::note_touch();
        revoke.over = true;
        return wait.revoke() ? cell.take() : failed(CallFailure::timeout);
      }
      sent.from().forget();
    }
    // Full: wait for room under a ticket number of its own, then ask anew (C1).
    target.refused.fetch_add(first ? 1 : 0, base::relaxed);  // relaxed: a statistic
    if (bound.is_poll()) return failed(CallFailure::full);
    if (first) until = deadline_of(system, bound);
    const Push room = wait_for_room(system, asker, to, *sent.item, until);
    if (room == Push::closed) return failed(CallFailure::noproc);
    if (room == Push::full) return failed(CallFailure::full);
    sched::note_touch();
  }
}

}  // namespace detail

/// Sends a request and waits for its reply, at most `bound` in all. A safe point, also while it waits.
template <Request M>
std::expected<typename M::Reply, CallError> call(const To& address, M request, Bound bound) {
  Process& self = require_process("call");
  self.checkpoint();
  const auto [to, stamp] = address.target(*self.system);
  if (self.in_call) [[unlikely]]
    bound = detail::within_call(self, bound);
  return detail::call_as(self, to, stamp, std::move(request), bound);
}

namespace detail {
/// The same as a signal: what the verbs of behaviours are made of.
template <Request M>
std::expected<typename M::Reply, CallError> system_call(const char* what, const To& address, M request, Bound bound) {
  Process& self = require_process(what);
  self.checkpoint();
  const auto [to, stamp] = address.target(*self.system);
  if (self.in_call) bound = within_call(self, bound);
  return call_as<Lane::system>(self, to, stamp, std::move(request), bound);
}
}  // namespace detail

}  // namespace erlking
