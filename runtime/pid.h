// The addresses of processes: Pid, Name, Alias, and the reference of a monitor. Plain values; any thread may hold,
// copy, compare.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace erlking {

/// Identifies a process for ever: a slot, the slot's incarnation and the runtime's tag. A pid of a process that has
/// ended, of another runtime, or default-constructed is valid to use and answers `noproc`.
struct Pid {
  std::uint64_t id = 0;  ///< [incarnation 36][runtime tag 6][slot 22]; 0 is nobody

  /// Whether it is anybody's; not whether that one is alive.
  constexpr explicit operator bool() const noexcept { return id != 0; }
  /// An order for containers; it says nothing of age.
  friend constexpr auto operator<=>(Pid, Pid) = default;
};

/// "<tag.slot.incarnation>", as logs show it.
std::string to_string(Pid pid);

/// A registered name, as an address: resolved at each send (SEMANTICS 1.12). The characters must live until the call
/// returns.
struct Name {
  std::string_view name;       ///< as registered
  std::string_view node = {};  ///< empty: this node (others come with the distribution)
};

/// Identifies one monitor of one process.
struct MonitorRef {
  std::uint64_t id = 0;  ///< 0: none
  /// Whether it is any monitor's.
  constexpr explicit operator bool() const noexcept { return id != 0; }
  friend constexpr auto operator<=>(MonitorRef, MonitorRef) = default;
};

/// A revocable address of the process that made it (alias.h): sent to like a pid, and like a pid it may travel in
/// messages.
struct Alias {
  Pid owner;              ///< who made it
  std::uint64_t ref = 0;  ///< its monitor's, if it was made with one
  /// Whether it is anybody's; not whether it is still in use.
  constexpr explicit operator bool() const noexcept { return ref != 0; }
  friend constexpr auto operator<=>(Alias, Alias) = default;
};

}  // namespace erlking

template <>
struct std::hash<erlking::Pid> {
  std::size_t operator()(erlking::Pid pid) const noexcept {
    return std::hash<std::uint64_t>{}(pid.id * 0x9e3779b97f4a7c15u);
  }
};
template <>
struct std::hash<erlking::MonitorRef> {
  std::size_t operator()(erlking::MonitorRef ref) const noexcept { return std::hash<std::uint64_t>{}(ref.id); }
};
template <>
struct std::hash<erlking::Alias> {
  std::size_t operator()(erlking::Alias alias) const noexcept { return std::hash<std::uint64_t>{}(alias.ref); }
};
