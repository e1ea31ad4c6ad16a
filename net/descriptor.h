// Fd: a descriptor that is closed with its owner, and how the caller's driver wants descriptors to be.
#pragma once

#include "gc/gc.h"
#include "io/io.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <utility>

namespace erlking {

struct System;

namespace detail {

/// A descriptor that is closed with its owner. With a Place it is one of those that Options::max_descriptors counts. On
/// the heap `region` also if its owner was lost with the memory of a process it lay in (gc/holds.h).
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd, io::Place place = {}) noexcept : fd_(fd), place_(std::move(place)) { tell_begin(); }
  Fd(Fd&& other) noexcept : fd_(other.release_fd()), place_(std::move(other.place_)) { tell_begin(); }
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release_fd();
      place_ = std::move(other.place_);
      tell_begin();
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  void reset() noexcept;
  int release() noexcept {
    place_.reset();
    return release_fd();
  }
  /// Of the runtime it is counted in; null: it is not.
  io::Limits* limits() const noexcept { return place_.limits(); }

 private:
  int release_fd() noexcept {
    if (const gc::Holds* const holds = gc::holds(); holds != nullptr && fd_ >= 0) [[unlikely]]
      holds->end(this);
    return std::exchange(fd_, -1);
  }
  void tell_begin() const noexcept {
    if (const gc::Holds* const holds = gc::holds(); holds != nullptr && fd_ >= 0) [[unlikely]]
      holds->begin(this, reinterpret_cast<void*>(std::intptr_t{fd_}), &close_lost,
                   reinterpret_cast<std::uintptr_t>(place_.limits()), false);
  }
  static void close_lost(void* fd, std::uintptr_t limits) noexcept;

  int fd_ = -1;
  io::Place place_;
};

/// The right to one more descriptor of the calling process's runtime; none: EMFILE is the answer.
io::Place take_place();

/// The runtime of the calling process; of a thread that is none: std::logic_error.
System& system_of_caller();
/// Whether the caller's driver wants descriptors that do not block; else an errno: there is no driver.
std::expected<bool, int> wants_non_blocking();
/// Makes `fd` close-on-exec, and blocking or not as the caller's driver wants it; 0, or an errno.
int prepare(int fd);

inline std::unexpected<IoError> failure(int code, std::string_view operation, std::size_t transferred = 0) {
  return std::unexpected(IoError::of(code, operation, transferred));
}

}  // namespace detail
}  // namespace erlking
