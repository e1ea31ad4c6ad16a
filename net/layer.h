// Layer: what lies between a Stream and its descriptor and changes the bytes on the way: TLS. Inside net.
#pragma once

#include "io/io.h"
#include "runtime/bound.h"

#include <cstddef>
#include <expected>
#include <string_view>

namespace erlking {

class Stream;

namespace detail {

class Layer {
 public:
  virtual ~Layer() = default;
  /// As Stream::read(), without its buffer.
  virtual std::expected<std::size_t, IoError> receive(Stream& below, char* into, std::size_t n, const Bound& bound,
                                                      std::string_view operation) = 0;
  /// As Stream::write(); `deadline` is one.
  virtual std::expected<void, IoError> write(Stream& below, std::string_view bytes, const Bound& deadline) = 0;
  /// How many bytes at least can be read without a wait.
  virtual std::size_t buffered() const noexcept = 0;
  /// Tells the peer, if that takes no wait, that nothing more comes.
  virtual void end(int fd) noexcept = 0;
};

}  // namespace detail
}  // namespace erlking
