// Socket, Listener: stream sockets as processes see them; what they are read and written by is in stream.h, and what is
// said there of a stream holds for both.
#pragma once

#include "io/io.h"
#include "net/address.h"
#include "net/stream.h"
#include "runtime/bound.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace erlking {

/// Which side shutdown() ends.
enum class Side : std::uint8_t {
  read,   ///< nothing more is received
  write,  ///< the peer reads the end of the stream after what has been written
  both,
};

class File;

namespace detail {
class Connector;
}  // namespace detail

/// A stream to a peer: TCP, or Unix.
class Socket final : public Stream {
 public:
  /// Not open.
  Socket() noexcept = default;
  /// Takes over `fd`, a connected stream socket; for who has made it by other means. It becomes close-on-exec, and
  /// blocking or not, as the runtime's driver wants it. On a process only.
  static std::expected<Socket, IoError> adopt(int fd);

  using Stream::write;
  /// Writes all of the parts, one after another, as if they were one: socket.write({head, body}, 5s).
  std::expected<void, IoError> write(std::span<const std::string_view> parts, Bound bound);
  std::expected<void, IoError> write(std::initializer_list<std::string_view> parts, Bound bound) {
    return write(std::span(parts.begin(), parts.size()), bound);
  }  ///< The same.

  /// Writes `count` bytes of a file, from byte `offset` on, by the system alone (sendfile): they are not copied to this
  /// program. Failing, `transferred` says how many went before: as write(), and end_of_stream: the file is shorter.
  /// What of it is not in memory is read by a spare thread first. Through TLS it is read and written as ever. The bound
  /// is for all of it.
  std::expected<void, IoError> send_file(File& file, std::uint64_t offset, std::uint64_t count, Bound bound);

  /// Ends one side, or both.
  std::expected<void, IoError> shutdown(Side side);

  /// Whether small writes go out at once, rather than waiting for the answer to the last: on by default. TCP only.
  std::expected<void, IoError> set_no_delay(bool on);
  /// Whether an idle connection is probed, and reset when the peer is gone: off by default. `idle`, 1 s to 9 h: after
  /// how long, and between two probes; the ninth that goes unanswered resets. TCP only.
  std::expected<void, IoError> set_keep_alive(bool on, Duration idle = std::chrono::seconds(60));

  std::expected<SocketAddress, IoError> local() const;  ///< Its own address.
  std::expected<SocketAddress, IoError> peer() const;   ///< Where it leads to.

 private:
  friend class detail::Connector;
  friend class Listener;
  explicit Socket(detail::Fd fd) noexcept : Stream(std::move(fd), Kind::socket) {}
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
  int fd() const noexcept { return fd_.get(); }             ///< Its descriptor, still owned by it; -1: not open.

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

/// Connects to `address`: a number ("127.0.0.1", "::1"), "localhost", or a name, of whose addresses (resolve) it takes
/// the first that answers, giving each its share of the bound. Fails with refused, timed_out, unreachable,
/// no_such_host, limit; for a name as the last of its addresses does.
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
