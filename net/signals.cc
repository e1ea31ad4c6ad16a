#include "net/signals.h"

#include "base/compiler.h"
#include "net/descriptor.h"
#include "net/pipe.h"
#include "net/readiness.h"
#include "runtime/exit.h"
#include "runtime/os_signal.h"
#include "runtime/receive.h"
#include "runtime/select.h"
#include "runtime/self.h"
#include "runtime/send.h"
#include "runtime/spawn.h"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <span>
#include <unistd.h>
#include <utility>

namespace erlking {

using detail::failure, detail::Fd, detail::OsSignalHook;

namespace {

struct Ends {
  Fd reader, writer;
};

// The handler must not wait: the end it writes to does not block.
EK_NOIPA std::expected<Ends, int> make_ends() noexcept {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) return std::unexpected(errno);
  return Ends{Fd(fds[0]), Fd(fds[1])};
}

// In a signal handler. A pipe that is full says enough: some of them are one.
void pass_on(int number, std::intptr_t writer) noexcept {
  const auto byte = static_cast<unsigned char>(number);
  static_cast<void>(!::write(static_cast<int>(writer), &byte, 1));
}

// What the process that passes signals on owns; the hook goes first.
struct Subscription {
  Pipe reader;
  Fd writer;
  OsSignalHook hook;
};

// Beside each subscription lives a process that turns what the handler writes into messages.
void forward(Subscription subscription, Pid to) {
  monitor(to);
  for (bool wanted = true; wanted;) {
    select(
        forever,
        on_readable(subscription.reader,
                    [&] {
                      unsigned char numbers[64];
                      const auto came =
                          subscription.reader.read(std::as_writable_bytes(std::span(numbers)), std::chrono::seconds(0));
                      for (std::size_t i = 0; came && i < *came && wanted; ++i) {
                        wanted = send(to, OsSignal{numbers[i]}, forever) == Delivery::queued;
                      }
                      // There may be no descriptors left for a driver here.
                      if (!came && came.error() != IoFailure::timed_out) sleep(std::chrono::milliseconds(50));
                    }),
        [&](Down) { wanted = false; }, [](Message) {});
  }
}

}  // namespace

std::expected<void, IoError> signals::subscribe(std::initializer_list<int> numbers) {
  const Pid me = self();
  std::uint64_t wanted = 0;
  for (const int number : numbers) {
    if (!OsSignalHook::is_allowed(number)) return failure(EINVAL, "subscribe");
    wanted |= OsSignalHook::bit(number);
  }
  if (wanted == 0) return {};
  auto ends = make_ends();
  if (!ends) return failure(ends.error(), "subscribe");
  auto reader = Pipe::adopt(ends->reader.release());
  if (!reader) return failure(reader.error().code, "subscribe");
  auto hook = OsSignalHook::add(wanted, &pass_on, ends->writer.get(), me.id);
  if (!hook) return failure(ENFILE, "subscribe");
  if (!hook->has_place()) return {};  // it has all of them
  spawn(forward, Subscription{*std::move(reader), std::move(ends->writer), *std::move(hook)}, me);
  return {};
}

}  // namespace erlking
