#include "runtime/self.h"

#include "runtime/memory.h"
#include "runtime/process_wide.h"
#include "runtime/system.h"

#include <memory>
#include <new>
#include <type_traits>

namespace erlking {

namespace {

// Asks `pid` to run `answer` at its next safe point, and waits for what it writes into `cell`. The cell's type says
// how `gone` looks. False: no answer in time.
template <class Cell>
std::expected<Cell, CallError> query(Pid pid, detail::QueryAnswer answer, const Bound& bound) {
  static_assert(std::is_nothrow_move_constructible_v<Cell>);
  Process& self = self_process();
  if (!detail::can_time(self, bound)) return std::unexpected(CallError{CallFailure::no_memory, {}});
  void* block = detail::heap().allocate(gc::size_class(detail::kSignalBytes));
  if (block == nullptr) return std::unexpected(CallError{CallFailure::no_memory, {}});
  detail::SignalPtr signal(detail::make_signal(block, detail::SignalKind::query, self.pid()));
  alignas(Cell) std::byte cell[sizeof(Cell)];
  detail::TicketWait wait(self, bound, cell);
  struct Revoke {
    detail::TicketWait& wait;
    std::byte* cell;
    ~Revoke() {
      if (wait.revoke()) std::destroy_at(std::launder(reinterpret_cast<Cell*>(cell)));
    }
  } revoke{wait, cell};
  detail::signal_body(*signal).ref = wait.number();
  detail::signal_body(*signal).answer = answer;
  if (!detail::send_or_drop(*self.system, std::move(signal), pid)) {
    return std::unexpected(CallError{CallFailure::noproc, {}});
  }
  while (wait.wait() == detail::TicketWait::Ended::opened) {
  }
  if (!wait.revoke()) return std::unexpected(CallError{CallFailure::timeout, {}});
  return std::move(*std::launder(reinterpret_cast<Cell*>(cell)));
}

struct Alive {
  bool alive;
};
void answer_alive(Process* asked, void* cell) noexcept { new (cell) Alive{asked != nullptr}; }

struct InfoAnswer {
  std::unique_ptr<ProcessInfo> info;  // null: gone, or no memory
  bool gone = false;
};

std::unique_ptr<ProcessInfo> describe(Process& process) {
  auto info = std::make_unique<ProcessInfo>();
  info->pid = process.pid();
  info->parent = process.parent;
  info->name = process.system->registry.name_of(process.pid());
  info->entry = std::string(process.start->name);
  info->status = process.waiting ? Status::waiting : Status::running;
  info->mailbox_depth = process.mailbox.size();
  info->mailbox_bound = process.mailbox.bound();
  info->received = process.received;
  info->refused = process.refused.load(base::relaxed);  // relaxed: a statistic
  info->reductions = process.reductions;
  info->trap_exit = process.trapping;
  info->worker = process.worker->index();
  info->pinned_to = process.pin == sched::kNoWorker ? -1 : process.pin;
  info->stack_bytes = process.stack().size();
  info->stack_used = sched::high_water(process.stack());
  info->queued_bytes = detail::queued_bytes(process);
  info->held_bytes = detail::held_bytes(process);
  if (process.relations != nullptr) {
    info->max_memory = process.relations->memory.most;
    info->label = process.relations->label;
    info->aliases = static_cast<std::uint32_t>(process.relations->aliases.size());
    for (auto& [id, link] : process.relations->links) {
      if (link.pending == 0) info->links.push_back(Pid{id});
    }
    for (auto& [ref, record] : process.relations->monitors) info->monitors.emplace_back(MonitorRef{ref}, record.target);
    for (auto& [ref, signal] : process.relations->watchers) {
      info->monitored_by.emplace_back(MonitorRef{ref}, detail::signal_body(*signal).from);
    }
  }
  return info;
}

void answer_info(Process* asked, void* cell) noexcept {
  auto* const answer = new (cell) InfoAnswer{nullptr, asked == nullptr};
  if (answer->gone) return;
  try {
    answer->info = describe(*asked);
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace

Pid self() { return require_process("self").pid(); }

void sleep(Bound bound) {
  Process& process = require_process("sleep");
  process.checkpoint();
  if (bound.is_poll()) return;
  detail::TicketWait wait(process, bound, nullptr);
  while (wait.wait() == detail::TicketWait::Ended::opened) {
  }
}

void yield() {
  Process& process = require_process("yield");
  process.budget = 0;
  process.checkpoint();
}

Clock::time_point now() { return base::to_time_point(require_process("now").system->now()); }

bool set_mailbox_bound(std::uint32_t messages) {
  Process& process = require_process("set_mailbox_bound");
  process.checkpoint();
  if (messages < 1 || messages > Process::Inbox::kMaxBound) return false;
  process.mailbox.set_bound(messages);
  base::Real::fence();  // D-B2: the bound before the look at the waiting list
  process.wake_waiters_if_any();
  return true;
}

void set_label(std::string label) {
  Process& process = require_process("set_label");
  process.checkpoint();
  if (process.relations == nullptr && label.empty()) return;
  try {
    detail::relations_of(process).label = std::move(label);
  } catch (const std::bad_alloc&) {
    detail::throw_exit(process, reason::system_limit);
  }
}

std::size_t flush() {
  Process& process = require_process("flush");
  process.checkpoint();
  process.deliver();
  process.settle();
  std::size_t n = 0;
  for (; process.inbox_head != nullptr; ++n) detail::drop_item(process.take_out(&process.inbox_head));
  process.act_on_doom();
  return n;
}

std::string_view to_string(NameError error) noexcept {
  switch (error) {
    case NameError::taken:
      return "taken";
    case NameError::already_named:
      return "already_named";
    case NameError::noproc:
      return "noproc";
    case NameError::reserved:
      return "reserved";
  }
  return "unknown";
}

std::expected<void, NameError> register_name(std::string_view name, Pid pid) {
  Process& process = require_process("register_name");
  process.checkpoint();
  if (name.empty() || name == "undefined") return std::unexpected(NameError::reserved);
  System& system = *process.system;
  Process& target = system.process(pid);
  if (!target.mailbox.is_open(pid.id)) return std::unexpected(NameError::noproc);
  target.named.store(true, base::seq_cst);  // [named] N1; in a slot's next life it costs that one a look in vain
  switch (system.add_name(name, pid, [&] { return target.mailbox.is_open_seq_cst(pid.id); })) {
    case detail::Registry::Added::yes:
      return {};
    case detail::Registry::Added::taken:
      return std::unexpected(NameError::taken);
    case detail::Registry::Added::already_named:
      return std::unexpected(NameError::already_named);
    case detail::Registry::Added::closed:
      break;
  }
  return std::unexpected(NameError::noproc);
}

std::optional<Pid> whereis(std::string_view name) { return require_process("whereis").system->whereis(name); }

bool unregister(std::string_view name) {
  Process& process = require_process("unregister");
  process.checkpoint();
  return process.system->whereis(name) && process.system->registry.remove(name);  // not from the dead: it is free
}

bool is_alive(Pid pid, Bound bound) {
  Process& process = require_process("is_alive");
  process.checkpoint();
  if (pid == process.pid()) return true;
  const auto answer = query<Alive>(pid, &answer_alive, bound);
  return answer ? answer->alive : answer.error().kind != CallFailure::noproc;
}

std::expected<ProcessInfo, CallError> process_info(Pid pid, Bound bound) {
  Process& process = require_process("process_info");
  process.checkpoint();
  if (pid == process.pid()) {
    process.waiting = false;
    try {
      return std::move(*describe(process));
    } catch (const std::bad_alloc&) {
      return std::unexpected(CallError{CallFailure::no_memory, {}});
    }
  }
  auto answer = query<InfoAnswer>(pid, &answer_info, bound);
  if (!answer) return std::unexpected(answer.error());
  if (answer->gone) return std::unexpected(CallError{CallFailure::noproc, {}});
  if (answer->info == nullptr) return std::unexpected(CallError{CallFailure::no_memory, {}});
  return std::move(*answer->info);
}

}  // namespace erlking
