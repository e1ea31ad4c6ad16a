// Socket, Listener: stream sockets as processes see them. Each call blocks the calling process alone, never a worker,
// and each has a bound. When a call returns nothing is under way any more: no memory of the caller is written to later,
// and what had come in by then is kept for the next read.
//
// Each is owned by one process: it closes when it is destroyed, so when its owner ends, and moves in a message to
// another (`send(pid, std::move(socket))`). Not to be shared: one process at a time calls it. A thread that is no
// process gets std::logic_error.
#pragma once

#include "io/io.h"
#include "runtime/bound.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace erlking {

/// Where a socket is, or leads to.
struct SocketAddress {
  std::string address;     ///< "127.0.0.1", "::1"; of a Unix socket its path, empty if it has none
  std::uint16_t port = 0;  ///< 0: a Unix socket

  /// "127.0.0.1:6379", "[::1]:6379", "/run/x.sock"
  std::string to_string() const;
};

/// Which side shutdown() ends.
enum class Side : std::uint8_t {
  read,   ///< nothing more is received
  write,  ///< the peer reads the end of the stream after what has been written
  both,
};

namespace detail {

class Connector;

/// A descriptor that is closed with its owner.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  void reset() noexcept;

 private:
  int fd_ = -1;
};

/// Bytes that have come and have not been asked for yet.
class ReadBuffer {
 public:
  std::size_t size() const noexcept { return end_ - begin_; }
  std::string_view view() const noexcept { return {bytes_.get() + begin_, size()}; }
  /// Takes up to `n` bytes out, to `to`. How many.
  std::size_t take(char* to, std::size_t n) noexcept;
  void drop(std::size_t n) noexcept;
  /// Room for `n` bytes behind the last; throws std::bad_alloc.
  std::span<char> room(std::size_t n);
  void fill(std::size_t n) noexcept { end_ += n; }
  /// Puts `bytes` before the first; throws std::bad_alloc.
  void put_back(std::string_view bytes);

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0, end_ = 0, capacity_ = 0;
};

}  // namespace detail

/// A stream to a peer: TCP, or Unix.
class Socket {
 public:
  /// Not open.
  Socket() noexcept = default;
  /// Takes over `fd`, a connected stream socket; for who has made it by other means. It becomes close-on-exec, and
  /// blocking or not, as the runtime's driver wants it. On a process only.
  static std::expected<Socket, IoError> adopt(int fd);

  /// Reads what has come, up to all of `into`, waiting for the first byte. 0: the peer has ended its side, or `into` is
  /// empty. Fails with timed_out, reset, closed, cancelled.
  std::expected<std::size_t, IoError> read(std::span<char> into, Bound bound);
  std::expected<std::size_t, IoError> read(std::span<std::byte> into, Bound bound) {
    return read(std::span(reinterpret_cast<char*>(into.data()), into.size()), bound);
  }  ///< The same, of bytes.
  /// Reads until `into` is full. If the bound passes, or the peer ends its side (end_of_stream), before that, what has
  /// come is kept for the next read, and counted in `transferred`. The bound is for all of it.
  std::expected<void, IoError> read_exactly(std::span<char> into, Bound bound);
  std::expected<void, IoError> read_exactly(std::span<std::byte> into, Bound bound) {
    return read_exactly(std::span(reinterpret_cast<char*>(into.data()), into.size()), bound);
  }  ///< The same, of bytes.
  /// Reads up to `delimiter`, which must not be empty, and gives what stood before it. Fails as read_exactly does, what
  /// has come being kept; and with too_large when more than `limit` bytes have come without it.
  std::expected<std::string, IoError> read_until(std::string_view delimiter, std::size_t limit, Bound bound);

