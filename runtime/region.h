// Regions: what a process owns, kept so that all of it can be given back at its end, also by who never ran a destructor
// (a contained fault). On the heaps `region` and `boehm`; on `owned` only process_memory() is given back.
//
//   std::pmr::vector<int> all(process_memory());
//
//   RG1  A message taken out of a mailbox is listed in the region of who took it (Item::kHeld) until it is given back
//        or sent on. In a mailbox it is in no region: it is freed with the mailbox. So a send costs nothing.
//   RG2  What is still listed at the end is freed as a block, without a destructor: after a fault nobody knows in the
//        middle of what it was.
//   RG3  Item::signal of a message in a mailbox: a bit for each Ref among the first 16 words of its body, as it was
//        made. Of a listed one: its place in the list; kFar: it is searched for.
//   RG4  An object that counts or owns (gc/holds.h) is in its process's table while it lies in that one's own memory:
//        stack, closure or state, process_memory(), the body of a listed message if it came with it. Others (in memory
//        of malloc's, in messages under way) have their owner elsewhere, or none that knows.
//   RG5  All of a region is its process's alone, but `returned`: what another process, to which a Message was handed by
//        other means than a message, has dropped; its block is freed when the owner takes its next message, or ends.
//   RG6  The order of the end: objects' shares first (they run code: the last Ref's value is destroyed), then the
//        messages, the state left by a fault, process_memory(). Before links and monitors are told.
//   RG7  On `owned` the messages of a process that has max_memory or process_memory() are merely counted as
//        they are taken out (Item::kTallied), and off again as they are given back: `tallied`.
// Cost of a message with a region: some stores at each end. On `owned`: a look at a bit of a byte at hand.
#pragma once

#include "gc/gc.h"
#include "runtime/message.h"
#include "runtime/process.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory_resource>

namespace erlking {

/// Memory of the calling process alone, for containers of std::pmr: given back whole when it ends, however it ends and
/// on every heap, whether or not what lies there has been destroyed. Neither it nor what lies in it may be used by, or
/// sent to, another process: a container moved into a message takes its memory along only if that has another resource.
/// It draws on the message heap (Options::max_heap_bytes); none left: std::bad_alloc. Outside a process:
/// std::logic_error.
std::pmr::memory_resource* process_memory();

namespace detail {

class Holdings;
class ProcessMemory;

/// Of a slot; all zeros: nothing in it.
struct Region {
  static constexpr std::uint32_t kFew = 3;
  Item** held;  // RG1; null: none so far
  std::uint32_t size, capacity;
  Holdings* holdings;     // RG4; null: none
  ProcessMemory* memory;  // null: not asked for
  std::atomic<Item*> returned;
  union {
    Item* few[kFew];                     // where most lists are
    std::atomic<std::uint64_t> tallied;  // RG7: bytes of blocks; whoever gives them back
  };
};
static_assert(sizeof(Region) == base::kCacheLine);

/// A Region for each slot of a process table.
class Regions {
 public:
  Regions() noexcept;
  ~Regions();
  Regions(const Regions&) = delete;
  Regions& operator=(const Regions&) = delete;
  bool ok() const noexcept { return base_ != nullptr; }
  Region& at(std::uint32_t slot) const noexcept { return base_[slot]; }

 private:
  Region* base_ = nullptr;
};

/// As let_go(), of what goes to another process as it is (RG3).
bool let_go_on(Item& item) noexcept;
/// Around the construction of an item's body by the running process, where gc::holds() is not null (RG3).
void begin_body(Item& item) noexcept;
void end_body(Item& item) noexcept;

/// Around the making of `born` by `parent`, whose closure or state will lie at `place`.
void begin_birth(Process& parent, Process& born, const void* place, std::size_t bytes) noexcept;
void end_birth(Process& parent) noexcept;
/// Bytes of the messages listed (of more than 10,000 an estimate) or tallied, and of process_memory(); for who is it.
std::size_t held_bytes(const Process& process) noexcept;
/// It was not born: of its region nothing is kept.
void forget_region(Process& process) noexcept;

/// RG6.
void return_region(Process& process) noexcept;
/// Has the table of `system` kept.
void keep_regions(System& system) noexcept;

}  // namespace detail
}  // namespace erlking
