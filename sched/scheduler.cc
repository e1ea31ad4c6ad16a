#include "sched/scheduler.h"

#include "base/assert.h"
#include "sched/cpus.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <new>
#include <utility>

namespace erlking::sched {

namespace {

struct BackEnd {
  std::string_view name;
  std::unique_ptr<Policy> (*make)(Scheduler&);
  unsigned max_tasks;  // Policy::max_tasks()
};
constexpr BackEnd kBackEnds[] = {{"steal", &make_steal_policy, 0}, {"threads", &make_threads_policy, kMaxThreads}};

constexpr unsigned kMaxWorkers = 1024;
static_assert(kMaxThreads < kNoWorker);

// What a thread needs that runs tasks on stacks of their own, beside the program's thread-local storage. Of address
// space: memory is committed as it is touched.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kThreadStack = 1024 * 1024;
#else
constexpr std::size_t kThreadStack = 128 * 1024;
#endif

const BackEnd* find(std::string_view name) noexcept {
  const auto* const at = std::ranges::find(kBackEnds, name, &BackEnd::name);
  return at == std::end(kBackEnds) ? nullptr : at;
}

unsigned asked_for(const SchedulerOptions& options) noexcept {
  return options.workers != 0 ? options.workers : std::min(usable_cpus(), kMaxWorkers);
}

bool create_thread(pthread_t& thread, bool small, void* (*main)(void*), void* argument) noexcept {
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return false;
  if (small) pthread_attr_setstacksize(&attributes, kThreadStack);
  int error = pthread_create(&thread, &attributes, main, argument);
  pthread_attr_destroy(&attributes);
  if (small && error == EINVAL) error = pthread_create(&thread, nullptr, main, argument);  // much thread-local storage
  return error == 0;
}

}  // namespace

std::vector<std::string_view> policy_names() {
  std::vector<std::string_view> names;
  for (const BackEnd& back_end : kBackEnds) names.push_back(back_end.name);
  return names;
}

unsigned max_workers(const SchedulerOptions& options) noexcept {
  const BackEnd* const chosen = find(options.policy);
  return chosen != nullptr && chosen->max_tasks != 0 ? chosen->max_tasks : asked_for(options) + options.spares;
}

std::expected<std::unique_ptr<Scheduler>, std::string> Scheduler::make(const SchedulerOptions& options,
                                                                       const MakeWorker& make_worker) {
  const BackEnd* const chosen = find(options.policy);
  if (chosen == nullptr) {
    std::string known;
    for (const BackEnd& back_end : kBackEnds) known += (known.empty() ? "" : ", ") + std::string(back_end.name);
    return std::unexpected("unknown scheduler '" + std::string(options.policy) + "'; there is: " + known);
  }
  if (options.workers > kMaxWorkers) {
    return std::unexpected("workers must be 1 to " + std::to_string(kMaxWorkers) + " (0: one per usable CPU), not " +
                           std::to_string(options.workers));
  }
  if (options.spares > kMaxSpareWorkers) {
    return std::unexpected("spare workers must be 0 to " + std::to_string(kMaxSpareWorkers) + ", not " +
                           std::to_string(options.spares));
  }
  const unsigned spares = chosen->max_tasks == 0 ? options.spares : 0;
  std::unique_ptr<Scheduler> scheduler(new Scheduler(asked_for(options), spares, max_workers(options), make_worker));
  if (options.affinity) scheduler->cpus_ = allowed_cpus();
  scheduler->policy_ = chosen->make(*scheduler);  // may ask capacity()
  EK_CHECK(scheduler->policy_->max_tasks() == chosen->max_tasks);
  while (chosen->max_tasks == 0 && scheduler->size() < scheduler->asked() + spares) scheduler->append_worker();
  return scheduler;
}

Scheduler::Scheduler(unsigned asked, unsigned spares, unsigned capacity, const MakeWorker& make_worker)
    : asked_(asked),
      spares_(spares),
      capacity_(capacity),
      make_worker_(make_worker),
      workers_(new std::unique_ptr<Worker>[capacity]),
      threads_(new Thread[capacity]),
      seats_(new Seat[capacity]),
      hand_over_(*this) {
  pthread_sigmask(SIG_SETMASK, nullptr, &blocked_);
}

Scheduler::~Scheduler() { stop(); }

Worker& Scheduler::append_worker() {
  const unsigned index = size();
  workers_[index] = make_worker_(*this, *policy_, static_cast<std::uint16_t>(index));
  size_.store(index + 1, base::release);  // [scheduler-size]
  return *workers_[index];
}

Worker* Scheduler::add_worker() noexcept {
  if (size() == capacity_) return nullptr;
  try {
    return &append_worker();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

bool Scheduler::start() noexcept {
  for (unsigned i = 0; i < size() - spares_; ++i) {
    if (start_thread(worker(i))) continue;
    stop();
    return false;
  }
  if (hand_over_.start()) return true;
  stop();
  return false;
}

void Scheduler::start_spare() noexcept {
  if (spares_begun_ == spares_) return;
  if (start_thread(worker(asked_ + spares_begun_))) ++spares_begun_;
}

bool Scheduler::start_thread(Worker& worker) noexcept {
  const base::MutexLock lock(threads_mutex_);
  if (stopping()) return false;
  Thread& thread = threads_[worker.index()];
  if (thread.given) pthread_join(thread.handle, nullptr);
  worker.standing_by_.store(false, base::release);  // [standing-by] for idle(), from here on
  thread.given = create_thread(thread.handle, policy_->max_tasks() != 0, &thread_main, &worker);
  if (!thread.given) worker.stand_by();
  return thread.given;
}

void* Scheduler::thread_main(void* argument) {
  Worker& worker = *static_cast<Worker*>(argument);
  worker.scheduler_.dress_thread(worker);
  // Whoever starts a thread may block what it likes, as the watcher does: this one blocks what the thread did that made
  // the scheduler. But to write where nobody reads any more is an error of that write, and does not end
  // the program; and a fault whose signal is blocked would.
  sigset_t blocked = worker.scheduler_.blocked_;
  sigaddset(&blocked, SIGPIPE);
  for (const int number : {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
    sigdelset(&blocked, number);
  }
  pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
  const AlternateStack::Use for_signals(worker.scheduler_.threads_[worker.index()].for_signals);
  worker.run(worker.scheduler_.seats_[worker.index()]);
  return nullptr;
}

void Scheduler::dress_thread(const Worker& worker) const noexcept {
  if (!cpus_.empty()) pin_thread(cpus_[worker.index() % cpus_.size()]);
  char name[16];  // the longest a thread may have
  std::snprintf(name, sizeof name, worker.is_spare() ? "ek-spare-%u" : "ek-%u",
                worker.is_spare() ? worker.index() - asked_ : worker.index());
  pthread_setname_np(pthread_self(), name);
}

// Lets every thread come to its end and gives up its handle by `release`.
template <class Release>
void Scheduler::end_threads(Release&& release) noexcept {
  stopping_.store(true, base::seq_cst);
  if (policy_ != nullptr) policy_->wake_all();
  threads_mutex_.lock();  // who starts one now has done so, or will see stopping_
  threads_mutex_.unlock();
  hand_over_.stop();
  for (unsigned i = 0; i < size(); ++i) {
    if (std::exchange(threads_[i].given, false)) release(threads_[i].handle);
  }
}

void Scheduler::stop() noexcept {
  end_threads([](pthread_t thread) { pthread_join(thread, nullptr); });
  for (unsigned i = 0; i < size(); ++i) worker(i).drain_returned_timers();  // some came when their worker had no thread
}

void Scheduler::abandon() noexcept {
  end_threads([](pthread_t thread) { pthread_detach(thread); });
}

// Who sleeps at both looks and has not begun another sleep in between has slept all the time: all of them at once.
bool Scheduler::idle() const noexcept {
  std::uint64_t sleeps[2] = {};
  for (std::uint64_t& sum : sleeps) {
    for (unsigned i = 0; i < size(); ++i) {
      const Worker& each = worker(i);
      if (!(each.asleep() || each.stands_by()) || !each.inbox_empty()) return false;
      sum += each.sleeps();  // monotonic, so equal sums are of equal numbers
    }
  }
  return sleeps[0] == sleeps[1];
}

base::Nanos Scheduler::next_timer() const noexcept {
  base::Nanos next = base::kForever;
  for (unsigned i = 0; i < size(); ++i) next = std::min(next, worker(i).next_timer());
  return next;
}

}  // namespace erlking::sched
