// Child: a part of the bench in a process of its own, so that what it does shares nothing with the rest but the
// machine. Asleep until it is told something; it ends with us. One thread on either side.
#pragma once

#include "base/clock.h"

#include <cstddef>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <sys/types.h>

namespace erlking::bench {

class Child {
 public:
  /// Forks, which needs a process with one thread. The child calls `work` with its end of a stream, and ends when that
  /// returns, at the latest when the other end is closed.
  static std::expected<std::unique_ptr<Child>, std::string> start(std::move_only_function<void(int link)> work);
  /// Ends it, by force.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Sends it `size` bytes; false: it is gone.
  bool tell(const void* bytes, std::size_t size) noexcept;
  /// Receives exactly `size` bytes, within `limit` ns; false: it did not answer, or is gone.
  bool hear(void* bytes, std::size_t size, base::Nanos limit) noexcept;

  pid_t pid() const noexcept { return pid_; }

 private:
  Child(pid_t pid, int link) noexcept : pid_(pid), link_(link) {}

  pid_t pid_;
  int link_;
};

/// For the child's side: reads exactly so much; false: the parent is gone.
bool read_all(int fd, void* bytes, std::size_t size) noexcept;

}  // namespace erlking::bench
