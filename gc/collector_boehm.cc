// The heap "boehm": what is dropped is found by the Boehm collector (libgc), which stops all threads and marks what can
// be reached. Messages live in blocks of a kind of their own; see roots.h for what is alive.
//
//   M1  A block in use disclaims its end: the collector asks each unmarked block of the kind before it takes it. And
//       what it holds is a root: push_roots() finds all there are by the pages they lie in (Pages). So a message is
//       kept however its address is hidden, and a dropped one marks nothing: chains of them go at once. (libgc would
//       mark from such blocks itself, but forgets some when its mark stack overflows; roots it asks for again.)
//       So what a process held that a fault ended would be kept for ever: it keeps regions, too (runtime/region.h).
//   M2  libgc is told no interior pointers: then blocks of 64 bytes lie at multiples of 64. From stacks and registers
//       it takes them all the same. But when it has had to collect or to grow, it gives a single block, of a size it
//       likes better: that is dropped if it lies elsewhere, and then there are others.
//   M3  Stopping: libgc's handler of the suspend signal takes its own frame for the top of the stack. Ours goes first,
//       on the alternate stack: it notes the stack pointer the signal met, and says that the stack ends where the
//       alternate one does, for that is what libgc then scans: the registers lie there. The thread's own stack, and
//       those of processes, are pushed by push_roots().
//       A thread that rests (Tracer::rest()) is not stopped: libgc knows its own stack from where the wait began.
//   M4  A collection runs on the thread's own stack (G4), so of the collecting thread libgc knows the stack's end.
//   M5  Lists of roots, threads and heaps change under libgc's lock only, which who collects holds.
//   M6  libgc marks with one thread, unless GC_MARKERS says otherwise: a second pays from a few hundred MB of live data
//       on. Never incrementally: that protects pages, and a read(2) into one fails with EFAULT.
// libgc is one for a program: all heaps of this kind, one after another or at the same time, share it.
#include "gc/backends.h"
#include "gc/gc_new.h"
#include "gc/roots.h"

#include <stdexcept>

#if defined(EK_HAS_BOEHM)

#include "base/clock.h"
#include "base/compiler.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <gc/gc_disclaim.h>
#include <gc/gc_inline.h>
#include <gc/gc_mark.h>  // angle brackets: libgc's, which finds its own gc.h beside it
#include <pthread.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

namespace erlking::gc {
namespace {

class Boehm;

using Counter = base::Real::atomic<std::uint64_t>;

// What libgc has only once.
struct Program {
  base::Mutex mutex;
  bool ready EK_GUARDED_BY(mutex) = false;
  base::Real::atomic<unsigned> heaps{0};  // alive
  int kind = 0;                           // of messages' blocks
  struct sigaction suspend {};            // libgc's
  GC_push_other_roots_proc push_before = nullptr;
  // M5
  Roots* roots = nullptr;
  Thread* threads = nullptr;
  Boehm* first = nullptr;
  // The collecting thread writes. relaxed: statistics publish nothing.
  Counter collections{0}, pause_max{0}, pause_last{0}, pause_total{0};
  base::Nanos stopped_since = 0;
};
Program program;

template <class F>
void with_lock(F&& f) noexcept {
  GC_call_with_alloc_lock(
      [](void* argument) -> void* {
        (*static_cast<std::remove_reference_t<F>*>(argument))();
        return nullptr;
      },
      &f);
}

// The pages that blocks of messages were ever seen in: a bit each, in leaves of a GiB. Any thread adds; who has stopped
// all others looks, wherever they be.
class Pages {
 public:
  // False: no memory.
  bool add(const void* at) noexcept {
    const auto page = reinterpret_cast<std::uintptr_t>(at) / kPage;
    Leaf* leaf = find(page / kBits);
    if (leaf == nullptr && (leaf = make(page / kBits)) == nullptr) return false;
    std::atomic<std::uint64_t>& word = leaf->words[page % kBits / 64];
    const std::uint64_t bit = std::uint64_t{1} << page % 64;
    // relaxed: a stopped thread's stores are seen
    if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit, std::memory_order_relaxed);
    return true;
  }
  // Calls keep(page) for each; false: it is forgotten. All others are stopped.
  template <class Keep>
  void for_each(Keep&& keep) noexcept {
    for (Leaf* leaf = first_.load(std::memory_order_relaxed); leaf != nullptr; leaf = leaf->next) {
      for (std::size_t i = 0; i != kBits / 64; ++i) {
        std::uint64_t left = leaf->words[i].load(std::memory_order_relaxed);
        if (left == 0) continue;
        std::uint64_t kept = left;
        for (; left != 0; left &= left - 1) {
          const auto bit = static_cast<unsigned>(std::countr_zero(left));
          const std::uintptr_t page = leaf->number * kBits + i * 64 + bit;
          if (!keep(reinterpret_cast<std::byte*>(page * kPage))) kept &= ~(std::uint64_t{1} << bit);
        }
        leaf->words[i].store(kept, std::memory_order_relaxed);
      }
    }
  }

