// Stream: bytes in order, as a process reads and writes them; what Socket and Pipe have in common. Each call blocks the
// calling process alone, never a worker, and each has a bound. When a call returns nothing is under way any more: no
// memory of the caller is written to later, and what had come in by then is kept for the next read.
//
// A stream is owned by one process: it closes when it is destroyed, so when its owner ends, and moves in a message to
// another (`send(pid, std::move(socket))`). Not to be shared: one process at a time calls it. A thread that is no
// process gets std::logic_error.
#pragma once

#include "io/io.h"
#include "net/descriptor.h"
#include "net/layer.h"
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

namespace detail {

class Below;

/// Bytes that have come and have not been asked for yet; what it holds is counted in the `limits` given, if any, which
/// must outlive it.
class ReadBuffer {
 public:
  ReadBuffer() noexcept = default;
  ~ReadBuffer() { reset(); }
  ReadBuffer(ReadBuffer&& other) noexcept { swap(other); }
  ReadBuffer& operator=(ReadBuffer&& other) noexcept {
    ReadBuffer(std::move(other)).swap(*this);
    return *this;
  }
  void swap(ReadBuffer& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
    std::swap(capacity_, other.capacity_);
    std::swap(limits_, other.limits_);
  }
  std::size_t size() const noexcept { return end_ - begin_; }
  std::string_view view() const noexcept { return {bytes_.get() + begin_, size()}; }
  /// Takes up to `n` bytes out, to `to`. How many.
  std::size_t take(char* to, std::size_t n) noexcept;
  void drop(std::size_t n) noexcept;
  /// Room for `n` bytes behind the last; empty: the limits do not allow it. Throws std::bad_alloc.
  std::span<char> room(std::size_t n, io::Limits* limits);
  void fill(std::size_t n) noexcept { end_ += n; }
  /// Puts `bytes`, which have been read, before the first, whatever the limits; throws std::bad_alloc.
  void put_back(std::string_view bytes, io::Limits* limits);
  void reset() noexcept;

 private:
  void enlarge(std::size_t capacity, std::size_t begin, io::Limits* limits);

  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0, end_ = 0, capacity_ = 0;
  io::Limits* limits_ = nullptr;  // where capacity_ is counted
};

}  // namespace detail

/// A Socket, or an end of a Pipe.
class Stream {
 public:
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

  /// Bytes that have come in and wait for the next read.
  std::size_t buffered() const noexcept { return buffer_.size() + (layer_ != nullptr ? layer_->buffered() : 0); }
  /// Closes it; what has been written still goes out. Again: nothing.
  void close() noexcept;
  bool is_open() const noexcept { return fd_.get() >= 0; }  ///< Neither closed nor moved from.
  /// Its descriptor, still owned by it, for options that are not here; -1: not open.
  int fd() const noexcept { return fd_.get(); }

 protected:
  /// What its descriptor is.
  enum class Kind : std::uint8_t { socket, pipe };
  Stream() noexcept = default;
  Stream(detail::Fd fd, Kind kind) noexcept : fd_(std::move(fd)), kind_(kind) {}  ///< Takes `fd` over.
  Stream(Stream&&) noexcept = default;                                            ///< What is moved from is not open.
  Stream& operator=(Stream&& other) noexcept {
    if (this != &other) {
      close();
      fd_ = std::move(other.fd_);
      kind_ = other.kind_;
      buffer_ = std::move(other.buffer_);
      layer_ = std::move(other.layer_);
    }
    return *this;
  }
  ~Stream() { close(); }

  /// What changes its bytes on the way, or null.
  detail::Layer* layer() const noexcept { return layer_.get(); }

 private:
  friend class detail::Below;
  std::expected<std::size_t, IoError> receive(char* into, std::size_t n, const Bound& bound,
                                              std::string_view operation);
  std::expected<std::size_t, IoError> receive_below(char* into, std::size_t n, const Bound& bound,
                                                    std::string_view operation);
  std::expected<void, IoError> write_below(std::string_view bytes, const Bound& deadline);
  int reason_of(std::int32_t result) const noexcept;

  detail::Fd fd_;
  Kind kind_ = Kind::socket;
  detail::ReadBuffer buffer_;
  std::unique_ptr<detail::Layer> layer_;
};

namespace detail {

/// A layer's way to the descriptor, and an Active's to the buffer.
class Below {
 public:
  static std::expected<std::size_t, IoError> receive(Stream& stream, char* into, std::size_t n, const Bound& bound,
                                                     std::string_view operation) {
    return stream.receive_below(into, n, bound, operation);
  }
  static std::expected<void, IoError> write(Stream& stream, std::string_view bytes, const Bound& deadline) {
    return stream.write_below(bytes, deadline);
  }
  static void set_layer(Stream& stream, std::unique_ptr<Layer> layer) noexcept { stream.layer_ = std::move(layer); }
  /// What the caller has read is given by the next read.
  static void put_back(Stream& stream, std::string_view bytes) { stream.buffer_.put_back(bytes, stream.fd_.limits()); }
  static Layer* layer(const Stream& stream) noexcept { return stream.layer(); }
};

}  // namespace detail

}  // namespace erlking
