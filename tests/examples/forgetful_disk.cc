// Loaded before libc: notes in the folder that EK_DISK names what a disk would be sure to have kept if the power failed
// now, for kv_test.py to throw away the rest.
//   INODE     the size that the file had when its last sync began: only that much of it has certainly been written
//   names     what was done to names since their directory was synced, a line each: "+ NAME", made; "r FROM TO",
//             renamed; "- NAME SAVED", removed, or replaced: SAVED, beside names, leads to it still
#include <cstdarg>
#include <cstdlib>
#include <dlfcn.h>
#include <fcntl.h>
#include <fstream>
#include <mutex>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

std::mutex mutex;
unsigned saved = 0;

template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}
std::string at(const std::string& name) { return std::string(std::getenv("EK_DISK")) + "/" + name; }
void note(const std::string& line) { std::ofstream(at("names"), std::ios::app) << line << '\n'; }

// A second name for what is about to lose `path`; empty: there is nothing.
std::string save(const char* path) {
  const std::string to = "saved." + std::to_string(::getpid()) + "." + std::to_string(saved++);
  return ::link(path, at(to).c_str()) == 0 ? to : std::string();
}

int sync_noted(int fd, long number) {
  const std::lock_guard lock(mutex);
  struct stat before {};
  if (::fstat(fd, &before) != 0 || ::syscall(number, fd) != 0) return -1;
  if (S_ISDIR(before.st_mode)) {
    ::unlink(at("names").c_str());
  } else if (S_ISREG(before.st_mode)) {
    const std::string name = at(std::to_string(before.st_ino));
    std::ofstream(name + ".new") << before.st_size;
    ::syscall(SYS_rename, (name + ".new").c_str(), name.c_str());
  }
  return 0;
}

}  // namespace

extern "C" int fdatasync(int fd) { return sync_noted(fd, SYS_fdatasync); }
extern "C" int fsync(int fd) { return sync_noted(fd, SYS_fsync); }

extern "C" int open64(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    va_end(more);
  }
  const auto open_next = [&] { return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode)); };
  if ((flags & O_CREAT) == 0) return open_next();
  const std::lock_guard lock(mutex);
  const bool is_new = ::access(path, F_OK) != 0;
  const int fd = open_next();
  struct stat made {};
  if (fd < 0 || ::fstat(fd, &made) != 0 || !S_ISREG(made.st_mode)) return fd;
  if (is_new) note(std::string("+ ") + path);
  if (is_new || (flags & O_TRUNC) != 0) ::unlink(at(std::to_string(made.st_ino)).c_str());  // of an earlier file
  return fd;
}

extern "C" int rename(const char* from, const char* to) {
  const std::lock_guard lock(mutex);
  if (const std::string old = save(to); !old.empty()) note(std::string("- ") + to + " " + old);
  note(std::string("r ") + from + " " + to);
  return static_cast<int>(::syscall(SYS_rename, from, to));
}

extern "C" int remove(const char* path) {
  const std::lock_guard lock(mutex);
  if (const std::string old = save(path); !old.empty()) note(std::string("- ") + path + " " + old);
  return next<int (*)(const char*)>("remove")(path);
}
