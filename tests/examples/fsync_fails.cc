// Loaded before libc: a disk whose syncs fail while the file that EK_FSYNC_FAILS names is there.
#include <cerrno>
#include <cstdlib>
#include <sys/syscall.h>
#include <unistd.h>

extern "C" int fdatasync(int fd) {
  const char* const name = std::getenv("EK_FSYNC_FAILS");
  if (name != nullptr && ::access(name, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, fd));
}
