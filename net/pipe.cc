#include "net/pipe.h"

#include "base/compiler.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace erlking {

using detail::failure;

namespace {

// O_NONBLOCK is a flag of what was opened, which others may share; so it is opened once more, for this program alone.
// Not possible, or no such thing: false.
bool open_anew(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  // Of devices terminals only; and not their other side, which would be another's.
  unsigned other_side = 0;
  const bool is_terminal = S_ISCHR(status.st_mode) && ::isatty(fd) == 1 && ::ioctl(fd, TIOCGPTN, &other_side) != 0;
  if (!S_ISFIFO(status.st_mode) && !is_terminal) return false;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_NONBLOCK) != 0) return false;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const detail::Fd made(::open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  return made.get() >= 0 && ::dup3(made.get(), fd, O_CLOEXEC) == fd;
}

}  // namespace

// Not inlined, as the next one: errno is this thread's, and its callers' waits may end on another.
EK_NOIPA std::expected<PipeEnds, IoError> Pipe::make() {
  const auto non_blocking = detail::wants_non_blocking();
  if (!non_blocking) return failure(non_blocking.error(), "make");
  io::Place first = detail::take_place(), second = detail::take_place();
  if (!first || !second) return failure(EMFILE, "make");
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | (*non_blocking ? O_NONBLOCK : 0)) != 0) return failure(errno, "make");
  return PipeEnds{Pipe(detail::Fd(ends[0], std::move(first))), Pipe(detail::Fd(ends[1], std::move(second)))};
}

EK_NOIPA std::expected<Pipe, IoError> Pipe::adopt(int fd) {
  detail::Fd owned(fd, detail::take_place());
  if (owned.limits() == nullptr) return failure(EMFILE, "adopt");
  const auto non_blocking = detail::wants_non_blocking();
  if (!non_blocking) return failure(non_blocking.error(), "adopt");
  if (*non_blocking && open_anew(fd)) return Pipe(std::move(owned));
  if (const int fault = detail::prepare(fd); fault != 0) return failure(fault, "adopt");
  return Pipe(std::move(owned));
}

}  // namespace erlking
