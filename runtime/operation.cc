#include "runtime/operation.h"

#include "base/compiler.h"
#include "base/log.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <cerrno>
#include <unistd.h>

namespace erlking::detail {

namespace {

// An operation that needed no wait costs a system call: a process lets others run after about a hundred.
constexpr std::int32_t kCost = 16;

void rouse_worker(void* core) noexcept { static_cast<Core*>(core)->wake(); }

void wake_process(void* waiter) noexcept {
  Process& process = *static_cast<Process*>(waiter);
  if (process.ticket.wake_any()) make_ready(process);  // OW2
}

// Sleeps until `over` holds or the bound has passed: whether it holds.
template <class Over>
bool sleep_until(Process& process, const Bound& bound, Over&& over) {
  TicketWait wait(process, bound, nullptr);
  for (;;) {
    wait.arm();
    if (over()) {
      wait.disarm();
      return true;
    }
    if (wait.wait() == TicketWait::Ended::expired) return over();
  }
}

// An operation that has been started: whoever leaves it is sure that it is over (OW1).
class Started {
 public:
  Started(Process& process, io::Operation& operation, io::Driver& driver) noexcept
      : process_(process), operation_(operation), driver_(driver) {}
  ~Started() {
    if (!is_over()) {
      const DeferKill until_over;
      driver_.cancel(operation_);
      sleep_until(process_, forever, [&] { return is_over() && operation_.cancel_seen.load(base::seq_cst); });
    }
    if (!wanted_ && operation_.code == io::Code::accept && operation_.result >= 0) ::close(operation_.result);
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  bool is_over() const noexcept { return operation_.done.load(base::seq_cst); }  // [op-done]
  bool wait(const Bound& bound) {
    const bool in_time = is_over() || sleep_until(process_, bound, [this] { return is_over(); });
    wanted_ = true;
    return in_time;
  }

 private:
  Process& process_;
  io::Operation& operation_;
  io::Driver& driver_;
  bool wanted_ = false;  // its result has a taker: the process is not being ended
};

}  // namespace

const io::Choice* Io::choice() {
  if (const io::Choice* const made = choice_.load(base::acquire)) return made;  // [io-choice]
  const base::MutexLock lock(mutex_);
  if (const io::Choice* const made = choice_.load(base::relaxed)) return made;  // relaxed: under the mutex
  if (!fault_.empty()) return nullptr;
  auto chosen = io::choose_driver(system_.options.io);
  if (!chosen) {
    fault_ = chosen.error();
    base::log(base::Level::error, "io", fault_);
    return nullptr;
  }
  chosen_ = std::move(*chosen);
  if (!chosen_.why.empty()) {
    base::log(base::Level::warning, "io", fmt::format("{}: {} is used", chosen_.why, chosen_.name));
  }
  choice_.store(&chosen_, base::release);  // [io-choice]
  return &chosen_;
}

// Null: errno says why.
io::Driver* Io::driver_of(Process& process) noexcept {
  Core& core = core_of(process);
  if (core.driver != nullptr) [[likely]]
    return core.driver.get();
  if (io::Driver* const shared = shared_.load(base::acquire)) return shared;  // [io-choice]
  const io::Choice* const chosen = choice();
  if (chosen == nullptr) {
    errno = ENOSYS;
    return nullptr;
  }
  if (core.policy().max_tasks() == 0) {
    core.driver = io::make_driver(chosen->name, {&rouse_worker, &core});
    if (core.driver != nullptr) core.set_poller(*core.driver);
    return core.driver.get();
  }
  const base::MutexLock lock(mutex_);
  if (service_ == nullptr) service_ = io::Service::make(chosen->name);
  if (service_ == nullptr) return nullptr;
  shared_.store(&service_->driver(), base::release);  // [io-choice]
  return &service_->driver();
}

// Not inlined: errno is this thread's, and the caller's wait may end on another.
EK_NOIPA io::Driver* Io::start(Process& process, io::Operation& operation) noexcept {
  io::Driver* const driver = driver_of(process);
  if (driver == nullptr) {
    operation.result = -errno;
    return nullptr;
  }
  if (driver->attempt(operation)) return nullptr;
  operation.wake = &wake_process;
  operation.waiter = &process;
  if (core_of(process).driver != nullptr) {
    driver->start(operation);
  } else {
    driver->post(operation);
  }
  return driver;
}

std::int32_t perform(io::Operation& operation, const Bound& bound) {
  Process& process = require_process("input and output");
  process.checkpoint();
  if (process.exiting || (process.doomed && process.deferring == 0)) return -ECANCELED;
  process.budget -= kCost;
  for (;;) {
    io::Driver* const driver = process.system->io.start(process, operation);
    if (driver == nullptr) return operation.result;
    bool in_time = false;
    {
      Started started(process, operation, *driver);
      in_time = started.wait(bound);
    }
    const bool cut_short = operation.result == -ECANCELED || operation.result == -EINTR;
    if (!cut_short) return operation.result;
    if (!in_time) return -ETIME;
    if (operation.result != -EINTR) return operation.result;
    // A signal came between, which is rare enough for the bound to begin anew.
    operation.done.store(false, base::relaxed);  // relaxed: the driver knows nothing of it now
  }
}

}  // namespace erlking::detail
