// Reason: why a process ended. A name as OTP's atoms are, an optional detail ({shutdown, Detail} is name "shutdown"
// with a detail), and for an uncaught exception its type, what() and the addresses of the throw; for a contained fault
// those of the fault. Immutable and cheap to copy (the common ones allocate nothing), so one death can tell a hundred
// thousand links. Any thread may hold and compare copies.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace erlking {

/// Why a process ended. Those that are predefined are in namespace reason.
class Reason {
 public:
  /// `normal`.
  constexpr Reason() noexcept = default;
  /// A reason of one's own, e.g. Reason("disk_full", "/var"). Names that are predefined compare equal to those.
  explicit Reason(std::string_view name, std::string_view detail = {});
  explicit Reason(std::integral auto, auto&&...) = delete;  // a reason is a name, not a number: Reason("disk_full")
  /// {shutdown, detail}: an orderly end with something to say; not abnormal.
  static Reason shutdown(std::string_view detail) { return Reason("shutdown", detail); }
  /// An uncaught exception: name "exception", its demangled type, what() (empty for foreign types), return addresses.
  static Reason exception(std::string_view type, std::string_view what, std::span<void* const> backtrace);
  /// A hardware fault that was contained (fault.h): name "segv", "bus" or "stack_overflow"; the detail says what was
  /// tried ("write of 0x10", "stack of 64 KiB"). `backtrace` begins one byte behind the instruction that faulted.
  static Reason segv(std::uintptr_t address, std::string_view detail, std::span<void* const> backtrace) {
    return fault("segv", address, detail, backtrace);
  }
  static Reason bus(std::uintptr_t address, std::string_view detail, std::span<void* const> backtrace) {  ///< likewise
    return fault("bus", address, detail, backtrace);
  }
  static Reason stack_overflow(std::uintptr_t address, std::string_view detail, std::span<void* const> backtrace) {
    return fault("stack_overflow", address, detail, backtrace);  ///< likewise
  }

  Reason(const Reason& other) noexcept : word_(other.word_) { retain(); }
  constexpr Reason(Reason&& other) noexcept : word_(std::exchange(other.word_, kNormal)) {}
  Reason& operator=(const Reason& other) noexcept {
    Reason(other).swap(*this);
    return *this;
  }
  Reason& operator=(Reason&& other) noexcept {
    Reason(std::move(other)).swap(*this);
    return *this;
  }
  constexpr ~Reason() {
    if (!is_code(word_)) release();
  }

  /// What it is called: "normal", "exception", or a name of one's own.
  std::string_view name() const noexcept;
  /// What was said beside the name; empty: nothing.
  std::string_view detail() const noexcept;
  /// Of an exception: its demangled type and what(); empty otherwise.
  std::string_view type() const noexcept;
  std::string_view what() const noexcept;  ///< see type()
  /// Return addresses of the throw or the fault, innermost first; empty if this is neither.
  std::span<void* const> backtrace() const noexcept;

  /// Whether an exception nobody caught ended the process.
  bool is_exception() const noexcept { return !type().empty(); }
  /// Whether a hardware fault did; and at which address (0 also where the processor does not say).
  bool is_fault() const noexcept;
  std::uintptr_t address() const noexcept;  ///< see is_fault()
  /// Not normal, shutdown or {shutdown, _} (SEMANTICS 2.4).
  bool is_abnormal() const noexcept { return word_ != kNormal && name() != "shutdown"; }

  /// One line: name, {name, detail}, or "exception: type: what".
  std::string to_string() const;
  /// backtrace() as text: function and offset of each frame.
  std::vector<std::string> frames() const;
  /// to_string() and, for an exception or a fault, a line per frame.
  std::string report() const;

  /// Equal by name, detail, type and what; the backtrace does not count.
  friend bool operator==(const Reason& a, const Reason& b) noexcept;

  void swap(Reason& other) noexcept { std::swap(word_, other.word_); }

  struct Body;
  /// Predefined reasons, in the order of reason.cc's names.
  enum class Code : std::uint8_t {
    normal,
    shutdown,
    kill,
    killed,
    noproc,
    timeout,
    system_limit,
    noconnection,
    terminate
  };
  /// One of the predefined.
  constexpr explicit Reason(Code code) noexcept : word_(static_cast<std::uintptr_t>(code) << 1 | 1) {}

 private:
  static constexpr std::uintptr_t kNormal = 1;  // Code::normal
  static constexpr bool is_code(std::uintptr_t word) noexcept { return (word & 1) != 0; }
  static Reason fault(std::string_view name, std::uintptr_t address, std::string_view detail,
                      std::span<void* const> backtrace);
  void retain() const noexcept;
  void release() noexcept;
  const Body* body() const noexcept { return reinterpret_cast<const Body*>(word_); }

  std::uintptr_t word_ = kNormal;  // code << 1 | 1, or a counted Body
};

namespace reason {
inline constexpr Reason normal{Reason::Code::normal};              ///< its work was done
inline constexpr Reason shutdown{Reason::Code::shutdown};          ///< told to end, in order
inline constexpr Reason kill{Reason::Code::kill};                  ///< exit(pid, kill) ends it untrappably, as `killed`
inline constexpr Reason killed{Reason::Code::killed};              ///< somebody said exit(pid, kill)
inline constexpr Reason noproc{Reason::Code::noproc};              ///< no such process
inline constexpr Reason timeout{Reason::Code::timeout};            ///< a receive's bound passed and no clause took it
inline constexpr Reason system_limit{Reason::Code::system_limit};  ///< no memory, no process slot left
inline constexpr Reason noconnection{Reason::Code::noconnection};  ///< its node was lost; not yet given
inline constexpr Reason terminate{Reason::Code::terminate};        ///< std::terminate: a throw nobody could catch
}  // namespace reason

namespace detail {
/// A return address as text: function and offset.
std::string frame_text(void* address);
}  // namespace detail

}  // namespace erlking
