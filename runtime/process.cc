#include "runtime/process.h"

#include "runtime/behaviour.h"
#include "runtime/handler.h"
#include "runtime/memory.h"
#include "runtime/process_wide.h"
#include "runtime/report.h"
#include "runtime/system.h"
#include "sched/sched.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

namespace erlking {

using base::relaxed;
using detail::SignalBody;
using detail::SignalKind;

namespace {

// This thread's Core, null on threads that are none; like current(), never merged with a load before a switch.
[[gnu::always_inline]] inline Core* thread_core() noexcept {
  Core* core;
  asm volatile(
      "movq ek_thread_core@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(core));
  return core;
}

enum class Line : std::uint8_t { front, back };

void make_runnable(Process& process, Line line) noexcept {
  if (process.is_port()) {
    process.port_woken.store(1, base::release);  // [port] the port's thread acquires it
    base::futex_wake(process.port_woken);
    return;
  }
  process.note_ready();
  Core* const core = thread_core();
  if (core == nullptr || &core->system() != process.system) {
    process.system->scheduler->policy().submit(process);
  } else if (line == Line::front) {
    core->ready(process);
  } else {
    core->enqueue(process);
  }
}

void free_block(Item* item) noexcept { detail::heap().free_bytes(item, item->bytes); }

using detail::send_or_drop;
using detail::SignalPtr;

// Answers a signal that its target cannot serve: it is gone, for `reason` as far as the asker can know.
void refuse_signal(System& system, SignalPtr signal, Pid me, const Reason& reason) noexcept {
  SignalBody& body = detail::signal_body(*signal);
  const Pid asker = body.from;
  switch (detail::signal_kind(*signal)) {
    case SignalKind::link:
      detail::become(*signal, SignalKind::exit_link, me);
      body.reason = reason;
      send_or_drop(system, std::move(signal), asker);
      return;
    case SignalKind::monitor:
      detail::become(*signal, SignalKind::down, me);
      body.reason = reason;
      send_or_drop(system, std::move(signal), asker);
      return;
    case SignalKind::unlink:
      detail::become(*signal, SignalKind::unlink_ack, me);
      send_or_drop(system, std::move(signal), asker);
      return;
    case SignalKind::query:
      detail::answer_ticket(system.process(asker), body.ref, [&](void* cell) { body.answer(nullptr, cell); });
      return;
    default:
      return;
  }
}

template <class Body>
void append_as_message(Process& process, SignalPtr signal, Body body) noexcept {
  Item* const item = signal.release();
  detail::destroy_signal(*item);
  item->type = &type_info_of<Body>;
  item->signal = 0;
  item->set_flags(0);
  new (item->body<Body>()) Body(std::move(body));
  process.append(item);
}

// SEMANTICS §2: what an exit signal does.
void receive_exit(Process& process, SignalPtr signal, bool from_link) noexcept {
  SignalBody& body = detail::signal_body(*signal);
  const bool is_normal = body.reason == reason::normal;
  const bool is_kill = !from_link && body.reason == reason::kill;
  if (process.trapping && !is_kill) {
    return append_as_message(process, std::move(signal), Exit{body.from, body.reason});
  }
  const bool ignored = is_normal && (from_link || body.from != process.pid());
  if (!ignored && !process.doomed) {  // SEMANTICS 1.10: the first one fixes the reason
    process.reason = is_kill ? reason::killed : body.reason;
    process.doomed = true;
    process.worker->flight().record(detail::flight_word(body.from, detail::FlightWord::killed));
  }
}

// SEMANTICS §3–4: a signal delivered to the running process.
void execute(Process& process, SignalPtr signal) noexcept {
  SignalBody& body = detail::signal_body(*signal);
  const Pid from = body.from;
  System& system = *process.system;
  detail::Relations* const relations = process.relations.get();
  switch (detail::signal_kind(*signal)) {
    case SignalKind::link: {  // L2
      try {
        auto& links = detail::relations_of(process).links;
        if (links.find(from.id) != nullptr) return;  // active already, or an own unlink is pending
        detail::LinkRecord& link = links.add(from.id);
        detail::become(*signal, SignalKind::exit_link, process.pid());
        link.exit = std::move(signal);
      } catch (const std::bad_alloc&) {  // no memory for the record: to the peer we are gone
        refuse_signal(system, std::move(signal), process.pid(), reason::system_limit);
      }
      return;
    }
    case SignalKind::unlink: {  // acknowledged before anything else is sent to that peer (L2)
      if (relations != nullptr) {
        const detail::LinkRecord* const link = relations->links.find(from.id);
        if (link != nullptr && link->pending == 0) relations->links.remove(from.id);
      }
      detail::become(*signal, SignalKind::unlink_ack, process.pid());
      send_or_drop(system, std::move(signal), from);
      return;
    }
    case SignalKind::unlink_ack: {
      if (relations == nullptr) return;
      const detail::LinkRecord* const link = relations->links.find(from.id);
      if (link != nullptr && link->pending == body.ref) relations->links.remove(from.id);
      return;
    }
    case SignalKind::exit_link: {
      detail::LinkRecord link;
      if (relations == nullptr || !relations->links.remove(from.id, &link) || link.pending != 0) return;
      return receive_exit(process, std::move(signal), true);
    }
    case SignalKind::exit_plain:
      return receive_exit(process, std::move(signal), false);
    case SignalKind::monitor:
      try {
        detail::relations_of(process).watchers.add(body.ref) = std::move(signal);
      } catch (const std::bad_alloc&) {
        refuse_signal(system, std::move(signal), process.pid(), reason::system_limit);
      }
      return;
    case SignalKind::demonitor:
      if (relations != nullptr) relations->watchers.remove(body.ref);
      return;
    case SignalKind::down: {  // L4: our own record decides
      detail::MonitorRecord record;
      if (relations == nullptr || !relations->monitors.remove(body.ref, &record)) return;
      detail::end_with_monitor(process, body.ref);
      Down down{MonitorRef{body.ref}, from, body.reason, body.name};
      if (record.tagged == nullptr) return append_as_message(process, std::move(signal), std::move(down));
      *static_cast<Down*>(record.tagged->untyped_body()) = std::move(down);
      return process.append(record.tagged.release());
    }
    case SignalKind::nudge:
      if (process.nudge == detail::Nudge::armed) process.nudge = detail::Nudge::come;
      return;
    case SignalKind::query:
      if (process.doomed) {  // SEMANTICS 14.7: dying is not dead: answered when the name is free
        signal->next = process.later;
        process.later = signal.release();
        return;
      }
      detail::answer_ticket(system.process(from), body.ref, [&](void* cell) { body.answer(&process, cell); });
      return;
  }
}

Item* reversed(Item* newest) noexcept {
  Item* oldest = nullptr;
  while (newest != nullptr) {
    Item* const following = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = following;
  }
  return oldest;
}

}  // namespace

// --- vocabulary ------------------------------------------------------------------------------------------------------

std::string to_string(Pid pid) {
  using Table = detail::ProcessTable;
  return fmt::format("<{}.{}.{}>", pid.id >> Table::kSlotBits & ((1u << Table::kTagBits) - 1),
                     pid.id & Table::kSlotMask, pid.id >> (Table::kSlotBits + Table::kTagBits));
}

namespace detail {
void not_a_process(const char* operation) {
  throw std::logic_error(
      fmt::format("erlking: {} called outside a process; use the Runtime's members there", operation));
}
}  // namespace detail

// --- the process itself ----------------------------------------------------------------------------------------------

Item Process::settling_;

void Process::deliver(bool in_wait) noexcept {
  if (exiting) [[unlikely]]  // settle() says so, too
    return;
  waiting = in_wait;
  bool signals = false;
#if EK_DEBUG
  std::int32_t waiting_messages = 0;
  Item* const newest = mailbox.take(&signals, &waiting_messages);
  if (newest != nullptr) check_taken(newest, signals, waiting_messages);
#else
  Item* const newest = mailbox.take(&signals);
#endif
  const std::uint64_t me = mailbox.id();
  // One pass turns the list round and looks for what needs care; mostly nothing does, and it is appended whole.
  Item* item = nullptr;
  bool plain = !signals;
  for (Item* at = newest; at != nullptr;) {
    Item* const following = at->next;
    plain = plain && at->stamp == me;
    at->next = item;
    item = at;
    at = following;
  }
  if (plain) [[likely]] {
    if (newest == nullptr) return;
    *inbox_tail = item;
    inbox_tail = &newest->next;
    return;
  }
  while (item != nullptr) {
    Item* const following = item->next;
    if (item->stamp != me) [[unlikely]] {  // by an alias (A1), or to an earlier tenant of this slot (M6)
      if (item->type == nullptr) {
        refuse_signal(*system, SignalPtr(item), Pid{item->stamp}, reason::noproc);
      } else {
        admit_or_refuse(item);
      }
    } else if (item->type != nullptr) [[likely]] {
      append(item);
    } else {
      execute(*this, SignalPtr(item));
    }
    item = following;
  }
}

void Process::admit_or_refuse(Item* item) noexcept {
  if (detail::admit_by_alias(*this, *item)) return append(item);
  note_left(*item);  // of a timer for an earlier tenant: wrong by one (TM5)
  drop_next_time(item);
}

void Process::note_received(const Item& item) noexcept {
  note_left(item);
  if (is_recorded()) worker->flight().record(detail::flight_word(item.type, detail::FlightWord::receive));
}

void Process::note_left(const Item& item) noexcept {
  if ((item.flags & Item::kCounted) != 0) mailbox.consume();
  if ((item.flags & Item::kTimed) != 0) set_timer_room(timer_room() + 1);
  if ((item.flags & Item::kMetered) != 0) detail::take_off(*this, item);
}

// The destructors see a process that is dying: no wait waits, nothing is delivered, and of the inbox, in which a
// receive may have its place, they see nothing.
void Process::drop_later() noexcept {
  Item* item = std::exchange(later, &settling_);
  doomed = exiting = true;
  Reason kept = std::exchange(reason, {});  // of an exit that was caught; what is just dropped ends normally
  Item* const head = std::exchange(inbox_head, nullptr);
  Item** const tail = std::exchange(inbox_tail, &inbox_head);
  while (item != nullptr) {
    Item* const following = item->next;
    detail::drop_item(item);
    item = following;
  }
  inbox_head = head;
  inbox_tail = tail;
  reason = std::move(kept);
  give_settling_up();
}

#if EK_DEBUG
// M2, M5: what the word counts is what there is; the signal bit tells the truth. Long lists are not walked: tests that
// keep some would take their square.
void Process::check_taken(const Item* newest, bool signals, std::int32_t waiting_messages) const noexcept {
  constexpr std::int32_t kMost = 2'000;
  std::int32_t found = 0;
  bool any_signal = false;
  for (const Item* item = newest; item != nullptr; item = item->next) {
    const bool counted = (item->flags & Item::kCounted) != 0;
    any_signal = any_signal || !counted;  // or a timer's message (TM6)
    found += counted ? 1 : 0;
    if (found > kMost) return;
  }
  EK_CHECK(any_signal == signals);
  for (const Item* item = inbox_head; item != nullptr && found <= kMost; item = item->next) {
    found += (item->flags & Item::kCounted) != 0 ? 1 : 0;
  }
  EK_CHECK(found > kMost || found == waiting_messages);
}
#endif

void Process::take_handed_over() noexcept {
  Item* const item = mailbox.take_direct();
  if (item == nullptr) return;
  if (item->stamp == mailbox.id()) [[likely]] {
    append(item);
  } else {
    admit_or_refuse(item);
  }
}

void Process::act_on_doom_slow() {
  if (deferring != 0 || exiting || unwinding || std::uncaught_exceptions() != 0) return;
  detail::throw_process_exit();
}

void Process::checkpoint_slow() {
  struct Note {
    ~Note() { sched::note_touch(); }  // the budget may be what it was (touch.h N2)
  } note;
  if (mailbox.has_signal()) deliver();
  settle();
  act_on_doom();
  if (budget > 0) return;
  budget = kBudget;
  ++reductions;
  wake_waiters_if_any();
  worker->yield(*this);
  note_running();
  if (mailbox.has_signal()) deliver();
  settle();
  act_on_doom();
}

void Process::wake_waiters() noexcept {
  if (!exiting && !mailbox.has_room()) return;
  base::SpinLockGuard lock(waiters_lock);
  detail::Waiter* waiter = waiters.load(relaxed);  // relaxed: under the lock
  waiters.store(nullptr, base::seq_cst);
  waiters_tail = nullptr;
  while (waiter != nullptr) {
    // Once woken it may run at once, but it cannot leave its frame before it has had the lock (B4).
    detail::Waiter* const following = waiter->next;
    waiter->linked = false;
    if (Item* const nudge = std::exchange(waiter->nudge, nullptr)) {
      send_or_drop(*system, SignalPtr(nudge), waiter->process->pid());
    } else if (waiter->process->ticket.wake(waiter->number)) {
      make_runnable(*waiter->process, Line::back);
    }
    waiter = following;
  }
}

namespace detail {

void make_ready(Process& process) noexcept { make_runnable(process, Line::front); }

void note_reply(const Process& asker) noexcept {
  if (const sched::Task* const self = sched::current(); self != nullptr)
    self->worker->flight().record(flight_word(asker.pid(), FlightWord::reply));
}

void drop_item(Item* item) noexcept {
  item->type->destroy(item->untyped_body());
  if ((item->flags & Item::kKept) != 0 && !let_go(*item)) [[unlikely]]
    return;
  free_block(item);
}

void FreeSignal::operator()(Item* item) const noexcept {
  destroy_signal(*item);
  free_block(item);
}

SignalPtr new_signal(SignalKind kind, Pid from, std::uint64_t ref) {
  void* const block = heap().allocate(gc::size_class(kSignalBytes));
  if (block == nullptr) throw std::bad_alloc();
  return SignalPtr(make_signal(block, kind, from, ref));
}

bool send_or_drop(System& system, SignalPtr signal, Pid to) noexcept {
  const bool sent = push_signal(system, signal.get(), to);
  if (sent) static_cast<void>(signal.release());
  return sent;
}

bool push_signal(System& system, Item* item, Pid to) noexcept {
  item->stamp = to.id;
  return push_uncounted(system, item, to) != Push::closed;
}

Push push_uncounted(System& system, Item* item, Pid to) noexcept {
  Process& target = system.process(to);
  Core* const core = thread_core();
  if (core != nullptr && target.home.load(relaxed) != core->index()) core->count_cross();  // relaxed: an estimate
  switch (target.mailbox.push_signal(item, to.id)) {
    case Push::closed:
      return Push::closed;
    case Push::woke:
      make_ready(target);
      return Push::queued;
    default:
      if (target.ticket.wake_any()) make_ready(target);  // K5
      return Push::queued;
  }
}

// --- death -----------------------------------------------------------------------------------------------------------

namespace {

// Its end and as much of the reason as has room, for the flight recorder.
void note_exit(const Process& process) noexcept {
  if (!process.is_recorded()) return;
  sched::Flight& flight = process.worker->flight();
  flight.record(flight_word(process.pid(), FlightWord::exit));
  const std::string_view why = process.reason.is_exception() ? process.reason.type() : process.reason.name();
  for (std::size_t at = 0; at < std::min<std::size_t>(why.size(), 21); at += 7) {
    std::uint64_t bytes = 0;
    std::memcpy(&bytes, why.data() + at, std::min<std::size_t>(why.size() - at, 7));
    flight.record(sched::Flight::value_word(bytes, static_cast<sched::FlightKind>(FlightWord::text)));
  }
}

void tell_relations(Process& process) noexcept {
  System& system = *process.system;
  EK_DCHECK(system.registry.name_of(process.pid()).empty());  // D1
  Relations& relations = *process.relations;
  for (auto& [ref, monitor] : relations.monitors.take_all()) {  // SEMANTICS 4.8
    void* block = heap().allocate(gc::size_class(kSignalBytes));
    if (block == nullptr) break;  // their record of us is advisory
    send_or_drop(system, SignalPtr(make_signal(block, SignalKind::demonitor, process.pid(), ref)), monitor.target);
  }
  for (auto& [id, link] : relations.links.take_all()) {
    if (link.pending != 0) continue;
    signal_body(*link.exit).reason = process.reason;
    send_or_drop(system, std::move(link.exit), Pid{id});
  }
  for (auto& [ref, signal] : relations.watchers.take_all()) {
    const Pid watcher = signal_body(*signal).from;
    become(*signal, SignalKind::down, process.pid());
    signal_body(*signal).reason = process.reason;
    send_or_drop(system, std::move(signal), watcher);
  }
  process.relations.reset();
}

}  // namespace

void put_away(Process& process) noexcept {
  note_exit(process);
  process.nudge = Nudge::none;
  process.exiting = process.doomed = true;  // no wait of a message's destructor waits from here on
  System& system = *process.system;
  if (process.ticket.state() != Ticket<base::Real>::idle && process.ticket.state() != Ticket<base::Real>::done) {
    // Its stack was given up in the middle of a wait: nobody may write into it from now on.
    for (bool over = false; !over;) {
      const auto state = process.ticket.state();
      const std::uint64_t number = process.ticket.number();
      over = state == Ticket<base::Real>::idle || state == Ticket<base::Real>::done ||
             (state == Ticket<base::Real>::open && process.ticket.revoke(number));
      if (state == Ticket<base::Real>::armed && !process.ticket.disarm(number)) process.worker->suspend(process);
      base::Real::pause();
    }
  }
  if (process.named.load(base::seq_cst)) system.registry.remove(process.pid());  // D1: first of all
  Item* item = reversed(process.mailbox.close());
  if (process.is_metered()) [[unlikely]]
    close_account(process);
  if (process.named.load(base::seq_cst)) {  // [named] N1
    system.registry.remove(process.pid());
    process.named.store(false, base::relaxed);  // relaxed: who sets it from now on finds the slot closed
  }
  if (Item* direct = process.mailbox.take_direct()) drop_item(direct);
  while (process.inbox_head != nullptr) {
    Item* const taken = process.inbox_head;
    process.inbox_head = taken->next;
    drop_item(taken);
  }
  process.inbox_tail = &process.inbox_head;
  while (item != nullptr) {
    Item* const following = item->next;
    const bool mine = item->stamp == process.pid().id;
    if (item->type != nullptr) {
      drop_item(item);  // a request answers its caller as it is destroyed
    } else if (mine && (signal_kind(*item) == SignalKind::unlink || signal_kind(*item) == SignalKind::demonitor)) {
      execute(process, SignalPtr(item));  // who took its interest back before is not told
    } else {
      refuse_signal(system, SignalPtr(item), Pid{item->stamp}, mine ? process.reason : reason::noproc);
    }
    item = following;
  }
  while (process.later != nullptr) {
    Item* const left = std::exchange(process.later, process.later->next);
    if (left->type != nullptr) {
      drop_item(left);
    } else {
      refuse_signal(system, SignalPtr(left), process.pid(), process.reason);
    }
  }
  const bool keeps_state = process.is_handler() && !process.stateless;  // which may lie in its region
  if (process.has_region && !keeps_state) return_region(process);
  if (process.relations != nullptr) tell_relations(process);
  process.wake_waiters_if_any();  // B7: after closing, whose exchange orders it against who joins now
  if (process.timer != nullptr) {
    if (has_timer(process)) {
      process.worker->wheel().cancel(*process.timer);
      heap().free_plain(std::exchange(process.timer, nullptr), sizeof(sched::TimerNode));
    } else {
      give_timer_back(process);
    }
  }
  if (process.is_handler()) drop_state(process);
  if (process.has_region) [[unlikely]]
    return_region(process);
  Core& core = core_of(process);
  core.exited.store(core.exited.load(relaxed) + 1, relaxed);
}

void finish_process(Process& process) noexcept {
  report_crash(process);
  if (process.start->behaves) [[unlikely]] {  // its stack was given up
    put_away_behaviour(process, take_starter(process));
  } else {
    put_away(process);
  }
  core_of(process).retire(process);
}

}  // namespace detail

}  // namespace erlking
