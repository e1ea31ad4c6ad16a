// Subprocess: a program that the operating system runs beside this one, owned by one process as a socket is: when it is
// destroyed, so when its owner ends, the program and all that it has started in its group are killed (SIGKILL) and
// reaped. It moves in a message to another process. Each call blocks the calling process alone, never a worker.
//
//   auto sort = Subprocess::spawn({.program = "sort", .in = Stdio::pipe, .out = Stdio::pipe}, 5s);
//   sort->in.write("b\na\n", 5s);  sort->in.close();
//   sort->out.read_until("\n", 100, 5s);                        // "a"
//   sort->wait(5s)->reason();                                   // normal
//
//   subprocess("exporter", {.restart = permanent}, {.program = "node_exporter"})   // a supervisor's child
//
//   SB1  The program has a group of its own, whose number is its own. It is signalled only while the program has not
//        been reaped: after that the number may be another's. So what is left of the group when the program has ended
//        is killed first, then the program is reaped.
//   SB2  Nobody else in this program may reap it (wait(-1), or SIGCHLD ignored): it is then as if it had ended with a
//        status nobody knows, 255.
// Should this program be killed itself by SIGKILL, nobody is left to end its programs: they go on.
#pragma once

#include "io/io.h"
#include "net/descriptor.h"
#include "net/pipe.h"
#include "runtime/bound.h"
#include "runtime/child.h"
#include "runtime/reason.h"

#include <chrono>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace erlking {

/// What one of a program's three standard streams is.
enum class Stdio : std::uint8_t {
  inherit,  ///< this program's
  null,     ///< /dev/null
  pipe,     ///< a pipe to its Subprocess
};

/// What to run, and how.
struct SubprocessOptions {
  std::string program;                      ///< a path, or a name to look for in PATH
  std::vector<std::string> arguments = {};  ///< after the program's name
  /// "NAME=value" each; none: this program's.
  std::optional<std::vector<std::string>> environment = {};
  std::string directory = {};    ///< where it runs; empty: where this program does
  Stdio in = Stdio::null;        ///< its standard input
  Stdio out = Stdio::inherit;    ///< its standard output
  Stdio error = Stdio::inherit;  ///< its standard error
  /// Of run_subprocess(): from SIGTERM to SIGKILL. Less than what its supervisor gives it, 5 s if nothing is said.
  Duration grace = std::chrono::seconds(3);
};

/// How a program has ended.
struct SubprocessEnd {
  int status = 0;  ///< what it returned, 0 to 255
  int signal = 0;  ///< or what killed it; 0: it returned

  /// Whether it returned 0.
  bool is_normal() const noexcept { return status == 0 && signal == 0; }
  /// As an exit reason: `normal`, or {exit_status, "3"}, or {signal, "SIGSEGV"}.
  Reason reason() const;
  friend bool operator==(const SubprocessEnd&, const SubprocessEnd&) = default;
};

namespace detail {

/// The program as the system knows it: killed with its group and reaped when this is destroyed (SB1). On a process that
/// waits for its end, elsewhere the thread does, for those few milliseconds.
class OsProcess {
 public:
  OsProcess() noexcept = default;
  OsProcess(pid_t id, Fd fd) noexcept : id_(id), fd_(std::move(fd)) {}
  OsProcess(OsProcess&& other) noexcept : id_(std::exchange(other.id_, 0)), fd_(std::move(other.fd_)) {}
  OsProcess& operator=(OsProcess&& other) noexcept {
    if (this != &other) {
      end();
      id_ = std::exchange(other.id_, 0);
      fd_ = std::move(other.fd_);
    }
    return *this;
  }
  ~OsProcess() { end(); }

  pid_t id() const noexcept { return id_; }      // 0: none, or reaped
  int fd() const noexcept { return fd_.get(); }  // ready to be read when it has ended
  int signal(int number) noexcept;               // to its group; 0, or an errno
  std::optional<SubprocessEnd> reap() noexcept;  // nothing: it has not ended

 private:
  void end() noexcept;

  pid_t id_ = 0;
  Fd fd_;
};

}  // namespace detail

/// A program that runs, or has run.
class Subprocess {
 public:
  /// None.
  Subprocess() noexcept = default;
  /// Starts one, by a spare thread. Fails with not_found, not_permitted, invalid (no program is named), limit,
  /// no_memory, timed_out.
  static std::expected<Subprocess, IoError> spawn(SubprocessOptions options, Bound bound);

  Pipe in;     ///< what is written is its standard input, with Stdio::pipe; else not open
  Pipe out;    ///< its standard output, likewise
  Pipe error;  ///< its standard error, likewise

  /// Waits for its end; what it left running of its group is killed then. Again: the same. Fails with timed_out, and it
  /// runs on; closed: there is none; cancelled.
  std::expected<SubprocessEnd, IoError> wait(Bound bound);
  /// Sends a signal to the program and its group. Fails with closed: there is none, or its end has been waited for.
  std::expected<void, IoError> kill(int signal);
  /// SIGTERM, and after `grace` SIGKILL; waits for the end.
  std::expected<SubprocessEnd, IoError> terminate(Duration grace);

  /// Its number; 0: there is none, or its end has been waited for.
  pid_t id() const noexcept { return process_.id(); }
  /// A descriptor that can be read when it has ended, still owned by it: for on_readable(); -1: not open.
  int fd() const noexcept { return process_.fd(); }

 private:
  detail::OsProcess process_;
  std::optional<SubprocessEnd> end_;
};

/// What a process runs to be a program: it starts it (within 5 s, or the process exits with the IoError's name) and
/// ends when the program does, with SubprocessEnd::reason(). An exit signal (but `normal`) is passed on as
/// terminate(grace), and the process ends with its reason after that. Stdio::pipe: exits with bad_options.
void run_subprocess(SubprocessOptions options);
/// That as a supervisor's child.
ChildSpec subprocess(std::string id, ChildOptions options, SubprocessOptions what);

}  // namespace erlking
