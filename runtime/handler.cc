#include "runtime/handler.h"

#include "runtime/behaviour.h"
#include "runtime/process_wide.h"
#include "runtime/report.h"
#include "runtime/system.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace erlking::detail {

namespace {

enum class After : std::uint8_t { idle, others_turn, ended };

struct Activation {
  Process& process;
  After after = After::ended;

  // H2. Left by a throw, or, doomed between two messages, without; its state is destroyed like what an unwound stack
  // holds.
  void run() {
    struct DropState {
      Process& process;
      const After& after;
      ~DropState() {
        if (after != After::ended || process.start->behaves) return;
        process.unwinding = true;
        drop_state(process);
      }
    } drop{process, after};
    Process& p = process;
    p.budget = Process::kBudget;
    if (!p.begun) {
      p.begun = true;
      p.checkpoint();  // perhaps it was ended before it began
      p.start->run(state_of(p));
    }
    for (;;) {
      p.settle();
      while (p.inbox_head != nullptr) {
        if (p.mailbox.has_signal()) [[unlikely]] {
          p.deliver();
          p.settle();
        }
        if (p.doomed && p.deferring == 0) [[unlikely]]
          return;
        if (--p.budget <= 0) [[unlikely]] {
          after = After::others_turn;
          return;
        }
        if (!p.start->handle(state_of(p), Message(p.take_out(&p.inbox_head)))) [[unlikely]]
          return;
      }
      if (p.mailbox.has_any()) {
        p.deliver(true);
        if (p.doomed && p.deferring == 0) [[unlikely]]
          return;
      } else if (p.mailbox.park()) [[likely]] {
        after = After::idle;
        return;
      }
    }
  }
  static void run(void* self) { static_cast<Activation*>(self)->run(); }
};

}  // namespace

sched::Worker& serve_handler(Process& process) noexcept {
  if (process.begun) [[likely]] {
    process.note_running();
  } else {
    process.note_beginning();
  }
  process.take_handed_over();
  Activation activation{process};
  try {
    run_recording_throws(&Activation::run, &activation);
  } catch (const ProcessExit&) {
    // throw_exit(), or whoever doomed the process, has set the reason
  } catch (...) {  // an escape becomes its exit reason
    if (!process.doomed) process.reason = current_exception_reason();
  }
  if (activation.after == After::ended) [[unlikely]] {
    if (process.start->behaves) {
      put_away_behaviour(process, end_behaviour(process));
    } else {
      report_crash(process);
      put_away(process);
    }
    sched::Worker& last = *process.worker;
    last.bury(process);
    return last;
  }
  sched::Worker& worker = *process.worker;  // it may have waited, and gone on elsewhere
  process.wake_waiters_if_any();            // D-B1: after the park
  process.stack_low = nullptr;
  if (activation.after == After::others_turn) {
    ++process.reductions;
    worker.requeue(process);
  }
  process.sp.store(sched::kStackless, base::release);  // H3 [task-sp]
  return worker;
}

void give_up_handler(Process& process) noexcept {
  if (!process.doomed) process.reason = reason::system_limit;
  process.take_handed_over();
  report_crash(process);
  if (process.start->behaves) {
    put_away_behaviour(process, take_starter(process));
  } else {
    put_away(process);
  }
  process.worker->bury(process);
}

void drop_state(Process& process) noexcept {
  if (process.stateless) return;
  process.stateless = true;
  const Start& start = *process.start;
  void* const state = state_of(process);
  start.destroy(state);
  if (start.state_bytes != 0) {
    heap().free_state(std::exchange(process.closure, nullptr), start.state_bytes);
  } else {
    std::fill_n(process.small_state, Process::kSmallState, std::byte{});  // a root (roots.cc)
  }
}

}  // namespace erlking::detail
