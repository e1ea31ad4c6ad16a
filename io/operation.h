// Operation: one system call that may take its time, as plain data on the stack of whoever waits for it. The driver
// writes `result` and then says done; until then the operation, and the memory it names, stay where they are.
//   O1  done is stored (seq_cst) after the result; then the waiter is woken. Who waits announces it (seq_cst), then
//       looks at done (seq_cst): one of them sees the other [op-done].
//   O2  A wait that is given up asks for a cancellation and stays until the operation is done *and* the request has
//       been seen: the kernel may have read or written the memory until then, and the request names the operation.
//       A success that comes after all is a success.
//   O3  wake(waiter) is called after done: the operation may be gone by then, the waiter must not be.
#pragma once

#include "base/atomic.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace erlking::io {

class Driver;

/// What is to be done; what the fields mean to each.
enum class Code : std::uint8_t {
  recv,     ///< of a socket: up to `size` bytes to `data`, `flags` as recv(2)
  send,     ///< to a socket: up to `size` bytes from `data`, `flags` as send(2); MSG_NOSIGNAL always
  accept,   ///< a connection; the result is its descriptor, close-on-exec
  connect,  ///< to the address at `data` of `size` bytes
  read,     ///< of a pipe or terminal: up to `size` bytes to `data`
  write,    ///< to a pipe or terminal: up to `size` bytes from `data`
  poll,     ///< waits until one of the events in `flags`, POLLIN or POLLOUT, is there; the result is poll(2)'s revents
};

/// A request to the driver by a thread that does not own it.
struct Request {
  enum class Kind : std::uint8_t { start, cancel };
  Kind kind;
  struct Operation* operation = nullptr;
  Request* link = nullptr;  // the driver's inbox
};

struct Operation {
  Code code;
  int fd = -1;
  void* data = nullptr;
  std::uint32_t size = 0;
  std::uint32_t flags = 0;

  /// Told when the operation is done, and when a cancellation has been seen; any thread.
  void (*wake)(void* waiter) noexcept = nullptr;
  void* waiter = nullptr;

  std::int32_t result = 0;        ///< what the system call answers, or -errno; -ECANCELED: cancelled
  std::atomic<bool> done{false};  // [op-done]
  std::atomic<bool> cancel_seen{false};

  Operation* next = nullptr;  // the driver's
  Request to_start{Request::Kind::start, this}, to_cancel{Request::Kind::cancel, this};

  Operation(Code what, int descriptor, void* memory = nullptr, std::size_t bytes = 0, std::uint32_t how = 0) noexcept
      : code(what), fd(descriptor), data(memory), size(static_cast<std::uint32_t>(bytes)), flags(how) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
};

/// The operation is over: O1, O3.
inline void finish(Operation& operation, std::int32_t result) noexcept {
  auto* const wake = operation.wake;
  void* const waiter = operation.waiter;
  operation.result = result;
  operation.done.store(true, base::seq_cst);  // [op-done]
  wake(waiter);
}

}  // namespace erlking::io
