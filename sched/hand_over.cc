#include "sched/hand_over.h"

#include "base/mutex.h"
#include "sched/scheduler.h"

#include <cerrno>
#include <ctime>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

namespace erlking::sched {

using base::acq_rel;
using base::acquire;
using base::kForever;
using base::Nanos;
using base::relaxed;
using base::release;
using base::seq_cst;

namespace {

constexpr int kSignal = SIGURG;
constexpr Nanos kLook = 2'000'000, kCalmLook = 8'000'000, kAgain = 1'000'000, kAnswer = 5'000'000;
constexpr Nanos kClose = 2'000'000'000;  // where there was one hog there are more: so long it looks closely
constexpr std::uint64_t kFew = 64;       // so few dispatches from look to look: one of them may be of a hog
constexpr Nanos kQuiet = 100'000'000;
constexpr std::int64_t kTouch = 400'000;  // more than any touch takes of its thread's time, a page that is cleared too

// The handler is the program's; counted, like the runtimes that use it.
base::Mutex handler_mutex;
unsigned handler_users = 0;
struct sigaction handler_before {};

// Nanoseconds of CPU that thread has had; -1: it cannot be said.
std::int64_t cpu_of(pid_t thread) noexcept {
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(thread) << 3) | 6u);  // as pthread_getcpuclockid
  timespec time{};
  if (clock_gettime(clock, &time) != 0) return -1;
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

bool HandOver::start() noexcept {
#if defined(__SANITIZE_THREAD__)
  return true;  // it delays signals to where they are useless
#endif
  if (scheduler_.spares() == 0) return true;
  sights_.resize(scheduler_.asked());
  {
    const base::MutexLock lock(handler_mutex);
    if (handler_users++ == 0) {
      struct sigaction ours {};
      ours.sa_sigaction = &on_signal;
      ours.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
      sigfillset(&ours.sa_mask);
      sigdelset(&ours.sa_mask, SIGSEGV);
      sigdelset(&ours.sa_mask, SIGBUS);
      sigaction(kSignal, &ours, &handler_before);
    }
    installed_ = true;
  }
  return thread_.start("ek-watch", &watcher_main, this);
}

void HandOver::stop() noexcept {
  if (!installed_) return;
  stopping_.store(1, seq_cst);
  base::futex_wake(stopping_);
  asleep_.store(1, seq_cst);
  wake();
  thread_.join();
  for (unsigned i = 0; i < scheduler_.size(); ++i) {
    Seat& seat = scheduler_.seat(i);
    std::uint32_t offered = Seat::kOffered;
    if (seat.word.compare_exchange_strong(offered, Seat::kTaken, seq_cst)) base::futex_wake(seat.word);
  }
  installed_ = false;
  const base::MutexLock lock(handler_mutex);
  if (--handler_users != 0) return;
  struct sigaction now {};
  sigaction(kSignal, nullptr, &now);
  if ((now.sa_flags & SA_SIGINFO) != 0 && now.sa_sigaction == &on_signal) {
    if ((handler_before.sa_flags & SA_SIGINFO) == 0 && handler_before.sa_handler == SIG_DFL) {
      handler_before.sa_handler = SIG_IGN;  // which the default of this signal means; one may be under way
    }
    sigaction(kSignal, &handler_before, nullptr);
  }
}

Worker* HandOver::offer(Seat& seat, Worker& spare) noexcept {
  seat.worker = &spare;
  seat.word.store(Seat::kOffered, seq_cst);  // [seat]
  for (;;) {
    std::uint32_t word = seat.word.load(acquire);  // [seat]
    if (word == Seat::kGiven) break;
    if (word == Seat::kTaken) return nullptr;  // by stop()
    if (word == Seat::kOffered && scheduler_.stopping()) {
      if (seat.word.compare_exchange_strong(word, Seat::kTaken, acq_rel)) return nullptr;
      continue;
    }
    base::futex_wait(seat.word, word, kForever);
  }
  Worker* const given = seat.worker;
  seat.word.store(Seat::kTaken, relaxed);  // relaxed: its thread's again
  return given;
}

// --- the watcher -----------------------------------------------------------------------------------------------------

void* HandOver::watcher_main(void* self) noexcept {
  static_cast<HandOver*>(self)->watch();
  return nullptr;
}

void HandOver::watch() noexcept {
  Nanos awake_at = 0;
  Nanos close_until = 0;
  while (stopping_.load(seq_cst) == 0) {
    const Nanos now = base::monotonic_now();
    bool awake = false;
    bool close = now < close_until;
    bool again = false;
    for (unsigned i = 0; i < scheduler_.asked(); ++i) {
      Worker& worker = scheduler_.worker(i);
      Sight& sight = sights_[i];
      const std::uint64_t dispatches = worker.dispatches();
      const std::uint64_t sleeps = worker.sleeps();
      const bool rests = worker.asleep() || worker.stands_by();
      awake = awake || !rests;
      close = close || (!rests && dispatches - sight.dispatches < kFew);
      if (rests || dispatches != sight.dispatches || sleeps != sight.sleeps) {
        sight = {
            .dispatches = dispatches, .sleeps = sleeps, .cpu = cpu_of(worker.thread_id_.load(relaxed)), .since = now};
        continue;
      }
      // A thread that waits in the kernel, or for a CPU, is not disturbed: some of its waits would end early.
      const std::int64_t cpu = cpu_of(worker.thread_id_.load(relaxed));
      if (cpu - sight.cpu < kAgain / 2) continue;
      sight.cpu = cpu;
      if (try_hand_over(worker, sight)) {
        sight = {};
        close_until = now + kClose;
      } else {
        again = true;
      }
    }
    for (unsigned i = scheduler_.asked(); i < scheduler_.size(); ++i) {
      Worker& spare = scheduler_.worker(i);
      if (spare.asleep() || spare.stands_by()) continue;
      awake = close = true;
      spare.watched();
    }
    if (awake) awake_at = now;
    if (now - awake_at < kQuiet) {
      nap(again ? kAgain : close ? kLook : kCalmLook);
      continue;
    }
    asleep_.store(1, seq_cst);  // [watcher-sleep] O6
    for (unsigned i = 0; i < scheduler_.asked() && !awake; ++i) {
      const Worker& worker = scheduler_.worker(i);
      awake = !worker.asleep() && !worker.stands_by();
    }
    while (!awake && stopping_.load(seq_cst) == 0 && asleep_.load(seq_cst) != 0) base::futex_wait(asleep_, 1, kForever);
    asleep_.store(0, seq_cst);
    awake_at = base::monotonic_now();
  }
}

void HandOver::nap(Nanos timeout) noexcept { base::futex_wait(stopping_, 0, timeout); }

void HandOver::wake() noexcept {
  if (asleep_.exchange(0, seq_cst) != 0) base::futex_wake(asleep_);
}

// An offered seat, now ours; none: one more thread is started, if there can be one, for the next look.
Seat* HandOver::reserve() noexcept {
  for (unsigned i = 0; i < scheduler_.size(); ++i) {
    Seat& seat = scheduler_.seat(i);
    std::uint32_t offered = Seat::kOffered;
    if (seat.word.load(relaxed) == Seat::kOffered &&
        seat.word.compare_exchange_strong(offered, Seat::kReserved, acq_rel)) {  // [seat]
      return &seat;
    }
  }
  scheduler_.start_spare();
  return nullptr;
}

bool HandOver::try_hand_over(Worker& worker, Sight& sight) noexcept {
  Seat* const seat = reserve();
  if (seat == nullptr) return false;
  from_ = &worker;
  seat_ = seat;
  sight_ = &sight;
  request_.store(kAsked, release);  // [hand-over]
  const pid_t thread = worker.thread_id_.load(relaxed);
  std::uint32_t state = kAsked;
  if (::syscall(SYS_tgkill, ::getpid(), thread, kSignal) == 0) base::futex_wait(request_, kAsked, kAnswer);
  if (!request_.compare_exchange_strong(state, kNone, acq_rel)) {
    while (state == kBusy) {  // the handler runs, and may have been interrupted
      base::futex_wait(request_, kBusy, kAnswer);
      state = request_.load(acquire);  // [hand-over]
    }
    request_.store(kNone, relaxed);  // relaxed: the watcher's again
  }
  if (state == kDone) {
    count_.store(count_.load(relaxed) + 1, relaxed);
    return true;
  }
  seat->word.store(Seat::kOffered, release);  // [seat]
  if (scheduler_.stopping()) base::futex_wake(seat->word);
  return false;
}

// --- the handler -----------------------------------------------------------------------------------------------------

void HandOver::on_signal(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  Worker* const worker = thread_worker();
  if (worker != nullptr) {
    HandOver& self = worker->scheduler().hand_over();
    std::uint32_t asked = kAsked;
    if (self.request_.compare_exchange_strong(asked, kBusy, acquire, relaxed)) {  // [hand-over]
      const bool done = self.part(*worker, context);
      self.request_.store(done ? kDone : kRefused, release);  // [hand-over]
      base::futex_wake(self.request_);
      errno = error;
      return;
    }
    if (info->si_code == SI_TKILL) return;  // ours, late
  }
  const struct sigaction& before = handler_before;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(signal);
  }
  errno = error;
}

