#include "net/socket.h"

#include "base/compiler.h"
#include "runtime/operation.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <new>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace erlking {

namespace {

using io::Code, io::Operation;

constexpr std::size_t kMostAtOnce = 1u << 30;  // of one system call
constexpr Duration kNoDescriptor = std::chrono::milliseconds(50);

std::unexpected<IoError> failure(int code, std::string_view operation, std::size_t transferred = 0) {
  return std::unexpected(IoError::of(code, operation, transferred));
}

// The system's form of an address.
struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;

  sockaddr* get() noexcept { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const noexcept { return storage.ss_family; }
};

std::expected<Endpoint, int> tcp_endpoint(std::string_view address, std::uint16_t port) {
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

template <class Ask>
std::expected<SocketAddress, IoError> asked(int fd, std::string_view operation, Ask&& ask) {
  Endpoint endpoint;
  endpoint.size = sizeof endpoint.storage;
  if (fd < 0) return failure(EBADF, operation);
  if (ask(fd, endpoint.get(), &endpoint.size) != 0) return failure(errno, operation);
  return shown(endpoint);
}

System& system_of_caller() { return *require_process("input and output").system; }

// What the driver wants descriptors to be; nothing: there is no driver.
std::expected<int, int> socket_flags() {
  const io::Choice* const chosen = system_of_caller().io.choice();
  if (chosen == nullptr) return std::unexpected(ENOSYS);
  return SOCK_CLOEXEC | (chosen->non_blocking ? SOCK_NONBLOCK : 0);
}

// Not inlined: errno is this thread's, and its callers' waits may end on another.
EK_NOIPA std::expected<detail::Fd, int> new_socket(int family) {
  const auto flags = socket_flags();
  if (!flags) return std::unexpected(flags.error());
  detail::Fd fd(::socket(family, SOCK_STREAM | *flags, 0));
  if (fd.get() < 0) return std::unexpected(errno);
  return fd;
}

bool set(int fd, int level, int name, int value) noexcept {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

}  // namespace

std::string SocketAddress::to_string() const {
  if (port == 0) return address;
  return fmt::format(fmt::runtime(address.find(':') != address.npos ? "[{}]:{}" : "{}:{}"), address, port);
}

namespace detail {

void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::size_t ReadBuffer::take(char* to, std::size_t n) noexcept {
  n = std::min(n, size());
  if (n != 0) std::memcpy(to, bytes_.get() + begin_, n);
  drop(n);
  return n;
}

void ReadBuffer::drop(std::size_t n) noexcept {
  begin_ += n;
  if (begin_ != end_) return;
  bytes_.reset();  // an idle connection keeps nothing
  begin_ = end_ = capacity_ = 0;
}

std::span<char> ReadBuffer::room(std::size_t n) {
  if (capacity_ - end_ < n) {
    const std::size_t kept = size();
    if (capacity_ >= kept + n) {
      std::memmove(bytes_.get(), bytes_.get() + begin_, kept);
    } else {
      const std::size_t wanted = std::max(kept + n, 2 * capacity_);
      auto larger = std::make_unique_for_overwrite<char[]>(wanted);
      if (kept != 0) std::memcpy(larger.get(), bytes_.get() + begin_, kept);
      bytes_ = std::move(larger);
      capacity_ = wanted;
    }
    begin_ = 0;
    end_ = kept;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

void ReadBuffer::put_back(std::string_view bytes) {
  if (bytes.empty()) return;
  EK_DCHECK(size() == 0);
  begin_ = end_ = 0;
  std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
  fill(bytes.size());
}

}  // namespace detail

// --- Socket ----------------------------------------------------------------------------------------------------------

std::expected<Socket, IoError> Socket::adopt(int fd) {
  detail::Fd owned(fd);
  const io::Choice* const chosen = system_of_caller().io.choice();
  if (chosen == nullptr) return failure(ENOSYS, "adopt");
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return failure(errno, "adopt");
  const int wanted = chosen->non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || (wanted != flags && ::fcntl(fd, F_SETFL, wanted) < 0)) {
    return failure(errno, "adopt");
  }
  return Socket(std::move(owned));
}

std::expected<std::size_t, IoError> Socket::receive(char* into, std::size_t n, const Bound& bound,
                                                    std::string_view operation) {
  if (!is_open()) return failure(EBADF, operation);
  Operation recv(Code::recv, fd_.get(), into, std::min(n, kMostAtOnce));
  const std::int32_t got = detail::perform(recv, bound);
  if (got < 0) return failure(-got, operation);
  return static_cast<std::size_t>(got);
}

std::expected<std::size_t, IoError> Socket::read(std::span<char> into, Bound bound) {
  if (into.empty()) return 0;
  if (buffer_.size() != 0) return buffer_.take(into.data(), into.size());
  return receive(into.data(), into.size(), bound, "read");
}

std::expected<void, IoError> Socket::read_exactly(std::span<char> into, Bound bound) {
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  std::size_t have = buffer_.take(into.data(), into.size());
  while (have < into.size()) {
    // Should the process be ended in here, what has come is lost with the socket.
    const auto got = receive(into.data() + have, into.size() - have, deadline, "read_exactly");
    if (got && *got != 0) {
      have += *got;
      continue;
    }
    buffer_.put_back({into.data(), have});
    if (!got) return failure(got.error().code, "read_exactly", have);
    return std::unexpected(IoError{IoFailure::end_of_stream, 0, "read_exactly", have});
  }
  return {};
}

std::expected<std::string, IoError> Socket::read_until(std::string_view delimiter, std::size_t limit, Bound bound) {
  constexpr std::size_t kStep = 4096;
  if (delimiter.empty()) return failure(EINVAL, "read_until");
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  for (std::size_t searched = 0;;) {
    const std::string_view have = buffer_.view();
    const std::size_t at = have.find(delimiter, searched);
    if (at <= limit) {  // npos is more
      std::string found(have.substr(0, at));
      buffer_.drop(at + delimiter.size());
      return found;
    }
    if (at != have.npos || have.size() >= limit + delimiter.size()) {
      return std::unexpected(IoError{IoFailure::too_large, 0, "read_until", have.size()});
    }
    searched = have.size() < delimiter.size() ? 0 : have.size() - delimiter.size() + 1;
    const std::span<char> room = buffer_.room(kStep);
    const auto got = receive(room.data(), room.size(), deadline, "read_until");
    if (!got) return failure(got.error().code, "read_until", buffer_.size());
    if (*got == 0) return std::unexpected(IoError{IoFailure::end_of_stream, 0, "read_until", buffer_.size()});
    buffer_.fill(*got);
  }
}

std::expected<void, IoError> Socket::write(std::string_view bytes, Bound bound) {
  if (!is_open()) return failure(EBADF, "write");
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  for (std::size_t sent = 0; sent < bytes.size();) {
    const std::string_view rest = bytes.substr(sent, kMostAtOnce);
    Operation send(Code::send, fd_.get(), const_cast<char*>(rest.data()), rest.size());  // is only read
    const std::int32_t result = detail::perform(send, deadline);
    if (result < 0) return failure(-result, "write", sent);
    sent += static_cast<std::size_t>(result);
  }
  return {};
}

std::expected<void, IoError> Socket::shutdown(Side side) {
  const int how = side == Side::read ? SHUT_RD : side == Side::write ? SHUT_WR : SHUT_RDWR;
  if (::shutdown(fd_.get(), how) != 0) return failure(errno, "shutdown");
  return {};
}

void Socket::close() noexcept {
  fd_.reset();
  buffer_.drop(buffer_.size());
}

std::expected<void, IoError> Socket::set_no_delay(bool on) {
  if (!set(fd_.get(), IPPROTO_TCP, TCP_NODELAY, on)) return failure(errno, "set_no_delay");
  return {};
}

std::expected<void, IoError> Socket::set_keep_alive(bool on, Duration idle) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(idle).count();
  if (seconds < 1 || seconds > 32'767) return failure(EINVAL, "set_keep_alive");
  const int after = static_cast<int>(seconds);
  if (!set(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, on) || !set(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, after) ||
      !set(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, after) || !set(fd_.get(), IPPROTO_TCP, TCP_KEEPCNT, 9)) {
    return failure(errno, "set_keep_alive");
  }
  return {};
}

std::expected<SocketAddress, IoError> Socket::local() const { return asked(fd_.get(), "local", ::getsockname); }
std::expected<SocketAddress, IoError> Socket::peer() const { return asked(fd_.get(), "peer", ::getpeername); }

// --- Listener --------------------------------------------------------------------------------------------------------

std::expected<Socket, IoError> Listener::accept(Bound bound) {
  if (!is_open()) return failure(EBADF, "accept");
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  for (;;) {
    Operation accept(Code::accept, fd_.get());
    const std::int32_t result = detail::perform(accept, deadline);
    if (result >= 0) {
      Socket made{detail::Fd(result)};
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
      auto fd = new_socket(to->family());
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
    auto fd = new_socket(at->family());
    if (!fd) return failure(fd.error(), "listen");
    if (path.empty() && !set(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1)) return failure(errno, "listen");
    if (reuse_port && !set(fd->get(), SOL_SOCKET, SO_REUSEPORT, 1)) return failure(errno, "listen");
    if (::bind(fd->get(), at->get(), at->size) != 0) return failure(errno, "listen");
    if (::listen(fd->get(), backlog) != 0) return failure(errno, "listen");
    return Listener(std::move(*fd), std::move(path));
  }
};

}  // namespace detail

std::expected<Socket, IoError> tcp::connect(std::string_view address, std::uint16_t port, Bound bound) {
  return detail::Connector::connect(tcp_endpoint(address, port), bound);
}

std::expected<Listener, IoError> tcp::listen(const ListenOptions& options) {
  return detail::Connector::listen(tcp_endpoint(options.address, options.port), options.backlog, options.reuse_port,
                                   {});
}

std::expected<Socket, IoError> unix_socket::connect(std::string_view path, Bound bound) {
  return detail::Connector::connect(unix_endpoint(path), bound);
}

std::expected<Listener, IoError> unix_socket::listen(const ListenOptions& options) {
  return detail::Connector::listen(unix_endpoint(options.path), options.backlog, false, options.path);
}

}  // namespace erlking
