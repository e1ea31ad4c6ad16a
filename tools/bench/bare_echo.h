// BareEcho: the echo server nothing built on it can beat: one thread, one epoll set, no limits, no processes. Another
// process of ours, so that it shares nothing with the measured ones.
#pragma once

#include "tools/bench/child.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace erlking::bench {

class BareEcho {
 public:
  /// Forks: see Child. It serves until it is destroyed.
  static std::expected<std::unique_ptr<BareEcho>, std::string> start();

  std::uint16_t port() const noexcept { return port_; }
  pid_t pid() const noexcept { return child_->pid(); }

 private:
  BareEcho() = default;

  std::unique_ptr<Child> child_;
  std::uint16_t port_ = 0;
};

}  // namespace erlking::bench