bool HandOver::part(Worker& from, void* context) noexcept {
  Task* const task = current();
  if (&from != from_ || task == nullptr || task->worker != &from) return false;
  Sight& sight = *sight_;                                   // the watcher's fields: O5
  if (from.dispatches() != sight.dispatches) return false;  // it has switched just now
  const std::uint64_t touches = from.touches(*task);
  const std::int64_t spent = cpu_of(0);
  if (task != sight.task || touches != sight.touches || spent < sight.spent + kTouch) {
    if (task != sight.task || touches != sight.touches) {
      sight.task = task;
      sight.touches = touches;
      sight.spent = spent;
    }
    return false;
  }
  if (task->pin != kNoWorker) return false;  // who is pinned to the same worker must not run beside it
  const greg_t* const registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  if (!from.may_part(*task, static_cast<std::uintptr_t>(registers[REG_RIP]),
                     static_cast<std::uintptr_t>(registers[REG_RSP]))) {
    return false;
  }
  Seat& seat = *seat_;
  Worker& spare = *seat.worker;
  // O3
  spare.scheduler_sp_.store(from.scheduler_sp_.load(relaxed), relaxed);
  spare.fiber_ = from.fiber_;
  spare.exceptions_ = from.exceptions_;
  spare.thread_id_.store(from.thread_id_.load(relaxed), relaxed);
  spare.until_tick_ = 0;
  // Its idea of the time is what bounds count from until it looks at the clock.
  spare.wheel_.advance(from.wheel_.now(), [](TimerNode&) { return Fired::done; });
  spare.standing_by_.store(false, release);  // [standing-by]
  from.thread_id_.store(0, relaxed);         // relaxed: until its thread arrives
  task->worker = &spare;
  ek_thread_worker = &spare;
  spare.thread_started();
  spare.took(*task, sight.since, context);
  seat.worker = &from;
  seat.word.store(Seat::kGiven, release);  // [seat] O5: `from` is the other thread's now
  base::futex_wake(seat.word);
  return true;
}

}  // namespace erlking::sched
