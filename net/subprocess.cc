#include "net/subprocess.h"

#include "base/compiler.h"
#include "base/log.h"
#include "net/readiness.h"
#include "net/when_ready.h"
#include "runtime/blocking.h"
#include "runtime/receive.h"
#include "runtime/self.h"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>

namespace erlking {

using detail::failure, detail::Fd, detail::OsProcess;

namespace {

constexpr Duration kDeath = std::chrono::seconds(5);  // how long the system may take over a SIGKILL
constexpr Duration kStart = std::chrono::seconds(5);

// One of the three streams: the end that the program gets, and ours; -1: none.
struct End {
  Fd theirs, ours;
};

// The three of the program must not have the numbers that the others are to get.
EK_NOIPA int above_stdio(Fd& fd) noexcept {
  if (fd.get() > STDERR_FILENO) return 0;
  Fd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (moved.get() < 0) return errno;
  fd = std::move(moved);
  return 0;
}

// 0, or an errno.
EK_NOIPA int open_end(Stdio what, int number, End& end) noexcept {
  if (what == Stdio::inherit) return 0;
  const bool reads = number == STDIN_FILENO;
  if (what == Stdio::null) {
    end.theirs = Fd(::open("/dev/null", (reads ? O_RDONLY : O_WRONLY) | O_CLOEXEC));
    return end.theirs.get() < 0 ? errno : above_stdio(end.theirs);
  }
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return errno;
  end.theirs = Fd(fds[reads ? 0 : 1]);
  end.ours = Fd(fds[reads ? 1 : 0]);
  const int fault = above_stdio(end.theirs);
  return fault != 0 ? fault : above_stdio(end.ours);
}

// What posix_spawn wants to know; its members are freed with it.
class Wanted {
 public:
  Wanted() noexcept { fault_ = posix_spawn_file_actions_init(&actions_); }
  ~Wanted() {
    posix_spawn_file_actions_destroy(&actions_);
    if (with_attributes_) posix_spawnattr_destroy(&attributes_);
  }
  Wanted(const Wanted&) = delete;
  Wanted& operator=(const Wanted&) = delete;

  // A group of its own, no signal blocked or ignored: a worker's thread has its own ideas.
  void set_signals() noexcept {
    note(posix_spawnattr_init(&attributes_));
    with_attributes_ = fault_ == 0;
    if (!with_attributes_) return;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    note(posix_spawnattr_setsigmask(&attributes_, &none));
    note(posix_spawnattr_setsigdefault(&attributes_, &all));
    note(posix_spawnattr_setpgroup(&attributes_, 0));
    note(
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP));
  }
  void set_stream(const End& end, int number) noexcept {
    if (end.theirs.get() >= 0) note(posix_spawn_file_actions_adddup2(&actions_, end.theirs.get(), number));
  }
  void set_directory(const std::string& path) noexcept {
    if (!path.empty()) note(posix_spawn_file_actions_addchdir_np(&actions_, path.c_str()));
  }
  int spawn(pid_t& id, const char* program, char** arguments, char** environment) noexcept {
    if (fault_ != 0) return fault_;
    return posix_spawnp(&id, program, &actions_, &attributes_, arguments, environment);
  }

 private:
  void note(int fault) noexcept {
    if (fault_ == 0) fault_ = fault;
  }
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  bool with_attributes_ = false;
  int fault_ = 0;
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> made;
  for (std::string& text : texts) made.push_back(text.data());
  made.push_back(nullptr);
  return made;
}

// What a start has made; the program is ended with it, should nobody want it any more.
struct Made {
  OsProcess process;
  Fd in, out, error;
};

// On a spare thread: the system keeps the thread that asks until the program is there.
EK_NOIPA std::expected<Made, int> spawn_now(SubprocessOptions& options, io::Place place) {
  if (options.program.empty()) return std::unexpected(EINVAL);
  End in, out, error;
  int fault = open_end(options.in, STDIN_FILENO, in);
  if (fault == 0) fault = open_end(options.out, STDOUT_FILENO, out);
  if (fault == 0) fault = open_end(options.error, STDERR_FILENO, error);
  if (fault != 0) return std::unexpected(fault);
  std::vector<std::string> named = {options.program};
  named.insert(named.end(), options.arguments.begin(), options.arguments.end());
  std::vector<char*> environment;
  if (options.environment) environment = pointers(*options.environment);
  Wanted wanted;
  wanted.set_signals();
  wanted.set_stream(in, STDIN_FILENO);
  wanted.set_stream(out, STDOUT_FILENO);
  wanted.set_stream(error, STDERR_FILENO);
  wanted.set_directory(options.directory);
  pid_t id = 0;
  fault = wanted.spawn(id, options.program.c_str(), pointers(named).data(),
                       options.environment ? environment.data() : ::environ);
  if (fault != 0) return std::unexpected(fault);
  Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, id, 0)), std::move(place));
  fault = fd.get() < 0 ? errno : 0;
  OsProcess process(id, std::move(fd));
  if (fault != 0) return std::unexpected(fault);
  return Made{std::move(process), std::move(in.ours), std::move(out.ours), std::move(error.ours)};
}

std::expected<Pipe, IoError> pipe_of(Fd fd) {
  if (fd.get() < 0) return Pipe();
  return Pipe::adopt(fd.release());
}

}  // namespace

Reason SubprocessEnd::reason() const {
  if (is_normal()) return reason::normal;
  if (signal == 0) return Reason("exit_status", std::to_string(status));
  const char* const name = ::sigabbrev_np(signal);
  return Reason("signal", name != nullptr ? std::string("SIG") + name : std::to_string(signal));
}

