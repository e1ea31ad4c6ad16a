// Objects that the collector frees: shared, mutable, in cycles, nothing to give back. For Options.heap = "boehm".
//
//   struct Node { Gc<Node> next; int value; };
//   Gc<Node> a = gc_new<Node>(nullptr, 1);
//   a->next = a;                                   // a cycle: gone with the last pointer from outside
//   std::vector<Gc<Node>, gc_allocator<Gc<Node>>> all{a};
//   send(pid, Graph{a});                           // in a message, too
//   static Root<Node> kept(a);                     // from anywhere
//
// Where a Gc may be: on a stack (a process's, a thread's), in a static, in a message, in an object made by gc_new, in a
// container with a gc_allocator that itself is in one of these, in a handler's or server's state, or in a Root.
// Nowhere else: what lies in memory of malloc or new (of a std::vector, a std::string, a Ref, a std::function), in a
// thread_local or in an exception on its way is not looked at, and what only that points at is freed under it.
// Two processes with a Gc to one object share it: they must agree who writes (a mutex, atomics, or by messages).
// Any thread. A call costs about what malloc costs.
#pragma once

#include "gc/roots.h"

#include <compare>
#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <new>
#include <type_traits>
#include <utility>

namespace erlking {

/// Whether objects of T never hold a Gc: messages and objects of such types are not scanned. Say so of yours:
/// `template <> inline constexpr bool erlking::gc_pointer_free<Ping> = true;`
template <class T>
inline constexpr bool gc_pointer_free = std::is_arithmetic_v<T> || std::is_enum_v<T>;

template <class T>
class Gc;

/// A tag for gc_new(): T's destructor is to run some time after the last pointer to it has gone.
struct Finalized {};
inline constexpr Finalized finalized{};  ///< gc_new<T>(finalized, …)

namespace gc::detail {
/// Memory for gc_new(). Throws std::bad_alloc; std::logic_error: no runtime with heap = "boehm" lives.
void* allocate_traced(std::size_t bytes, Scan scan, std::size_t alignment);
/// Has finalize(object) called once nothing points at it any more.
void set_finalizer(void* object, void (*finalize)(void*) noexcept);
/// Memory that is scanned, and given back by hand; where no heap traces, plain memory. May throw std::bad_alloc.
void* allocate_kept(std::size_t bytes);
void free_kept(void* block) noexcept;
/// A word of such memory.
void** new_root();
void free_root(void** root) noexcept;
}  // namespace gc::detail

/// Makes a T that lives as long as something that is looked at (see above) points at it. Throws std::bad_alloc,
/// std::logic_error without a runtime whose heap traces, and what T's constructor throws.
template <class T, class... Args>
requires(std::constructible_from<T, Args&&...>&& std::is_trivially_destructible_v<T>)
    [[nodiscard]] Gc<T> gc_new(Args&&... args);
/// The same for a T whose destructor matters: it runs on some worker or other thread that just asks for memory, after a
/// collection that found the object unreachable, whatever else was; objects it points at are still there. It must
/// neither wait nor send, nor throw. Never, if the program ends before.
template <class T, class... Args>
requires std::constructible_from<T, Args&&...>
[[nodiscard]] Gc<T> gc_new(Finalized, Args&&... args);

/// A pointer to an object made by gc_new(); as cheap as a plain one, which may stand for it wherever a Gc may be. Null
/// by default.
template <class T>
class Gc {
 public:
  using element_type = T;  ///< may be const

  constexpr Gc() noexcept = default;        ///< null
  constexpr Gc(std::nullptr_t) noexcept {}  ///< the same
  /// Gc<const T> from Gc<T>.
  template <class U>
  requires(std::is_same_v<const U, T>) constexpr Gc(Gc<U> other) noexcept : pointer_(other.get()) {}
  /// Takes up a pointer that came from get().
  static constexpr Gc from(T* pointer) noexcept {
    Gc made;
    made.pointer_ = pointer;
    return made;
  }

  constexpr T& operator*() const noexcept { return *pointer_; }                      ///< only when not null
  constexpr T* operator->() const noexcept { return pointer_; }                      ///< only when not null
  constexpr T* get() const noexcept { return pointer_; }                             ///< its address, or null
  constexpr explicit operator bool() const noexcept { return pointer_ != nullptr; }  ///< whether it is not null