  static constexpr std::size_t kPage = 4096;  // libgc's

 private:
  static constexpr std::size_t kBits = std::size_t{1} << 18;
  struct Leaf {
    Leaf* next;
    std::uintptr_t number;
    std::atomic<std::uint64_t> words[kBits / 64];
  };

  Leaf* find(std::uintptr_t number) const noexcept {
    Leaf* leaf = first_.load(std::memory_order_acquire);  // [pages-leaf]
    while (leaf != nullptr && leaf->number != number) leaf = leaf->next;
    return leaf;
  }
  Leaf* make(std::uintptr_t number) noexcept {
    const base::MutexLock lock(mutex_);
    if (Leaf* const there = find(number)) return there;
    auto* const leaf = static_cast<Leaf*>(std::calloc(1, sizeof(Leaf)));
    if (leaf == nullptr) return nullptr;
    leaf->next = first_.load(std::memory_order_relaxed);
    leaf->number = number;
    first_.store(leaf, std::memory_order_release);  // [pages-leaf]
    return leaf;
  }

  base::Mutex mutex_;
  std::atomic<Leaf*> first_{nullptr};
};
Pages pages;

bool within(const void* at, const void* low, const void* high) noexcept {
  const std::less<const void*> before;
  return !before(at, low) && before(at, high);
}

// --- what is alive ---------------------------------------------------------------------------------------------------

int GC_CALLBACK is_in_use(void* block) {
  return (static_cast<std::atomic<std::uint64_t>*>(block)->load(std::memory_order_relaxed) & kInUse) != 0;
}

GC_ms_entry* mark_block(GC_word* block, GC_ms_entry* top, GC_ms_entry* limit, GC_word) {
  const GC_word first = *block;
  if (first == kDropped) return top;
  std::size_t bytes = 0;
  const GC_word* at = block;
  if ((first & kInUse) != 0) {  // else free, its link to be followed; or not made yet: what is in it matters already
    if ((first & kPointerFree) != 0) return top;
    at += kBlockHead / sizeof(GC_word);
    bytes = first >> 32;
  }
  if (bytes == 0) bytes = GC_size(block);
  for (const GC_word* const end = block + bytes / sizeof(GC_word); at < end; ++at) {
    top = GC_MARK_AND_PUSH(reinterpret_cast<void*>(*at), top, limit, nullptr);
  }
  return top;
}

class Visitor final : public RootVisitor {
 public:
  void range(const void* low, const void* high) noexcept override {
    GC_push_all_eager(const_cast<void*>(low), const_cast<void*>(high));
  }
  void stack(const void* low, const void* high, const void* sp) noexcept override {
    if (!within(sp, low, high)) {
      sp = high;
      for (const Thread* thread = program.threads; thread != nullptr; thread = thread->next) {
        for (const void* const at : {thread->left_at, thread->stopped_at}) {
          if (within(at, low, sp)) sp = at;
        }
      }
      if (sp == high) sp = low;
    }
    range(sp, high);
  }
};

// M1
void push_blocks(Visitor& visitor) noexcept {
  pages.for_each([&](std::byte* page) {
    std::size_t size = 0;
    if (GC_base(page) != page || GC_get_kind_and_size(page, &size) != program.kind) return false;  // others' by now
    for (std::byte* block = page; block == page || block + size <= page + Pages::kPage; block += size) {
      const std::uint64_t first = *reinterpret_cast<const std::uint64_t*>(block);
      if ((first & kInUse) == 0 || (first & kPointerFree) != 0) continue;
      const std::size_t bytes = first >> 32;
      visitor.range(block + kBlockHead, block + (bytes != 0 ? bytes : size));
    }
    return true;
  });
}

void push_locals(Visitor& visitor) noexcept;

void push_roots() noexcept {
  program.push_before();
  Visitor visitor;
  for (const Thread* thread = program.threads; thread != nullptr; thread = thread->next) {
    if (thread->stopped_at == nullptr) continue;  // it collects; or libgc has seen its stack itself
    if (within(thread->stopped_at, thread->low, thread->high)) {
      visitor.range(thread->stopped_at, thread->high);
    } else if (thread->own_sp != nullptr) {
      const void* const sp = thread->own_sp->load(std::memory_order_relaxed);
      if (within(sp, thread->low, thread->high)) visitor.range(sp, thread->high);
    }
  }
  for (Roots* roots = program.roots; roots != nullptr; roots = roots->next) roots->visit(visitor);
  push_locals(visitor);
  push_blocks(visitor);
}

// --- stopping threads ------------------------------------------------------------------------------------------------

// M3. Async-signal-safe.
void on_suspend(int signal, siginfo_t* info, void* context) {
  Thread* const thread = ek_gc_thread;
  const void* const here = __builtin_frame_address(0);
  const bool elsewhere = thread != nullptr && !within(here, thread->low, thread->high);
  if (elsewhere) {
    stack_t alternate{};
    sigaltstack(nullptr, &alternate);
    GC_stack_base end{};
    end.mem_base = static_cast<std::byte*>(alternate.ss_sp) + alternate.ss_size;
    GC_set_stackbottom(nullptr, &end);
    const auto sp = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP];
    thread->stopped_at = reinterpret_cast<std::byte*>(sp) - 128;  // the red zone
  }
  program.suspend.sa_sigaction(signal, info, context);
  if (elsewhere) {
    thread->stopped_at = nullptr;
    GC_stack_base end{};
    end.mem_base = const_cast<std::byte*>(thread->high);
    GC_set_stackbottom(nullptr, &end);
  }
}

