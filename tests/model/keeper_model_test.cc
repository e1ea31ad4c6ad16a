// Keeper and the workers' sleeps under the model: a worker that is active and switches no more, beside others that all
// sleep for good, is a deadlock.
// clang-format off
#include "tests/model/model_sync.h"

#include "sched/inbox.h"
#include "sched/keeper.h"
// clang-format on

namespace erlking::sched {
namespace {

using model::Candidate, model::Model, model::Op, model::require;

struct Element {
  model::Link<Element> link;
};

/// Worker 0 sleeps, turns active, once, by itself, as by a timer; and does not switch again. The others sleep, or are
/// about to; the first of them may be the keeper that has seen all quiet for long. It ends when one of them is the
/// keeper and sees worker 0 active. What they do is StealPolicy::search(), less the stealing. kLooksAgain:
/// may_lie_down() is asked.
template <unsigned kWorkers, bool kKept, bool kLooksAgain = true>
struct KeeperWorld {
  static constexpr rl::thread_id_t kThreads = kWorkers;

  struct Worker {
    Inbox<Model, Element> inbox;
    model::Bell bell;   // the futex
    model::Bell begin;  // worker 0 has announced its sleep
  };
  std::array<Worker, kWorkers> workers;
  Keeper<Model> keeper;
  Model::atomic<bool> ended;

  void thread(unsigned index) { index == 0 ? turn_active() : rest(index); }

  void turn_active() {
    Worker& me = workers[0];
    require(me.inbox.may_sleep(), "nothing is sent to it");
    for (unsigned i = 1; i < kWorkers; ++i) workers[i].begin.ring();
    me.inbox.awake();
    if (keeper.must_appoint(0)) wake_one();
  }

  void rest(unsigned index) {
    Worker& me = workers[index];
    const int self = static_cast<int>(index);
    if (kKept && index == 1) static_cast<void>(keeper.take(self));  // or another was faster
    me.begin.wait();
    while (!ended.load(base::seq_cst)) {
      bool is_keeper = keeper.is(self);
      if (!is_keeper && others_active(index)) is_keeper = keeper.take(self);
      if (is_keeper) {
        if (!workers[0].inbox.is_asleep()) return end();
        if (others_active(index)) {  // it naps
          Model::pause();
          continue;
        }
        keeper.resign();
        if (others_active(index)) continue;
      }
      if (me.inbox.may_sleep() && !ended.load(base::seq_cst) &&
          (!kLooksAgain || keeper.may_lie_down([&] { return others_active(index); }))) {
        while (me.inbox.is_asleep()) me.bell.wait();
      }
      me.inbox.awake();
    }
  }
  void end() {
    ended.store(true, base::seq_cst);
    for (unsigned i = 1; i < kWorkers; ++i) {
      if (workers[i].inbox.rouse()) workers[i].bell.ring();
    }
  }

  bool others_active(unsigned self) {
    for (unsigned i = 0; i < kWorkers; ++i) {
      if (i != self && !workers[i].inbox.is_asleep()) return true;
    }
    return false;
  }
  void wake_one() {
    for (unsigned i = 1; i < kWorkers; ++i) {
      Inbox<Model, Element>& inbox = workers[i].inbox;
      if (inbox.is_asleep() && inbox.rouse()) return workers[i].bell.ring();
    }
  }
  void after() {}
};

using Resigns = KeeperWorld<2, true>;
using Vacant = KeeperWorld<2, false>;
using TwoSleepers = KeeperWorld<3, true>;
using LooksOnce = KeeperWorld<2, true, false>;
constexpr Candidate kResigns{"Resigns", model::explore<Resigns>}, kVacant{"Vacant", model::explore<Vacant>},
    kTwoSleepers{"TwoSleepers", model::explore<TwoSleepers>};

TEST(ModelKeeper, NobodyIsActiveBesideSleepersForGoodInAnyScheduleOfFourSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Resigns>(1'000'000, 4)));
}
TEST(ModelKeeper, AKeeperThatResigns) { EXPECT_TRUE(holds(model::explore<Resigns>(50'000))); }
TEST(ModelKeeper, ASleeperBesideAVacantOffice) { EXPECT_TRUE(holds(model::explore<Vacant>(50'000))); }
TEST(ModelKeeper, TwoSleepersOneOfThemTheKeeper) { EXPECT_TRUE(holds(model::explore<TwoSleepers>(50'000))); }
TEST(ModelKeeper, WithoutASecondLookOneLiesDownForGood) {
  EXPECT_EQ(model::explore<LooksOnce>(20'000).result, rl::test_result_deadlock);
}

TEST(ModelKeeperWeakened, Fails) {
  using base::acquire, base::release, base::seq_cst;
  constexpr auto asleep = rl::test_result_deadlock;
  for (const model::Control& control : {
           model::Control{kResigns, "resign", Op::store, seq_cst, 1, release, asleep},       // [keeper-office]
           model::Control{kResigns, "must_appoint", Op::load, seq_cst, 1, acquire, asleep},  // [keeper-office]
           model::Control{kVacant, "awake", Op::store, seq_cst, 1, release, asleep},         // [keeper-sleep]
           model::Control{kVacant, "may_sleep", Op::store, seq_cst, 1, release, asleep},     // [keeper-sleep]
           model::Control{kVacant, "is_asleep", Op::load, seq_cst, 1, acquire, asleep},      // [keeper-sleep]
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelKeeperWeakened, DISABLED_Sweep) { model::sweep({kResigns, kVacant, kTwoSleepers}, 20'000); }

}  // namespace
}  // namespace erlking::sched
