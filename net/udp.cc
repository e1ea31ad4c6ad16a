#include "net/udp.h"

#include "base/compiler.h"
#include "net/endpoint.h"
#include "runtime/operation.h"

#include <cerrno>
#include <sys/socket.h>
#include <sys/uio.h>

namespace erlking {

using detail::Endpoint, detail::failure, detail::ip_endpoint, detail::set_option;
using io::Code, io::Operation;

namespace {

// Not inlined, as the others here: errno is this thread's, and their callers' waits may end on another.
EK_NOIPA int bind_now(int fd, Endpoint& at) noexcept { return ::bind(fd, at.get(), at.size) == 0 ? 0 : errno; }
EK_NOIPA int connect_now(int fd, Endpoint& to) noexcept { return ::connect(fd, to.get(), to.size) == 0 ? 0 : errno; }
EK_NOIPA int set_now(int fd, int name, bool on) noexcept { return set_option(fd, SOL_SOCKET, name, on) ? 0 : errno; }

std::expected<void, IoError> send_one(int fd, std::string_view bytes, Endpoint* to, const Bound& bound,
                                      std::string_view operation) {
  if (fd < 0) return failure(EBADF, operation);
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // is only read
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (to != nullptr) {
    message.msg_name = to->get();
    message.msg_namelen = to->size;
  }
  Operation send(Code::send_message, fd, &message);
  if (const std::int32_t sent = detail::perform(send, bound); sent < 0) return failure(-sent, operation);
  return {};
}

}  // namespace

std::expected<Udp, IoError> Udp::bind(const UdpOptions& options) {
  auto at = ip_endpoint(options.address, options.port);
  if (!at) return failure(at.error(), "bind");
  auto fd = detail::new_socket(at->family(), SOCK_DGRAM);
  if (!fd) return failure(fd.error(), "bind");
  int fault = options.reuse_port ? set_now(fd->get(), SO_REUSEPORT, true) : 0;
  if (fault == 0) fault = bind_now(fd->get(), *at);
  if (fault != 0) return failure(fault, "bind");
  return Udp(std::move(*fd));
}

std::expected<void, IoError> Udp::connect(std::string_view address, std::uint16_t port) {
  auto to = ip_endpoint(address, port);
  if (!to) return failure(to.error(), "connect");
  if (const int fault = connect_now(fd_.get(), *to); fault != 0) return failure(fault, "connect");
  return {};
}

std::expected<void, IoError> Udp::send_to(const SocketAddress& to, std::string_view bytes, Bound bound) {
  auto endpoint = ip_endpoint(to.address, to.port);
  if (!endpoint) return failure(endpoint.error(), "send_to");
  return send_one(fd_.get(), bytes, &*endpoint, bound, "send_to");
}

std::expected<void, IoError> Udp::send(std::string_view bytes, Bound bound) {
  return send_one(fd_.get(), bytes, nullptr, bound, "send");
}

std::expected<Datagram, IoError> Udp::receive(std::span<char> into, Bound bound) {
  if (!is_open()) return failure(EBADF, "receive");
  Endpoint from;
  iovec part{into.data(), into.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_name = from.get();
  message.msg_namelen = sizeof from.storage;
  // MSG_TRUNC: how large it was, whatever fits.
  Operation take(Code::receive_message, fd_.get(), &message, 0, MSG_TRUNC);
  const std::int32_t size = detail::perform(take, bound);
  if (size < 0) return failure(-size, "receive");
  from.size = message.msg_namelen;
  const auto bytes = static_cast<std::size_t>(size);
  if (bytes > into.size()) return failure(EMSGSIZE, "receive", bytes);
  return Datagram{bytes, shown(from)};
}

std::expected<void, IoError> Udp::set_broadcast(bool on) {
  if (const int fault = set_now(fd_.get(), SO_BROADCAST, on); fault != 0) return failure(fault, "set_broadcast");
  return {};
}

std::expected<SocketAddress, IoError> Udp::local() const { return detail::asked(fd_.get(), "local", ::getsockname); }
std::expected<SocketAddress, IoError> Udp::peer() const { return detail::asked(fd_.get(), "peer", ::getpeername); }

}  // namespace erlking