namespace detail {

// Not inlined, as the others here: errno is this thread's, and their callers' waits may end on another.
EK_NOIPA int OsProcess::signal(int number) noexcept {
  if (id_ == 0) return EBADF;
  return ::kill(-id_, number) == 0 ? 0 : errno;
}

EK_NOIPA std::optional<SubprocessEnd> OsProcess::reap() noexcept {
  siginfo_t info{};
  const auto ask = [&](int how) {
    while (::waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | how) != 0) {
      if (errno != EINTR) return false;
    }
    return true;
  };
  const bool known = ask(WNOHANG | WNOWAIT);
  if (known && info.si_pid == 0) return std::nullopt;
  static_cast<void>(signal(SIGKILL));  // SB1
  const bool reaped = known && ask(0);
  id_ = 0;
  fd_.reset();
  if (!reaped) return SubprocessEnd{.status = 255};  // SB2
  if (info.si_code == CLD_EXITED) return SubprocessEnd{.status = info.si_status};
  return SubprocessEnd{.signal = info.si_status};
}

void OsProcess::end() noexcept {
  if (id_ == 0) return;
  static_cast<void>(signal(SIGKILL));
  if (reap()) return;
  const DeferKill until_over;
  auto* const process = static_cast<Process*>(sched::current());
  if (process != nullptr && !process->exiting && fd_.get() >= 0 && can_time(*process, kDeath)) {
    io::Operation poll(io::Code::poll, fd_.get(), nullptr, 0, POLLIN);
    static_cast<void>(perform(poll, kDeath));
    if (reap()) return;
  }
  for (int naps = 0; naps < 500; ++naps) {
    pollfd look{fd_.get(), POLLIN, 0};
    ::poll(&look, 1, 10);
    if (reap()) return;
  }
  base::log(base::Level::error, "subprocess", fmt::format("{} does not die of SIGKILL; it is left", id_));
}

}  // namespace detail

std::expected<Subprocess, IoError> Subprocess::spawn(SubprocessOptions options, Bound bound) {
  std::optional<std::expected<Made, int>> made;
  io::Place place = detail::take_place();
  io::Place of_pipes[3];  // given back before the pipes take their own: there is room, or nothing is started
  std::size_t pipes = 0;
  for (const Stdio each : {options.in, options.out, options.error}) {
    if (each == Stdio::pipe && !(of_pipes[pipes++] = detail::take_place())) place.reset();
  }
  if (!place) return failure(EMFILE, "spawn");
  try {
    made = blocking(bound, [options = std::move(options), place = std::move(place)]() mutable {
      return spawn_now(options, std::move(place));
    });
  } catch (const std::system_error& error) {
    return failure(error.code().value(), "spawn");
  }
  if (!made) return failure(ETIME, "spawn");
  if (!*made) return failure(made->error(), "spawn");
  Subprocess started;
  started.process_ = std::move((*made)->process);
  for (const auto& [fd, pipe] : {std::pair(&(*made)->in, &started.in), std::pair(&(*made)->out, &started.out),
                                 std::pair(&(*made)->error, &started.error)}) {
    if (fd->get() >= 0) of_pipes[--pipes].reset();
    auto end = pipe_of(std::move(*fd));
    if (!end) return failure(end.error().code, "spawn");
    *pipe = *std::move(end);
  }
  return started;
}

std::expected<SubprocessEnd, IoError> Subprocess::wait(Bound bound) {
  if (end_) return *end_;
  const std::int64_t result = detail::when_ready(fd(), POLLIN, bound, [this]() -> std::int64_t {
    end_ = process_.reap();
    return end_ ? 0 : -EAGAIN;
  });
  if (result < 0) return failure(static_cast<int>(-result), "wait");
  return *end_;
}

std::expected<void, IoError> Subprocess::kill(int signal) {
  if (const int fault = process_.signal(signal); fault != 0) return failure(fault, "kill");
  return {};
}

std::expected<SubprocessEnd, IoError> Subprocess::terminate(Duration grace) {
  if (end_) return *end_;
  if (auto told = kill(SIGTERM); !told) return failure(told.error().code, "terminate");
  static_cast<void>(kill(SIGCONT));  // one that is stopped must run to hear it
  auto ended = wait(grace);
  if (ended || ended.error().kind != IoFailure::timed_out) return ended;
  if (auto told = kill(SIGKILL); !told) return failure(told.error().code, "terminate");
  return wait(kDeath);
}

void run_subprocess(SubprocessOptions options) {
  if (options.in == Stdio::pipe || options.out == Stdio::pipe || options.error == Stdio::pipe) {
    exit(Reason("bad_options", "Stdio::pipe"));
  }
  const Duration grace = options.grace;
  trap_exit(true);
  auto program = Subprocess::spawn(std::move(options), kStart);
  if (!program) exit(Reason(to_string(program.error().kind), program.error().to_string()));
  for (bool running = true; running;) {
    select(
        forever, on_readable(program->fd(), [&] { running = false; }),
        [&](Exit told) {
          if (told.reason == reason::normal) return;
          static_cast<void>(program->terminate(grace));
          exit(std::move(told.reason));
        },
        [](Message) {});
  }
  const auto ended = program->wait(kDeath);
  exit(ended ? ended->reason() : Reason(to_string(ended.error().kind)));
}

ChildSpec subprocess(std::string id, ChildOptions options, SubprocessOptions what) {
  return child(std::move(id), std::move(options), run_subprocess, std::move(what));
}

}  // namespace erlking
