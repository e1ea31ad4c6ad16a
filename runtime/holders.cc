#include "runtime/holders.h"

#include "base/log.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace erlking {

namespace {

using base::Nanos;

constexpr std::size_t kAskedForEach = 8;   // MH1
constexpr Nanos kLongest = 1'000'000'000;  // of one question
constexpr std::uint32_t kAtOnce = 1024;    // slots looked at between two safe points

struct Deep {
  std::uint32_t depth;
  Pid pid;
  friend bool operator>(const Deep& a, const Deep& b) noexcept { return a.depth > b.depth; }
};

// The deepest mailboxes, deepest first.
std::vector<Deep> deepest(const System& system, std::size_t most, std::uint64_t& messages) {
  std::vector<Deep> heap;  // the shallowest on top
  for (std::uint32_t i = 1; i < system.table.used(); ++i) {
    if (i % kAtOnce == 0) yield();
    const Process& process = system.table.slot(i);
    const std::uint32_t depth = process.mailbox.size();
    const Pid pid = process.pid();
    if (depth == 0 || !process.mailbox.is_open(pid.id)) continue;
    messages += depth;
    if (heap.size() == most && depth <= heap.front().depth) continue;
    heap.push_back({depth, pid});
    std::ranges::push_heap(heap, std::greater<>());
    if (heap.size() <= most) continue;
    std::ranges::pop_heap(heap, std::greater<>());
    heap.pop_back();
  }
  std::ranges::sort_heap(heap, std::greater<>());
  return heap;
}

// Lines of a table; every cell printable.
std::string shown(const std::string& text) {
  std::string line = base::to_lines(text, {});  // escapes what is not printable
  return line.empty() ? "-" : line;
}

std::string size_text(std::size_t bytes) {
  if (bytes < 10'240) return fmt::format("{} B", bytes);
  return bytes < 10'485'760 ? fmt::format("{} KiB", bytes / 1024) : fmt::format("{} MiB", bytes / 1'048'576);
}

}  // namespace

MemoryHolders memory_holders(Bound bound, std::size_t most) {
  Process& self = require_process("memory_holders");
  const System& system = *self.system;
  const Nanos until = bound.is_absolute() ? bound.ns() : base::after(system.now(), bound.ns());
  most = std::clamp<std::size_t>(most, 1, kMemoryHoldersMax);
  MemoryHolders found;
  found.processes = system.alive();
  const gc::HeapStats heap = system.collector->stats();
  found.heap_bytes = heap.bytes_reserved + heap.large_bytes;
  found.heap_used = heap.bytes_live + heap.large_bytes;
  const std::vector<Deep> asked = deepest(system, most * kAskedForEach, found.messages);
  for (std::size_t i = 0; i < asked.size(); ++i) {
    MemoryHolder& holder = found.holders.emplace_back();
    holder.pid = asked[i].pid;
    holder.mailbox_depth = asked[i].depth;
    holder.name = system.registry.name_of(holder.pid);
    const Nanos left = until - std::min(until, system.now());
    const auto share =
        Duration(std::min(left / static_cast<Nanos>(std::min<std::size_t>(asked.size() - i, 16)), kLongest));
    auto info = process_info(holder.pid, share);
    if (!info) {
      if (info.error().kind == CallFailure::noproc) found.holders.pop_back();
      continue;
    }
    holder.answered = true;
    holder.label = std::move(info->label);
    holder.entry = std::move(info->entry);
    holder.mailbox_depth = info->mailbox_depth;
    holder.queued_bytes = info->queued_bytes;
    holder.max_memory = info->max_memory;
    holder.held_bytes = info->held_bytes;
    holder.stack_used = info->stack_used;
  }
  std::ranges::stable_sort(found.holders, [](const MemoryHolder& a, const MemoryHolder& b) {
    if (a.answered != b.answered) return a.answered;
    if (!a.answered) return a.mailbox_depth > b.mailbox_depth;
    return a.queued_bytes + a.held_bytes > b.queued_bytes + b.held_bytes;
  });
  if (found.holders.size() > most) found.holders.resize(most);
  return found;
}

std::string to_text(const MemoryHolders& found) {
  std::string text = fmt::format("{} processes; {} messages wait; heap for messages: {}, {} in use\n", found.processes,
                                 found.messages, size_text(found.heap_bytes), size_text(found.heap_used));
  if (found.holders.empty()) return text;
  text += fmt::format("{:>10}  {:>10}  {:>8}  {:>10}  {:>10}  {:<14}  {:<20}  {}\n", "waiting", "at most", "messages",
                      "held", "stack", "pid", "name", "runs");
  for (const MemoryHolder& holder : found.holders) {
    const bool known = holder.answered;
    text += fmt::format(
        "{:>10}  {:>10}  {:>8}  {:>10}  {:>10}  {:<14}  {:<20}  {}\n", known ? size_text(holder.queued_bytes) : "?",
        holder.max_memory != 0 ? size_text(holder.max_memory) : "-", holder.mailbox_depth,
        known ? size_text(holder.held_bytes) : "?", known ? size_text(holder.stack_used) : "?", to_string(holder.pid),
        shown(holder.name), known ? shown(holder.entry) : "no answer: it computes, or no worker has time for it");
  }
  return text;
}

std::string to_json(const MemoryHolders& found) {
  using Json = nlohmann::ordered_json;
  Json json = {{"processes", found.processes},
               {"messages", found.messages},
               {"heap_bytes", found.heap_bytes},
               {"heap_used", found.heap_used},
               {"holders", Json::array()}};
  for (const MemoryHolder& holder : found.holders) {
    json["holders"].push_back({{"pid", to_string(holder.pid)},
                               {"name", holder.name},
                               {"label", holder.label},
                               {"entry", holder.entry},
                               {"mailbox_depth", holder.mailbox_depth},
                               {"answered", holder.answered},
                               {"queued_bytes", holder.queued_bytes},
                               {"max_memory", holder.max_memory},
                               {"held_bytes", holder.held_bytes},
                               {"stack_used", holder.stack_used}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace erlking
