#include "runtime/region.h"

#include "runtime/handler.h"
#include "runtime/holdings.h"
#include "runtime/system.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <new>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace erlking::detail {

// --- process_memory() ------------------------------------------------------------------------------------------------

namespace {

// Blocks of the message heap, and where they are.
class Chunks final : public std::pmr::memory_resource {
 public:
  ~Chunks() override {
    for (const Chunk& chunk : all_) heap().free_plain(chunk.begin, chunk.bytes);
  }
  bool has(const void* at) const noexcept {
    const Chunk* const found = find(at);
    return found != nullptr && std::less<>()(at, found->begin + found->bytes);
  }
  std::uint64_t bytes() const noexcept {
    std::uint64_t sum = 0;
    for (const Chunk& chunk : all_) sum += chunk.bytes;
    return sum;
  }

 private:
  struct Chunk {
    std::byte* begin;
    std::size_t bytes;
  };

  // The last that begins at `at` or before.
  const Chunk* find(const void* at) const noexcept {
    const auto after = std::upper_bound(all_.begin(), all_.end(), at, [](const void* a, const Chunk& chunk) {
      return std::less<>()(a, static_cast<const void*>(chunk.begin));
    });
    return after == all_.begin() ? nullptr : &*(after - 1);
  }

  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    const std::size_t slack = alignment > gc::kGrain ? alignment : 0;
    const std::size_t all = std::max<std::size_t>(bytes, 1) + slack;
    if (all < bytes) throw std::bad_alloc();
    all_.reserve(all_.size() + 1);
    auto* const begin = static_cast<std::byte*>(heap().allocate_plain(all));
    if (begin == nullptr) throw std::bad_alloc();
    const auto place = std::upper_bound(all_.begin(), all_.end(), begin, [](const std::byte* a, const Chunk& chunk) {
      return std::less<>()(a, chunk.begin);
    });
    all_.insert(place, {begin, all});
    if (slack == 0) return begin;
    const auto at = reinterpret_cast<std::uintptr_t>(begin);
    return begin + ((alignment - at % alignment) % alignment);
  }
  void do_deallocate(void* at, std::size_t, std::size_t) override {
    const Chunk* const chunk = find(at);
    EK_CHECK(chunk != nullptr);
    heap().free_plain(chunk->begin, chunk->bytes);
    all_.erase(all_.begin() + (chunk - all_.data()));
  }
  bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override { return this == &other; }

  std::vector<Chunk> all_;  // by address
};

// Larger blocks are chunks of their own.
constexpr std::pmr::pool_options kPools{.max_blocks_per_chunk = 0, .largest_required_pool_block = 4096};

}  // namespace

class ProcessMemory {
 public:
  ProcessMemory() : pools(kPools, &chunks) {}
  ~ProcessMemory() {}  // not the pools': after a fault they may be in the middle of something
  Chunks chunks;
  union {
    std::pmr::unsynchronized_pool_resource pools;
  };
};