void on_event(GC_EventType event) noexcept {
  const auto add = [](Counter& counter, std::uint64_t n) {
    counter.store(counter.load(base::relaxed) + n, base::relaxed);
  };
  if (event == GC_EVENT_PRE_STOP_WORLD) {
    program.stopped_since = base::monotonic_now();
  } else if (event == GC_EVENT_POST_START_WORLD) {
    const auto pause = static_cast<std::uint64_t>(base::monotonic_now() - program.stopped_since);
    add(program.collections, 1);
    add(program.pause_total, pause);
    program.pause_last.store(pause, base::relaxed);
    if (pause > program.pause_max.load(base::relaxed)) program.pause_max.store(pause, base::relaxed);
  }
}

void unblock_signals() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, GC_get_suspend_signal());
  sigaddset(&set, GC_get_thr_restart_signal());
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

// --- threads ---------------------------------------------------------------------------------------------------------

bool is_main_thread() noexcept { return ::syscall(SYS_gettid) == ::getpid(); }

void find_stack(Thread& thread) noexcept {
  pthread_attr_t attributes;
  void* low = nullptr;
  std::size_t size = 0;
  EK_CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
  pthread_attr_getstack(&attributes, &low, &size);
  pthread_attr_destroy(&attributes);
  thread.low = static_cast<std::byte*>(low);
  thread.high = thread.low + size;
}

// Calls f on this thread's own stack (G4).
template <class F>
void on_own_stack(Thread& thread, F&& f) noexcept {
  const void* const here = __builtin_frame_address(0);
  if (thread.own_sp == nullptr || within(here, thread.low, thread.high)) return f();
  const auto sp = reinterpret_cast<std::uintptr_t>(thread.own_sp->load(std::memory_order_relaxed));
  call_on_stack(
      reinterpret_cast<void*>(sp & ~std::uintptr_t{15}), &thread.left_at,
      [](void* argument) { (*static_cast<std::remove_reference_t<F>*>(argument))(); }, &f);
  thread.left_at = nullptr;
}

