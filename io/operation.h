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
#include "base/intrusive.h"

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
  send_message,     ///< to a socket: the msghdr at `data`, `flags` as sendmsg(2); MSG_NOSIGNAL always
  receive_message,  ///< of a socket: to the msghdr at `data`, `flags` as recvmsg(2)
  // of files: for drivers that do_files(), and spare threads
  read_at,    ///< of a file: up to `size` bytes at `offset` to `data`
  write_at,   ///< to a file: up to `size` bytes from `data` at `offset`; kAtEnd: where it is opened to append
  sync,       ///< until all that was written is on the disk
  sync_data,  ///< the same, less what is not needed to read it again
  // for spare threads
  call,  ///< runs the Call at `data`
};

/// The offset of what is written to the end.
inline constexpr std::uint64_t kAtEnd = ~std::uint64_t{0};

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
  std::uint64_t offset = 0;

  /// Told when the operation is done, and when a cancellation has been seen; any thread.
  void (*wake)(void* waiter) noexcept = nullptr;
  void* waiter = nullptr;

  std::int32_t result = 0;        ///< what the system call answers, or -errno; -ECANCELED: cancelled
  std::atomic<bool> done{false};  // [op-done]
  std::atomic<bool> cancel_seen{false};

  Driver* driver = nullptr;  ///< where it was begun; null: with the spare threads

  enum class Stage : std::uint8_t { queued, running, abandoned, over };
  Operation* next = nullptr;  // the driver's
  base::ListLink link;        // Spare's
  Stage stage = Stage::over;  // Spare's
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
