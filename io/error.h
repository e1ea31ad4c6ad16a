// IoError: why an operation on a descriptor did not do what it was asked for. The one place where errno gets a meaning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace erlking {

/// What a caller may want to tell apart; `IoError::code` has the rest.
enum class IoFailure : std::uint8_t {
  timed_out,       ///< the bound passed first, or the system gave up (ETIMEDOUT)
  end_of_stream,   ///< the peer has ended its side, before all that was asked for had come
  closed,          ///< the socket is closed, or was never open
  refused,         ///< nobody listens there
  reset,           ///< the peer has gone, and what was under way with it
  unreachable,     ///< no way leads there, or no server of names answers
  no_such_host,    ///< nothing is known by that name
  address_in_use,  ///< somebody listens there already
  bad_address,     ///< it cannot be read, or does not exist on this machine
  not_found,       ///< no such file
  exists,          ///< there is such a file already
  not_permitted,   ///< the system's permissions forbid it
  too_large,       ///< more than the limit given, or than the system takes at once
  limit,           ///< no more descriptors, or buffers, for this program or the system: raise
                   ///< `ulimit -n`, --ek-max-descriptors or --ek-max-io-bytes
  no_memory,       ///< the system has none for it
  no_space,        ///< the disk, or the quota on it, is full
  untrusted,       ///< the peer's certificate is not one that is trusted, or is for another name
  protocol,        ///< the peer does not keep to the protocol
  busy,            ///< another process waits in the same direction on it
  invalid,         ///< it cannot be done with such a descriptor, or in its state
  not_owner,       ///< it belongs to another process
  cancelled,       ///< the process is ending
  failed,          ///< anything else: see code
};

/// Why input or output failed. Copied freely; owns nothing.
struct IoError {
  IoFailure kind = IoFailure::failed;
  int code = 0;                     ///< the system's errno; 0: no system call has failed
  std::string_view operation = {};  ///< what was being done: "connect", "read"; a literal
  /// Bytes that were written before (write), or read and kept for the next read (read_exactly, read_until).
  std::size_t transferred = 0;

  /// Of a system call that answered `code`, an errno.
  static IoError of(int code, std::string_view operation, std::size_t transferred = 0) noexcept;

  /// In words, for a log: "connect: nobody listens there (Connection refused)".
  std::string to_string() const;

  friend bool operator==(const IoError& error, IoFailure kind) noexcept { return error.kind == kind; }
};

/// "timed_out" and so on: an exit reason, a label.
std::string_view to_string(IoFailure kind) noexcept;

}  // namespace erlking
