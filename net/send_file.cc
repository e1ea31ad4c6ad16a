// Socket::send_file. sendfile(2) knows no flag that says "do not wait": neither for the peer, so the socket is made not
// to block meanwhile; nor for the disk, so what is not in memory is read there first by a spare thread, which may end
// later than the call, and does nothing but that.
#include "base/compiler.h"
#include "net/file.h"
#include "net/socket.h"
#include "net/when_ready.h"
#include "runtime/blocking.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <span>
#include <string_view>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <system_error>

namespace erlking {

using detail::failure, detail::Fd;

namespace {

constexpr std::size_t kCopied = 64 * 1024;
constexpr std::uint64_t kStep = 256 * 1024;  // of one system call, in which the worker runs nobody else

// Not inlined, as the others here: errno is this thread's, and their callers' waits may end on another.
EK_NOIPA int flags_of(int fd) noexcept { return ::fcntl(fd, F_GETFL); }
EK_NOIPA void set_flags(int fd, int flags) noexcept { static_cast<void>(::fcntl(fd, F_SETFL, flags)); }
EK_NOIPA Fd copy_of(int fd) noexcept { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

EK_NOIPA std::int64_t send_now(int socket, int file, std::uint64_t offset, std::uint64_t count) noexcept {
  for (;;) {
    auto at = static_cast<off_t>(offset);
    const ssize_t sent = ::sendfile(socket, file, &at, count);
    if (sent >= 0) return sent;
    if (errno != EINTR) return -errno;
  }
}

// Whether the byte can be had without the disk; a file system that cannot say so is taken at its word.
EK_NOIPA bool is_in_memory(int file, std::uint64_t offset) noexcept {
  char byte = 0;
  const iovec into{&byte, 1};
  return ::preadv2(file, &into, 1, static_cast<off_t>(offset), RWF_NOWAIT) >= 0 || errno != EAGAIN;
}

// While it lives, `fd` does not block.
class NonBlocking {
 public:
  explicit NonBlocking(int fd) noexcept : fd_(fd), flags_(flags_of(fd)) {
    if (changes()) set_flags(fd_, flags_ | O_NONBLOCK);
  }
  ~NonBlocking() {
    if (changes()) set_flags(fd_, flags_);
  }
  NonBlocking(const NonBlocking&) = delete;
  NonBlocking& operator=(const NonBlocking&) = delete;

 private:
  bool changes() const noexcept { return flags_ >= 0 && (flags_ & O_NONBLOCK) == 0; }
  int fd_, flags_;
};

// Reads a step of a file into memory; 0, or an errno.
int fetch(int file, std::uint64_t offset, std::uint64_t count, const Bound& bound) {
  Fd copy = copy_of(file);  // the thread may be at it when the file has been closed
  if (copy.get() < 0) return EMFILE;
  try {
    const auto done = blocking(bound, [copy = std::move(copy), offset, count] {
      static_cast<void>(::readahead(copy.get(), static_cast<off_t>(offset), count));
    });
    return done ? 0 : ETIME;
  } catch (const std::system_error& error) {
    return error.code().value();
  }
}

// Where a layer changes the bytes on their way.
std::expected<void, IoError> send_copied(Socket& socket, File& file, std::uint64_t offset, std::uint64_t count,
                                         const Bound& deadline) {
  const auto failed = [](IoError error, std::uint64_t sent) {
    error.operation = "send_file";
    error.transferred = sent;
    return std::unexpected(error);
  };
  const auto buffer = std::make_unique_for_overwrite<char[]>(kCopied);
  for (std::uint64_t sent = 0; sent < count;) {
    const std::span<char> room(buffer.get(), std::min<std::uint64_t>(kCopied, count - sent));
    const auto got = file.read_at(offset + sent, room, deadline);
    if (!got) return failed(got.error(), sent);
    if (*got == 0) return failed({.kind = IoFailure::end_of_stream}, sent);
    if (const auto wrote = socket.write(std::string_view(room.data(), *got), deadline); !wrote) {
      return failed(wrote.error(), sent + wrote.error().transferred);
    }
    sent += *got;
  }
  return {};
}

}  // namespace

std::expected<void, IoError> Socket::send_file(File& file, std::uint64_t offset, std::uint64_t count, Bound bound) {
  if (!is_open() || !file.is_open()) return failure(EBADF, "send_file");
  const Bound deadline = bound.is_poll() ? bound : detail::deadline_of(detail::system_of_caller(), bound);
  if (layer() != nullptr) return send_copied(*this, file, offset, count, deadline);
  const NonBlocking meanwhile(fd());
  for (std::uint64_t sent = 0; sent < count;) {
    const std::uint64_t at = offset + sent, step = std::min(kStep, count - sent);
    if (!is_in_memory(file.fd(), at) || !is_in_memory(file.fd(), at + step - 1)) {
      if (const int fault = fetch(file.fd(), at, step, deadline); fault != 0) return failure(fault, "send_file", sent);
    }
    const std::int64_t result =
        detail::when_ready(fd(), POLLOUT, deadline, [&] { return send_now(fd(), file.fd(), at, step); });
    if (result < 0) return failure(static_cast<int>(-result), "send_file", sent);
    if (result == 0) return std::unexpected(IoError{IoFailure::end_of_stream, 0, "send_file", sent});
    sent += static_cast<std::uint64_t>(result);
  }
  return {};
}

}  // namespace erlking
