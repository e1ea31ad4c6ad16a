// `steal`: M:N work stealing that does not lose to one worker. Messages between workers cost ten times those on one, a
// wake four hundred times, so tasks move only when it pays, and pushes never wake (README.md).
//
//   P1  An idle worker spins (20 µs; 150 after a theft from a stuck victim or on trust; not at all where there are more
//       workers than CPUs), looks at the others every 4 µs, then sleeps.
//   P2  It steals from a victim that is *stuck* (for 10 µs, 100 in back-off, it dispatched nothing, bore nothing and
//       put nothing into its ring, and it holds something): half of the ring, else what it holds privately, else its
//       inbox. From a *persistent* one (two in ring and nursery at every look for 50 µs, not in back-off): half of the
//       ring. While stealing is *trusted* (it paid lately): from any ring, at once.
//   P3  The governor: at ticks 100 µs apart, f = touches of other workers' tasks × 250 ns / time. f > 0.5 with
//       somebody else active: stealing did harm; it is not trusted, back-off 10 ms × 4 up to 2 s, and this worker
//       moves what it has to the other. f < 0.25 for 20 such ticks in which others ran something, too: sharing
//       does well; trusted, and the back-off shrinks to a quarter. (One quiet tick, or an idle thief, shows nothing.)
//   P4  One sleeper is the keeper: it wakes every 20 to 500 µs while another worker is active, looks once, and stays a
//       little if that one dispatches slowly. When all have slept for 100 ms it gives the office up and sleeps for
//       good.
//   P5  Who turns active, is posted to while busy, or has been active for 50 µs, and finds no keeper, wakes a sleeper
//       to become it (keeper.h). So nothing runnable stays behind a process that does not switch while another worker
//       could run.
//   P6  Thefts must pay, judged when the thief is idle again, over its last thefts (each weighs 7/8 of the next): thief
//       and victim together must have dispatched a tenth more than the victim does alone, as the thief saw it while it
//       looked on; or what the thief ran took 5 µs a turn. Else moving their lines cost more than was gained: its
//       patience, the 50 µs of P2, doubles up to 50 ms, and it steals from nobody at once; once they pay again it is
//       set back. If more than half of the time went into touches of other workers' tasks, sharing did harm: back-off,
//       as in P3. (By the last theft alone trees of processes are not shared: two thefts move half of one, and then a
//       third some leaves of it. By the time the thief worked, who starts thousands of processes of 40 ns is robbed of
//       them: it worked on what came after them.)
//   P7  At a tick a worker with an empty ring puts its oldest newborn there, the root of the most work that is left of
//       what it started, for others to take: of a tree of 1,023 processes three tasks move.
// A task is never lost to a sleep: it waits behind an awake worker, or in an inbox whose push wakes (worker.h L2). The
// keeper is for latency, and for processes that do not switch.
#include "base/atomic.h"
#include "base/clock.h"
#include "sched/cpus.h"
#include "sched/keeper.h"
#include "sched/scheduler.h"

#include <algorithm>
#include <memory>
#include <vector>

namespace erlking::sched {

using base::kForever;
using base::Nanos;
using base::relaxed;

namespace {

constexpr Nanos kMicro = 1'000, kMilli = 1'000'000;
constexpr Nanos kSpin = 20 * kMicro, kSpinOn = 150 * kMicro, kLook = 4 * kMicro;
constexpr Nanos kStuck = 10 * kMicro, kStuckBackOff = 100 * kMicro, kPersistent = 50 * kMicro;
constexpr Nanos kKeeperMin = 20 * kMicro, kKeeperMax = 500 * kMicro, kKeeperStay = 15 * kMicro;
constexpr Nanos kKeeperQuiet = 10 * kMilli, kKeeperEnd = 100 * kMilli;
constexpr Nanos kGovern = 100 * kMicro, kCrossCost = 250, kActive = 50 * kMicro;
constexpr Nanos kBackOffMin = 10 * kMilli, kBackOffMax = 2'000 * kMilli;
constexpr Nanos kPatienceMax = 50 * kMilli;
constexpr Nanos kWorkedMost = 200 * kMicro;  // of one theft: a thief that never becomes idle again says little
constexpr Nanos kLong = 5 * kMicro;          // of a task's turn: such a theft pays whatever else was done
constexpr double kThefts = 8, kLooks = 8, kGain = 1.1;
constexpr std::uint64_t kOthersRan = 4;
constexpr unsigned kGoodTicks = 20;

class StealPolicy final : public Policy {
 public:
  explicit StealPolicy(Scheduler& scheduler) : scheduler_(scheduler), spare_cpus_(scheduler.asked() <= usable_cpus()) {}

