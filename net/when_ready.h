// when_ready: a system call that does not wait is tried, and tried again when its descriptor is ready: what operations
// there are no codes of a driver for are done by. Right on every driver, whether the descriptor blocks or not. Inside
// net.
#pragma once

#include "io/io.h"
#include "runtime/operation.h"
#include "runtime/system.h"

#include <cerrno>
#include <cstdint>
#include <poll.h>

namespace erlking::detail {

/// Calls attempt() until it answers something else than -EAGAIN, waiting for `events` at `fd` in between: that, or
/// -EBADF, -ETIME, -ECANCELED, -EBUSY of the wait. attempt() answers a result or -errno and must not be inlined here:
/// errno is this thread's, and the wait may end on another. `bound` is for all of it. A safe point.
template <class Attempt>
std::int64_t when_ready(int fd, short events, const Bound& bound, Attempt&& attempt) {
  if (fd < 0) return -EBADF;
  Process& process = require_process("input and output");
  process.checkpoint();
  process.budget -= 16;  // as perform()
  const Bound deadline = deadline_of(*process.system, bound);
  for (;;) {
    const std::int64_t result = attempt();
    if (result != -EAGAIN) return result;
    io::Operation poll(io::Code::poll, fd, nullptr, 0, static_cast<std::uint16_t>(events));
    if (const std::int32_t ready = perform(poll, bound.is_poll() ? bound : deadline); ready < 0) return ready;
  }
}

}  // namespace erlking::detail
