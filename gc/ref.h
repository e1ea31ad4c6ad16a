// Ref<const T>: a counted reference to an immutable value; the way to send one big value to many processes without
// copying it. share(std::move(value)) makes one. Different threads may hold, copy and drop Refs to one value at will
// (one Ref object belongs to one thread at a time, like any value); the last one destroys it, wherever that is.
//
//   copy          one relaxed fetch_add on the value's line
//   drop          one load when it is the last, else one acq_rel fetch_sub
//   read, move    nothing
//   share         one operator new, which holds count and value
//   each of them, on the heap `region`, in a process: a place in a table taken or given back (holds.h)
//
// It works alike with every Collector: the value lives on none of them. It is in namespace erlking because users
// write it; cycles cannot form, for a value is complete before the first Ref to it exists.
#pragma once

#include "base/atomic.h"
#include "gc/holds.h"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <utility>

namespace erlking {

template <class T>
class Ref;

namespace gc::detail {
struct Counted {
  explicit Counted(void (*how)(Counted*) noexcept) noexcept : destroy(how) {}
  base::Real::atomic<std::uint64_t> count{1};
  void (*const destroy)(Counted*) noexcept;
};
template <class T>
struct Shared : Counted {
  template <class... Args>
  explicit Shared(Args&&... args)
      : Counted([](Counted* shared) noexcept { delete static_cast<Shared*>(shared); }),
        value(std::forward<Args>(args)...) {}
  const T value;
};
/// One reference less, in the place of a Ref that was not destroyed.
inline void drop_counted(void* counted, std::uintptr_t) noexcept {
  auto* const shared = static_cast<Counted*>(counted);
  if (shared->count.fetch_sub(1, base::acq_rel) == 1) shared->destroy(shared);  // as in ~Ref() [drop]
}
}  // namespace gc::detail

/// Moves `value` into shared, immutable storage. Takes rvalues only, so that no copy happens unseen. Throws what
/// operator new or T's move constructor throws. Any thread.
template <class T>
[[nodiscard]] Ref<const std::remove_cvref_t<T>> share(T&& value);

/// A counted reference to an immutable value. An empty one (default constructed or moved from) refers to nothing.
template <class T>
class Ref {
  static_assert(std::is_const_v<T>, "write Ref<const T>: what is shared between processes is immutable");
  using Value = std::remove_const_t<T>;
  using Shared = gc::detail::Shared<Value>;

 public:
  using element_type = T;  ///< const

  /// Refers to nothing.
  constexpr Ref() noexcept = default;
  constexpr Ref(std::nullptr_t) noexcept {}  ///< the same
  Ref(const Ref& other) noexcept : shared_(other.shared_) {
    // relaxed: `other` keeps the value alive meanwhile, and nothing is published by a copy.
    if (shared_ == nullptr) return;
    shared_->count.fetch_add(1, base::relaxed);
    tell_begin();
  }
  constexpr Ref(Ref&& other) noexcept : shared_(std::exchange(other.shared_, nullptr)) {
    if (shared_ == nullptr) return;
    other.tell_end();
    tell_begin();
  }
  Ref& operator=(const Ref& other) noexcept {
    Ref(other).swap(*this);
    return *this;
  }
  Ref& operator=(Ref&& other) noexcept {
    Ref(std::move(other)).swap(*this);
    return *this;
  }
  ~Ref() {
    if (shared_ == nullptr) return;
    tell_end();
    // A count of one is ours alone: nobody else is left to copy it, so the locked instruction can be spared. Either
    // way, what every other holder did with the value happens before its destruction.
    if (shared_->count.load(base::acquire) == 1 ||          // acquire: after the fetch_sub of all others [drop]
        shared_->count.fetch_sub(1, base::acq_rel) == 1) {  // release: feeds the last one's load or fetch_sub [drop]
      delete shared_;
    }
  }

  /// The value; only when not empty. It stays while this Ref or a copy refers to it.
  constexpr T& operator*() const noexcept { return shared_->value; }
  constexpr T* operator->() const noexcept { return &shared_->value; }  ///< a member of it
  /// Its address, or null.
  constexpr T* get() const noexcept { return shared_ == nullptr ? nullptr : &shared_->value; }
  /// Whether it refers to a value.
  constexpr explicit operator bool() const noexcept { return shared_ != nullptr; }

  /// Number of Refs to the value, 0 when empty; out of date at once if other threads hold some.
  std::size_t use_count() const noexcept { return shared_ == nullptr ? 0 : shared_->count.load(base::relaxed); }
  /// Lets go of the value.
  void reset() noexcept { Ref().swap(*this); }
  void swap(Ref& other) noexcept {
    if (shared_ != nullptr) tell_end();
    if (other.shared_ != nullptr) other.tell_end();
    std::swap(shared_, other.shared_);
    if (shared_ != nullptr) tell_begin();
    if (other.shared_ != nullptr) other.tell_begin();
  }

  /// Identity: whether, and in what address order, two Refs refer to one value. Compare values by *a == *b.
  friend constexpr bool operator==(const Ref& a, const Ref& b) noexcept { return a.shared_ == b.shared_; }
  friend constexpr std::strong_ordering operator<=>(const Ref& a, const Ref& b) noexcept {
    return std::compare_three_way{}(a.shared_, b.shared_);
  }
  friend constexpr bool operator==(const Ref& a, std::nullptr_t) noexcept { return a.shared_ == nullptr; }

 private:
  template <class U>
  friend Ref<const std::remove_cvref_t<U>> share(U&& value);
  explicit Ref(Shared* shared) noexcept : shared_(shared) { tell_begin(); }

  // Holds; not of an empty one.
  void tell_begin() const noexcept {
    if (const gc::Holds* const holds = gc::holds()) [[unlikely]]
      holds->begin(this, static_cast<gc::detail::Counted*>(shared_), &gc::detail::drop_counted, 0, true);
  }
  void tell_end() const noexcept {
    if (const gc::Holds* const holds = gc::holds()) [[unlikely]]
      holds->end(this);
  }

  Shared* shared_ = nullptr;
};

template <class T>
Ref<const std::remove_cvref_t<T>> share(T&& value) {
  static_assert(!std::is_lvalue_reference_v<T>,
                "share() takes the value over: write share(std::move(x)), or share(T(x)) for a copy");
  static_assert(!std::is_const_v<T>, "share() cannot move from a const value: make the copy yourself, share(T(x))");
  using Value = std::remove_cvref_t<T>;
  return Ref<const Value>(new gc::detail::Shared<Value>(std::move(value)));
}

}  // namespace erlking

template <class T>
struct std::hash<erlking::Ref<T>> {
  std::size_t operator()(const erlking::Ref<T>& ref) const noexcept { return std::hash<T*>{}(ref.get()); }
};
