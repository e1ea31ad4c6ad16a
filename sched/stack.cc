#include "sched/stack.h"

#include "base/atomic.h"
#include "base/log.h"
#include "base/mutex.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace erlking::sched {
namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL, Linux 6.13; newer than our kernel headers
constexpr std::size_t kSlabFirst = std::size_t{4} << 20;   // bytes of a class's first slab; each next one doubles
constexpr std::size_t kSlabMax = std::size_t{64} << 20;    // up to this: a million stacks must not cost 16,000 mappings
constexpr std::size_t kReadyBytes = std::size_t{4} << 20;  // stacks made ready (guarded) at a time: bounds the pause
constexpr unsigned kReadyMax = 64;
constexpr std::size_t kReleaseMax = 256;  // stacks whose memory is given back at a time, and their bytes together
constexpr std::size_t kReleaseBytes = std::size_t{256} << 20;

std::byte* slot_of(const Stack& stack) noexcept { return stack.low - kStackGuard; }

static_assert(stack_class(kStackMin - (kStackColours - 1) * 64) == 0);
static_assert(stack_class(2 * kStackMin - (kStackColours - 1) * 64) == 1, "Stack::cls() must survive the colour");

bool guard_install_works() noexcept {
  void* const page = ::mmap(nullptr, kStackGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  const bool works = ::madvise(page, kStackGuard, kMadvGuardInstall) == 0;
  ::munmap(page, kStackGuard);
  return works;
}

// How many guards mprotect may set: three quarters of what the kernel would bear (each is two mappings), for at its
// limit every other mmap of the program, malloc's too, would fail.
std::size_t mprotect_guards_max() noexcept {
  unsigned long maps = 65530;
  if (std::FILE* const file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
    if (std::fscanf(file, "%lu", &maps) != 1) maps = 65530;
    std::fclose(file);
  }
  return maps / 2 / 4 * 3;
}

// The same advice for many ranges: one system call for all where the kernel has it (a guard 233 ns against 380 singly;
// giving a stack's memory back 1.0 µs against 2.0). False: not all have taken it.
bool advise(std::span<const iovec> ranges, int advice) noexcept {
#if defined(SYS_process_madvise) && defined(SYS_pidfd_open)
  if (ranges.size() > 1) {
    // Opened anew each time: one kept would speak of the parent after a fork.
    const int self = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
    if (self >= 0) {
      const long done = ::syscall(SYS_process_madvise, self, ranges.data(), ranges.size(), advice, 0);
      ::close(self);
      std::size_t bytes = 0;
      for (const iovec& range : ranges) bytes += range.iov_len;
      if (done == static_cast<long>(bytes)) return true;
    }
  }
#endif
  return std::ranges::all_of(
      ranges, [advice](const iovec& range) { return ::madvise(range.iov_base, range.iov_len, advice) == 0; });
}

}  // namespace

struct StackPool::Shared {
  struct Slab {
    std::byte* memory;
    std::size_t bytes;
  };
  struct alignas(base::kCacheLine) Class {
    base::Mutex mutex;
    std::byte** idle EK_GUARDED_BY(mutex) = nullptr;  // slots given back, last in, first out
    std::size_t idle_count EK_GUARDED_BY(mutex) = 0;
    std::size_t capacity EK_GUARDED_BY(mutex) = 0;  // of `idle`: every slot mapped, so that give() cannot fail
    // Of the idle ones, from the bottom, the longest unused: how many have had their memory given back, how many nobody
    // has taken since the period before this began, and since it began. clean <= settled <= untouched <= idle_count.
    std::size_t clean EK_GUARDED_BY(mutex) = 0;
    std::size_t settled EK_GUARDED_BY(mutex) = 0;
    std::size_t untouched EK_GUARDED_BY(mutex) = 0;
    std::size_t noted EK_GUARDED_BY(mutex) = 0;       // this class's part of warm_bytes
    std::byte* fresh EK_GUARDED_BY(mutex) = nullptr;  // newest slab: [fresh, ready) is guarded, never taken;
    std::byte* ready EK_GUARDED_BY(mutex) = nullptr;
    std::byte* end EK_GUARDED_BY(mutex) = nullptr;  // [ready, end) is only mapped
    std::size_t slab_next EK_GUARDED_BY(mutex) = kSlabFirst;
    Slab* slabs EK_GUARDED_BY(mutex) = nullptr;
    std::size_t slab_count EK_GUARDED_BY(mutex) = 0;
    std::size_t made EK_GUARDED_BY(mutex) = 0;
    std::size_t taken EK_GUARDED_BY(mutex) = 0;
  };

