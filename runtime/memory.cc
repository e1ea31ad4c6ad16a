#include "runtime/memory.h"

#include "runtime/report.h"
#include "runtime/system.h"

#include <algorithm>
#include <new>
#include <optional>

namespace erlking::detail {

namespace {

constexpr std::size_t kLookedAt = 10'000;

// With the block, which holds the body.
std::size_t bytes_of(const Item& item) noexcept {
  if (item.type == nullptr) return item.bytes;
  try {
    const std::size_t owned = item.type->owned(const_cast<Item&>(item).untyped_body());
    return item.bytes + owned;
  } catch (...) {  // nobody is there to be told
    return item.bytes;
  }
}

class MaybeLock {
 public:
  MaybeLock(base::SpinLock& lock, MeterLock how) noexcept {
    if (how == MeterLock::take) guard_.emplace(lock);
  }

 private:
  std::optional<base::SpinLockGuard> guard_;
};

void tell(System& system, Pid pid, const MemoryAccount& account, std::uint32_t messages) noexcept {
  system.reporter.report(ReportKind::memory, system.now(), [&] {
    MemoryReport report;
    report.process = {pid, system.registry.name_of(pid)};
    report.queued_bytes = account.queued;
    report.max_memory = account.most;
    report.mailbox_depth = messages;
    report.killed = account.over == OverMemory::kill;
    return report;
  });
}

void kill(System& system, Pid pid) noexcept {
  try {
    const OutsideHeap heap(system);
    SignalPtr signal = new_signal(SignalKind::exit_plain, {});
    signal_body(*signal).reason = reason::kill;
    send_or_drop(system, std::move(signal), pid);
  } catch (const std::bad_alloc&) {  // the next message tries again
  }
}

}  // namespace

Push push_metered(System& system, Process& target, Item* item, Pid to, MeterLock how) noexcept {
  const std::size_t bytes = bytes_of(*item);
  std::optional<MemoryAccount> over;
  Push push;
  {
    const MaybeLock lock(target.waiters_lock, how);
    if (!target.is_metered() || target.mailbox.id() != to.id) return Push::closed;  // MB2
    MemoryAccount& account = target.relations->memory;
    const bool exceeds = bytes > account.most || account.queued > account.most - bytes;
    if (exceeds && account.over == OverMemory::refuse) return Push::full;
    item->flags |= Item::kMetered;
    account.queued += bytes;
    push = how == MeterLock::held ? target.mailbox.push_message<true>(item, to.id)
                                  : target.mailbox.push_message(item, to.id);
    if (push >= Push::full) {
      account.queued -= bytes;
      item->flags &= static_cast<std::uint16_t>(~Item::kMetered);
      return push;
    }
    if (exceeds && how == MeterLock::take && (account.over == OverMemory::kill || !account.told)) {
      account.told = true;
      over = account;
    }
  }
  if (over) {
    tell(system, to, *over, target.mailbox.size());
    if (over->over == OverMemory::kill) kill(system, to);
  }
  return push;
}

Push probe_metered(Process& target, const Item& item, Pid to, MeterLock how) noexcept {
  const std::size_t bytes = bytes_of(item);
  {
    const MaybeLock lock(target.waiters_lock, how);
    if (!target.is_metered() || target.mailbox.id() != to.id) return Push::closed;  // MB2
    const MemoryAccount& account = target.relations->memory;
    const bool exceeds = bytes > account.most || account.queued > account.most - bytes;
    if (exceeds && account.over == OverMemory::refuse) return Push::full;
  }
  return target.mailbox.probe(to.id);
}

void take_off(Process& process, const Item& item) noexcept {
  const std::size_t bytes = bytes_of(item);
  const base::SpinLockGuard lock(process.waiters_lock);
  MemoryAccount& account = process.relations->memory;
  account.queued -= std::min(bytes, account.queued);
  if (account.queued <= account.most / 2) account.told = false;
}

void close_account(Process& process) noexcept {
  const base::SpinLockGuard lock(process.waiters_lock);
  process.extras.store(process.extras.load(base::relaxed) & ~Process::kMetered, base::relaxed);  // relaxed: MB2
}

std::size_t queued_bytes(const Process& process) noexcept {
  if (process.is_metered()) {
    const base::SpinLockGuard lock(const_cast<Process&>(process).waiters_lock);
    return process.relations->memory.queued;
  }
  std::size_t sum = 0, looked_at = 0;
  for (const Item* item = process.inbox_head; item != nullptr && looked_at < kLookedAt; item = item->next) {
    sum += bytes_of(*item);
    ++looked_at;
  }
  const std::size_t depth = process.mailbox.size();
  return looked_at == kLookedAt && depth > looked_at ? sum / looked_at * depth : sum;
}

}  // namespace erlking::detail
