// Runtime::run() of a tree of supervisors. The application process is the root's parent: it starts it, and when it is
// told to end, by stop(), passes that on as a parent's exit and waits for the root to end its children in order. This
// thread waits for either the application's end or a signal; whoever comes says so by one eventfd, which a signal
// handler may write to.
#include "base/log.h"
#include "runtime/os_signal.h"
#include "runtime/runtime.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace erlking {

namespace {

// An eventfd to wait at.
class Bell {
 public:
  Bell() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "erlking: eventfd");
  }
  ~Bell() { close(fd_); }
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  int fd() const noexcept { return fd_; }
  void ring() const noexcept {
    const std::uint64_t one = 1;
    while (write(fd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
  void hush() const noexcept {
    std::uint64_t rung;
    while (read(fd_, &rung, sizeof rung) < 0 && errno == EINTR) {
    }
  }

 private:
  int fd_;
};

// Waits until one rings; the second may be none.
void wait_for(const Bell& first, const Bell* second) noexcept {
  pollfd rung[] = {{first.fd(), POLLIN, 0}, {second != nullptr ? second->fd() : -1, POLLIN, 0}};
  while (poll(rung, 2, -1) < 0 && errno == EINTR) {
  }
}

// The signals' bell is never put away: a handler may still be in it.
std::atomic<const Bell*> signal_bell{nullptr};
std::atomic<int> signal_number{0};  // the first that came
std::atomic<bool> signals_awaited{false};

void on_signal(int number, std::intptr_t) noexcept {
  int none = 0;
  if (signal_number.compare_exchange_strong(none, number)) {
    signal_bell.load()->ring();
  } else {  // a second one: as if nothing had been installed
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
}

// SIGTERM and SIGINT ring the bell while this lives.
class SignalScope {
 public:
  SignalScope() {
    if (signals_awaited.exchange(true)) {
      throw std::logic_error("erlking: another runtime's run() waits for signals: say .signals = false");
    }
    if (signal_bell.load() == nullptr) signal_bell.store(new Bell);
    bell().hush();
    signal_number.store(0);
    using Hook = detail::OsSignalHook;
    auto hook = Hook::add(Hook::bit(SIGTERM) | Hook::bit(SIGINT), &on_signal, 0);
    if (!hook) {
      signals_awaited.store(false);
      throw std::runtime_error("erlking: too many subscriptions to signals");
    }
    hook_.emplace(std::move(*hook));
  }
  ~SignalScope() {
    hook_.reset();
    signals_awaited.store(false);
  }
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

  const Bell& bell() const noexcept { return *signal_bell.load(); }
  int number() const noexcept { return signal_number.load(); }

 private:
  std::optional<detail::OsSignalHook> hook_;
};

// What the application and who runs it share; it outlives a runtime that could not stop.
struct Application {
  Bell bell;  // rung when the process is gone
  std::shared_ptr<std::atomic<bool>> gave_up = std::make_shared<std::atomic<bool>>(false);
  bool failed = false;  // written before it ends
  std::atomic<bool> ended{false};
};

// Of the application process: rings when it is gone, however it goes.
class AtEnd {
 public:
  explicit AtEnd(std::shared_ptr<Application> application) noexcept : application_(std::move(application)) {}
  AtEnd(AtEnd&&) noexcept = default;
  ~AtEnd() {
    if (application_ == nullptr) return;
    application_->ended.store(true);
    application_->bell.ring();
  }
  Application& application() const noexcept { return *application_; }

 private:
  std::shared_ptr<Application> application_;
};

// The application process.
void run_application(SupervisorSpec spec, const SpawnOptions& options, Application& application) {
  trap_exit(true);
  application.failed = true;
  const Started root = detail::start_root(forever, options, std::move(spec), application.gave_up);
  if (!root) {
    const StartError& error = root.error();
    base::log(base::Level::error, "runtime",
              fmt::format("the root supervisor did not start: {}",
                          error.kind == StartFailure::failed ? error.why.to_string() : to_string(error.kind)));
    return;
  }
  for (;;) {
    const Exit exit = receive(forever, [](Exit exit) { return exit; });
    if (exit.from == *root) {
      application.failed = application.gave_up->load() || exit.reason.is_abnormal();
      if (!application.failed) return;
      base::log(base::Level::error, "runtime", fmt::format("the root supervisor ended: {}", exit.reason.to_string()));
      return;
    }
    if (!exit.from) erlking::exit(*root, reason::shutdown);  // stop() or the like
  }
}

}  // namespace

ExitStatus Runtime::run(SupervisorSpec root, const RootOptions& options) {
  const auto application = std::make_shared<Application>();
  std::optional<SignalScope> signals;
  if (options.signals) signals.emplace();
  const auto made = spawn([](AtEnd end, SupervisorSpec spec,
                             SpawnOptions with) { run_application(std::move(spec), with, end.application()); },
                          AtEnd(application), std::move(root), options.spawn);
  if (!made) {
    report_no_start(made.error());
    return kRootFailed;
  }
  wait_for(application->bell, signals ? &signals->bell() : nullptr);
  const bool by_itself = application->ended.load();
  if (!by_itself) {
    base::log(base::Level::info, "runtime",
              fmt::format("{}: stopping in order, within {} ms; once more ends the program at once",
                          strsignal(signals->number()), system_->options.stop.count() / 1'000'000));
  }
  const bool clean = stop();
  if (by_itself && application->failed) return kRootFailed;
  return clean && in_order_ ? kInOrder : kNotInOrder;
}

}  // namespace erlking
