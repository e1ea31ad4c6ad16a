// Inbox under the model: an owner that is asleep while an element lies there is a deadlock.
// clang-format off
#include "tests/model/model_sync.h"

#include "sched/inbox.h"
// clang-format on

namespace erlking::sched {
namespace {

using model::Candidate, model::Model, model::Op, model::require;

struct Element {
  model::Link<Element> link;
  Model::var<int> producer, number;
};

/// The last producer only rouses if kRouse.
template <unsigned kProducers, int kEach, bool kRouse>
struct InboxWorld {
  static constexpr rl::thread_id_t kThreads = 1 + kProducers;
  static constexpr int kPushing = kRouse ? kProducers - 1 : kProducers;

  Inbox<Model, Element> inbox;
  model::Bell bell;  // the futex
  std::array<std::array<Element, kEach>, kProducers> elements;
  std::array<int, kProducers> last{};
  unsigned sleeps = 0;

  void thread(unsigned index) {
    if (index == 0) return own();
    if (kRouse && index == kProducers) {
      if (inbox.rouse()) bell.ring();
      return;
    }
    for (int i = 0; i < kEach; ++i) {
      Element& e = elements[index - 1][i];
      e.producer.set(static_cast<int>(index) - 1);
      e.number.set(i + 1);
      if (inbox.push(e)) bell.ring();
    }
  }
  void own() {
    for (int taken = 0; taken < kPushing * kEach;) {
      Element* e = inbox.take();
      if (e == nullptr) {
        ++sleeps;
        if (inbox.may_sleep()) {
          while (inbox.is_asleep()) bell.wait();
        }
        inbox.awake();
        continue;
      }
      for (; e != nullptr; e = e->link) {
        int& before = last[e->producer.get()];
        require(e->number.get() == before + 1, "each producer's elements come in order, once");
        ++before;
        ++taken;
      }
    }
  }
  void after() {
    require(inbox.empty(), "nothing is left");
    require(bell.rung() <= sleeps, "one wake per sleep at most");
  }
};

using Tiny = InboxWorld<1, 1, false>;
using OneProducer = InboxWorld<1, 2, false>;
using TwoProducers = InboxWorld<2, 2, false>;
using Rouse = InboxWorld<3, 1, true>;
constexpr Candidate kOneProducer{"OneProducer", model::explore<OneProducer>},
    kTwoProducers{"TwoProducers", model::explore<TwoProducers>}, kRouse{"Rouse", model::explore<Rouse>};

TEST(ModelInbox, NobodySleepsOnAnElementInAnySchedule) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Tiny>(1'000'000)));
}
TEST(ModelInbox, NobodySleepsOnAnElementOfOneProducer) { EXPECT_TRUE(holds(model::explore<OneProducer>(50'000))); }
TEST(ModelInbox, NobodySleepsOnAnElementOfTwoProducers) { EXPECT_TRUE(holds(model::explore<TwoProducers>(50'000))); }
TEST(ModelInbox, RousingMakesNoSecondWake) { EXPECT_TRUE(holds(model::explore<Rouse>(50'000))); }

TEST(ModelInboxWeakened, Fails) {
  using base::acq_rel, base::acquire, base::relaxed, base::release, base::seq_cst;
  constexpr auto race = rl::test_result_data_race, asleep = rl::test_result_deadlock;
  for (const model::Control& control : {
           model::Control{kTwoProducers, "push", Op::cas, seq_cst, 1, acq_rel, asleep},         // [inbox-sleep]
           model::Control{kTwoProducers, "rouse", Op::load, seq_cst, 1, acquire, asleep},       // [inbox-sleep]
           model::Control{kTwoProducers, "may_sleep", Op::store, seq_cst, 1, release, asleep},  // [inbox-sleep]
           model::Control{kTwoProducers, "may_sleep", Op::load, seq_cst, 1, acquire, asleep},   // [inbox-sleep]
           model::Control{kTwoProducers, "push", Op::cas, seq_cst, 1, acquire, race},           // [inbox-head]
           model::Control{kTwoProducers, "take", Op::rmw, acquire, 1, relaxed, race},           // [inbox-head]
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelInboxWeakened, DISABLED_Sweep) { model::sweep({kOneProducer, kTwoProducers, kRouse}, 20'000); }

}  // namespace
}  // namespace erlking::sched