  std::string_view name() const noexcept override { return "steal"; }

  void submit(Task& task) noexcept override {
    Worker& target = home_of(task);
    if (target.post(task)) return;
    if (keeper_.vacant()) wake_keeper(target);  // P5; a missed one is woken at a tick
  }

  Task* search(Worker& worker) noexcept override;
  void tick(Worker& worker, Nanos now) noexcept override;
  bool may_lie_down(const Worker& worker) noexcept override {
    return keeper_.may_lie_down([&] { return others_active(worker); });
  }

  void wake_all() noexcept override {
    for (unsigned i = 0; i < scheduler_.size(); ++i) scheduler_.worker(i).wake();
  }

 private:
  // What one searcher remembers of one victim between looks.
  struct Sight {
    std::uint64_t progress = ~std::uint64_t{0};
    Nanos since = 0;      // no progress seen since then
    Nanos two_since = 0;  // two waited at every look since then; 0: it was not so
    Nanos looked = 0;
    std::uint64_t dispatches = 0;  // its, and the searcher's, at the last look
    std::uint64_t own_dispatches = 0;
    double alone = 0;   // its dispatches per nanosecond while the searcher was idle; 0: not known
    bool slow = false;  // less than one step of progress per 2 µs between the last two looks
  };

  Worker& home_of(Task& task) noexcept {
    if (task.pin != kNoWorker) return scheduler_.worker(task.pin);
    const std::uint16_t home = task.home.load(relaxed);
    if (home < scheduler_.asked()) return scheduler_.worker(home);               // not a spare one, where it was born
    return scheduler_.worker(next_.fetch_add(1, relaxed) % scheduler_.asked());  // relaxed: any spread will do
  }

  bool in_back_off(Nanos now) const noexcept { return now < back_off_until_.load(relaxed); }

  void wake_keeper(const Worker& besides) noexcept {
    for (unsigned i = 0; i < scheduler_.asked(); ++i) {
      Worker& other = scheduler_.worker(i);
      if (&other != &besides && other.asleep() && other.wake()) return;
    }
  }

  bool others_active(const Worker& self) const noexcept {
    for (unsigned i = 0; i < scheduler_.asked(); ++i) {
      const Worker& other = scheduler_.worker(i);
      if (&other != &self && !other.asleep()) return true;
    }
    return false;
  }

  Task* look(Worker& worker, std::vector<Sight>& sights, Nanos now, bool& slow) noexcept;
  void judge_thefts(Worker& worker, Nanos now) noexcept;
  void begin_back_off(Nanos now) noexcept;
  Task* found(Worker& worker, Task* task) noexcept;