namespace {

constexpr std::uint16_t kFar = 0xffff;     // RG3
constexpr std::size_t kMarked = 16;        // words of a body
constexpr std::size_t kSmallestHead = 32;  // where bodies begin at the earliest
constexpr std::uintptr_t kInMessage = 1;   // as an entry's `extra`: the Ref is in a listed message

Region& region_of(const Process& process) noexcept {
  const System& system = *process.system;
  return system.regions.at(system.table.index_of(process));
}

// The running process, if it keeps a region of objects and messages.
Process* keeper() noexcept {
  auto* const self = static_cast<Process*>(sched::current());
  return self != nullptr && self->has_region && self->system->keeps_regions ? self : nullptr;
}

Holdings* holdings_of(Region& region) noexcept {
  if (region.holdings == nullptr) region.holdings = new (std::nothrow) Holdings;
  return region.holdings;
}

bool within(const void* at, const void* low, std::size_t bytes) noexcept {
  return static_cast<std::size_t>(static_cast<const std::byte*>(at) - static_cast<const std::byte*>(low)) < bytes;
}

bool is_in_state(Process& process, const void* at) noexcept {
  if (!process.is_handler()) return false;
  const std::size_t bytes = process.start->state_bytes;
  const void* const state = state_of(process);
  return state != nullptr && within(at, state, bytes != 0 ? bytes : Process::kSmallState);
}

bool is_own_memory(Process& process, const Region& region, const void* at) noexcept {
  if (process.stack_low != nullptr && within(at, process.stack_low, process.stack().size())) return true;
  return is_in_state(process, at) || (region.memory != nullptr && region.memory->chunks.has(at));
}

// Whose object at `at` is that lies in no memory of the running process but in that of a process being born.
Process* newborn_at(const Region& region, const void* at) noexcept {
  const Holdings* const holdings = region.holdings;
  const bool is_its =
      holdings != nullptr && holdings->newborn != nullptr &&
      within(at, holdings->newborn_low, static_cast<std::size_t>(holdings->newborn_high - holdings->newborn_low));
  return is_its ? holdings->newborn : nullptr;
}

void begin_hold(const void* at, void* what, gc::GiveBack give_back, std::uintptr_t extra, bool in_place) noexcept {
  Process* const self = keeper();
  if (self == nullptr) return;
  Region& region = region_of(*self);
  const Holdings::Entry entry{at, what, give_back, extra};
  if (is_own_memory(*self, region, at)) {
    if (Holdings* const holdings = holdings_of(region)) holdings->put(entry);
  } else if (Process* const newborn = newborn_at(region, at)) {
    if (Holdings* const holdings = holdings_of(region_of(*newborn))) holdings->put(entry);
  } else if (Holdings* const holdings = region.holdings; in_place && holdings != nullptr && holdings->body != nullptr) {
    if (within(at, holdings->body, holdings->body->bytes) && holdings->pending_size != Holdings::kPending) {
      holdings->pending[holdings->pending_size++] = at;
    }
  }
}

void end_hold(const void* at) noexcept {
  Process* const self = keeper();
  if (self == nullptr) return;
  Region& region = region_of(*self);
  Holdings* const holdings = region.holdings;
  if (holdings == nullptr) return;
  if (Process* const newborn = newborn_at(region, at)) {
    if (Holdings* const its = region_of(*newborn).holdings) its->take(at);
    return;
  }
  for (std::uint32_t i = 0; i != holdings->pending_size; ++i) {
    if (holdings->pending[i] == at) {
      holdings->pending[i] = holdings->pending[--holdings->pending_size];
      return;
    }
  }
  holdings->take(at);
}

constexpr gc::Holds kHolds{&begin_hold, &end_hold};

std::byte* word(Item& item, std::size_t i) noexcept {
  return reinterpret_cast<std::byte*>(&item) + kSmallestHead + i * sizeof(void*);
}

// RG3: the Refs that came with it are its holder's.
void take_refs_over(Region& region, Item& item) noexcept {
  Holdings* const holdings = holdings_of(region);
  if (holdings == nullptr) return;
  for (std::size_t i = 0; i != kMarked; ++i) {
    if ((item.signal >> i & 1) == 0) continue;
    void* what;
    std::memcpy(&what, word(item, i), sizeof what);
    if (what != nullptr) holdings->put({word(item, i), what, &gc::detail::drop_counted, kInMessage});
  }
  item.flags |= Item::kHolds;
}

// And again nobody's: the next holder will look for these.
std::uint16_t give_refs_up(Region& region, Item& item) noexcept {
  std::uint16_t marks = 0;
  if ((item.flags & Item::kHolds) == 0 || region.holdings == nullptr) return marks;
  const std::size_t words =
      std::min(kMarked, (item.bytes - kSmallestHead) / sizeof(void*));  // then comes another block
  for (std::size_t i = 0; i != words; ++i) {
    if (region.holdings->take(word(item, i))) marks |= static_cast<std::uint16_t>(1u << i);
  }
  return marks;
}

[[gnu::noinline]] bool grow(Region& region) noexcept {
  if (region.capacity == 0) {
    region.held = region.few;
    region.capacity = Region::kFew;
    return true;
  }
  const std::uint32_t wanted = region.capacity * 4;
  auto** const larger = static_cast<Item**>(std::malloc(wanted * sizeof(Item*)));
  if (larger == nullptr) return false;
  std::copy_n(region.held, region.size, larger);
  if (region.held != region.few) std::free(region.held);
  region.held = larger;
  region.capacity = wanted;
  return true;
}

// Takes it off the list. False: it is not on it.
bool unlist(Region& region, Item& item) noexcept {
  std::uint32_t i = item.signal;
  if (i == kFar) {
    i = region.size;
    while (i > kFar && region.held[i - 1] != &item) --i;
    if (i-- <= kFar) return false;
  }
  if (i >= region.size || region.held[i] != &item) return false;
  Item* const last = region.held[--region.size];
  region.held[i] = last;
  last->signal = static_cast<std::uint16_t>(std::min<std::uint32_t>(i, kFar));
  item.flags &= static_cast<std::uint16_t>(~(Item::kHeld | Item::kHolds));
  return true;
}

// RG5
[[gnu::noinline]] void take_returned(Region& region) noexcept {
  Item* item = region.returned.exchange(nullptr, base::acquire);  // acquire: the release of give_to_owner() [returned]
  while (item != nullptr) {
    Item* const following = item->next;
    give_refs_up(region, *item);  // they are gone
    if (unlist(region, *item)) heap().free_bytes(item, item->bytes);
    item = following;
  }
}

void give_to_owner(System& system, Item& item) noexcept {
  const Process& owner = system.process(Pid{item.stamp});
  if (owner.mailbox.id() != item.stamp) return;  // it has ended, and its messages with it
  std::atomic<Item*>& returned = region_of(owner).returned;
  item.next = returned.load(base::relaxed);  // relaxed: nothing is read by it
  while (!returned.compare_exchange_weak(item.next, &item, base::release, base::relaxed)) {  // [returned]
  }
}

// RG7. Off a process none is taken off: its count is one too many until its end.
void take_off_tally(Item& item) noexcept {
  item.flags &= static_cast<std::uint16_t>(~Item::kTallied);
  const auto* const self = static_cast<const Process*>(sched::current());
  if (self == nullptr) return;
  const bool is_own = item.stamp <= 1;  // a state machine's says how it waits
  const Process& owner = is_own ? *self : self->system->process(Pid{item.stamp});
  if (!is_own && owner.mailbox.id() != item.stamp) return;  // it has ended
  std::atomic<std::uint64_t>& tallied = region_of(owner).tallied;
  std::uint64_t before = tallied.load(base::relaxed);  // relaxed: a statistic
  while (!tallied.compare_exchange_weak(before, before - std::min<std::uint64_t>(before, item.bytes), base::relaxed)) {
  }
}

[[gnu::noinline]] bool let_go_slow(Item& item, bool goes_on) noexcept {
  if ((item.flags & Item::kTallied) != 0) {
    take_off_tally(item);
    return true;
  }
  auto* const self = static_cast<Process*>(sched::current());
  if (self == nullptr) return false;
  const bool is_own = item.stamp == self->pid().id || item.stamp <= 1;  // a state machine's says how it waits
  if (self->has_region && is_own) [[likely]] {
    Region& region = region_of(*self);
    const std::uint16_t marks = goes_on ? give_refs_up(region, item) : std::uint16_t{0};
    if (unlist(region, item)) [[likely]] {
      item.signal = marks;
      return true;
    }
  }
  if (!goes_on) give_to_owner(*self->system, item);
  return false;
}

std::uint64_t free_held(Region& region) noexcept {
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i != region.size; ++i) {
    bytes += region.held[i]->bytes;
    heap().free_bytes(region.held[i], region.held[i]->bytes);
  }
  if (region.held != region.few) std::free(region.held);
  region.held = nullptr;
  region.size = region.capacity = 0;
  region.returned.store(nullptr, base::relaxed);  // relaxed: they were on the list
  return bytes;
}

}  // namespace

