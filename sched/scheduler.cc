#include "sched/scheduler.h"

#include "sched/cpus.h"

#include <algorithm>
#include <system_error>

namespace erlking::sched {

namespace {

struct BackEnd {
  std::string_view name;
  std::unique_ptr<Policy> (*make)(Scheduler&);
};
constexpr BackEnd kBackEnds[] = {{"steal", &make_steal_policy}};

constexpr unsigned kMaxWorkers = 1024;

}  // namespace

std::vector<std::string_view> policy_names() {
  std::vector<std::string_view> names;
  for (const BackEnd& back_end : kBackEnds) names.push_back(back_end.name);
  return names;
}

std::expected<std::unique_ptr<Scheduler>, std::string> Scheduler::make(const SchedulerOptions& options,
                                                                       const MakeWorker& make_worker) {
  const BackEnd* chosen = nullptr;
  std::string known;
  for (const BackEnd& back_end : kBackEnds) {
    if (back_end.name == options.policy) chosen = &back_end;
    known += (known.empty() ? "" : ", ") + std::string(back_end.name);
  }
  if (chosen == nullptr) {
    return std::unexpected("unknown scheduler '" + std::string(options.policy) + "'; there is: " + known);
  }
  if (options.workers > kMaxWorkers) {
    return std::unexpected("workers must be 1 to " + std::to_string(kMaxWorkers) + " (0: one per usable CPU), not " +
                           std::to_string(options.workers));
  }
  const unsigned count = options.workers != 0 ? options.workers : std::min(usable_cpus(), kMaxWorkers);
  std::unique_ptr<Scheduler> scheduler(new Scheduler);
  scheduler->affinity_ = options.affinity;
  scheduler->workers_.resize(count);  // the policy asks how many there will be
  scheduler->policy_ = chosen->make(*scheduler);
  for (unsigned i = 0; i < count; ++i) {
    scheduler->workers_[i] = make_worker(*scheduler, *scheduler->policy_, static_cast<std::uint16_t>(i));
  }
  return scheduler;
}

Scheduler::~Scheduler() { stop(); }

bool Scheduler::start() noexcept {
  try {
    const std::vector<int> cpus = affinity_ ? allowed_cpus() : std::vector<int>();
    for (unsigned i = 0; i < workers_.size(); ++i) {
      threads_.emplace_back([worker = workers_[i].get(), cpu = cpus.empty() ? -1 : cpus[i % cpus.size()]] {
        if (cpu >= 0) pin_thread(cpu);
        worker->run();
      });
    }
  } catch (const std::system_error&) {
    stop();
    return false;
  }
  return true;
}

void Scheduler::stop() noexcept {
  stopping_.store(true, base::seq_cst);
  policy_->wake_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Scheduler::abandon() noexcept {
  stopping_.store(true, base::seq_cst);
  policy_->wake_all();
  for (std::thread& thread : threads_) thread.detach();
  threads_.clear();
}

bool Scheduler::idle() const noexcept {
  for (int look = 0; look < 2; ++look) {  // twice: a worker woken between two looks shows in one of them
    for (const auto& worker : workers_) {
      if (!worker->asleep() || !worker->inbox_empty()) return false;
    }
  }
  return true;
}

base::Nanos Scheduler::next_timer() const noexcept {
  base::Nanos next = base::kForever;
  for (const auto& worker : workers_) next = std::min(next, worker->next_timer());
  return next;
}

}  // namespace erlking::sched
