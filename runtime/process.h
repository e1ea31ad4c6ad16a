// Process: the control block — a Task with a mailbox, relations to other processes, and one catch at the bottom.
// Slots are type-stable: their memory is a Process for the runtime's whole life, so a stale pid, timer or waiter may
// still be looked at; mailbox ids, ticket numbers and timer numbers never come back.
//
//   Who may touch what: `mailbox`, `waiters`, `ticket`, `home`, `refused` — anyone, as their headers say. All else
//   belongs to the process while it runs, to whoever won the right to make it ready while it waits, to its worker while
//   it dies. Safe points (where a signal acts): every send, receive, call, wait and yield.
//
//   D1  Death: names released; mailbox closed and drained; EXITs and DOWNs; waiting senders woken; ticket closed;
//       stack left; slot freed. Whoever sees an EXIT or DOWN finds the name free (SEMANTICS 1.8).
//   D2  A lethal signal is thrown on the process's own stack as it reaches a safe point, so destructors run. A catch
//       (...) that swallows it meets it again at the next. It is not thrown while the stack unwinds, nor under a
//       DeferKill. Waits of a stack that unwinds for it, and of the destructors of messages never received, end at
//       once as if their bound had passed; under a DeferKill they wait.
#pragma once

#include "base/atomic.h"
#include "base/mutex.h"
#include "gc/gc.h"
#include "runtime/alias.h"
#include "runtime/bound.h"
#include "runtime/flight_word.h"
#include "runtime/mailbox.h"
#include "runtime/message.h"
#include "runtime/options.h"
#include "runtime/peer_table.h"
#include "runtime/pid.h"
#include "runtime/reason.h"
#include "runtime/signal.h"
#include "runtime/ticket.h"
#include "sched/sched.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

namespace erlking {

struct System;
class Process;

namespace detail {

/// `item`, which the running `process` has just taken out, is its own now (region.h).
void hold(Process& process, Item& item) noexcept;

/// What `exit(reason)` and lethal signals throw. Not a std::exception: a handler for those does not swallow it. While
/// it lives its process is leaving; when it is caught, the process is again what it was before (an exit may be made and
/// caught in a destructor that another one has called).
class ProcessExit {
 public:
  /// An exit(reason) of `process`.
  ProcessExit(Process& process, Reason&& reason) noexcept;
  /// What has been decided acts: the reason is noted.
  ProcessExit() noexcept = default;
  ~ProcessExit();
  ProcessExit(const ProcessExit&) = delete;
  ProcessExit& operator=(const ProcessExit&) = delete;

 private:
  Process* process_ = nullptr;
  bool leaving_before_ = false;
  Reason reason_before_;
};

/// A sender that waits for room in another's mailbox: on its stack, in the receiver's list under the list's lock.
struct Waiter {
  Process* process;
  std::uint64_t number;
  Waiter *prev = nullptr, *next = nullptr;
  bool linked = false;
  Item* nudge = nullptr;  // a select's (RoomWatch): pushed in place of a wake of the ticket
};
/// Under target.waiters_lock: joins its list at the end; leaves it, if in it.
void link_waiter(Process& target, Waiter& waiter) noexcept;
void unlink_waiter(Process& target, Waiter& waiter) noexcept;

/// Who waits for the answer of one request: the pid's slot, the number of its wait, and when it gives up. Moves with
/// the From (call.h).
struct ReplyTo {
  Process* asker = nullptr;  // a slot: valid for the runtime's life; the number decides
  std::uint64_t number = 0;  // of the ticket's wait; or kByMessage and the address of the answer (request.h Q1)
  base::Nanos until = base::kForever;

