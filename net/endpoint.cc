#include "net/endpoint.h"

#include "base/compiler.h"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cstddef>
#include <cstring>
#include <netinet/in.h>
#include <string>
#include <sys/un.h>

namespace erlking {

std::string SocketAddress::to_string() const {
  if (port == 0) return address;
  return fmt::format(fmt::runtime(address.find(':') != address.npos ? "[{}]:{}" : "{}:{}"), address, port);
}

namespace detail {

std::expected<Endpoint, int> ip_endpoint(std::string_view address, std::uint16_t port) {
  const std::string text(address == "localhost" ? "127.0.0.1" : address);
  Endpoint made;
  auto& v4 = reinterpret_cast<sockaddr_in&>(made.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    made.size = sizeof v4;
    return made;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(made.storage);
  if (inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    made.size = sizeof v6;
    return made;
  }
  return std::unexpected(EADDRNOTAVAIL);
}

std::expected<Endpoint, int> unix_endpoint(std::string_view path) {
  Endpoint made;
  auto& local = reinterpret_cast<sockaddr_un&>(made.storage);
  if (path.empty() || path.find('\0') != path.npos) return std::unexpected(EADDRNOTAVAIL);
  if (path.size() >= sizeof local.sun_path) return std::unexpected(ENAMETOOLONG);
  local.sun_family = AF_UNIX;
  std::memcpy(local.sun_path, path.data(), path.size());
  made.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return made;
}

SocketAddress shown(const Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "";
  if (endpoint.family() == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(endpoint.storage);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    return {text, ntohs(v4.sin_port)};
  }
  if (endpoint.family() == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(endpoint.storage);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    return {text, ntohs(v6.sin6_port)};
  }
  const auto& local = reinterpret_cast<const sockaddr_un&>(endpoint.storage);
  const std::size_t length = endpoint.size - std::min<std::size_t>(endpoint.size, offsetof(sockaddr_un, sun_path));
  return {std::string(local.sun_path, strnlen(local.sun_path, length)), 0};
}

EK_NOIPA std::expected<Fd, int> new_socket(int family, int type) {
  const auto non_blocking = wants_non_blocking();
  if (!non_blocking) return std::unexpected(non_blocking.error());
  io::Place place = take_place();
  if (!place) return std::unexpected(EMFILE);
  Fd fd(::socket(family, type | SOCK_CLOEXEC | (*non_blocking ? SOCK_NONBLOCK : 0), 0), std::move(place));
  if (fd.get() < 0) return std::unexpected(errno);
  return fd;
}

bool set_option(int fd, int level, int name, int value) noexcept {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

}  // namespace detail
}  // namespace erlking
