// Active: a socket that is read without being asked: what comes in is sent to its owner as messages, which a receive
// takes beside all others.
//
//   auto link = Active::start(std::move(socket), {.credit = 16});
//   receive(30s,
//       [&](Active::Data& data) { parse(data.bytes); },          // a part of the stream; one credit is used up
//       [&](Active::Passive&) { link->add_credit(16); },         // the last one was
//       [&](Active::Ended& end) { … },                           // the peer has ended its side, or it broke
//       [&](Job& job) { link->write(job.request, 5s); });
//
// As Erlang's {active, N} (inet:setopts/2): a message costs a credit, and at zero nothing is read any more, so that the
// peer is slowed down, until there is more. A full mailbox does the same. What is held in between is one part.
//
//   AC1  The socket is owned by a process of its own, the connection, which reads, writes and tells; nothing of it is
//        shared. The owner's calls are calls to it, and it ends with the Active, or with the owner.
//   AC2  It waits in one select for all that may be next: room at the owner, the socket, the owner's calls. It reads
//        and writes only as much as takes no wait, so that neither direction holds up the other.
//   AC3  The owner is told in the order of the stream: every part, then its end; Passive after the part it follows.
// Cost of a part: two system calls (poll, recv), a message, the copy of its bytes; of a write: a call, and a copy.
#pragma once

#include "io/io.h"
#include "net/socket.h"
#include "runtime/async.h"
#include "runtime/bound.h"
#include "runtime/pid.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace erlking {

/// How an Active begins.
struct ActiveOptions {
  std::uint32_t credit = 1;      ///< messages of data it may send before add_credit(): 0 to Active::kMaxCredit
  std::size_t part = 16 * 1024;  ///< the most bytes of one message: 1 to 1 MiB
};

/// A socket that sends what it reads to the process that started it, its owner. Its functions are the owner's: of any
/// other process they fail with not_owner. It closes when it is destroyed, so when its owner ends; what it has sent by
/// then is still in the mailbox.
class Active {
 public:
  /// The most credits at once.
  static constexpr std::uint32_t kMaxCredit = 1'000'000;

  /// A part of the stream, to the owner.
  struct Data {
    Pid from;           ///< Active::id()
    std::string bytes;  ///< never empty
  };
  /// To the owner: the last credit is used up.
  struct Passive {
    Pid from;  ///< Active::id()
  };
  /// To the owner: nothing more comes; no credit is needed for it. It may still be written to.
  struct Ended {
    Pid from;                      ///< Active::id()
    std::optional<IoError> error;  ///< none: the peer has ended its side
  };

  /// Not open.
  Active() noexcept = default;
  /// Begins, for the calling process. What the socket has read ahead comes first. Fails, and closes it, with closed,
  /// invalid (an option), limit (of processes).
  static std::expected<Active, IoError> start(Socket socket, const ActiveOptions& options = {});

  /// Adds `n` credits. Fails with not_owner, closed, too_large (over kMaxCredit; nothing is added), cancelled.
  std::expected<void, IoError> add_credit(std::uint32_t n);
  /// Writes all of `bytes`, as Socket::write does, while what comes in goes on coming. Fails as that does, and with
  /// not_owner.
  std::expected<void, IoError> write(std::string_view bytes, Bound bound);
  /// The socket again; what was read and has not been sent is given by its next read. This is not open any more.
  /// Messages sent before are in the mailbox. Fails with not_owner, closed, cancelled.
  std::expected<Socket, IoError> stop();
  /// Closes it. Again: nothing.
  void close() noexcept { connection_ = {}; }

  bool is_open() const noexcept {
    return static_cast<bool>(connection_.process());
  }                                                          ///< Not closed, moved from, stopped.
  Pid id() const noexcept { return connection_.process(); }  ///< What its messages name; the null pid: not open.

  Active(Active&& other) noexcept
      : connection_(std::exchange(other.connection_, {})), owner_(std::exchange(other.owner_, {})) {}
  Active& operator=(Active&& other) noexcept {
    connection_ = std::exchange(other.connection_, {});
    owner_ = std::exchange(other.owner_, {});
    return *this;
  }  ///< What is moved from is not open; it is still its owner's, wherever it goes.
  ~Active() = default;

 private:
  Active(detail::Leash connection, Pid owner) noexcept : connection_(std::move(connection)), owner_(owner) {}
  template <class Request>
  std::expected<typename Request::Reply::value_type, IoError> ask(Request request, std::string_view operation);

  detail::Leash connection_;  // the process that has the socket
  Pid owner_;
};

}  // namespace erlking