void enter_as(Thread& thread) noexcept;
void leave_as(Thread& thread) noexcept;

// Of a thread that nobody has one for.
struct OwnThread {
  Thread thread;
  ~OwnThread() {
    // Not the first thread, which ends with the program.
    if (thread.entered && !is_main_thread()) leave_as(thread);
    if (ek_gc_thread == &thread) ek_gc_thread = nullptr;
  }
};
EK_NOIPA Thread& own_thread() noexcept {
  static thread_local OwnThread own;
  return own.thread;
}

Thread& this_thread() noexcept {
  if (ek_gc_thread == nullptr) ek_gc_thread = &own_thread();
  return *ek_gc_thread;
}

Thread& entered() noexcept {
  Thread& thread = this_thread();
  if (!thread.entered) [[unlikely]]
    enter_as(thread);
  return thread;
}

void add_roots(Roots& roots) noexcept {
  with_lock([&] {
    if (roots.added) return;
    roots.added = true;
    roots.next = program.roots;
    program.roots = &roots;
  });
}

[[gnu::noinline]] void enter_as(Thread& thread) noexcept {
  find_stack(thread);
  // Its stack changes, and then only the alternate one will do for the handler (M3).
  stack_t alternate{};
  EK_CHECK(thread.own_sp == nullptr || (sigaltstack(nullptr, &alternate) == 0 && alternate.ss_flags != SS_DISABLE));
  with_lock([&] {
    thread.prev = nullptr;
    thread.next = program.threads;
    if (thread.next != nullptr) thread.next->prev = &thread;
    program.threads = &thread;
  });
  unblock_signals();
  on_own_stack(thread, [&] {
    GC_stack_base end{};
    end.mem_base = const_cast<std::byte*>(thread.high);
    GC_register_my_thread(&end);  // or it is already: the one that called GC_INIT
  });
  thread.entered = true;
  if (thread.roots != nullptr) add_roots(*thread.roots);
}

[[gnu::noinline]] void leave_as(Thread& thread) noexcept {
  if (!std::exchange(thread.entered, false)) return;
  GC_unregister_my_thread();
  with_lock([&] {
    (thread.prev == nullptr ? program.threads : thread.prev->next) = thread.next;
    if (thread.next != nullptr) thread.next->prev = thread.prev;
  });
}

void finalize_some() noexcept {
  if (GC_should_invoke_finalizers() != 0) [[unlikely]]
    GC_invoke_finalizers();
}

// --- the heap --------------------------------------------------------------------------------------------------------

class Boehm final : public Collector, public Tracer {
 public:
  explicit Boehm(const CollectorOptions& options) noexcept : max_bytes_(options.max_bytes) {
    with_lock([&] {
      next_ = program.first;
      program.first = this;
    });
    program.heaps.fetch_add(1, base::relaxed);
  }
  ~Boehm() override {
    program.heaps.fetch_sub(1, base::relaxed);
    with_lock([&] {
      Boehm** at = &program.first;
      while (*at != this) at = &(*at)->next_;
      *at = next_;
    });
  }

  std::string_view name() const noexcept override { return "boehm"; }
  Tracer* tracer() noexcept override { return this; }
  bool keeps_regions() const noexcept override { return true; }

  Magazine refill(Local&, unsigned cls) noexcept override {
    const std::size_t size = class_size(cls);
    void* blocks = nullptr;
    on_own_stack(entered(), [&] {
      finalize_some();
      for (int tries = 0; tries != kTries; ++tries) {
        GC_generic_malloc_many(size, program.kind, &blocks);
        if ((reinterpret_cast<std::uintptr_t>(blocks) & (kGrain - 1)) == 0) break;
        blocks = nullptr;  // M2
      }
    });
    if (blocks != nullptr && !add_pages(static_cast<const Block*>(blocks))) blocks = nullptr;
    Magazine magazine{static_cast<Block*>(blocks), 1};
    if (blocks == nullptr || !is_bounded()) [[likely]]
      return blocks == nullptr ? Magazine{} : magazine;
    std::size_t bytes = 0;
    for (const Block* block = magazine.head; block != nullptr; block = block->next) bytes += size;
    return reserve(bytes) ? magazine : Magazine{};
  }