  static constexpr std::uint64_t kByMessage = std::uint64_t{1} << 63;  // no ticket has such a number
  static std::uint64_t by_message(Item* answer) noexcept {
    return kByMessage | reinterpret_cast<std::uint64_t>(answer);
  }
  /// What to answer by; null: the ticket.
  Item* message() const noexcept {
    return (number & kByMessage) != 0 ? reinterpret_cast<Item*>(number & ~kByMessage) : nullptr;
  }
};

/// Who waits for the start of a behaviour, and whether it said ignore_start() (behaviour.h U2).
struct Starter {
  ReplyTo to;
  bool ignored = false;
};

/// What a select waits for beside messages (V2).
enum class Nudge : std::uint8_t { none, armed, come };

/// Owns a signal: on a worker, or under the outside heap.
struct FreeSignal {
  void operator()(Item* item) const noexcept;
};
using SignalPtr = std::unique_ptr<Item, FreeSignal>;
/// Throws std::bad_alloc.
SignalPtr new_signal(SignalKind kind, Pid from, std::uint64_t ref = 0);

struct LinkRecord {
  SignalPtr exit;             // the EXIT owed to the peer, prepaid
  std::uint64_t pending = 0;  // number of an unlink not yet acknowledged; 0: active (SEMANTICS 3.8)
};
/// Owns a message; as FreeSignal.
struct FreeItem {
  void operator()(Item* item) const noexcept { drop_item(item); }
};
using ItemPtr = std::unique_ptr<Item, FreeItem>;

struct MonitorRecord {
  Pid target;
  ItemPtr tagged;  // the message its DOWN becomes, prepaid, if it is no plain Down
};

/// The bytes that wait for a process with a bound on them (memory.h); under waiters_lock.
struct MemoryAccount {
  std::size_t most = 0;
  std::size_t queued = 0;
  OverMemory over = OverMemory::refuse;
  bool told = false;  // reported, until half has gone
};

/// What most processes do without.
struct Relations {
  PeerTable<LinkRecord> links;        // by pid
  PeerTable<MonitorRecord> monitors;  // by ref: ours
  PeerTable<SignalPtr> watchers;      // by ref: the MONITOR, to become the DOWN
  PeerTable<AliasKind> aliases;       // by ref: ours
  ItemPtr owed;                       // destroyed with these, when the reason is known (async.h J1)
  std::uint64_t unlinks = 0;
  std::string label;     // set_label()
  MemoryAccount memory;  // a metered process's
};

}  // namespace detail

/// What a process runs: one constant for each type of function.
struct alignas(64) Start {     // its address has room for a kind (flight_word.h)
  std::string_view name;       // the type's, as process_info shows it
  void (*run)(void* closure);  // the whole life; a handler's: what it does first, null: nothing
  void (*destroy)(void* closure) noexcept;
  bool (*handle)(void* state, Message&& message) = nullptr;  // a handler's (handler.h); null: no handler
  std::size_t state_bytes = 0;                               // of its block; 0: it lies in small_state
  bool behaves = false;                                      // a behaviour (behaviour.h): handle() may say it has ended
  bool supervises = false;                                   // a supervisor: ends its children in order
};

namespace detail {
/// Set at birth; shares a line with what of a Task its worker alone touches.
struct Origin {
  System* system = nullptr;
  const Start* start = nullptr;
  Pid parent;
  static constexpr std::size_t kSmallState = 24;
  union {
    void* closure = nullptr;             // where lies what `start` runs
    std::byte small_state[kSmallState];  // a handler's state, if it fits (handler.h)
  };
};
}  // namespace detail

class alignas(base::kCacheLine) Process final : public detail::Origin, public sched::Task {
 public:
  using Inbox = Mailbox<base::Real, Item>;

  // --- what senders touch: one line with Task::sp, link, home ---
  std::atomic<bool> tells_deadline{false};  // its calls say when their callers give up (behaviour.h)
  std::atomic<bool> supervises{false};      // a supervisor; read by who stops the runtime, as its children's parent is
  std::atomic<std::uint8_t> extras{0};      // kMetered, kRecorded: what costs a sender one look if there is neither
  Inbox mailbox;
  std::atomic<detail::Waiter*> waiters{nullptr};  // head of the list of waiting senders

  // --- the process's own ---
  alignas(base::kCacheLine) Item* inbox_head = nullptr;  // taken, not yet received; delivery order
  Item** inbox_tail = &inbox_head;
  std::uint64_t fired = 0;              // the wait whose timer ended it (kTicketTimer | number for tickets)
  std::atomic<std::uint64_t> timed{0};  // number of the last timed receive; read by timers
  sched::TimerNode* timer = nullptr;    // reused from wait to wait, and left armed in between (R1)
  std::int32_t budget = kBudget;        // operations until it lets others run
  bool trapping = false;                // trap_exit
  bool doomed = false;                  // a lethal signal has taken effect: `reason` is final (SEMANTICS 1.10)
  bool exiting = false;                 // the bottom catch has been reached
  bool leaving = false;                 // exit(reason) has been thrown
  bool waiting = false;                 // while deliver() executes signals: see there
  bool begun : 1 = false;               // a handler: has been started
  bool stateless : 1 = false;           // a handler: its state is gone, or about to be
  bool unwinding : 1 = false;           // a handler: as if its stack were being unwound (D2)
  bool in_call : 1 = false;             // a behaviour: handles a call, whose deadline bounds its own
  bool in_operation : 1 = false;        // the driver has an operation that lies on its stack (OW4)
  bool uncontained : 1 = false;         // a fault now ends the node (fault.h F3)
  bool faulted : 1 = false;             // its stack was given up after a fault (F5)
  bool has_region : 1 = false;          // something may have to be given back at its end (region.h)
  std::uint8_t deferring = 0;           // DeferKill scopes
  detail::Nudge nudge{};                // a select's
  std::uint32_t received = 0;           // messages, modulo 2^32
  Item* later = nullptr;                // doomed: questions, answered at the end (SEMANTICS 14.7); else: see settle()

