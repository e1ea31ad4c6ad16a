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

/// A descriptor that is closed with its owner.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  void reset() noexcept;
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

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