  // What a Local had to spare is not in use and not reached: it goes with the next collection.
  void drain(Local&, unsigned cls, Magazine magazine) noexcept override {
    if (!is_bounded()) return;
    std::size_t bytes = 0;
    for (const Block* block = magazine.head; block != nullptr; block = block->next) bytes += class_size(cls);
    given_.fetch_sub(bytes, base::relaxed);
  }

  void* allocate_large(std::size_t bytes) noexcept override {
    if (bytes > max_bytes_.load(base::relaxed) || bytes > kLargest) return nullptr;
    if (is_bounded() && !reserve(bytes)) return nullptr;
    void* block = nullptr;
    on_own_stack(entered(), [&] {
      finalize_some();
      block = GC_generic_malloc(bytes, program.kind);
    });
    if (block == nullptr || !pages.add(block)) {
      if (is_bounded()) given_.fetch_sub(bytes, base::relaxed);
      return nullptr;
    }
    // relaxed, all below: statistics publish nothing.
    large_blocks_.fetch_add(1, base::relaxed);
    large_bytes_.fetch_add(bytes, base::relaxed);
    return block;
  }

  void free_large(void* block, std::size_t bytes) noexcept override {
    EK_CHECK(block != nullptr);
    new (block) Block{reinterpret_cast<Block*>(kDropped)};
    large_blocks_.fetch_sub(1, base::relaxed);
    large_bytes_.fetch_sub(bytes, base::relaxed);
    if (is_bounded()) given_.fetch_sub(bytes, base::relaxed);
  }

  void raise_bound(std::size_t bytes) noexcept override {
    const base::MutexLock lock(bound_mutex_);
    if (!is_bounded()) return;
    const std::size_t bound = max_bytes_.load(base::relaxed);
    // Held below "no bound", for what has been given since the start was counted only with one.
    max_bytes_.store(bound + std::min(bytes, ~bound - 1), base::relaxed);
  }

  HeapStats stats() const noexcept override {
    HeapStats stats;
    stats.name = name();
    stats.bytes_reserved = GC_get_heap_size();
    stats.large_blocks = large_blocks_.load(base::relaxed);
    stats.large_bytes = large_bytes_.load(base::relaxed);
    stats.collections = program.collections.load(base::relaxed);
    stats.pause_max = program.pause_max.load(base::relaxed);
    stats.pause_last = program.pause_last.load(base::relaxed);
    stats.pause_total = program.pause_total.load(base::relaxed);
    add_locals(stats);
    return stats;
  }

  void enter() noexcept override { entered(); }
  void rest(void (*wait)(const void*), const void* argument) noexcept override {
    struct Wait {
      void (*wait)(const void*);
      const void* argument;
    } what{wait, argument};
    on_own_stack(entered(), [&] {
      GC_do_blocking(
          [](void* given) -> void* {
            const Wait& it = *static_cast<const Wait*>(given);
            it.wait(it.argument);
            return nullptr;
          },
          &what);
    });
  }
  void add(Roots& roots) noexcept override { add_roots(roots); }
  void* allocate(std::size_t bytes, Scan scan, std::size_t alignment) noexcept override;

  void push(Visitor& visitor) const noexcept {
    for_each_stopped_local([&](const void* low, const void* high) { visitor.range(low, high); });
  }
  Boehm* next() const noexcept { return next_; }

 private:
  static constexpr int kTries = 8;
  static constexpr std::size_t kLargest = std::numeric_limits<std::uint32_t>::max();  // block.h