  std::byte* next_slot(Class& c, unsigned cls) noexcept EK_REQUIRES(c.mutex);
  bool add_slab(Class& c, unsigned cls) noexcept EK_REQUIRES(c.mutex);
  void make_ready(Class& c, unsigned cls) noexcept EK_REQUIRES(c.mutex);
  void set_guards(std::span<const iovec> pages) noexcept;
  bool reserve(std::size_t bytes) noexcept;
  void note_warm(Class& c, unsigned cls) noexcept EK_REQUIRES(c.mutex);
  std::size_t release_some(Class& c, unsigned cls) noexcept EK_REQUIRES(c.mutex);

  Class classes[kStackClasses];
  std::size_t max_bytes = 0;
  std::size_t mprotect_left_at_most = 0;
  base::Mutex tend_mutex;
  base::Nanos period_began EK_GUARDED_BY(tend_mutex) = 0;
  // relaxed, all: numbers and a mode; what they speak of is published by the class's mutex.
  base::Real::atomic<std::size_t> warm_bytes{0};  // of idle stacks whose memory has not been given back
  base::Real::atomic<std::size_t> released{0};
  base::Real::atomic<std::size_t> reserved{0};
  base::Real::atomic<std::size_t> mprotected{0};
  base::Real::atomic<std::size_t> unguarded{0};
  base::Real::atomic<Guard> guard{Guard::none};
};

StackPool::StackPool(StackOptions options) noexcept : shared_(new (std::nothrow) Shared) {
  if (shared_ == nullptr) return;
  EK_CHECK(::sysconf(_SC_PAGESIZE) == static_cast<long>(kStackGuard));
  shared_->max_bytes = options.max_bytes;
  Guard guard = options.guard == Guard::best ? Guard::install : options.guard;
  if (guard == Guard::install && !guard_install_works()) guard = Guard::mprotect;
  if (guard == Guard::mprotect) {
    shared_->mprotect_left_at_most = mprotect_guards_max();
    char text[160];
    std::snprintf(text, sizeof(text),
                  "stacks are guarded by mprotect, which suffices for %zu of them: MADV_GUARD_INSTALL needs Linux 6.13",
                  shared_->mprotect_left_at_most);
    base::log(base::Level::info, "stacks", text);
  }
  shared_->guard.store(guard, base::relaxed);
}

StackPool::~StackPool() {
  if (shared_ == nullptr) return;
  for (Shared::Class& c : shared_->classes) {
    const base::MutexLock lock(c.mutex);
    for (std::size_t i = 0; i != c.slab_count; ++i) {
#if defined(__SANITIZE_ADDRESS__)
      __asan_unpoison_memory_region(c.slabs[i].memory, c.slabs[i].bytes);
#endif
      ::munmap(c.slabs[i].memory, c.slabs[i].bytes);
    }
    std::free(c.slabs);
    std::free(c.idle);
  }
}

unsigned StackPool::take(unsigned cls, std::span<Stack> out) noexcept {
  EK_CHECK(cls < kStackClasses);
  if (shared_ == nullptr) return 0;
  Shared::Class& c = shared_->classes[cls];
  const base::MutexLock lock(c.mutex);
  unsigned n = 0;
  while (n != out.size()) {
    std::byte* const slot = c.idle_count != 0 ? c.idle[--c.idle_count] : shared_->next_slot(c, cls);
    if (slot == nullptr) break;
    out[n++] = stack_at(slot, cls);
  }
  c.taken += n;
  c.untouched = std::min(c.untouched, c.idle_count);
  c.settled = std::min(c.settled, c.idle_count);
  c.clean = std::min(c.clean, c.idle_count);
  shared_->note_warm(c, cls);
  return n;
}

void StackPool::give(unsigned cls, std::span<const Stack> stacks) noexcept {
  EK_CHECK(cls < kStackClasses && shared_ != nullptr);
  Shared::Class& c = shared_->classes[cls];
  const base::MutexLock lock(c.mutex);
  EK_CHECK(stacks.size() <= c.taken);
  for (const Stack& stack : stacks) {
    EK_DCHECK(stack.cls() == cls);
    c.idle[c.idle_count++] = slot_of(stack);
  }
  c.taken -= stacks.size();
  shared_->note_warm(c, cls);
}

std::size_t StackPool::max_bytes() const noexcept { return shared_ == nullptr ? 0 : shared_->max_bytes; }

Guard StackPool::guard_kind() const noexcept {
  return shared_ == nullptr ? Guard::none : shared_->guard.load(base::relaxed);
}