// --- for the others --------------------------------------------------------------------------------------------------

namespace {
constexpr std::size_t kRegionsBytes = std::size_t{ProcessTable::kSlots} * sizeof(Region);
}

Regions::Regions() noexcept {
  void* const memory =
      mmap(nullptr, kRegionsBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory != MAP_FAILED) base_ = static_cast<Region*>(memory);
}

Regions::~Regions() {
  if (base_ != nullptr) munmap(base_, kRegionsBytes);
}

void keep_regions(System& system) noexcept {
  system.keeps_regions = true;
  gc::set_holds(kHolds);
}

namespace {

[[gnu::always_inline]] inline void list(Region& region, std::uint32_t place, Item& item) noexcept {
  item.signal = static_cast<std::uint16_t>(std::min<std::uint32_t>(place, kFar));
  item.flags |= Item::kHeld;
  region.held[place] = &item;
  region.size = place + 1;
}

[[gnu::noinline]] void hold_slow(const Process& process, Region& region, Item& item) noexcept {
  if (!process.system->keeps_regions) {  // RG7
    item.flags |= Item::kTallied;
    region.tallied.fetch_add(item.bytes, base::relaxed);  // relaxed: a statistic
    return;
  }
  if (region.returned.load(base::relaxed) != nullptr) take_returned(region);  // relaxed: taken by an exchange
  if (region.size == region.capacity && !grow(region)) return;
  if (item.signal != 0) take_refs_over(region, item);
  list(region, region.size, item);
}

}  // namespace

void hold(Process& process, Item& item) noexcept {
  Region& region = region_of(process);
  const std::uint32_t place = region.size;
  // relaxed: as above
  if (place == region.capacity || item.signal != 0 || region.returned.load(base::relaxed) != nullptr) [[unlikely]] {
    return hold_slow(process, region, item);
  }
  list(region, place, item);
}

// Mostly it is the latest; and is freed next, so that its flags do not matter.
bool let_go(Item& item) noexcept {
  if (auto* const self = static_cast<Process*>(sched::current()); self != nullptr && self->has_region) [[likely]] {
    Region& region = region_of(*self);
    const std::uint32_t last = region.size - 1;
    if (region.size != 0 && region.held[last] == &item) [[likely]] {
      region.size = last;
      return true;
    }
  }
  return let_go_slow(item, false);
}
bool let_go_on(Item& item) noexcept { return let_go_slow(item, true); }

