// OsSignalHook: the operating system's signals, of which a program has one handler each, for all who want to know of
// them. The handler is installed for the first hook on a signal, and what was before is there again after the last.
//
//   S1  A place in the table is filled and emptied under the mutex. The handler takes none: it counts itself in at the
//       place (seq_cst), then looks what is there (seq_cst); who empties a place stores that (seq_cst), then waits
//       until nobody is counted in (seq_cst) [signal-place]. So nobody is called after its hook has gone.
//       What was before the first hook is installed again before the place is emptied: so no signal is nobody's.
//   S2  What is called runs in a signal handler, on any thread: it may do what signal-safety(7) allows; errno is kept
//       for it.
#pragma once

#include <cstdint>
#include <expected>
#include <utility>

namespace erlking::detail {

/// While it lives, its function is called for each of its signals. Any thread.
class OsSignalHook {
 public:
  using Call = void (*)(int number, std::intptr_t data) noexcept;

  /// A set of signals, a bit each.
  static constexpr std::uint64_t bit(int number) noexcept { return std::uint64_t{1} << (number - 1); }
  /// Whether a program may handle it: not those that stop or kill it, nor those that say that it has failed.
  static bool is_allowed(int number) noexcept;

  OsSignalHook() noexcept = default;
  /// Those of `signals`, all of them allowed, that `owner` (0: nobody) has no hook for yet; all of them: one without a
  /// place. Else EAGAIN: all 64 places are taken.
  static std::expected<OsSignalHook, int> add(std::uint64_t signals, Call call, std::intptr_t data,
                                              std::uint64_t owner = 0);
  OsSignalHook(OsSignalHook&& other) noexcept : place_(std::exchange(other.place_, -1)) {}
  OsSignalHook& operator=(OsSignalHook&&) = delete;
  ~OsSignalHook();

  bool has_place() const noexcept { return place_ >= 0; }

 private:
  explicit OsSignalHook(int place) noexcept : place_(place) {}
  int place_ = -1;
};

}  // namespace erlking::detail