  // --- waits and answers ---
  alignas(base::kCacheLine) Ticket<base::Real> ticket;
  void* cell = nullptr;                    // where the answer goes; written before ticket.begin()
  detail::Waiter* waiters_tail = nullptr;  // under waiters_lock
  Reason reason;                           // once doomed or exiting
  std::unique_ptr<detail::Relations> relations;
  std::uint64_t reductions = 0;  // operations, in budgets
  base::SpinLock waiters_lock;
  std::atomic<bool> named{false};                  // has, or had, a name (N1)
  std::atomic<std::uint32_t> refused{0};           // messages refused for want of room; any sender
  std::atomic<std::uint32_t> port_woken{0};        // a port's futex; a process's: see timer_room()
  std::atomic<std::int32_t> timer_room_shared{0};  // what others have added to timer_room() and taken

  static constexpr std::uint8_t kMetered = 1;   // has a bound on bytes, too (memory.h)
  static constexpr std::uint8_t kRecorded = 2;  // its runtime has a flight recorder; from birth on
  static constexpr std::int32_t kBudget = 2000;
  /// What a spawn costs of it: who spawns many lets them run while their lines, and those of the ended, are warm.
  static constexpr std::int32_t kSpawnCost = 64;
  static constexpr std::uint64_t kTicketTimer = std::uint64_t{1} << 63;

  Pid pid() const noexcept { return Pid{mailbox.id()}; }
  bool is_handler() const noexcept { return start->handle != nullptr; }
  /// Stands for a thread that is no process: it can wait for answers, and never runs.
  bool is_port() const noexcept { return worker == nullptr; }
  bool is_metered() const noexcept { return (extras.load(base::relaxed) & kMetered) != 0; }    // relaxed: MB2
  bool is_recorded() const noexcept { return (extras.load(base::relaxed) & kRecorded) != 0; }  // relaxed: a constant

  // --- receiving; the process itself ---

  /// Takes `*at` out of the list: it has left the mailbox (M4).
  Item* take_out(Item** at) noexcept {
    Item* const item = *at;
    *at = item->next;
    if (item->next != nullptr) __builtin_prefetch(item->next);  // next, and by now out of the first cache
    if (inbox_tail == &item->next) inbox_tail = at;
    ++received;
    if (has_region) [[unlikely]]
      detail::hold(*this, *item);
    if ((item->flags & (Item::kCounted | Item::kMetered | Item::kRecorded)) == Item::kCounted) [[likely]]
      mailbox.consume();
    else
      note_received(*item);
    return item;
  }
  /// Gives back what a message took of a bound.
  void note_left(const Item& item) noexcept;
  /// Places for timers, as the process counts them itself (TM5); any thread looks, the process alone changes it.
  std::int32_t timer_room() const noexcept {
    return static_cast<std::int32_t>(port_woken.load(base::relaxed));  // relaxed: a count
  }
  void set_timer_room(std::int32_t n) noexcept {
    port_woken.store(static_cast<std::uint32_t>(n), base::relaxed);  // relaxed: as above
  }
  /// What was handed over to end a wait, if anything was, joins the list.
  void take_handed_over() noexcept;
  void append(Item* item) noexcept {
    item->next = nullptr;
    *inbox_tail = item;
    inbox_tail = &item->next;
  }
  /// Delivers what has been accepted: executes signals, appends messages, drops what was for an earlier tenant.
  /// Never throws: a lethal signal sets `doomed`. `in_wait`: what process_info tells whoever asks just now.
  void deliver(bool in_wait = false) noexcept;
  /// Drops what deliver() did not append: not while a ticket is open, since a destructor may begin a wait (D2).
  void settle() noexcept {
    if (later != nullptr && !doomed && !in_operation) [[unlikely]]
      drop_later();
  }
  /// Whether a destructor called by settle() runs; and that its stack was given up in there.
  bool is_settling() const noexcept { return later == &settling_; }
  void give_settling_up() noexcept {
    later = nullptr;
    exiting = doomed = false;
  }