  /// Identity, as of pointers.
  friend constexpr bool operator==(Gc a, Gc b) noexcept { return a.pointer_ == b.pointer_; }
  friend constexpr std::strong_ordering operator<=>(Gc a, Gc b) noexcept {
    return std::compare_three_way{}(a.pointer_, b.pointer_);
  }
  friend constexpr bool operator==(Gc a, std::nullptr_t) noexcept { return a.pointer_ == nullptr; }

 private:
  T* pointer_ = nullptr;
};

/// Keeps an object from anywhere: a member of something in malloc's memory, a thread_local. Costs a block of the
/// collector's each. One Root belongs to one thread at a time.
template <class T>
class Root {
 public:
  /// Throws as gc_new().
  explicit Root(Gc<T> object = nullptr) : root_(gc::detail::new_root()) { *root_ = const_cast<void*>(address(object)); }
  Root(Root&& other) noexcept : root_(std::exchange(other.root_, nullptr)) {}
  Root& operator=(Root&& other) noexcept {
    std::swap(root_, other.root_);
    return *this;
  }
  Root& operator=(Gc<T> object) noexcept {  ///< keeps another; not after it was moved from
    *root_ = const_cast<void*>(address(object));
    return *this;
  }
  ~Root() {
    if (root_ != nullptr) gc::detail::free_root(root_);
  }

  /// What it keeps; null also when moved from.
  Gc<T> get() const noexcept { return root_ == nullptr ? Gc<T>() : Gc<T>::from(static_cast<T*>(*root_)); }
  T* operator->() const noexcept { return get().get(); }  ///< only when not null

 private:
  static const void* address(Gc<T> object) noexcept { return object.get(); }
  void** root_;
};

/// For containers that hold Gc: std::vector<Gc<T>, gc_allocator<Gc<T>>>. Their memory is looked at, and freed by the
/// collector; the elements' destructors run as always.
template <class T>
struct gc_allocator {
  using value_type = T;                    ///< as of every allocator
  using is_always_equal = std::true_type;  ///< likewise
  gc_allocator() noexcept = default;
  template <class U>
  gc_allocator(const gc_allocator<U>&) noexcept {}
  /// Throws as gc_new().
  T* allocate(std::size_t n) {
    static_assert(alignof(T) <= 64);
    if (n > std::numeric_limits<std::size_t>::max() / 2 / sizeof(T)) throw std::bad_array_new_length();
    const auto scan = gc_pointer_free<T> ? gc::Scan::nothing : gc::Scan::all;
    return static_cast<T*>(gc::detail::allocate_traced(n * sizeof(T), scan, alignof(T)));
  }
  void deallocate(T*, std::size_t) noexcept {}  ///< nothing: the collector finds it
  friend bool operator==(gc_allocator, gc_allocator) noexcept { return true; }
};

/// Collects now, however little there is. As a rule the collector knows better. Nothing without a heap that traces.
void gc_collect() noexcept;
/// Counts the longest pause (HeapStats::pause_max) anew from here on.
void gc_forget_pauses() noexcept;

template <class T, class... Args>
requires(std::constructible_from<T, Args&&...>&& std::is_trivially_destructible_v<T>) Gc<T> gc_new(Args&&... args) {
  static_assert(alignof(T) <= 64);
  constexpr auto scan = gc_pointer_free<T> ? gc::Scan::nothing : gc::Scan::all;
  return Gc<T>::from(new (gc::detail::allocate_traced(sizeof(T), scan, alignof(T))) T(std::forward<Args>(args)...));
}

template <class T, class... Args>
requires std::constructible_from<T, Args&&...> Gc<T> gc_new(Finalized, Args&&... args) {
  static_assert(alignof(T) <= 16);
  T* const made =
      new (gc::detail::allocate_traced(sizeof(T), gc::Scan::all, alignof(T))) T(std::forward<Args>(args)...);
  gc::detail::set_finalizer(made, [](void* object) noexcept { static_cast<T*>(object)->~T(); });
  return Gc<T>::from(made);
}

}  // namespace erlking

template <class T>
struct std::hash<erlking::Gc<T>> {
  std::size_t operator()(erlking::Gc<T> pointer) const noexcept { return std::hash<T*>{}(pointer.get()); }
};
