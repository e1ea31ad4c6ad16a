// Udp: datagrams, each sent and received whole or not at all; some are lost on their way, without a word. Each call
// blocks the calling process alone, never a worker, and each that may wait has a bound.
//
// Owned by one process: it closes when it is destroyed, so when its owner ends, and moves in a message to another
// (`send(pid, std::move(udp))`). Not to be shared: one process at a time calls it. A thread that is no process gets
// std::logic_error.
#pragma once

#include "io/io.h"
#include "net/address.h"
#include "net/descriptor.h"
#include "runtime/bound.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace erlking {

/// Where datagrams are to arrive.
struct UdpOptions {
  std::string address = "127.0.0.1";  ///< of this machine: "0.0.0.0" and "::" are all of them
  std::uint16_t port = 0;             ///< 0: the system chooses one (Udp::local)
  bool reuse_port = false;            ///< several may share it: the system deals datagrams out by sender
};

/// What has come.
struct Datagram {
  std::size_t size = 0;  ///< bytes; there are empty ones
  SocketAddress from;    ///< who has sent it
};

/// A socket for datagrams.
class Udp {
 public:
  /// Not open.
  Udp() noexcept = default;
  /// One at an address of this machine, of IPv4 or IPv6 as that is. Fails with address_in_use, bad_address,
  /// not_permitted, limit. On a process only.
  static std::expected<Udp, IoError> bind(const UdpOptions& options = {});

  /// From now on send() goes there and receive() takes what comes from there alone; nothing is sent. Then `refused` of
  /// a later call says that nobody is there. Again: elsewhere. Fails with bad_address, unreachable.
  std::expected<void, IoError> connect(std::string_view address, std::uint16_t port);

  /// Sends one datagram, waiting while the system has no room for it. Fails with too_large (over 65,507 bytes),
  /// bad_address, unreachable, not_permitted (broadcast), timed_out, closed, cancelled.
  std::expected<void, IoError> send_to(const SocketAddress& to, std::string_view bytes, Bound bound);
  /// The same to where it is connected; not connected: bad_address.
  std::expected<void, IoError> send(std::string_view bytes, Bound bound);

  /// Waits for one datagram and writes it to `into`. One that is larger is lost: too_large, and `transferred` says how
  /// large it was. Fails also with timed_out, refused, closed, cancelled.
  std::expected<Datagram, IoError> receive(std::span<char> into, Bound bound);
  std::expected<Datagram, IoError> receive(std::span<std::byte> into, Bound bound) {
    return receive(std::span(reinterpret_cast<char*>(into.data()), into.size()), bound);
  }  ///< The same, of bytes.

  /// Whether it may send to all of a network at once: off by default. IPv4 only.
  std::expected<void, IoError> set_broadcast(bool on);
  std::expected<SocketAddress, IoError> local() const;  ///< Its own address.
  std::expected<SocketAddress, IoError> peer() const;   ///< Where it is connected to; else closed.
  /// Closes it. Again: nothing.
  void close() noexcept { fd_.reset(); }
  bool is_open() const noexcept { return fd_.get() >= 0; }  ///< Neither closed nor moved from.
  int fd() const noexcept { return fd_.get(); }             ///< Its descriptor, still owned by it; -1: not open.

 private:
  explicit Udp(detail::Fd fd) noexcept : fd_(std::move(fd)) {}

  detail::Fd fd_;
};

}  // namespace erlking