StackStats StackPool::stats() const noexcept {
  StackStats stats;
  if (shared_ == nullptr) return stats;
  for (Shared::Class& c : shared_->classes) {
    const base::MutexLock lock(c.mutex);
    stats.made += c.made;
    stats.taken += c.taken;
    stats.idle += c.idle_count;
  }
  stats.bytes_reserved = shared_->reserved.load(base::relaxed);
  stats.unguarded = shared_->unguarded.load(base::relaxed);
  stats.released = shared_->released.load(base::relaxed);
  stats.guard = guard_kind();
  return stats;
}

bool StackPool::wants_tending() const noexcept {
  return shared_ != nullptr && shared_->warm_bytes.load(base::relaxed) >= kTendFrom;
}

base::Nanos StackPool::tend(base::Nanos now) noexcept {
  if (!wants_tending()) return base::kForever;
  if (!shared_->tend_mutex.try_lock()) return kTendPeriod;  // somebody is at it
  const bool over = now - shared_->period_began >= kTendPeriod;
  if (over) shared_->period_began = now;
  const base::Nanos rest = shared_->period_began + kTendPeriod - now;
  std::size_t released = 0;
  for (unsigned cls = 0; cls != kStackClasses; ++cls) {
    Shared::Class& c = shared_->classes[cls];
    const base::MutexLock lock(c.mutex);
    if (over) {
      c.settled = c.untouched;
      c.untouched = c.idle_count;
    }
    if (released == 0) released = shared_->release_some(c, cls);
  }
  shared_->tend_mutex.unlock();
  return released != 0 ? 0 : rest;
}

void StackPool::Shared::note_warm(Class& c, unsigned cls) noexcept {
  const std::size_t warm = (c.idle_count - c.clean) * stack_slot_bytes(cls);
  warm_bytes.fetch_add(warm - std::exchange(c.noted, warm), base::relaxed);
}

std::size_t StackPool::Shared::release_some(Class& c, unsigned cls) noexcept {
  const std::size_t slot = stack_slot_bytes(cls);
  const std::size_t n = std::min({kReleaseMax, kReleaseBytes / slot, c.settled - c.clean});
  if (n == 0) return 0;
  // Downward, so that the lowest is taken first, and neighbours are one range.
  std::byte** const first = c.idle + c.clean;
  std::sort(first, first + n, std::greater<>{});
  iovec ranges[kReleaseMax];
  std::size_t count = 0;
  for (std::size_t i = 0; i != n; ++i) {
    if (i != 0 && first[i] + slot == first[i - 1]) {
      iovec& range = ranges[count - 1];
      range = {first[i], range.iov_len + slot};
    } else {
      ranges[count++] = {first[i], slot};
    }
  }
  const bool given = advise({ranges, count}, MADV_DONTNEED);
  c.clean += n;  // also if the system would not have it: another try would be no better
  note_warm(c, cls);
  if (given) released.fetch_add(n * slot, base::relaxed);
  return n * slot;
}

// A slot never taken before; null: out of memory.
std::byte* StackPool::Shared::next_slot(Class& c, unsigned cls) noexcept {
  if (c.fresh == c.ready) {
    if (c.ready == c.end && !add_slab(c, cls)) return nullptr;
    make_ready(c, cls);
  }
  std::byte* const slot = c.fresh;
  c.fresh += stack_slot_bytes(cls);
  return slot;
}

bool StackPool::Shared::add_slab(Class& c, unsigned cls) noexcept {
  const std::size_t slot = stack_slot_bytes(cls);
  // Refused (our bound, or the system's), half as much is tried, down to one stack.
  for (std::size_t some = std::max(c.slab_next, slot); some >= slot; some /= 2) {
    const std::size_t bytes = some / slot * slot;
    // Room for the bookkeeping first: give() must not fail.
    auto* const idle = static_cast<std::byte**>(std::realloc(c.idle, (c.capacity + bytes / slot) * sizeof(std::byte*)));
    if (idle == nullptr) continue;
    c.idle = idle;
    auto* const slabs = static_cast<Slab*>(std::realloc(c.slabs, (c.slab_count + 1) * sizeof(Slab)));
    if (slabs == nullptr) continue;
    c.slabs = slabs;
    if (!reserve(bytes)) continue;
    void* const memory =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      reserved.fetch_sub(bytes, base::relaxed);
      continue;
    }
    // A huge page would commit 2 MiB for the first frame of one stack.
    static_cast<void>(::madvise(memory, bytes, MADV_NOHUGEPAGE));
    c.slabs[c.slab_count++] = {static_cast<std::byte*>(memory), bytes};
    c.capacity += bytes / slot;
    c.fresh = c.ready = static_cast<std::byte*>(memory);
    c.end = c.fresh + bytes;
    c.slab_next = std::min(std::max(some, kSlabFirst) * 2, kSlabMax);
    return true;
  }
  return false;
}

