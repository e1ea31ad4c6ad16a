#include "net/file.h"

#include "base/compiler.h"
#include "net/elsewhere.h"
#include "runtime/operation.h"
#include "runtime/system.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace erlking {

namespace {

using detail::elsewhere, detail::failure, detail::system_of_caller;
using io::Code, io::Operation;

constexpr std::size_t kMostAtOnce = 1u << 30;    // of one system call
constexpr std::size_t kReadAtOnce = 512 * 1024;  // it may be in memory, and is copied while nobody else runs here

// The answer of a system call that gives 0, or -1 and errno.
std::expected<void, int> outcome(int result) {
  if (result != 0) return std::unexpected(errno);
  return {};
}

std::expected<FileStatus, int> shown(int result, const struct stat& found) {
  if (result != 0) return std::unexpected(errno);
  const FileType type = S_ISREG(found.st_mode)   ? FileType::regular
                        : S_ISDIR(found.st_mode) ? FileType::directory
                        : S_ISLNK(found.st_mode) ? FileType::symlink
                                                 : FileType::other;
  return FileStatus{type, static_cast<std::uint64_t>(found.st_size),
                    std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec, found.st_mode & 07777u};
}

// The system would take what stands before it for the name.
bool has_nul(const std::string& path) { return path.find('\0') != path.npos; }

// open(2)'s flags; nothing: they do not fit each other.
std::optional<int> flags_of(const OpenOptions& options) {
  const bool writes = options.write || options.append;
  if (!options.read && !writes) return std::nullopt;
  if ((options.create || options.truncate) && !writes) return std::nullopt;
  if (options.exclusive && !options.create) return std::nullopt;
  if (options.write && options.append) return std::nullopt;
  return (writes ? options.read ? O_RDWR : O_WRONLY : O_RDONLY) | (options.append ? O_APPEND : 0) |
         (options.create ? O_CREAT : 0) | (options.exclusive ? O_EXCL : 0) | (options.truncate ? O_TRUNC : 0) |
         (options.direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY;
}

// Does not wait for the other end of a pipe.
std::expected<detail::Fd, int> open_file(const std::string& path, int flags, std::uint32_t mode, io::Place place) {
  detail::Fd fd(::open(path.c_str(), flags | O_NONBLOCK, mode), std::move(place));
  if (fd.get() < 0) return std::unexpected(errno == ENXIO ? EINVAL : errno);
  struct stat found {};
  if (::fstat(fd.get(), &found) != 0) return std::unexpected(errno);
  if (S_ISFIFO(found.st_mode) || S_ISSOCK(found.st_mode)) return std::unexpected(EINVAL);
  const int now = ::fcntl(fd.get(), F_GETFL);
  if (now < 0 || ::fcntl(fd.get(), F_SETFL, now & ~O_NONBLOCK) != 0) return std::unexpected(errno);
  return fd;
}

}  // namespace

std::expected<File, IoError> File::open(std::string path, const OpenOptions& options, Bound bound) {
  const std::optional<int> flags = flags_of(options);
  if (!flags || has_nul(path)) return failure(EINVAL, "open");
  io::Place place = detail::take_place();
  if (!place) return failure(EMFILE, "open");
  // The thread may be at it, with its place, when nobody waits any more.
  auto fd = elsewhere(
      "open", bound, [path = std::move(path), flags = *flags, mode = options.mode, place = std::move(place)]() mutable {
        return open_file(path, flags, mode, std::move(place));
      });
  if (!fd) return std::unexpected(fd.error());
  return File(std::move(*fd), options.append);
}

std::expected<std::size_t, IoError> File::read_at(std::uint64_t offset, std::span<char> into, Bound bound) {
  if (!is_open()) return failure(EBADF, "read_at");
  if (offset > INT64_MAX) return failure(EINVAL, "read_at");
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  std::size_t have = 0;
  while (have < into.size()) {
    Operation read(Code::read_at, fd_.get(), into.data() + have, std::min(into.size() - have, kReadAtOnce));
    read.offset = offset + have;
    const std::int32_t got = detail::perform(read, deadline);
    if (got < 0) return failure(-got, "read_at", have);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  return have;
}

std::expected<void, IoError> File::write(std::uint64_t offset, std::string_view bytes, const Bound& bound,
                                         std::string_view operation) {
  if (!is_open()) return failure(EBADF, operation);
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  for (std::size_t done = 0; done < bytes.size();) {
    const std::string_view rest = bytes.substr(done, kMostAtOnce);
    Operation write(Code::write_at, fd_.get(), const_cast<char*>(rest.data()), rest.size());  // is only read
    write.offset = offset == io::kAtEnd ? offset : offset + done;
    const std::int32_t result = detail::perform(write, deadline);
    if (result < 0) return failure(-result, operation, done);
    if (result == 0) return failure(EIO, operation, done);
    done += static_cast<std::size_t>(result);
  }
  return {};
}

std::expected<void, IoError> File::write_at(std::uint64_t offset, std::string_view bytes, Bound bound) {
  if (appends_ || offset > INT64_MAX) return failure(EINVAL, "write_at");
  return write(offset, bytes, bound, "write_at");
}

std::expected<void, IoError> File::append(std::string_view bytes, Bound bound) {
  if (is_open() && !appends_) return failure(EINVAL, "append");
  return write(io::kAtEnd, bytes, bound, "append");
}

std::expected<void, IoError> File::flush(io::Code how, const Bound& bound, std::string_view operation) {
  if (!is_open()) return failure(EBADF, operation);
  Operation flush(how, fd_.get());
  const std::int32_t result = detail::perform(flush, bound);
  if (result < 0) return failure(-result, operation);
  return {};
}

std::expected<void, IoError> File::sync(Bound bound) { return flush(Code::sync, bound, "sync"); }
std::expected<void, IoError> File::sync_data(Bound bound) { return flush(Code::sync_data, bound, "sync_data"); }

// What runs elsewhere may outlive this file: it gets a descriptor of its own.
EK_NOIPA static std::expected<detail::Fd, int> twin(int fd) {
  detail::Fd made(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (made.get() < 0) return std::unexpected(errno);
  return made;
}

std::expected<void, IoError> File::truncate(std::uint64_t size, Bound bound) {
  auto fd = twin(fd_.get());
  if (!fd) return failure(fd.error(), "truncate");
  if (size > INT64_MAX) return failure(EINVAL, "truncate");
  return elsewhere("truncate", bound,
                   [fd = std::move(*fd), size] { return outcome(::ftruncate(fd.get(), static_cast<off_t>(size))); });
}

std::expected<FileStatus, IoError> File::status(Bound bound) const {
  auto fd = twin(fd_.get());
  if (!fd) return failure(fd.error(), "status");
  return elsewhere("status", bound, [fd = std::move(*fd)] {
    struct stat found {};
    return shown(::fstat(fd.get(), &found), found);
  });
}

std::expected<FileStatus, IoError> file::status(std::string path, Bound bound) {
  if (has_nul(path)) return failure(EINVAL, "status");
  return elsewhere("status", bound, [path = std::move(path)] {
    struct stat found {};
    return shown(::stat(path.c_str(), &found), found);
  });
}

std::expected<void, IoError> file::rename(std::string from, std::string to, Bound bound) {
  if (has_nul(from) || has_nul(to)) return failure(EINVAL, "rename");
  return elsewhere("rename", bound, [from = std::move(from), to = std::move(to)] {
    return outcome(::rename(from.c_str(), to.c_str()));
  });
}

std::expected<void, IoError> file::remove(std::string path, Bound bound) {
  if (has_nul(path)) return failure(EINVAL, "remove");
  return elsewhere("remove", bound, [path = std::move(path)] { return outcome(::remove(path.c_str())); });
}

std::expected<void, IoError> file::make_directory(std::string path, Bound bound) {
  if (has_nul(path)) return failure(EINVAL, "make_directory");
  return elsewhere("make_directory", bound, [path = std::move(path)] { return outcome(::mkdir(path.c_str(), 0777)); });
}

std::expected<void, IoError> file::sync_directory(std::string path, Bound bound) {
  if (has_nul(path)) return failure(EINVAL, "sync_directory");
  return elsewhere("sync_directory", bound, [path = std::move(path)]() -> std::expected<void, int> {
    const detail::Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) return std::unexpected(errno);
    return outcome(::fsync(fd.get()));
  });
}

std::expected<std::vector<std::string>, IoError> file::list(std::string path, Bound bound) {
  if (has_nul(path)) return failure(EINVAL, "list");
  using Names = std::vector<std::string>;
  return elsewhere("list", bound, [path = std::move(path)]() -> std::expected<Names, int> {
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    if (directory == nullptr) return std::unexpected(errno);
    Names names;
    errno = 0;
    while (const dirent* const entry = ::readdir(directory.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
      errno = 0;
    }
    if (errno != 0) return std::unexpected(errno);
    std::ranges::sort(names);
    return names;
  });
}

std::expected<std::string, IoError> file::read_all(std::string path, std::size_t limit, Bound bound) {
  const Bound deadline = detail::deadline_of(system_of_caller(), bound);
  auto file = File::open(std::move(path), {}, deadline);
  if (!file) return std::unexpected(file.error());
  std::string all;
  constexpr std::size_t kStep = 64 * 1024;
  for (;;) {
    const std::size_t have = all.size();
    const std::size_t step = std::min(std::max(kStep, have), limit - have) + 1;  // one too many tells
    all.resize(have + step);
    const auto got = file->read_at(have, std::span(all).subspan(have), deadline);
    if (!got) return std::unexpected(got.error());
    all.resize(have + *got);
    if (all.size() > limit) return std::unexpected(IoError{IoFailure::too_large, 0, "read_all", limit});
    if (*got < step) return all;
  }
}

}  // namespace erlking
