// Waiting until a descriptor can be read or written, without doing it: for descriptors of foreign libraries, and in a
// select, for whichever comes first of a descriptor and a message:
//
//   select(5s, on_readable(socket, [&] { serve(socket.read(buffer, 0s)); }),
//              [](Stop) { … },
//              [](Timeout) { … });
//
// Ready is also what has ended, or failed, or is no open descriptor: to read or write it says which. Somebody else may
// be quicker, so what is then tried has a bound of its own. In one direction one process at a time waits for a
// descriptor (`busy`; in a select, ready at once). A descriptor that somebody closes meanwhile may never get ready: the
// wait ends with its bound. On a process only; elsewhere std::logic_error.
#pragma once

#include "io/io.h"
#include "net/stream.h"
#include "runtime/bound.h"
#include "runtime/operation.h"
#include "runtime/select.h"

#include <concepts>
#include <cstddef>
#include <expected>
#include <type_traits>
#include <utility>

namespace erlking {

/// Waits until `fd` can be read: there is something, or its end. Fails with timed_out, closed, busy, cancelled.
std::expected<void, IoError> wait_readable(int fd, Bound bound);
/// Waits until something can be written to `fd`. Fails as wait_readable() does.
std::expected<void, IoError> wait_writable(int fd, Bound bound);

namespace detail {

/// What has a descriptor: a Socket, a Pipe, a Listener.
template <class T>
concept HasDescriptor = requires(const T& of) {
  { of.fd() } -> std::same_as<int>;
};

/// POLLIN, POLLOUT.
inline constexpr short kReadable = 1, kWritable = 4;

template <class F>
class OnReady {
 public:
  using result = std::invoke_result_t<F&>;
  OnReady(int fd, short events, const Stream* stream, F body)
      : watch_(fd, events), stream_(stream), body_(std::move(body)) {}
  bool arm(Process& process) { return (stream_ != nullptr && stream_->buffered() != 0) || watch_.arm(process); }
  void disarm() noexcept { watch_.disarm(); }
  result run() { return body_(); }

 private:
  PollWatch watch_;
  const Stream* stream_;  // null: it has no buffer
  F body_;
};

}  // namespace detail

/// A source for select: ready when `fd` can be read; then runs body(). Without memory for it select throws
/// std::bad_alloc.
template <std::invocable<> F>
detail::OnReady<F> on_readable(int fd, F body) {
  return {fd, detail::kReadable, nullptr, std::move(body)};
}
/// The same of a Socket or Pipe, which is ready at once while it has bytes buffered; of a Listener: there is a
/// connection. `from` must stay where it is until then.
template <detail::HasDescriptor T, std::invocable<> F>
detail::OnReady<F> on_readable(const T& from, F body) {
  const Stream* stream = nullptr;
  if constexpr (std::derived_from<T, Stream>) stream = &from;
  return {from.fd(), detail::kReadable, stream, std::move(body)};
}
/// A source for select: ready when something can be written to `fd`; then runs body(). As on_readable().
template <std::invocable<> F>
detail::OnReady<F> on_writable(int fd, F body) {
  return {fd, detail::kWritable, nullptr, std::move(body)};
}
/// The same of a Socket or Pipe.
template <detail::HasDescriptor T, std::invocable<> F>
detail::OnReady<F> on_writable(const T& to, F body) {
  return {to.fd(), detail::kWritable, nullptr, std::move(body)};
}

}  // namespace erlking