  // All of a chain lie in one page, mostly.
  static bool add_pages(const Block* block) noexcept {
    std::uintptr_t last = 0;
    for (; block != nullptr; block = block->next) {
      const auto page = reinterpret_cast<std::uintptr_t>(block) / Pages::kPage;
      if (page != std::exchange(last, page) && !pages.add(block)) return false;
    }
    return true;
  }
  bool is_bounded() const noexcept { return max_bytes_.load(base::relaxed) != std::numeric_limits<std::size_t>::max(); }
  // Counts what is handed out, if it fits: what was before, less what has been dropped since.
  bool reserve(std::size_t bytes) noexcept {
    const base::MutexLock lock(bound_mutex_);
    const std::size_t now = given_.load(base::relaxed) - freed_bytes();
    if (bytes > max_bytes_.load(base::relaxed) - std::min(now, max_bytes_.load(base::relaxed))) return false;
    given_.fetch_add(bytes, base::relaxed);
    return true;
  }

  base::Mutex bound_mutex_;
  base::Real::atomic<std::size_t> max_bytes_;
  base::Real::atomic<std::size_t> given_{0};  // bytes handed out and not come back unused; only with a bound
  base::Real::atomic<std::uint64_t> large_blocks_{0};
  base::Real::atomic<std::size_t> large_bytes_{0};
  Boehm* next_ = nullptr;  // M5
};

void push_locals(Visitor& visitor) noexcept {
  for (const Boehm* heap = program.first; heap != nullptr; heap = heap->next()) heap->push(visitor);
}

void* allocate_on_own_stack(std::size_t bytes, Scan scan, std::size_t alignment) noexcept {
  void* block = nullptr;
  on_own_stack(entered(), [&] {
    finalize_some();
    block = scan == Scan::all ? GC_malloc(bytes) : GC_malloc_atomic(bytes);
    if ((reinterpret_cast<std::uintptr_t>(block) & (alignment - 1)) != 0) block = GC_memalign(alignment, bytes);
  });
  return block;
}

void* Boehm::allocate(std::size_t bytes, Scan scan, std::size_t alignment) noexcept {
  return allocate_on_own_stack(bytes, scan, alignment);
}

// --- once for the program --------------------------------------------------------------------------------------------

void start_collector() noexcept {
  const Thread& thread = this_thread();
  GC_set_all_interior_pointers(0);  // M2
  GC_set_no_dls(0);
  GC_set_finalize_on_demand(1);
  GC_set_warn_proc(GC_ignore_warn_proc);
  if (std::getenv("GC_MARKERS") == nullptr) GC_set_markers_count(1);  // M6
  if (!is_main_thread()) {
    GC_stack_base end{};
    end.mem_base = const_cast<std::byte*>(thread.high);
    GC_set_stackbottom(nullptr, &end);
  }
  GC_INIT();
  GC_allow_register_threads();
  struct sigaction ours {};
  sigaction(GC_get_suspend_signal(), nullptr, &program.suspend);
  ours = program.suspend;
  ours.sa_sigaction = &on_suspend;
  ours.sa_flags |= SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigaction(GC_get_suspend_signal(), &ours, nullptr);
  program.push_before = GC_get_push_other_roots();
  GC_set_push_other_roots(&push_roots);
  GC_set_on_collection_event(&on_event);
  const unsigned mark = GC_new_proc(&mark_block);
  program.kind = static_cast<int>(GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(mark, 0), 0, 1));
  GC_register_disclaim_proc(program.kind, &is_in_use, 0);  // M1
  // Gives the kind its lists of blocks to sweep, which GC_generic_malloc_many() would do only once it finds no free
  // page: until then libgc takes the kind for unused, keeps what it has swept in its free lists, and puts it there
  // again.
  static_cast<void>(GC_generic_malloc(kGrain, program.kind));
}

const char* refusal_of_program() noexcept {
#if defined(__SANITIZE_THREAD__)
  return "ThreadSanitizer does not bear threads that stop in signal handlers";
#endif
#if defined(RUNNING_ON_VALGRIND)
  if (RUNNING_ON_VALGRIND != 0) return "Valgrind does not bear a collector that scans stacks";
#else
  const char* const preloaded = std::getenv("LD_PRELOAD");
  if (preloaded != nullptr && std::strstr(preloaded, "vgpreload") != nullptr) {
    return "Valgrind does not bear a collector that scans stacks";
  }
#endif
  return nullptr;
}

}  // namespace