// The next run of slots gets its guards.
void StackPool::Shared::make_ready(Class& c, unsigned cls) noexcept {
  const std::size_t slot = stack_slot_bytes(cls);
  const std::size_t most = std::clamp<std::size_t>(kReadyBytes / slot, 1, kReadyMax);
  const std::size_t n = std::min(most, static_cast<std::size_t>(c.end - c.ready) / slot);
  iovec pages[kReadyMax];
  for (std::size_t i = 0; i != n; ++i) pages[i] = {c.ready + i * slot, kStackGuard};
  set_guards({pages, n});
  c.ready += n * slot;
  c.made += n;
}

void StackPool::Shared::set_guards(std::span<const iovec> pages) noexcept {
  switch (guard.load(base::relaxed)) {
    case Guard::install:
      if (!advise(pages, kMadvGuardInstall)) unguarded.fetch_add(pages.size(), base::relaxed);
      return;
    case Guard::mprotect:
      for (const iovec& page : pages) {
        if (mprotected.load(base::relaxed) >= mprotect_left_at_most ||
            ::mprotect(page.iov_base, page.iov_len, PROT_NONE) != 0) {
          // The limit of mappings: none for further ones, and counted. Said by whoever finds it first.
          if (guard.exchange(Guard::none, base::relaxed) != Guard::none) {
            base::log(base::Level::warning, "stacks",
                      "the system has no mappings left for guards (vm.max_map_count): further stacks go without");
          }
          unguarded.fetch_add(1, base::relaxed);
        } else {
          mprotected.fetch_add(1, base::relaxed);
        }
      }
      return;
    case Guard::best:
    case Guard::none:
      if (mprotect_left_at_most != 0) unguarded.fetch_add(pages.size(), base::relaxed);
      return;
  }
}

bool StackPool::Shared::reserve(std::size_t bytes) noexcept {
  std::size_t now = reserved.load(base::relaxed);
  do {
    if (bytes > max_bytes - now) return false;
  } while (!reserved.compare_exchange_weak(now, now + bytes, base::relaxed, base::relaxed));
  return true;
}

StackCache::StackCache(StackPool& pool, bool lean) noexcept : pool_(pool), lean_(lean) {
  const std::size_t bytes = std::min(std::size_t{64} << 20, pool.max_bytes() / 64);
  for (unsigned cls = 0; cls != kStackClasses; ++cls) {
    keep_[cls] = static_cast<unsigned>(std::clamp<std::size_t>(bytes / stack_slot_bytes(cls), 2, kKeep));
  }
}

[[gnu::noinline]] Stack StackCache::take_miss(unsigned cls) noexcept {
  Stack stacks[kBatch];
  const unsigned n = pool_.take(cls, {stacks, lean_ ? 1 : batch(cls)});
  if (n == 0) return {};
  for (unsigned i = n; i != 0; --i)
    warm_[cls][counts_[cls]++] = slot_of(stacks[i - 1]);  // the pool's warmest came first
  return take_class(cls);
}

[[gnu::noinline]] void StackCache::give_coldest(unsigned cls, unsigned n) noexcept {
  EK_CHECK(n <= kBatch);
  std::byte** const warm = warm_[cls];
  Stack stacks[kBatch];
  for (unsigned i = 0; i != n; ++i) stacks[i] = stack_at(warm[i], cls);
  pool_.give(cls, {stacks, n});
  std::copy(warm + n, warm + counts_[cls], warm);
  counts_[cls] -= n;
}

void StackCache::flush() noexcept {
  for (unsigned cls = 0; cls != kStackClasses; ++cls) {
    while (counts_[cls] != 0) give_coldest(cls, std::min(counts_[cls], kBatch));
  }
}

// Not for AddressSanitizer, to which what lies between a live frame's variables is no business of ours.
[[gnu::no_sanitize_address]] std::size_t high_water(const Stack& stack) noexcept {
  // Pages never touched are not in memory, and reading them would make them so: mincore tells which.
  unsigned char resident[64];
  for (std::byte* at = stack.low; at < stack.top;) {
    const std::size_t rest = (static_cast<std::size_t>(stack.top - at) + kStackGuard - 1) / kStackGuard;
    const std::size_t pages = std::min(rest, sizeof(resident));
    if (::mincore(at, pages * kStackGuard, resident) != 0) return 0;
    for (std::size_t i = 0; i != pages; ++i, at += kStackGuard) {
      if ((resident[i] & 1) == 0) continue;
      std::byte* const page_end = std::min(at + kStackGuard, stack.top);
      std::byte* found = at;
      while (found != page_end && *found == std::byte{0}) ++found;
      if (found != page_end) return static_cast<std::size_t>(stack.top - found);
    }
  }
  return 0;
}

}  // namespace erlking::sched
