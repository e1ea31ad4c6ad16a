#include "net/readiness.h"

#include "net/descriptor.h"

#include <cerrno>
#include <poll.h>
#include <string_view>

namespace erlking {

static_assert(detail::kReadable == POLLIN && detail::kWritable == POLLOUT);

namespace {

std::expected<void, IoError> wait_for(int fd, short events, const Bound& bound, std::string_view operation) {
  if (fd < 0) return detail::failure(EBADF, operation);
  io::Operation poll(io::Code::poll, fd, nullptr, 0, static_cast<std::uint16_t>(events));
  const std::int32_t result = detail::perform(poll, bound);
  if (result < 0) return detail::failure(-result, operation);
  return {};
}

}  // namespace

std::expected<void, IoError> wait_readable(int fd, Bound bound) {
  return wait_for(fd, detail::kReadable, bound, "wait_readable");
}

std::expected<void, IoError> wait_writable(int fd, Bound bound) {
  return wait_for(fd, detail::kWritable, bound, "wait_writable");
}

}  // namespace erlking
