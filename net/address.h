// SocketAddress: where a socket is, or leads to, as text and a number.
#pragma once

#include <cstdint>
#include <string>

namespace erlking {

/// Where a socket is, or leads to.
struct SocketAddress {
  std::string address;     ///< "127.0.0.1", "::1"; of a Unix socket its path, empty if it has none
  std::uint16_t port = 0;  ///< 0: a Unix socket

  /// "127.0.0.1:6379", "[::1]:6379", "/run/x.sock"
  std::string to_string() const;
};

}  // namespace erlking