void begin_body(Item& item) noexcept {
  Process* const self = keeper();
  if (self == nullptr) return;
  Holdings* const holdings = holdings_of(region_of(*self));
  if (holdings == nullptr) return;
  holdings->body = &item;
  holdings->pending_size = 0;
}

void end_body(Item& item) noexcept {
  Process* const self = keeper();
  Holdings* const holdings = self == nullptr ? nullptr : region_of(*self).holdings;
  if (holdings == nullptr) return;
  for (std::uint32_t i = 0; i != holdings->pending_size && holdings->body == &item; ++i) {
    const auto at = static_cast<std::size_t>(static_cast<const std::byte*>(holdings->pending[i]) - word(item, 0));
    if (at / sizeof(void*) < kMarked) item.signal |= static_cast<std::uint16_t>(1u << at / sizeof(void*));
  }
  holdings->body = nullptr;
  holdings->pending_size = 0;
}

void begin_birth(Process& parent, Process& born, const void* place, std::size_t bytes) noexcept {
  if (!parent.has_region) return;
  Holdings* const holdings = holdings_of(region_of(parent));
  if (holdings == nullptr) return;
  holdings->newborn = &born;
  holdings->newborn_low = static_cast<const std::byte*>(place);
  holdings->newborn_high = holdings->newborn_low + bytes;
}

void end_birth(Process& parent) noexcept {
  if (Holdings* const holdings = parent.has_region ? region_of(parent).holdings : nullptr) holdings->newborn = nullptr;
}

std::size_t held_bytes(const Process& process) noexcept {
  if (!process.has_region) return 0;
  constexpr std::uint32_t kLookedAt = 10'000;
  const Region& region = region_of(process);
  const std::uint32_t looked_at = std::min(region.size, kLookedAt);
  std::size_t sum = process.system->keeps_regions ? 0 : region.tallied.load(base::relaxed);  // relaxed: as there
  for (std::uint32_t i = 0; i != looked_at; ++i) sum += region.held[i]->bytes;
  if (looked_at != region.size) sum = sum / looked_at * region.size;
  return sum + (region.memory == nullptr ? 0 : region.memory->chunks.bytes());
}

void forget_region(Process& process) noexcept {
  process.has_region = false;
  if (!process.system->keeps_regions) return;
  delete std::exchange(region_of(process).holdings, nullptr);
}

void check_holdings(Process& process) noexcept {
  const Region& region = region_of(process);
  if (region.holdings == nullptr) return;
  region.holdings->forget_changed([&](const Holdings::Entry& entry) {
    return entry.extra == kInMessage || is_own_memory(process, region, entry.at);
  });
}

void return_region(Process& process) noexcept {
  Region& region = region_of(process);
  std::uint64_t bytes = 0;
  if (region.returned.load(base::relaxed) != nullptr) take_returned(region);  // relaxed: taken by an exchange
  // RG6. What the destructors of shared values take hold of meanwhile, they let go of themselves.
  if (Holdings* const holdings = std::exchange(region.holdings, nullptr)) {
    holdings->for_each([&](const Holdings::Entry& entry) {
      // A state that was destroyed by who is no process (a handler that got no stack) has not told.
      if (!process.faulted && is_in_state(process, entry.at)) return;
      // Nor has another process that a Message was handed to, and that took its Ref out (RG5).
      if (entry.extra == kInMessage && !entry.is_unchanged()) return;
      entry.give_back(entry.what, entry.extra);
    });
    delete holdings;
    delete std::exchange(region.holdings, nullptr);
  }
  if (process.system->keeps_regions) {
    bytes += free_held(region);
  } else {
    region.tallied.store(0, base::relaxed);  // relaxed: as above
  }
  if (process.faulted && process.is_handler() && process.start->state_bytes != 0 && process.system->keeps_regions) {
    bytes += process.start->state_bytes;
    heap().free_state(std::exchange(process.closure, nullptr), process.start->state_bytes);
  }
  if (ProcessMemory* const memory = std::exchange(region.memory, nullptr)) {
    if (process.faulted) bytes += memory->chunks.bytes();
    delete memory;
  }
  process.has_region = false;
  if (bytes == 0) return;
  Core& core = core_of(process);
  core.reclaimed.store(core.reclaimed.load(base::relaxed) + bytes, base::relaxed);  // relaxed: a statistic of its own
}

}  // namespace erlking::detail

namespace erlking {

std::pmr::memory_resource* process_memory() {
  Process& self = require_process("process_memory");
  detail::Region& region = detail::region_of(self);
  if (region.memory == nullptr) {
    region.memory = new detail::ProcessMemory;
    self.has_region = true;
  }
  return &region.memory->pools;
}

}  // namespace erlking
