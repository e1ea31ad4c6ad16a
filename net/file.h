// File: a file as processes see it, and what is done to files by name. Each call blocks the calling process alone,
// never a worker, and each has a bound. Reads and writes name their place, so there is no position to share.
//
// Read from memory at once where the system has it there; else by the driver (uring), or by spare threads (epoll, and
// all that is done by name). When read_at() or write_at() returns nothing is under way any more. What is done by name,
// and truncate(), may still come to pass after timed_out: the system cannot be stopped in it.
//
// A File is owned by one process, as a Socket is (socket.h).
#pragma once

#include "io/io.h"
#include "net/descriptor.h"
#include "runtime/bound.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace erlking {

/// How a file is opened.
struct OpenOptions {
  bool read = true;           ///< it may be read
  bool write = false;         ///< it may be written
  bool append = false;        ///< it may be appended to, and written nowhere else
  bool create = false;        ///< it is made if it is not there; to be written only
  bool exclusive = false;     ///< with create: fails with exists if it is there
  bool truncate = false;      ///< it is emptied; to be written only
  bool direct = false;        ///< past the system's cache: memory, place and size must be multiples of a block
  std::uint32_t mode = 0644;  ///< permissions of a new file, less the umask
};
/// What a file is.
enum class FileType : std::uint8_t { regular, directory, symlink, other };

/// What the system knows of a file.
struct FileStatus {
  FileType type = FileType::other;  ///< what it is
  std::uint64_t size = 0;           ///< bytes
  std::int64_t modified_ns = 0;     ///< when it was written last, ns since 1970
  std::uint32_t permissions = 0;    ///< 0 to 07777
};
/// A file, open or not.
class File {
 public:
  /// Not open.
  File() noexcept = default;
  /// Opens `path`. Fails with not_found, exists, not_permitted, limit, timed_out; with invalid for options that do not
  /// fit each other, and for a pipe or a socket (net/pipe.h, net/socket.h).
  static std::expected<File, IoError> open(std::string path, const OpenOptions& options, Bound bound);

  /// Reads from byte `offset` on until `into` is full or the file ends: how many bytes. Fails with timed_out, closed,
  /// cancelled, failed (the disk).
  std::expected<std::size_t, IoError> read_at(std::uint64_t offset, std::span<char> into, Bound bound);
  /// Writes all of `bytes` from byte `offset` on. Failing, `transferred` says how many are written: no_space, too_large
  /// (the limit of a file's size), timed_out, closed, cancelled, failed (the disk).
  std::expected<void, IoError> write_at(std::uint64_t offset, std::string_view bytes, Bound bound);
  /// Writes all of `bytes` at the end. As write_at; invalid: it was not opened to append.
  std::expected<void, IoError> append(std::string_view bytes, Bound bound);

  /// Returns when all that was written is on the disk (fsync). After a failure the system may have forgotten what it
  /// could not write: to try again proves nothing. timed_out: not known whether it is.
  std::expected<void, IoError> sync(Bound bound);
  /// The same, less what is not needed to read it again, its times say (fdatasync).
  std::expected<void, IoError> sync_data(Bound bound);

  /// Cuts it, or fills it up with zeros, to `size` bytes.
  std::expected<void, IoError> truncate(std::uint64_t size, Bound bound);
  std::expected<FileStatus, IoError> status(Bound bound) const;  ///< What the system knows of it.

  /// Closes it. Again: nothing. Waits where the file system does.
  void close() noexcept { fd_.reset(); }
  bool is_open() const noexcept { return fd_.get() >= 0; }  ///< Neither closed nor moved from.
  int fd() const noexcept { return fd_.get(); }             ///< Its descriptor, still owned by it; -1: not open.

 private:
  File(detail::Fd fd, bool appends) noexcept : fd_(std::move(fd)), appends_(appends) {}
  std::expected<void, IoError> write(std::uint64_t offset, std::string_view bytes, const Bound& bound,
                                     std::string_view operation);
  std::expected<void, IoError> flush(io::Code how, const Bound& bound, std::string_view operation);

  detail::Fd fd_;
  bool appends_ = false;
};

/// What is done to files by name. All fail with not_found, not_permitted, timed_out, cancelled and what is said there.
namespace file {

/// Of what the path leads to.
std::expected<FileStatus, IoError> status(std::string path, Bound bound);
/// Puts `from` in the place of `to`, at once for all who look. Durable after sync_directory().
std::expected<void, IoError> rename(std::string from, std::string to, Bound bound);
/// Removes a file, or an empty directory.
std::expected<void, IoError> remove(std::string path, Bound bound);
/// Makes a directory, of permissions 0777 less the umask: exists.
std::expected<void, IoError> make_directory(std::string path, Bound bound);
/// Returns when what was made, renamed and removed in a directory is on the disk.
std::expected<void, IoError> sync_directory(std::string path, Bound bound);
/// The names in a directory, without "." and "..", sorted.
std::expected<std::vector<std::string>, IoError> list(std::string path, Bound bound);
/// All of a file; too_large: more than `limit` bytes.
std::expected<std::string, IoError> read_all(std::string path, std::size_t limit, Bound bound);

}  // namespace file

}  // namespace erlking
