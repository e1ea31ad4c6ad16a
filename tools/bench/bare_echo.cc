#include "tools/bench/bare_echo.h"

#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace erlking::bench {

namespace {

constexpr int kEvents = 128, kBacklog = 1024;
constexpr std::size_t kBufferBytes = 4096;
constexpr base::Nanos kPatience = 5'000'000'000;

// 0, or the port it listens at.
std::uint16_t listen_at(int fd) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const bool good = ::bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0 && ::listen(fd, kBacklog) == 0 &&
                    ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0;
  return good ? ntohs(at.sin_port) : 0;
}

void accept_all(int listener, int epoll) {
  for (int fd = -1; (fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
    if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) ::close(fd);
  }
}

void serve(int link) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
  std::uint16_t port = listen_at(listener);
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) port = 0;
  if (::write(link, &port, sizeof port) != static_cast<ssize_t>(sizeof port) || port == 0) return;
  std::array<char, kBufferBytes> buffer;
  for (;;) {
    std::array<epoll_event, kEvents> events;
    const int n = ::epoll_wait(epoll, events.data(), kEvents, -1);
    if (n < 0 && errno != EINTR) return;
    for (int i = 0; i < n; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == listener) {
        accept_all(listener, epoll);
        continue;
      }
      const ssize_t got = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (got < 0 && errno == EAGAIN) continue;
      // What the load sends always has room on the way back: it has one request under way.
      if (got <= 0 || ::send(fd, buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) != got) ::close(fd);
    }
  }
}

}  // namespace

std::expected<std::unique_ptr<BareEcho>, std::string> BareEcho::start() {
  std::unique_ptr<BareEcho> bare(new BareEcho);
  auto child = Child::start(&serve);
  if (!child) return std::unexpected(child.error());
  bare->child_ = std::move(*child);
  if (!bare->child_->hear(&bare->port_, sizeof bare->port_, kPatience) || bare->port_ == 0) {
    return std::unexpected(std::string("the bare echo server does not start"));
  }
  return bare;
}

}  // namespace erlking::bench