  Scheduler& scheduler_;
  const bool spare_cpus_;  // each worker may have one: none spins in another's way
  std::atomic<unsigned> next_{0};
  alignas(base::kCacheLine) Keeper<base::Real> keeper_;
  // The governor's findings; written by whoever ticks, a lost update costs one period.
  alignas(base::kCacheLine) std::atomic<bool> trusted_{false};
  std::atomic<Nanos> back_off_began_{0};
  std::atomic<Nanos> back_off_until_{0};
  std::atomic<Nanos> back_off_{kBackOffMin};
};

// One look at every other worker; steals where P2 says so.
Task* StealPolicy::look(Worker& worker, std::vector<Sight>& sights, Nanos now, bool& slow) noexcept {
  const unsigned n = scheduler_.asked();
  const bool back_off = in_back_off(now);
  const bool trusted = trusted_.load(relaxed);  // relaxed: a heuristic
  slow = false;
  for (unsigned i = 1; i < n; ++i) {
    const unsigned v = (worker.index() + i) % n;
    Worker& victim = scheduler_.worker(v);
    Sight& sight = sights[v];
    const std::uint64_t progress = victim.progress();
    if (progress != sight.progress) {
      sight.slow = progress - sight.progress < static_cast<std::uint64_t>((now - sight.looked) / (2 * kMicro));
      sight.progress = progress;
      sight.since = now;
    } else {
      sight.slow = true;
    }
    const std::uint64_t dispatches = victim.dispatches();
    if (sight.own_dispatches == worker.dispatches() && now - sight.looked > kLook / 2 && !victim.asleep()) {
      const double rate = static_cast<double>(dispatches - sight.dispatches) / static_cast<double>(now - sight.looked);
      sight.alone = sight.alone == 0 ? rate : sight.alone + (rate - sight.alone) / kLooks;
    }
    sight.dispatches = dispatches;
    sight.own_dispatches = worker.dispatches();
    sight.looked = now;
    const std::uint32_t ring = victim.ring_size();
    if (ring + victim.newborns() < 2) {
      sight.two_since = 0;
    } else if (sight.two_since == 0) {
      sight.two_since = now;
    }
    if (victim.asleep()) {
      sight.since = now;  // who has just been woken is not stuck
      continue;
    }
    if (!victim.holds_any()) continue;
    slow = slow || sight.slow;
    const bool stuck = now - sight.since > (back_off ? kStuckBackOff : kStuck);
    const bool persistent = !back_off && sight.two_since != 0 && now - sight.two_since > worker.notes.patience;
    const bool at_once = trusted && !back_off && ring != 0 && worker.notes.patience == kPersistent;
    if (!stuck && !persistent && !at_once) continue;
    std::uint32_t stolen = worker.steal_ring(victim);
    if (stolen == 0 && stuck) stolen = worker.steal_private(victim);
    if (stolen == 0 && stuck) stolen = worker.steal_inbox(victim);
    if (stolen == 0) continue;
    worker.notes.spin_on = stuck || at_once;
    worker.notes.nap = kKeeperMin;  // P4
    if (worker.notes.stole_at == 0) {
      worker.notes.stole_at = now;
      worker.notes.cross_at_theft = worker.cross();
      worker.notes.victim = &victim;
      worker.notes.dispatched_at_theft = worker.dispatches();
      worker.notes.victim_dispatched_at_theft = dispatches;
      worker.notes.victim_alone = sight.alone;
    }
    if (!stuck) worker.notes.stolen += stolen;
    sight.two_since = 0;
    if (Task* task = worker.next()) return task;
  }
  return nullptr;
}

// P6, as the worker is idle again.
void StealPolicy::judge_thefts(Worker& worker, Nanos now) noexcept {
  Worker::PolicyNotes& notes = worker.notes;
  if (notes.stole_at == 0) return;
  const auto worked = static_cast<double>(now - std::exchange(notes.stole_at, 0));
  const auto own = static_cast<double>(worker.dispatches() - notes.dispatched_at_theft);
  const auto victims = static_cast<double>(notes.victim->dispatches() - notes.victim_dispatched_at_theft);
  const auto crossed = static_cast<double>(worker.cross() - notes.cross_at_theft) * kCrossCost;
  Worker::PolicyNotes::Thefts& last = notes.thefts;
  const double weight = std::min(1.0, kWorkedMost / worked);
  const auto add = [weight](double& sum, double more) { sum += more * weight - sum / kThefts; };
  add(last.worked, worked);
  add(last.crossed, crossed);
  if (last.crossed > last.worked / 2) begin_back_off(now);
  if (std::exchange(notes.stolen, 0) == 0) return;
  add(last.alone, notes.victim_alone * worked);
  add(last.together, worked > own * kLong ? 2 * notes.victim_alone * worked : own + victims);
  notes.patience = last.together > last.alone * kGain ? kPersistent : std::min(notes.patience * 2, kPatienceMax);
}

// Sharing did harm (P3, P6).
void StealPolicy::begin_back_off(Nanos now) noexcept {
  trusted_.store(false, relaxed);
  if (in_back_off(now)) return;
  const Nanos length = back_off_.load(relaxed);
  back_off_began_.store(now, relaxed);
  back_off_until_.store(now + length, relaxed);
  back_off_.store(std::min(length * 4, kBackOffMax), relaxed);
}

Task* StealPolicy::found(Worker& worker, Task* task) noexcept {
  if (keeper_.must_appoint(worker.index())) wake_keeper(worker);  // P5
  worker.notes.active_since = base::monotonic_now();
  return task;
}

Task* StealPolicy::search(Worker& worker) noexcept {
  static thread_local std::vector<Sight> sights;  // this function is never left by a switch
  sights.resize(scheduler_.asked());
  const bool alone = scheduler_.asked() == 1;
  Nanos now = base::monotonic_now();
  judge_thefts(worker, now);
  if (worker.cross() != worker.notes.cross_seen && !alone) tick(worker, now);  // going idle: what had stealing brought?
  const Nanos began = now;
  const Nanos spin = !spare_cpus_ ? 0 : std::exchange(worker.notes.spin_on, false) ? kSpinOn : kSpin;
  Nanos looked = began;
  bool slow = false;

  // P1
  for (;;) {
    if (Task* task = worker.poll(now)) {
      worker.notes.active_since = now;
      if (keeper_.vacant()) return found(worker, task);
      return task;
    }
    if (scheduler_.stopping()) return worker.poll(now);  // what came before the stop still runs
    if (now - began >= spin) break;
    if (!alone && now - looked >= kLook) {
      looked = now;
      if (Task* task = look(worker, sights, now, slow)) return found(worker, task);
    }
    for (int i = 0; i < 8 && worker.inbox_empty(); ++i) base::Real::pause();
    now = base::monotonic_now();
  }

  // P4, or just sleep
  Nanos& nap = worker.notes.nap;
  Nanos quiet_since = 0;
  for (;;) {
    bool keeper = keeper_.is(worker.index());
    if (!keeper && !alone && others_active(worker)) keeper = keeper_.take(worker.index());
    Nanos timeout = kForever;
    if (keeper) {
      if (others_active(worker)) {
        quiet_since = 0;
        timeout = nap;
        nap = std::min(nap * 2, kKeeperMax);
      } else {
        if (quiet_since == 0) quiet_since = now;
        if (now - quiet_since > kKeeperEnd) {
          keeper_.resign();  // who turns active from now on appoints another
          keeper = false;
          nap = kKeeperMin;
          if (others_active(worker)) continue;
        } else {
          timeout = kKeeperQuiet;
        }
      }
    }
    timeout = std::min(timeout, worker.time_to_timer(now));
    if (timeout > 0) worker.sleep(timeout);
    now = base::monotonic_now();
    if (Task* task = worker.poll(now)) return found(worker, task);
    if (scheduler_.stopping()) return worker.poll(now);  // what came before the stop still runs
    if (alone) continue;
    if (Task* task = look(worker, sights, now, slow)) return found(worker, task);
    if (keeper && slow && spare_cpus_) {  // stay a little: it may be stuck
      for (const Nanos until = now + kKeeperStay; now < until; now = base::monotonic_now()) {
        if (Task* task = worker.poll(now)) return found(worker, task);
        if (Task* task = look(worker, sights, now, slow)) return found(worker, task);
        for (int i = 0; i < 64 && worker.inbox_empty(); ++i) base::Real::pause();
      }
    }
  }
}

void StealPolicy::tick(Worker& worker, Nanos now) noexcept {
  if (scheduler_.asked() == 1) return;
  worker.expose_oldest();  // P7
  Worker::PolicyNotes& notes = worker.notes;
  if (keeper_.vacant() && now - notes.active_since > kActive) wake_keeper(worker);  // P5
  const Nanos elapsed = now - notes.governed_at;
  if (elapsed < kGovern) return;
  const std::uint32_t cross = worker.cross() - notes.cross_seen;
  notes.cross_seen = worker.cross();
  notes.governed_at = now;
  if (elapsed > 100 * kGovern) return;  // it slept in between: says nothing
  Worker* other = nullptr;
  std::uint64_t dispatches = 0;
  for (unsigned i = 1; i < scheduler_.asked(); ++i) {
    Worker& candidate = scheduler_.worker((worker.index() + i) % scheduler_.asked());
    dispatches += candidate.dispatches();
    if (other == nullptr && !candidate.asleep()) other = &candidate;
  }
  const bool others_ran = dispatches - std::exchange(notes.others_dispatched, dispatches) >= kOthersRan;
  if (other == nullptr) return;
  const Nanos cost = static_cast<Nanos>(cross) * kCrossCost;
  if (cost > elapsed / 2) {
    // While the other one has just moved its tasks here, moving ours there would only swap them.
    const bool just_moved = in_back_off(now) && now - back_off_began_.load(relaxed) < 10 * kGovern;
    if (just_moved) return;
    begin_back_off(now);
    notes.good_ticks = 0;
    worker.move_all_to(*other);
  } else if (cost < elapsed / 4 && others_ran && !in_back_off(now)) {
    if (++notes.good_ticks < kGoodTicks) return;
    notes.good_ticks = 0;
    trusted_.store(true, relaxed);
    back_off_.store(std::max(back_off_.load(relaxed) / 4, kBackOffMin), relaxed);
  }
}

}  // namespace

std::unique_ptr<Policy> make_steal_policy(Scheduler& scheduler) { return std::make_unique<StealPolicy>(scheduler); }

}  // namespace erlking::sched
