#include "io/spare.h"

#include "base/intrusive.h"
#include "base/mutex.h"
#include "io/syscalls.h"
#include "sched/sched.h"

#include <algorithm>
#include <new>

namespace erlking::io {

namespace {

constexpr base::Nanos kPatience = 10'000'000'000;  // SP1

}  // namespace

struct Spare::State {
  // A thread. Whoever finds it ended joins it, so that all it had is gone with a Spare; but for those that are left
  // behind (SP3), which free their place themselves.
  struct Member {
    std::shared_ptr<State> state;
    sched::Thread thread;
    base::ListLink link;
    bool ended = false, left_behind = false;  // under the mutex
  };
  using Members = base::List<Member, &Member::link>;

  explicit State(unsigned limit) noexcept : most(std::max(limit, 1u)) {}

  const unsigned most;
  base::Mutex mutex;
  base::CondVar work, quiet;
  base::List<Operation, &Operation::link> queue EK_GUARDED_BY(mutex);
  unsigned queued EK_GUARDED_BY(mutex) = 0;
  unsigned threads EK_GUARDED_BY(mutex) = 0;  // all
  unsigned idle EK_GUARDED_BY(mutex) = 0;     // of these: waiting for work
  unsigned strayed EK_GUARDED_BY(mutex) = 0;  // of these: at something abandoned (SP3)
  bool stopping EK_GUARDED_BY(mutex) = false;
  Members members EK_GUARDED_BY(mutex);

  // Takes those that have ended, or will within a few instructions, out to `ended`.
  void collect(Members& ended) noexcept EK_REQUIRES(mutex) {
    for (std::size_t left = members.size(); left != 0; --left) {
      Member& member = *members.pop_front();
      (member.ended ? ended : members).push_back(member);
    }
  }
  static void join(Members& ended) noexcept {
    while (Member* const member = ended.pop_front()) {
      member->thread.join();
      delete member;
    }
  }

  void put(Operation& operation) noexcept EK_REQUIRES(mutex) {
    operation.stage = Operation::Stage::queued;
    queue.push_back(operation);
    ++queued;
  }
  Operation* take() noexcept EK_REQUIRES(mutex) {
    Operation* const operation = queue.pop_front();
    if (operation == nullptr) return nullptr;
    --queued;
    operation->stage = Operation::Stage::running;
    return operation;
  }
  // Takes `operation` out, if it is still queued.
  bool remove(Operation& operation) noexcept EK_REQUIRES(mutex) {
    if (operation.stage != Operation::Stage::queued) return false;
    queue.remove(operation);
    --queued;
    operation.stage = Operation::Stage::over;
    return true;
  }
  // Runs what is `operation`, with the mutex given up for as long.
  void run(Operation& operation) noexcept EK_REQUIRES(mutex) {
    mutex.unlock();
    std::int32_t result = 0;
    if (operation.code == Code::call) {
      static_cast<Call*>(operation.data)->run();
    } else {
      result = call(operation);
    }
    mutex.lock();
    if (operation.stage == Operation::Stage::abandoned) {
      mutex.unlock();
      delete static_cast<Call*>(operation.data);  // its destructors are the user's: astray still (SP3)
      mutex.lock();
      --strayed;
      return;
    }
    operation.stage = Operation::Stage::over;
    finish(operation, result);  // SP2
  }
};

Spare::Spare(unsigned most) : state_(std::make_shared<State>(most)) {}

Spare::~Spare() {
  State::Members ended;
  {
    State& state = *state_;
    const base::MutexLock lock(state.mutex);
    state.stopping = true;
    state.work.notify_all();
    while (state.threads > state.strayed) state.quiet.wait(state.mutex);
    state.collect(ended);
    while (State::Member* const member = state.members.pop_front()) {
      member->left_behind = true;
      member->thread.leave();
    }
  }
  State::join(ended);
}

bool Spare::post(Operation& operation) noexcept {
  State& state = *state_;
  State::Members ended;
  bool posted = true;
  {
    const base::MutexLock lock(state.mutex);
    if (state.idle <= state.queued && state.threads < state.most) {
      state.collect(ended);
      auto* const member = new (std::nothrow) State::Member{.state = state_, .thread = {}, .link = {}};
      if (member != nullptr && member->thread.start("ek-spare", &main, member)) {
        state.members.push_back(*member);
        ++state.threads;
      } else {
        delete member;
        posted = state.threads > state.strayed;  // else those there are may never be free
      }
    }
    if (posted) {
      state.put(operation);
      state.work.notify_one();
    }
  }
  State::join(ended);
  return posted;
}

void Spare::cancel(Operation& operation) noexcept {
  const base::MutexLock lock(state_->mutex);
  auto* const wake = operation.wake;
  void* const waiter = operation.waiter;
  if (state_->remove(operation)) finish(operation, -ECANCELED);
  operation.cancel_seen.store(true, base::seq_cst);  // [op-done]
  wake(waiter);
}

bool Spare::abandon(Call& call) noexcept {
  const base::MutexLock lock(state_->mutex);
  if (state_->remove(call.operation) || call.operation.stage == Operation::Stage::over) return false;
  call.operation.stage = Operation::Stage::abandoned;
  ++state_->strayed;
  if (state_->stopping) state_->quiet.notify_all();
  return true;
}

unsigned Spare::threads() const noexcept {
  const base::MutexLock lock(state_->mutex);
  return state_->threads;
}

void* Spare::main(void* self) {
  auto* const member = static_cast<State::Member*>(self);
  const std::shared_ptr<State> owned = member->state;
  State& state = *owned;
  bool left_behind = false;
  {
    const base::MutexLock lock(state.mutex);
    for (;;) {
      if (Operation* const operation = state.take()) {
        state.run(*operation);
        continue;
      }
      if (state.stopping) break;
      ++state.idle;
      const bool waited = state.work.wait_until(state.mutex, base::monotonic_now() + kPatience);
      --state.idle;
      if (!waited && state.queued == 0) break;
    }
    --state.threads;
    member->ended = true;
    left_behind = member->left_behind;
    state.quiet.notify_all();
  }
  if (left_behind) delete member;
  return nullptr;
}

}  // namespace erlking::io