  /// A safe point.
  void checkpoint() {
    if (mailbox.has_signal() || doomed || --budget <= 0) [[unlikely]]
      checkpoint_slow();
  }
  /// Has settle() drop it.
  void drop_next_time(Item* item) noexcept {
    item->next = later;
    later = item;
  }
  /// What becomes of a message delivered with a stamp that is not the pid: appended if an alias says so.
  void admit_or_refuse(Item* item) noexcept;
  /// Throws what has been decided, if it may (D2).
  void act_on_doom() {
    if (doomed) [[unlikely]]
      act_on_doom_slow();
  }

  // --- waiting ---

  /// It goes on, after a wait: for its worker's flight recorder.
  void note_running() noexcept {
    if (is_recorded()) [[unlikely]]
      worker->flight().record(detail::flight_word(pid(), detail::FlightWord::run));
  }
  /// The same for the first time.
  void note_beginning() noexcept {
    if (is_recorded()) [[unlikely]]
      worker->flight().record(detail::flight_word(pid(), detail::FlightWord::begin),
                              detail::flight_word(start, detail::FlightWord::start));
  }
  /// Ends every wait for room here that room can end (D-B1–D-B3).
  void wake_waiters() noexcept;
  void wake_waiters_if_any() noexcept {
    if (waiters.load(base::seq_cst) != nullptr) [[unlikely]]
      wake_waiters();
  }

