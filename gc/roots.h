// The cold seam between a heap that traces and who uses it: what is alive, which threads there are, and on which stack
// the collector may work. The runtime implements Roots and fills a Thread per worker; a heap that traces is a Tracer.
//
//   G1  A message needs no root: a block in use says so itself (block.h) and is kept, wherever its address is hidden:
//       in a mailbox's word, in a vector, in a number. What it holds is scanned.
//   G2  So roots are what a program's code holds: stacks, registers, statics (the collector finds those), and what
//       Roots::visit() tells: the stacks of processes, and the states of those that have none.
//   G3  A thread is stopped by a signal, which runs on its alternate stack, as its stack pointer may be anywhere: there
//       it notes where that was (Thread::stopped_at). A stack that some thread runs on, or is about to, is scanned from
//       there, or whole if it is not known.
//   G4  The collector works on a thread's own stack, never on a process's, which is too small: a call is taken there
//       (Thread::own_sp), and where the process's stack was left is noted (Thread::left_at).
// So a switch between processes costs nothing more than on another heap.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace erlking::gc {

/// What is done with roots while all other threads are stopped.
class RootVisitor {
 public:
  virtual ~RootVisitor() = default;
  /// [low, high), aligned to words, may hold pointers to blocks, also into their middle.
  virtual void range(const void* low, const void* high) noexcept = 0;
  /// A stack in [low, high): left at `sp`; if that is not within, it is in use or about to be (G3).
  virtual void stack(const void* low, const void* high, const void* sp) noexcept = 0;
};

/// Whose roots they are. It must not move.
class Roots {
 public:
  virtual ~Roots() = default;
  /// Tells `visitor` all of them. All other threads are stopped, wherever it be: no locks, no allocation.
  virtual void visit(RootVisitor& visitor) noexcept = 0;

  Roots* next = nullptr;  ///< the Tracer's
  bool added = false;     ///< likewise
};

/// A thread as a heap that traces sees it. Its own, but for what it says.
struct Thread {
  /// Where its own stack was left, while it runs on another; null: it never does. Set before it enters.
  const std::atomic<void*>* own_sp = nullptr;
  Roots* roots = nullptr;  ///< of who runs it; null: none but its stack

  // --- the Tracer's ---
  const std::byte *low = nullptr, *high = nullptr;  ///< its own stack
  void* left_at = nullptr;                          ///< G4; null: it did not
  void* stopped_at = nullptr;                       ///< G3; null: it is not, or on its own stack
  Thread *next = nullptr, *prev = nullptr;          ///< all that have entered
  bool entered = false;
};

extern "C" {
/// The calling thread's, set by who has one for it; null: none, and it gets one as it enters.
extern __thread Thread* ek_gc_thread __attribute__((tls_model("initial-exec")));
}

/// Whether what gc_new() and the like make may hold pointers.
enum class Scan : std::uint8_t { all, nothing };

/// What a heap that traces has beside what every heap has. Thread-safe. One collector traces for all heaps of a
/// program.
class Tracer {
 public:
  /// The calling thread is about to hold what is traced: from here on it is stopped and scanned, until it ends, or
  /// leave(). Again and again if you like. On whatever stack.
  virtual void enter() noexcept = 0;
  /// Calls wait(argument), in which the calling thread waits at the system and touches nothing that is traced:
  /// a collection does not disturb it, nor wait for it; one that is under way when it is over is waited for. What its
  /// stacks hold is scanned as ever. The calling thread enters. On whatever stack.
  virtual void rest(void (*wait)(const void*), const void* argument) noexcept = 0;
  /// From here on `roots` are visited, as are those of a Thread that has entered; until forget() has returned.
  virtual void add(Roots& roots) noexcept = 0;
  /// `bytes` for anything but messages: kept while something that is scanned points at its beginning. `alignment`: a
  /// power of two, 64 at most. Zeroed if scanned. The calling thread enters. Null: out of memory.
  virtual void* allocate(std::size_t bytes, Scan scan, std::size_t alignment) noexcept = 0;

 protected:
  ~Tracer() = default;
};

/// As Tracer::enter(), if some heap of the program traces. Any thread, whichever heap its own is.
void enter() noexcept;

/// `roots`, which were added, are visited no more. Any thread.
void forget(Roots& roots) noexcept;

/// The calling thread, which is `thread`, holds nothing any more: if it has entered, it leaves. On its own stack.
void leave(Thread& thread) noexcept;

/// Calls f(argument) on a stack that ends at `sp`, 16-byte aligned, and comes back; *left: the caller's stack pointer
/// meanwhile. f must not throw.
void call_on_stack(void* sp, void** left, void (*f)(void*), void* argument) noexcept;

}  // namespace erlking::gc
