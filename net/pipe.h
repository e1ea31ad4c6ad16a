// Pipe: an end of a pipe, or what else is read or written in order and is no socket: standard input, a terminal, a
// FIFO. What stream.h says of a stream holds. The end that is read gives 0 when every end that is written is closed; to
// write where nobody reads any more fails with reset. To use an end the other way round is invalid.
#pragma once

#include "io/io.h"
#include "net/stream.h"

#include <expected>
#include <utility>

namespace erlking {

struct PipeEnds;

/// One end.
class Pipe final : public Stream {
 public:
  /// Not open.
  Pipe() noexcept = default;
  /// Both ends of a new one. Fails with limit. On a process only.
  static std::expected<PipeEnds, IoError> make();
  /// Takes over `fd`, such as 0, the standard input, or a dup() of it where it is to stay open. It becomes
  /// close-on-exec, and blocking or not, as the runtime's driver wants it; where that would change it for other
  /// programs too, which share a terminal or a pipe, it is opened anew under its number. On a process only.
  static std::expected<Pipe, IoError> adopt(int fd);

 private:
  explicit Pipe(detail::Fd fd) noexcept : Stream(std::move(fd), Kind::pipe) {}
};

/// The ends of a new pipe.
struct PipeEnds {
  Pipe reader;  ///< gives what is written
  Pipe writer;  ///< waits while the pipe is full
};

}  // namespace erlking
