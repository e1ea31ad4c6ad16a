#include "tools/bench/child.h"

#include "tools/bench/machine.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace erlking::bench {

using base::Nanos;

std::expected<std::unique_ptr<Child>, std::string> Child::start(std::move_only_function<void(int link)> work) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return std::unexpected(std::string("no socket pair: ") + std::strerror(errno));
  }
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int fault = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    return std::unexpected(std::string("cannot fork: ") + std::strerror(fault));
  }
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
    ::close(ends[0]);
    work(ends[1]);
    ::_exit(0);
  }
  ::close(ends[1]);
  kill_on_signals(pid);
  return std::unique_ptr<Child>(new Child(pid, ends[0]));
}

Child::~Child() {
  ::close(link_);
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  forget_child(pid_);
}

bool Child::tell(const void* bytes, std::size_t size) noexcept {
  return ::send(link_, bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size);
}

bool Child::hear(void* bytes, std::size_t size, Nanos limit) noexcept {
  const Nanos until = base::monotonic_now() + limit;
  auto* at = static_cast<std::byte*>(bytes);
  while (size != 0) {
    const Nanos left = until - base::monotonic_now();
    if (left <= 0) return false;
    pollfd ready{link_, POLLIN, 0};
    if (::poll(&ready, 1, static_cast<int>(std::min<Nanos>(left / 1'000'000 + 1, 1'000))) <= 0) continue;
    const ssize_t got = ::recv(link_, at, size, 0);
    if (got == 0 || (got < 0 && errno != EINTR)) return false;
    if (got < 0) continue;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool read_all(int fd, void* bytes, std::size_t size) noexcept {
  auto* at = static_cast<std::byte*>(bytes);
  while (size != 0) {
    const ssize_t got = ::read(fd, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace erlking::bench