 private:
  static Item settling_;  // as `later`: see is_settling()
  void note_received(const Item& item) noexcept;
  void checkpoint_slow();
  void act_on_doom_slow();
  void drop_later() noexcept;
#if EK_DEBUG
  void check_taken(const Item* newest, bool signals, std::int32_t waiting_messages) const noexcept;
#endif
};

#if !defined(EK_DEBUG) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static_assert(sizeof(Process) == 4 * base::kCacheLine);  // a life touches them all
static_assert(sizeof(detail::Origin) + offsetof(sched::Task, sp) == base::kCacheLine);
#endif

/// The running process; the caller must be one.
[[gnu::always_inline]] inline Process& self_process() noexcept { return *static_cast<Process*>(sched::current()); }
namespace detail {
[[noreturn]] void not_a_process(const char* operation);
}
/// The same with a check that says what is wrong (std::logic_error).
[[gnu::always_inline]] inline Process& require_process(const char* operation) {
  sched::probe_stack();  // F4
  sched::Task* const task = sched::current();
  if (task == nullptr) [[unlikely]]
    detail::not_a_process(operation);
  return static_cast<Process&>(*task);
}

namespace detail {

/// The process's own relations, made at need; may throw std::bad_alloc.
inline Relations& relations_of(Process& process) {
  if (process.relations == nullptr) process.relations = std::make_unique_for_overwrite<Relations>();  // zeroed once
  return *process.relations;
}

/// Makes `process`, whose wait the caller ended, runnable.
void make_ready(Process& process) noexcept;

extern "C" {
extern __thread gc::Local* ek_thread_heap __attribute__((tls_model("initial-exec")));
}
/// The heap of this thread: a worker's, or the outside heap while an outside thread holds it. The load is never merged
/// with one before a switch.
[[gnu::always_inline]] inline gc::Local& heap() noexcept {
  gc::Local* local;
  asm volatile(
      "movq ek_thread_heap@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(local));
  return *local;
}

/// Pushes a signal and wakes whom it wakes. False: closed: the caller keeps it.
bool push_signal(System& system, Item* item, Pid to) noexcept;
/// The same; a receiver that is gone needs none. False: it was.
bool send_or_drop(System& system, SignalPtr signal, Pid to) noexcept;
/// Pushes a message as a signal is: never refused for want of room. queued, or closed: the caller keeps it.
Push push_uncounted(System& system, Item* item, Pid to) noexcept;

/// Accounts for the end of the running process, whose stack has been unwound (or given up): D1 without stack and slot.
void put_away(Process& process) noexcept;
/// The same, and leaves its stack for good.
[[noreturn]] void finish_process(Process& process) noexcept;

/// What a timer's `kind` says: which wait it is for, and whose wheel it is in; kUserTimer: it is a UserTimer
/// (timer_table.h).
inline constexpr std::uint32_t kReceiveTimer = 0, kTicketTimer = 1, kUserTimer = 2, kTimerKindMask = 0xff;
inline constexpr unsigned kTimerOwnerShift = 8;

inline std::uint32_t timer_kind(const Process& process, std::uint32_t kind) noexcept {
  return kind | static_cast<std::uint32_t>(process.worker->index()) << kTimerOwnerShift;
}
/// Whether the process has a timer node that it may arm: one in its worker's wheel, or in none.
inline bool has_timer(const Process& process) noexcept {
  return process.timer != nullptr && process.timer->kind >> kTimerOwnerShift == process.worker->index();
}
/// Whether the running process's next wait, if it begins before the process switches, has the timer it needs.
bool can_time(Process& process, const Bound& bound) noexcept;
/// Gives the node back to the worker whose wheel it may be in.
void give_timer_back(Process& process) noexcept;

/// Arms the process's timer node on its worker's wheel; R1: it may be armed there still, by a wait that is over. To
/// cancel is to make the number stale: the node stays where it is, most likely to be armed again within the tick, which
/// then costs two stores (call 43.1 -> 39.6 ns, a hop 22.5 -> 22.2, against unlinking and pushing it).
inline void arm_timer(Process& process, std::uint32_t kind, std::uint64_t number, const Bound& bound) noexcept {
  sched::TimerNode& node = *process.timer;
  sched::Worker& worker = *process.worker;
  node.target = reinterpret_cast<std::uintptr_t>(&process);
  node.number = number;
  node.kind = timer_kind(process, kind);
  if (bound.is_absolute()) [[unlikely]] {
    worker.wheel().arm_at(node, bound.ns());
  } else {
    worker.wheel().arm_after(node, bound.ns());
  }
}

/// A wait of the running process in a receive: arms its timer at the first park, disarms it at the end.
class ReceiveWait {
 public:
  ReceiveWait(Process& process, const Bound& bound) noexcept : process_(process), bound_(bound) {}
  ~ReceiveWait() { end(); }
  ReceiveWait(const ReceiveWait&) = delete;
  ReceiveWait& operator=(const ReceiveWait&) = delete;

  /// Called when the list ends at `at`: true: *at is a message now; false: the bound has passed. After a touch was
  /// noted, as TicketWait::wait().
  [[gnu::always_inline]] bool more(Item** at) {
    // The way of a process that finds its mailbox empty and is sent a message: park, timer, switch, direct.
    Process& p = process_;
    const bool timed = !bound_.is_forever();
    if ((timed && (!has_timer(p) || armed_ || bound_.is_poll())) || p.doomed || !p.mailbox.park()) [[unlikely]]
      return more_slow(at);
    if (timed) arm();
    return parked(at) || more_slow(at);
  }
  /// The wait is over; again or not begun: nothing.
  void end() noexcept {
    if (armed_) disarm();
  }

 private:
  bool more_slow(Item** at);
  void arm() noexcept;
  void disarm() noexcept;

  /// Parked: sleeps; true if a message was handed over that is the pid's.
  [[gnu::always_inline]] bool parked([[maybe_unused]] Item** at) {
    Process& p = process_;
    p.wake_waiters_if_any();  // D-B1: after the park
    p.worker->suspend(p);
    p.note_running();
    p.budget = Process::kBudget;
    Item* const item = p.mailbox.take_direct();
    if (item != nullptr && item->stamp == p.mailbox.id()) [[likely]] {
      p.append(item);
      EK_DCHECK(*at == item);
      return true;
    }
    woken_without(item);
    return false;  // more_slow() looks at *at
  }
  void woken_without(Item* item) noexcept;

  Process& process_;
  const Bound bound_;
  bool armed_ = false;
  bool expired_ = false;
};

inline void ReceiveWait::arm() noexcept {
  const std::uint64_t number = process_.timed.load(base::relaxed) + 1;
  process_.timed.store(number, base::relaxed);  // relaxed: a timer that reads an old one wakes us for nothing at worst
  arm_timer(process_, kReceiveTimer, number, bound_);
  armed_ = true;
}

inline void ReceiveWait::disarm() noexcept {
  armed_ = false;
  process_.timed.store(process_.timed.load(base::relaxed) + 1, base::relaxed);  // R1; relaxed: as in arm()
}

/// Waits on the running process's ticket (or a port's): for an answer, room, or just time.
class TicketWait {
 public:
  /// Begins a wait for an answer written to `cell`.
  TicketWait(Process& process, const Bound& bound, void* cell) noexcept;
  /// Revokes it; if an answer is being written, waits those few instructions (then answered() is true).
  ~TicketWait();
  TicketWait(const TicketWait&) = delete;
  TicketWait& operator=(const TicketWait&) = delete;

  std::uint64_t number() const noexcept { return number_; }
  enum class Ended : std::uint8_t { answered, opened, expired };
  /// Sleeps until answered, opened by a waker, or past the bound. Executes signals; a lethal one is thrown, with the
  /// ticket still open (the destructor revokes). Where a process's own code may be about: after a touch was noted
  /// (sched/touch.h), as up to the switch has_timer() and arm_timer() are of one worker.
  [[gnu::always_inline]] Ended wait() {
    // The way of a process that asks and is answered: timer, arm, switch, done.
    Process& p = process_;
    if (timer_ || armed_ || bound_.is_poll() || bound_.is_forever() || p.is_port() || !has_timer(p) || p.doomed ||
        !p.ticket.arm(number_)) [[unlikely]]
      return wait_slow();
    armed_ = true;
    arm_timer();
    if (p.mailbox.has_signal_seq_cst() || p.waiters.load(base::seq_cst) != nullptr) [[unlikely]]
      return wait_slow();
    p.worker->suspend(p);
    p.note_running();
    p.budget = Process::kBudget;
    armed_ = false;
    if (p.ticket.state() != Ticket<base::Real>::done) [[unlikely]]
      return wait_slow(true);
    over_ = true;
    return Ended::answered;
  }
  /// Arms before the ticket is shown to wakers (B1).
  void arm() noexcept;
  /// Takes an arm() back without sleeping, using up a wake under way.
  void disarm() noexcept;
  /// No answer is taken from now on. True: one had arrived, and lies in the cell.
  bool revoke() noexcept;
  bool expired() const noexcept;

 private:
  Ended wait_slow(bool woken = false);
  void arm_timer() noexcept;
  void sleep() noexcept;
  void begin_port() noexcept;

  Process& process_;
  const Bound bound_;
  const std::uint64_t number_;
  base::Nanos deadline_ = 0;  // a port's
  bool armed_ = false;
  bool timer_ = false;
  bool over_ = false;
};

inline TicketWait::TicketWait(Process& process, const Bound& bound, void* cell) noexcept
    : process_(process), bound_(bound), number_((process.cell = cell, process.ticket.begin())) {
  if (process_.is_port()) [[unlikely]]
    begin_port();
}

inline TicketWait::~TicketWait() {
  if (!over_) [[unlikely]]
    revoke();
}

inline void TicketWait::arm_timer() noexcept {
  detail::arm_timer(process_, kTicketTimer, number_, bound_);
  timer_ = true;
}

/// Delivers `item` (kCounted) to `to`, waiting for room at most `bound`. full: no room in time.
Push push_waiting(System& system, Process& sender, Pid to, Item* item, const Bound& bound);
/// Waits until `to` has room for `item` (queued), at most `bound` (full), or is gone (closed). Somebody else may take
/// the room.
Push wait_for_room(System& system, Process& sender, Pid to, const Item& item, const Bound& bound);
/// The bound as an instant, counted from now.
Bound deadline_of(const System& system, const Bound& bound) noexcept;

/// For the flight recorder of the worker that runs who answers.
void note_reply(const Process& asker) noexcept;

/// Who answers a ticket: writes through `write` iff the ticket still waits for `number`.
template <class Write>
bool answer_ticket(Process& asker, std::uint64_t number, Write&& write) noexcept {
  using Claim = Ticket<base::Real>::Claim;
  const Claim claim = asker.ticket.claim_answer(number);
  if (claim == Claim::lost) return false;
  if (asker.is_recorded()) [[unlikely]]
    note_reply(asker);
  write(asker.cell);
  asker.ticket.finish(number);
  if (claim == Claim::won_armed) make_ready(asker);
  return true;
}

}  // namespace detail

/// While one lives, the process is not killed at safe points: for waits in destructors, which must not be left by a
/// throw. What was decided meanwhile takes effect at the first safe point after. Of one process; nests to 255.
class DeferKill {
 public:
  DeferKill() noexcept : process_(static_cast<Process*>(sched::current())) {
    if (process_ != nullptr) ++process_->deferring;
  }
  ~DeferKill() {
    if (process_ != nullptr) --process_->deferring;
  }
  DeferKill(const DeferKill&) = delete;
  DeferKill& operator=(const DeferKill&) = delete;

 private:
  Process* process_;
};

}  // namespace erlking
