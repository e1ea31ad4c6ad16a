#include "runtime/operation.h"

#include "base/assert.h"
#include "base/compiler.h"
#include "base/log.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <cerrno>
#include <fcntl.h>
#include <new>
#include <poll.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace erlking::detail {

namespace {

// An operation that needed no wait costs a system call: a process lets others run after about a hundred.
constexpr std::int32_t kCost = 16;

void rouse_worker(void* core) noexcept { static_cast<Core*>(core)->wake(); }

void wake_process(void* waiter) noexcept {
  Process& process = *static_cast<Process*>(waiter);
  if (process.ticket.wake_any()) make_ready(process);  // OW2
}

// The end of `operation` wakes `process`.
void wakes(io::Operation& operation, Process& process) noexcept {
  operation.wake = &wake_process;
  operation.waiter = &process;
}

// For the flight recorder of the worker it is on. Before it is begun: from then on it is the driver's.
void note_begin(const Process& process, const io::Operation& operation) noexcept {
  process.worker->flight().record(
      flight_io_word(FlightWord::io_begin, static_cast<std::uint8_t>(operation.code), operation.fd, 0));
}
// When it is over.
void note_end(const Process& process, const io::Operation& operation) noexcept {
  process.worker->flight().record(
      flight_io_word(FlightWord::io_end, static_cast<std::uint8_t>(operation.code), operation.fd, operation.result));
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

// The kernel cannot promise that such a write does not wait, so its ring gives it to threads of its own, which took
// 200 µs over what ours do in 70 (a log on ext4, under load).
bool is_buffered_write(const io::Operation& operation) noexcept {
  return operation.code == io::Code::write_at && (::fcntl(operation.fd, F_GETFL) & O_DIRECT) == 0;
}

// An operation that has been started: whoever leaves it is sure that it is over (OW1).
class Started {
 public:
  Started(Process& process, io::Operation& operation) noexcept : process_(process), operation_(operation) {
    process_.in_operation = true;  // OW4
  }
  ~Started() {
    if (!is_over()) {
      const DeferKill until_over;
      process_.system->io.cancel(operation_);
      sleep_until(process_, forever, [&] { return is_over() && operation_.cancel_seen.load(base::seq_cst); });
    }
    if (!wanted_ && operation_.code == io::Code::accept && operation_.result >= 0) ::close(operation_.result);
    process_.in_operation = false;
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
  bool wanted_ = false;  // its result has a taker: the process is not being ended
};

}  // namespace

Io::Io(System& system)
    : system_(system),
      limits_(std::make_shared<io::Limits>(system.options.max_descriptors, system.options.max_io_bytes)) {}

void Io::stop() noexcept {
  std::unique_ptr<io::Service> service;
  std::unique_ptr<io::Spare> spare;
  const base::MutexLock lock(mutex_);
  shared_.store(nullptr, base::relaxed);  // relaxed: no process is there to load it
  service = std::move(service_);
  spare = std::move(spare_);
}

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
  const io::Choice* chosen = nullptr;
  errno = ENOSYS;
  try {
    chosen = choice();
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
  if (chosen == nullptr) return nullptr;
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

io::Spare* Io::spare() noexcept {
  const base::MutexLock lock(mutex_);
  if (spare_ == nullptr) {
    try {
      spare_ = std::make_unique<io::Spare>(system_.options.spare_threads);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
  return spare_.get();
}

bool Io::start_spare(io::Operation& operation) noexcept {
  operation.driver = nullptr;
  io::Spare* const threads = spare();
  if (threads != nullptr && threads->post(operation)) return true;
  operation.result = threads == nullptr ? -ENOMEM : -EAGAIN;
  return false;
}

// Not inlined: errno is this thread's, and the caller's wait may end on another.
EK_NOIPA bool Io::start(Process& process, io::Operation& operation) noexcept {
  if (operation.code == io::Code::call) return start_spare(operation);
  io::Driver* const driver = driver_of(process);
  if (driver == nullptr) {
    operation.result = -errno;
    return false;
  }
  if (driver->attempt(operation)) return false;
  const bool of_file = operation.code >= io::Code::read_at;
  if (of_file && (!driver->does_files() || is_buffered_write(operation))) return start_spare(operation);
  operation.driver = driver;
  if (core_of(process).driver != nullptr) {
    driver->start(operation);
  } else {
    driver->post(operation);
  }
  return true;
}

void Io::cancel(io::Operation& operation) noexcept {
  if (operation.driver != nullptr) {
    operation.driver->cancel(operation);
  } else {
    spare()->cancel(operation);
  }
}

std::int32_t perform(io::Operation& operation, const Bound& bound) {
  Process& process = require_process("input and output");
  process.checkpoint();
  if (process.exiting || (process.doomed && process.deferring == 0)) return -ECANCELED;
  process.budget -= kCost;
  wakes(operation, process);
  for (;;) {
    note_begin(process, operation);
    if (!process.system->io.start(process, operation)) {
      note_end(process, operation);
      return operation.result;
    }
    bool in_time = false;
    {
      Started started(process, operation);
      in_time = started.wait(bound);
    }
    note_end(process, operation);
    process.settle();
    const bool cut_short = operation.result == -ECANCELED || operation.result == -EINTR;
    if (!cut_short) return operation.result;
    if (!in_time) return -ETIME;
    if (operation.result != -EINTR) return operation.result;
    // A signal came between, which is rare enough for the bound to begin anew.
    operation.done.store(false, base::relaxed);  // relaxed: the driver knows nothing of it now
  }
}

std::unique_ptr<io::Call> perform(std::unique_ptr<io::Call> call, const Bound& bound) {
  // Whoever leaves it before its end leaves it to the thread that runs it.
  struct Posted {
    io::Spare& threads;
    std::unique_ptr<io::Call>& call;
    bool is_over() const noexcept { return call->operation.done.load(base::seq_cst); }  // [op-done]
    ~Posted() {
      if (!is_over() && threads.abandon(*call)) static_cast<void>(call.release());
    }
  };
  Process& process = require_process("blocking()");
  process.checkpoint();
  if (process.exiting || (process.doomed && process.deferring == 0)) return nullptr;
  wakes(call->operation, process);
  note_begin(process, call->operation);
  if (!process.system->io.start(process, call->operation)) {
    throw std::system_error(-call->operation.result, std::generic_category(), "no thread for a blocking call");
  }
  bool in_time = false;
  {
    const Posted posted{*process.system->io.spare(), call};
    in_time = sleep_until(process, bound, [&] { return posted.is_over(); });
  }
  process.worker->flight().record(
      flight_io_word(FlightWord::io_end, static_cast<std::uint8_t>(io::Code::call), -1, in_time ? 0 : -ETIME));
  return in_time ? std::move(call) : nullptr;
}

struct PollWatch::UnderWay {
  io::Operation operation;
  Process& process;
  const Pid pid;
  std::atomic<Item*> nudge;
  std::atomic<unsigned> told{0};  // times the driver has told of it [watch-told]

  UnderWay(int fd, short events, Process& by)
      : operation(io::Code::poll, fd, nullptr, 0, static_cast<std::uint16_t>(events)),
        process(by),
        pid(by.pid()),
        nudge(new_signal(SignalKind::nudge, pid).release()) {
    operation.wake = &tell;
    operation.waiter = this;
  }
  ~UnderWay() { SignalPtr(nudge.load(base::relaxed)); }  // relaxed: nobody else has it

  static void tell(void* waiter) noexcept {
    auto& watch = *static_cast<UnderWay*>(waiter);
    Process& process = watch.process;
    const Pid pid = watch.pid;
    Item* const nudge = watch.nudge.exchange(nullptr, base::acq_rel);
    watch.told.fetch_add(1, base::seq_cst);  // [watch-told] OW3: it may be gone after this
    if (nudge != nullptr) {
      const OutsideHeap heap(*process.system);
      send_or_drop(*process.system, SignalPtr(nudge), pid);
    }
    wake_process(&process);
  }
};

bool PollWatch::arm(Process& process) {
  if (under_way_ == nullptr) {
    if (fd_ < 0) return true;
    pollfd look{fd_, events_, 0};
    if (::poll(&look, 1, 0) > 0) return true;
    if (process.exiting || (process.doomed && process.deferring == 0)) return false;
    process.budget -= kCost;
    auto made = std::make_unique<UnderWay>(fd_, events_, process);
    if (!process.system->io.start(process, made->operation)) return true;
    under_way_ = made.release();
  }
  return under_way_->operation.done.load(base::seq_cst);  // [op-done]
}

void PollWatch::disarm() noexcept {
  const std::unique_ptr<UnderWay> watch(std::exchange(under_way_, nullptr));
  if (watch == nullptr) return;
  const DeferKill until_over;
  unsigned times = 1;
  if (!watch->operation.done.load(base::seq_cst)) {  // [op-done]
    watch->process.system->io.cancel(watch->operation);
    ++times;
  }
  const auto is_over = [&] { return watch->told.load(base::seq_cst) == times; };  // [watch-told]
  if (!is_over()) sleep_until(watch->process, forever, is_over);
  EK_CHECK(is_over());
}

}  // namespace erlking::detail