  /// Writes all of `bytes`, waiting while the peer is slow to read. Failing, `transferred` says how many went before:
  /// timed_out, reset, closed, cancelled. The bound is for all of it.
  std::expected<void, IoError> write(std::string_view bytes, Bound bound);
  std::expected<void, IoError> write(std::span<const std::byte> bytes, Bound bound) {
    return write(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), bound);
  }  ///< The same, of bytes.

  /// Ends one side, or both.
  std::expected<void, IoError> shutdown(Side side);
  /// Closes it; what has been written still goes out. Again: nothing.
  void close() noexcept;
  bool is_open() const noexcept { return fd_.get() >= 0; }  ///< Neither closed nor moved from.

  /// Whether small writes go out at once, rather than waiting for the answer to the last: on by default. TCP only.
  std::expected<void, IoError> set_no_delay(bool on);
  /// Whether an idle connection is probed, and reset when the peer is gone: off by default. `idle`, 1 s to 9 h: after
  /// how long, and between two probes; the ninth that goes unanswered resets. TCP only.
  std::expected<void, IoError> set_keep_alive(bool on, Duration idle = std::chrono::seconds(60));

  std::expected<SocketAddress, IoError> local() const;  ///< Its own address.
  std::expected<SocketAddress, IoError> peer() const;   ///< Where it leads to.
  /// Its descriptor, still owned by it, for options that are not here; -1: not open.
  int fd() const noexcept { return fd_.get(); }

 private:
  friend class detail::Connector;
  explicit Socket(detail::Fd fd) noexcept : fd_(std::move(fd)) {}
  friend class Listener;
  std::expected<std::size_t, IoError> receive(char* into, std::size_t n, const Bound& bound,
                                              std::string_view operation);

  detail::Fd fd_;
  detail::ReadBuffer buffer_;
};

/// Where peers connect.
class Listener {
 public:
  /// Not open.
  Listener() noexcept = default;

  /// The next connection. Fails with timed_out, closed, cancelled; with limit (EMFILE, ENFILE) or no_memory when the
  /// system has nothing left for it: the connection stays in line, and the call has waited 50 ms first, or its bound
  /// if that is less, so that a loop may simply try again.
  std::expected<Socket, IoError> accept(Bound bound);

  /// Where it listens: the port the system chose, for port 0.
  std::expected<SocketAddress, IoError> local() const;
  /// Closes it; a Unix socket's path is removed. Again: nothing.
  void close() noexcept;
  bool is_open() const noexcept { return fd_.get() >= 0; }  ///< Neither closed nor moved from.
  int fd() const noexcept { return fd_.get(); }  ///< Its descriptor, still owned by it; -1: not open.

  Listener(Listener&&) noexcept = default;  ///< What is moved from is not open.
  Listener& operator=(Listener&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::move(other.fd_);
      path_ = std::exchange(other.path_, {});
    }
    return *this;
  }
  ~Listener() { close(); }

 private:
  friend class detail::Connector;
  Listener(detail::Fd fd, std::string path) noexcept : fd_(std::move(fd)), path_(std::move(path)) {}

  detail::Fd fd_;
  std::string path_;  // of a Unix socket
};

namespace tcp {
/// Where and how to listen.
struct ListenOptions {
  std::string address = "127.0.0.1";  ///< of this machine: "0.0.0.0" and "::" are all of them
  std::uint16_t port = 0;             ///< 0: the system chooses one (Listener::local)
  int backlog = 1024;                 ///< connections in line before accept() takes them
  bool reuse_port = false;            ///< several listeners may share it: the system deals connections out
};

/// Connects to `address`, a number ("127.0.0.1", "::1") or "localhost". Fails with refused, timed_out, unreachable,
/// bad_address (also for a name: names are not looked up), limit.
std::expected<Socket, IoError> connect(std::string_view address, std::uint16_t port, Bound bound);
/// Listens. Fails with address_in_use, bad_address, not_permitted, limit. On a process only.
std::expected<Listener, IoError> listen(const ListenOptions& options);

}  // namespace tcp

namespace unix_socket {
/// Where and how to listen.
struct ListenOptions {
  std::string path;    ///< at most 107 bytes; must not exist
  int backlog = 1024;  ///< connections in line before accept() takes them
};

/// As tcp::connect; not_found: there is no such path.
std::expected<Socket, IoError> connect(std::string_view path, Bound bound);
/// As tcp::listen; address_in_use: there is something at the path.
std::expected<Listener, IoError> listen(const ListenOptions& options);

}  // namespace unix_socket

}  // namespace erlking
