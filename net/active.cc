#include "net/active.h"

#include "net/readiness.h"
#include "runtime/call.h"
#include "runtime/monitor.h"
#include "runtime/self.h"
#include "runtime/send.h"
#include "runtime/spawn.h"
#include "runtime/system.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <new>
#include <span>
#include <type_traits>

namespace erlking {

using detail::Below, detail::failure;

namespace {

constexpr std::size_t kLargestPart = 1 << 20;
constexpr auto kRestWithoutMemory = std::chrono::milliseconds(5);
constexpr std::size_t kStack = 256 * 1024;  // of addresses: TLS may be below, and goes deep

// What the owner asks of the connection (AC1).
struct AddCredit {
  std::uint32_t n;
  using Reply = std::expected<void, IoError>;
};
struct Write {
  std::string bytes;
  Bound deadline;
  using Reply = std::expected<void, IoError>;
};
struct Stop {
  using Reply = std::expected<Socket, IoError>;
};

// A source of a select that is asked only while `on`.
template <class S>
class OnlyIf {
 public:
  using result = typename S::result;
  OnlyIf(bool on, S source) : on_(on), source_(std::move(source)) {}
  bool arm(Process& process) { return on_ && source_.arm(process); }
  void disarm() noexcept { source_.disarm(); }
  result run() { return source_.run(); }

 private:
  bool on_;
  S source_;
};

bool has_passed(const Bound& deadline) { return !deadline.is_forever() && base::to_time_point(deadline.ns()) <= now(); }

class Connection {
 public:
  Connection(Socket socket, const ActiveOptions& options, Pid owner) noexcept
      : socket_(std::move(socket)), owner_(owner), part_(options.part), credit_(options.credit) {}

  void operator()() {
    monitor(owner_);
    while (open_) {
      try {
        step();
      } catch (const std::bad_alloc&) {
        if (reads_) end(IoError::of(ENOMEM, "read"));
        if (writing_) answer_write(failure(ENOMEM, "write", writing_->sent));
        sleep(kRestWithoutMemory);
      }
    }
  }

 private:
  void step() {
    // Whatever is ready: a bound that has passed is told.
    if (writing_ && has_passed(writing_->request.deadline))
      return answer_write(failure(ETIME, "write", writing_->sent));
    select(
        writing_ ? writing_->request.deadline : Bound(forever), OnlyIf(has_news(), on_room(owner_, [this] { tell(); })),
        OnlyIf(writing_.has_value(), on_writable(socket_, [this] { write_on(); })),
        OnlyIf(!has_news() && reads_ && credit_ != 0, on_readable(socket_, [this] { read(); })),
        [this](AddCredit more, From<AddCredit> from) { add(more, from); },
        [this](Write& request, From<Write> from) {
          writing_.emplace(std::move(request), std::move(from));
          write_on();
        },
        [this](Stop, From<Stop> from) { stop(from); },
        [this](Down) { open_ = false; },  // the only one that is watched: the owner
        [](Message) {},                   // anybody may know its pid
        [this](Timeout) { answer_write(failure(ETIME, "write", writing_->sent)); });
  }

  // --- to the owner (AC3) ---

  bool has_news() const noexcept { return data_ || tells_passive_ || tells_ended_; }

  template <class T>
  bool told(T&& message) {
    return send(owner_, std::forward<T>(message)) != Delivery::full;  // noproc: its Down is on the way
  }
  void tell() {
    if (data_ && !told(std::move(*data_))) return;
    data_.reset();
    if (tells_passive_ && !told(Active::Passive{self()})) return;
    tells_passive_ = false;
    if (tells_ended_ && told(Active::Ended{self(), error_})) tells_ended_ = false;
  }
  void end(std::optional<IoError> error) {
    reads_ = false;
    tells_ended_ = true;
    error_ = error;
  }

  // --- the socket (AC2) ---

  void read() {
    const auto room = std::make_unique_for_overwrite<char[]>(part_);
    const auto got = socket_.read(std::span(room.get(), part_), std::chrono::seconds(0));
    if (!got && got.error() == IoFailure::timed_out) return;  // a record of TLS that is not whole yet
    if (!got) {
      end(got.error());
    } else if (*got == 0) {
      end(std::nullopt);
    } else {
      data_ = Active::Data{self(), std::string(room.get(), *got)};
      tells_passive_ = --credit_ == 0;
    }
    tell();
  }

