#include "net/descriptor.h"

#include "base/compiler.h"
#include "runtime/system.h"

#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace erlking::detail {

void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(release_fd());
  place_.reset();
}

void Fd::close_lost(void* fd, std::uintptr_t limits) noexcept {
  ::close(static_cast<int>(reinterpret_cast<std::intptr_t>(fd)));
  if (limits != 0) reinterpret_cast<io::Limits*>(limits)->give_descriptor();  // there: the lost Place shares in them
}

io::Place take_place() { return io::Place::take(system_of_caller().io.limits()); }

System& system_of_caller() { return *require_process("input and output").system; }

std::expected<bool, int> wants_non_blocking() {
  const io::Choice* const chosen = system_of_caller().io.choice();
  if (chosen == nullptr) return std::unexpected(ENOSYS);
  return chosen->non_blocking;
}

// Not inlined: errno is this thread's, and its callers' waits may end on another.
EK_NOIPA int prepare(int fd) {
  const auto non_blocking = wants_non_blocking();
  if (!non_blocking) return non_blocking.error();
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return errno;
  const int wanted = *non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (::fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || (wanted != flags && ::fcntl(fd, F_SETFL, wanted) < 0)) return errno;
  return 0;
}

}  // namespace erlking::detail
