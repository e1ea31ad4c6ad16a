// Endpoint: the system's form of a socket's address, and what it is made of. Inside net.
#pragma once

#include "io/io.h"
#include "net/address.h"
#include "net/descriptor.h"

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string_view>
#include <sys/socket.h>

namespace erlking::detail {

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
};

/// Of a number, or of "localhost"; else an errno.
std::expected<Endpoint, int> ip_endpoint(std::string_view address, std::uint16_t port);
/// Of a path; else an errno.
std::expected<Endpoint, int> unix_endpoint(std::string_view path);
/// As users see it.
SocketAddress shown(const Endpoint& endpoint);

/// What `ask`, getsockname or getpeername, says of a socket.
template <class Ask>
std::expected<SocketAddress, IoError> asked(int fd, std::string_view operation, Ask&& ask) {
  Endpoint endpoint;
  endpoint.size = sizeof endpoint.storage;
  if (fd < 0) return failure(EBADF, operation);
  if (ask(fd, endpoint.get(), &endpoint.size) != 0) return failure(errno, operation);
  return shown(endpoint);
}

/// A socket of the caller's driver; else an errno. Not inlined: errno is this thread's, and its callers' waits may end
/// on another.
std::expected<Fd, int> new_socket(int family, int type);
/// False: errno says why.
bool set_option(int fd, int level, int name, int value) noexcept;

}  // namespace erlking::detail