  void write_on() {
    const std::string_view rest = std::string_view(writing_->request.bytes).substr(writing_->sent);
    auto wrote = socket_.write(rest, std::chrono::seconds(0));
    if (!wrote) {
      wrote.error().transferred = writing_->sent += wrote.error().transferred;
      if (wrote.error() == IoFailure::timed_out) return;
    }
    answer_write(wrote);
  }
  void answer_write(std::expected<void, IoError> outcome) {
    writing_->from.reply(outcome);
    writing_.reset();
  }

  // --- the owner's calls ---

  void add(AddCredit more, From<AddCredit>& from) {
    if (more.n > Active::kMaxCredit - credit_) {
      from.reply(failure(EOVERFLOW, "add_credit"));
      return;
    }
    credit_ += more.n;
    if (more.n != 0) tells_passive_ = false;
    from.reply({});
  }

  void stop(From<Stop>& from) {
    open_ = false;
    if (tells_ended_ && error_) {  // a read would not find it again
      from.reply(std::unexpected(*error_));
      return;
    }
    if (data_) Below::put_back(socket_, data_->bytes);
    from.reply(std::move(socket_));
  }

  struct Writing {
    Write request;
    From<Write> from;
    std::size_t sent = 0;
    Writing(Write&& what, From<Write>&& whom) noexcept : request(std::move(what)), from(std::move(whom)) {}
  };

  Socket socket_;
  const Pid owner_;
  const std::size_t part_;
  std::uint32_t credit_;
  bool open_ = true, reads_ = true;
  std::optional<Active::Data> data_;  // read, and not sent yet
  bool tells_passive_ = false, tells_ended_ = false;
  std::optional<IoError> error_;  // of the end
  std::optional<Writing> writing_;
};

int code_of(CallFailure why) noexcept { return why == CallFailure::no_memory ? ENOMEM : EBADF; }

}  // namespace

std::expected<Active, IoError> Active::start(Socket socket, const ActiveOptions& options) {
  Process& owner = require_process("input and output");
  owner.checkpoint();
  if (!socket.is_open()) return failure(EBADF, "start");
  if (options.credit > kMaxCredit || options.part == 0 || options.part > kLargestPart) return failure(EINVAL, "start");
  detail::Leash connection(owner);
  const auto made = detail::spawn_in(*owner.system, {.mailbox = 4, .stack = kStack}, {.parent = &owner},
                                     Connection(std::move(socket), options, owner.pid()));
  if (!made) return std::unexpected(IoError{.kind = IoFailure::limit, .operation = "start"});
  connection.hold(made->pid, /*linked=*/false);
  return Active(std::move(connection), owner.pid());
}

template <class Request>
std::expected<typename Request::Reply::value_type, IoError> Active::ask(Request request, std::string_view operation) {
  if (!is_open()) return failure(EBADF, operation);
  Process& caller = require_process("input and output");
  if (caller.pid() != owner_) return std::unexpected(IoError{.kind = IoFailure::not_owner, .operation = operation});
  caller.checkpoint();
  // It has a bound of its own, which the connection keeps, or is answered at once. So a behaviour's deadline does not
  // end it (call() would): what the connection has begun must be known when this returns.
  auto answer = detail::call_as(caller, id(), id().id, std::move(request), forever);
  if (!answer) return failure(code_of(answer.error().kind), operation);
  return *std::move(answer);
}

std::expected<void, IoError> Active::add_credit(std::uint32_t n) { return ask(AddCredit{n}, "add_credit"); }

std::expected<void, IoError> Active::write(std::string_view bytes, Bound bound) {
  Process& caller = require_process("input and output");
  Bound deadline = detail::deadline_of(*caller.system, bound);
  if (caller.in_call) deadline = detail::deadline_of(*caller.system, detail::within_call(caller, deadline));
  return ask(Write{std::string(bytes), deadline}, "write");
}

std::expected<Socket, IoError> Active::stop() {
  auto socket = ask(Stop{}, "stop");
  if (socket || socket.error() != IoFailure::not_owner) close();
  return socket;
}

}  // namespace erlking
