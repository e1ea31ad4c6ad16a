#include "net/socket.h"

#include "net/endpoint.h"
#include "net/resolve.h"
#include "runtime/operation.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <algorithm>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace erlking {

using detail::asked, detail::Endpoint, detail::failure, detail::ip_endpoint, detail::new_socket, detail::set_option;
using detail::system_of_caller, detail::unix_endpoint;
using io::Code, io::Operation;

namespace {

constexpr Duration kNoDescriptor = std::chrono::milliseconds(50);
constexpr std::size_t kParts = 32;  // of one system call; they lie on the caller's stack

// What the first of `n` that are tried in turn may take of `deadline`.
Bound share_of(const Bound& deadline, std::size_t n) {
  if (deadline.is_forever()) return deadline;
  const auto left = base::to_time_point(deadline.ns()) - now();
  return now() + left / static_cast<int>(n);
}

}  // namespace

// --- Socket ----------------------------------------------------------------------------------------------------------

std::expected<Socket, IoError> Socket::adopt(int fd) {
  detail::Fd owned(fd, detail::take_place());
  if (owned.limits() == nullptr) return failure(EMFILE, "adopt");
  if (const int fault = detail::prepare(fd); fault != 0) return failure(fault, "adopt");
  return Socket(std::move(owned));
}

std::expected<void, IoError> Socket::write(std::span<const std::string_view> parts, Bound bound) {
  if (!is_open()) return failure(EBADF, "write");
  const Bound deadline = bound.is_poll() ? bound : detail::deadline_of(system_of_caller(), bound);
  std::size_t sent = 0;  // bytes in all
  if (layer() != nullptr) {
    for (const std::string_view part : parts) {
      if (auto outcome = layer()->write(*this, part, deadline); !outcome) {
        outcome.error().transferred += sent;
        return outcome;
      }
      sent += part.size();
    }
    return {};
  }
  std::size_t first = 0, gone = 0;  // the first part that has not gone whole, and what of it has
  for (;;) {
    while (first < parts.size() && gone == parts[first].size()) ++first, gone = 0;
    if (first == parts.size()) return {};
    iovec next[kParts];
    std::size_t count = 0;
    for (std::size_t skip = gone; count < std::min(kParts, parts.size() - first); ++count, skip = 0) {
      const std::string_view part = parts[first + count].substr(skip);
      next[count] = {const_cast<char*>(part.data()), part.size()};  // is only read
    }
    msghdr message{};
    message.msg_iov = next;
    message.msg_iovlen = count;
    Operation give(Code::send_message, fd(), &message);
    const std::int32_t result = detail::perform(give, deadline);
    if (result < 0) return failure(-result, "write", sent);
    sent += static_cast<std::size_t>(result);
    for (auto left = static_cast<std::size_t>(result); left != 0;) {
      const std::size_t of_it = std::min(left, parts[first].size() - gone);
      left -= of_it;
      gone += of_it;
      if (gone == parts[first].size()) ++first, gone = 0;
    }
  }
}

std::expected<void, IoError> Socket::shutdown(Side side) {
  if (side != Side::read && layer() != nullptr && is_open()) layer()->end(fd());
  const int how = side == Side::read ? SHUT_RD : side == Side::write ? SHUT_WR : SHUT_RDWR;
  if (::shutdown(fd(), how) != 0) return failure(errno, "shutdown");
  return {};
}

std::expected<void, IoError> Socket::set_no_delay(bool on) {
  if (!set_option(fd(), IPPROTO_TCP, TCP_NODELAY, on)) return failure(errno, "set_no_delay");
  return {};
}

std::expected<void, IoError> Socket::set_keep_alive(bool on, Duration idle) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(idle).count();
  if (seconds < 1 || seconds > 32'767) return failure(EINVAL, "set_keep_alive");
  const int after = static_cast<int>(seconds);
  if (!set_option(fd(), SOL_SOCKET, SO_KEEPALIVE, on) || !set_option(fd(), IPPROTO_TCP, TCP_KEEPIDLE, after) ||
      !set_option(fd(), IPPROTO_TCP, TCP_KEEPINTVL, after) || !set_option(fd(), IPPROTO_TCP, TCP_KEEPCNT, 9)) {
    return failure(errno, "set_keep_alive");
  }
  return {};
}

std::expected<SocketAddress, IoError> Socket::local() const { return asked(fd(), "local", ::getsockname); }
std::expected<SocketAddress, IoError> Socket::peer() const { return asked(fd(), "peer", ::getpeername); }

