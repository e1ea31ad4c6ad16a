#include "runtime/call_graph.h"

#include "runtime/report.h"
#include "runtime/system.h"

#include <new>

namespace erlking::detail {

namespace {

constexpr std::size_t kLongest = 64;  // processes in a cycle that is looked for

}  // namespace

void CallGraph::enter(Pid caller, std::uint64_t number, Pid target) {
  Shard& at = shard(caller);
  std::lock_guard lock(at.mutex);
  at.waits.insert_or_assign(caller.id, Wait{target, number});
}

void CallGraph::leave(Pid caller) noexcept {
  Shard& at = shard(caller);
  std::lock_guard lock(at.mutex);
  at.waits.erase(caller.id);
}

std::optional<CallGraph::Wait> CallGraph::wait_of(Pid pid) const {
  const Shard& at = shard(pid);
  std::lock_guard lock(at.mutex);
  const auto found = at.waits.find(pid.id);
  return found == at.waits.end() ? std::nullopt : std::optional(found->second);
}

// CG2.
std::vector<Pid> CallGraph::cycle_of(Pid caller) const {
  std::vector<Pid> cycle;
  std::vector<Wait> waits;
  for (Pid at = caller; cycle.size() < kLongest;) {
    const auto wait = wait_of(at);
    if (!wait) return {};
    cycle.push_back(at);
    waits.push_back(*wait);
    at = wait->target;
    if (at != caller) continue;
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      if (wait_of(cycle[i]) != waits[i]) return {};
    }
    return cycle;
  }
  return {};
}

void CallWatch::enter(System& system, std::uint64_t number, Pid target) noexcept {
  try {
    graph_->enter(caller_, number, target);
    const std::vector<Pid> cycle = graph_->cycle_of(caller_);
    if (cycle.empty()) return;
    system.reporter.report(ReportKind::call_cycle, system.now(), [&] {
      CallCycleReport report;
      for (const Pid pid : cycle) report.processes.push_back({pid, system.registry.name_of(pid)});
      return report;
    });
  } catch (const std::bad_alloc&) {  // what is not entered is not found
  }
}

}  // namespace erlking::detail
