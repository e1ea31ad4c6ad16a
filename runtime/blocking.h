// blocking(): foreign code that waits, on a spare thread in the place of a worker.
//
//   const auto rows = blocking(5s, work);   // nullopt: 5 s have passed
//
// The calling process waits, nobody else. Foreign code cannot be stopped: when the bound passes, or the process ends,
// it runs to its end on its thread and its result is destroyed there. So it must own what it uses, or use what outlives
// it. It runs on no process: self(), send(), receive() and waits are not to be had there, only the members of Runtime.
#pragma once

#include "gc/gc.h"
#include "io/io.h"
#include "runtime/bound.h"
#include "runtime/operation.h"

#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace erlking {

namespace detail {

template <class F>
class BlockingCall final : public io::Call {
 public:
  using Result = std::invoke_result_t<F&>;
  using Stored = std::conditional_t<std::is_void_v<Result>, std::monostate, Result>;

  explicit BlockingCall(F f) : f_(std::move(f)) {}
  // Where a heap that traces finds what f and its result hold.
  static void* operator new(std::size_t bytes) { return gc::detail::allocate_kept(bytes); }
  static void operator delete(void* block) noexcept { gc::detail::free_kept(block); }
  void run() noexcept override {
    gc::enter();
    try {
      if constexpr (std::is_void_v<Result>) {
        f_();
        result_.emplace();
      } else {
        result_.emplace(f_());
      }
    } catch (...) {
      fault_ = std::current_exception();
    }
  }
  Stored take() {
    if (fault_) std::rethrow_exception(std::move(fault_));
    return std::move(*result_);
  }

 private:
  F f_;
  std::optional<Stored> result_;
  std::exception_ptr fault_;
};

}  // namespace detail

/// Runs `f()` on a spare thread and gives what it returns (std::monostate for void), or rethrows what it throws.
/// nullopt: the bound has passed, or the process is ending. Options::spare_threads run at once, the others wait in
/// line, and leave it when their bound passes. Throws std::system_error when the system has no thread at all,
/// std::bad_alloc. On a process only. Costs 10 to 50 µs.
template <class F>
auto blocking(Bound bound, F f) -> std::optional<typename detail::BlockingCall<F>::Stored> {
  using Call = detail::BlockingCall<F>;
  auto call = detail::perform(std::make_unique<Call>(std::move(f)), bound);
  if (call == nullptr) return std::nullopt;
  return static_cast<Call&>(*call).take();
}

}  // namespace erlking