// --- Listener --------------------------------------------------------------------------------------------------------

std::expected<Socket, IoError> Listener::accept(Bound bound) {
  if (!is_open()) return failure(EBADF, "accept");
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  for (;;) {
    io::Place place = detail::take_place();
    Operation accept(Code::accept, fd_.get());
    const std::int32_t result = place ? detail::perform(accept, deadline) : -EMFILE;
    if (result >= 0) {
      Socket made{detail::Fd(result, std::move(place))};
      if (path_.empty()) static_cast<void>(made.set_no_delay(true));
      return made;
    }
    if (result == -ECONNABORTED) continue;  // it was gone again before it was taken
    const IoError error = IoError::of(-result, "accept");
    if (error == IoFailure::limit || error == IoFailure::no_memory) {
      const auto until = now() + kNoDescriptor;
      sleep(deadline.is_forever() ? until : std::min(until, base::to_time_point(deadline.ns())));
    }
    return std::unexpected(error);
  }
}

std::expected<SocketAddress, IoError> Listener::local() const { return asked(fd_.get(), "local", ::getsockname); }

void Listener::close() noexcept {
  if (!is_open()) return;
  if (!path_.empty()) ::unlink(path_.c_str());
  fd_.reset();
  path_.clear();
}

// --- making them -----------------------------------------------------------------------------------------------------

namespace detail {

/// Makes what the functions of tcp and unix_socket give.
class Connector {
 public:
  static std::expected<Socket, IoError> connect(std::expected<Endpoint, int> to, const Bound& bound) {
    if (!to) return failure(to.error(), "connect");
    const Bound deadline = detail::deadline_of(system_of_caller(), bound);
    for (;;) {
      auto fd = new_socket(to->family(), SOCK_STREAM);
      if (!fd) return failure(fd.error(), "connect");
      Operation connect(Code::connect, fd->get(), to->get(), to->size);
      const std::int32_t result = detail::perform(connect, deadline);
      if (result >= 0) {
        Socket made(std::move(*fd));
        if (to->family() != AF_UNIX) static_cast<void>(made.set_no_delay(true));
        return made;
      }
      const bool line_full = to->family() == AF_UNIX && (result == -EBUSY || result == -EAGAIN);
      if (!line_full) return failure(-result, "connect");
      const auto next = now() + std::chrono::milliseconds(1);
      if (!deadline.is_forever() && next >= base::to_time_point(deadline.ns())) return failure(ETIME, "connect");
      sleep(next);
    }
  }

  static std::expected<Listener, IoError> listen(std::expected<Endpoint, int> at, int backlog, bool reuse_port,
                                                 std::string path) {
    if (!at) return failure(at.error(), "listen");
    auto fd = new_socket(at->family(), SOCK_STREAM);
    if (!fd) return failure(fd.error(), "listen");
    if (path.empty() && !set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1)) return failure(errno, "listen");
    if (reuse_port && !set_option(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1)) return failure(errno, "listen");
    if (::bind(fd->get(), at->get(), at->size) != 0) return failure(errno, "listen");
    if (::listen(fd->get(), backlog) != 0) return failure(errno, "listen");
    return Listener(std::move(*fd), std::move(path));
  }
};

}  // namespace detail

std::expected<Socket, IoError> tcp::connect(std::string_view address, std::uint16_t port, Bound bound) {
  if (auto number = ip_endpoint(address, port)) return detail::Connector::connect(std::move(number), bound);
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  const auto addresses = resolve(std::string(address), deadline);
  if (!addresses) return std::unexpected(addresses.error());
  std::expected<Socket, IoError> outcome;
  for (std::size_t left = addresses->size(); left != 0; --left) {
    const std::string& next = (*addresses)[addresses->size() - left];
    outcome = detail::Connector::connect(ip_endpoint(next, port), share_of(deadline, left));
    if (outcome || outcome.error() == IoFailure::limit || outcome.error() == IoFailure::cancelled) break;
  }
  return outcome;
}

std::expected<Listener, IoError> tcp::listen(const ListenOptions& options) {
  return detail::Connector::listen(ip_endpoint(options.address, options.port), options.backlog, options.reuse_port, {});
}

std::expected<Socket, IoError> unix_socket::connect(std::string_view path, Bound bound) {
  return detail::Connector::connect(unix_endpoint(path), bound);
}

std::expected<Listener, IoError> unix_socket::listen(const ListenOptions& options) {
  return detail::Connector::listen(unix_endpoint(options.path), options.backlog, false, options.path);
}

}  // namespace erlking
