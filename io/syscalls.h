// Operations as system calls. Those of descriptors do not wait: what `epoll` does, and what is tried first; those of
// files do: what spare threads do.
#pragma once

#include "io/operation.h"

#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace erlking::io {

/// What `operation` waits for at its descriptor: POLLIN or POLLOUT.
inline short waits_for(const Operation& operation) noexcept {
  switch (operation.code) {
    case Code::recv:
    case Code::accept:
    case Code::read:
    case Code::receive_message:
      return POLLIN;
    case Code::send:
    case Code::connect:
    case Code::write:
    case Code::send_message:
      return POLLOUT;
    default:
      break;
  }
  return (operation.flags & POLLOUT) != 0 ? POLLOUT : POLLIN;
}

/// What became of a connect() that was begun: 0, or -errno; -EAGAIN: nothing yet.
inline std::int32_t connected(int fd) noexcept {
  pollfd look{fd, POLLOUT, 0};
  if (::poll(&look, 1, 0) == 0) return -EAGAIN;
  int fault = 0;
  socklen_t size = sizeof fault;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) != 0) return -errno;
  return -fault;
}

/// The result, or -errno; -EAGAIN: it would have waited.
inline std::int32_t call(Operation& operation) noexcept {
  for (;;) {
    ssize_t result = 0;
    switch (operation.code) {
      case Code::recv:
        result = ::recv(operation.fd, operation.data, operation.size, static_cast<int>(operation.flags) | MSG_DONTWAIT);
        break;
      case Code::send:
        result = ::send(operation.fd, operation.data, operation.size,
                        static_cast<int>(operation.flags) | MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
      case Code::accept:
        result = ::accept4(operation.fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        break;
      case Code::connect:
        result = ::connect(operation.fd, static_cast<const sockaddr*>(operation.data), operation.size);
        if (result < 0 && (errno == EINPROGRESS || errno == EALREADY)) return -EAGAIN;  // the latter: asked again
        if (result < 0 && errno == EAGAIN) return -EBUSY;  // a Unix socket whose line of waiting connections is full
        break;
      case Code::read:
        result = ::read(operation.fd, operation.data, operation.size);
        break;
      case Code::write:
        result = ::write(operation.fd, operation.data, operation.size);
        break;
      case Code::poll: {
        pollfd look{operation.fd, static_cast<short>(operation.flags), 0};
        result = ::poll(&look, 1, 0);
        if (result == 0) return -EAGAIN;
        if (result > 0) return (look.revents & POLLNVAL) != 0 ? -EBADF : look.revents;
        break;
      }
      case Code::send_message:
        result = ::sendmsg(operation.fd, static_cast<const msghdr*>(operation.data),
                           static_cast<int>(operation.flags) | MSG_DONTWAIT | MSG_NOSIGNAL);
        break;
      case Code::receive_message:
        result = ::recvmsg(operation.fd, static_cast<msghdr*>(operation.data),
                           static_cast<int>(operation.flags) | MSG_DONTWAIT);
        break;
      case Code::read_at:
        result = ::pread(operation.fd, operation.data, operation.size, static_cast<off_t>(operation.offset));
        break;
      case Code::write_at:
        result = operation.offset == kAtEnd
                     ? ::write(operation.fd, operation.data, operation.size)
                     : ::pwrite(operation.fd, operation.data, operation.size, static_cast<off_t>(operation.offset));
        break;
      case Code::sync:
        result = ::fsync(operation.fd);
        break;
      case Code::sync_data:
        result = ::fdatasync(operation.fd);
        break;
      case Code::call:
        return -EINVAL;
    }
    if (result >= 0) return static_cast<std::int32_t>(result);
    if (errno == EWOULDBLOCK) return -EAGAIN;
    if (errno != EINTR) return -errno;
  }
}

/// call() of read_at, but of what is in memory only: -EAGAIN, it would have waited, or cannot tell.
inline std::int32_t read_cached(Operation& operation) noexcept {
  const iovec part{operation.data, operation.size};
  const ssize_t result = ::preadv2(operation.fd, &part, 1, static_cast<off_t>(operation.offset), RWF_NOWAIT);
  if (result >= 0) return static_cast<std::int32_t>(result);
  return errno == EOPNOTSUPP || errno == EINTR ? -EAGAIN : -errno;
}

}  // namespace erlking::io