const char* boehm_refusal() noexcept {
  if (const char* const why = refusal_of_program()) return why;
  const base::MutexLock lock(program.mutex);
  if (program.ready) return nullptr;
  if (GC_is_init_called() != 0) return "the program has started the Boehm collector before, in its own way";
  Thread& thread = this_thread();
  find_stack(thread);
  const void* const here = __builtin_frame_address(0);
  if (!within(here, thread.low, thread.high)) return "its first runtime must be built on a thread, not in a process";
  return nullptr;
}

std::unique_ptr<Collector> make_boehm(const CollectorOptions& options) noexcept {
  {
    const base::MutexLock lock(program.mutex);
    if (!std::exchange(program.ready, true)) start_collector();
  }
  entered();
  return std::unique_ptr<Collector>(new (std::nothrow) Boehm(options));
}

void enter() noexcept {
  if (program.heaps.load(base::relaxed) != 0) entered();
}

void forget(Roots& roots) noexcept {
  with_lock([&] {
    if (!std::exchange(roots.added, false)) return;
    Roots** at = &program.roots;
    while (*at != &roots) at = &(*at)->next;
    *at = roots.next;
  });
}

void leave(Thread& thread) noexcept { leave_as(thread); }

namespace detail {

namespace {
void require_heap() {
  if (program.heaps.load(base::relaxed) != 0) return;
  throw std::logic_error("erlking: gc_new and the like need a runtime whose heap traces (--ek-heap=boehm)");
}
}  // namespace

void* allocate_traced(std::size_t bytes, Scan scan, std::size_t alignment) {
  require_heap();
  void* const block = allocate_on_own_stack(bytes, scan, alignment);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void set_finalizer(void* object, void (*finalize)(void*) noexcept) {
  on_own_stack(entered(), [&] {
    GC_register_finalizer_no_order(
        object, [](void* ended, void* how) { reinterpret_cast<void (*)(void*) noexcept>(how)(ended); },
        reinterpret_cast<void*>(finalize), nullptr, nullptr);
  });
}

void* allocate_kept(std::size_t bytes) {
  if (program.heaps.load(base::relaxed) == 0) return ::operator new(bytes);
  void* block = nullptr;
  on_own_stack(entered(), [&] { block = GC_malloc_uncollectable(bytes); });
  if (block == nullptr) throw std::bad_alloc();
  return block;
}

void free_kept(void* block) noexcept {
  if (GC_is_init_called() == 0 || GC_is_heap_ptr(block) == 0) return ::operator delete(block);
  on_own_stack(entered(), [&] { GC_free(block); });
}

void** new_root() {
  require_heap();
  return static_cast<void**>(allocate_kept(sizeof(void*)));
}

void free_root(void** root) noexcept { free_kept(root); }

}  // namespace detail
}  // namespace erlking::gc

namespace erlking {

void gc_collect() noexcept {
  using namespace gc;
  if (program.heaps.load(base::relaxed) == 0) return;
  on_own_stack(entered(), [] {
    GC_gcollect();
    finalize_some();
  });
}

void gc_forget_pauses() noexcept { gc::program.pause_max.store(0, base::relaxed); }

}  // namespace erlking

#else  // without libgc

namespace erlking::gc {

const char* boehm_refusal() noexcept { return "it was built without the Boehm collector (libgc-dev)"; }
std::unique_ptr<Collector> make_boehm(const CollectorOptions&) noexcept { return nullptr; }
void enter() noexcept {}
void forget(Roots&) noexcept {}
void leave(Thread&) noexcept {}

namespace detail {
namespace {
[[noreturn]] void refuse() {
  throw std::logic_error("erlking: gc_new and the like need the Boehm collector, without which this was built");
}
}  // namespace
void* allocate_traced(std::size_t, Scan, std::size_t) { refuse(); }
void set_finalizer(void*, void (*)(void*) noexcept) {}
void* allocate_kept(std::size_t bytes) { return ::operator new(bytes); }
void free_kept(void* block) noexcept { ::operator delete(block); }
void** new_root() { refuse(); }
void free_root(void**) noexcept {}
}  // namespace detail
}  // namespace erlking::gc

namespace erlking {
void gc_collect() noexcept {}
void gc_forget_pauses() noexcept {}
}  // namespace erlking

#endif
