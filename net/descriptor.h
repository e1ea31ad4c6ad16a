// Fd: a descriptor that is closed with its owner, and how the caller's driver wants descriptors to be.
#pragma once

#include "io/io.h"

#include <cstddef>
#include <expected>
#include <string_view>
#include <utility>

namespace erlking {

struct System;

namespace detail {

/// A descriptor that is closed with its owner. With a Place it is one of those that Options::max_descriptors counts.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd, io::Place place = {}) noexcept : fd_(fd), place_(std::move(place)) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)), place_(std::move(other.place_)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
      place_ = std::move(other.place_);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  void reset() noexcept;
  int release() noexcept {
    place_.reset();
    return std::exchange(fd_, -1);
  }
  /// Of the runtime it is counted in; null: it is not.
  io::Limits* limits() const noexcept { return place_.limits(); }

 private:
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
