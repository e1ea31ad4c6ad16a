// Bounded sends that wait for room: mailbox, ticket and list of waiting senders together, as send and receive use them.
//
//   sender      push; full: ticket armed, into the list (waiting changes, seq_cst), push again (seq_cst loads), block
//   receiver    looks at `waiting` (seq_cst) only after it has parked, wakes all if there is room; no other look
//
// A sender left waiting beside a parked receiver is a deadlock. What the receiver does before it blocks elsewhere (a
// fence between consume and the look) is not here: relacy orders a fence with fences only, not with seq_cst operations.
// clang-format off
#include "tests/model/mailbox_model.h"

#include "runtime/ticket.h"
// clang-format on

namespace erlking {
namespace {

using model::Candidate, model::Item, model::Model, model::Op, model::Receiver, model::require;

template <unsigned kSenders, int kEach, std::uint32_t kBound, bool kDeadline>
struct Waiting {
  static constexpr rl::thread_id_t kThreads = 1 + kSenders + (kDeadline ? 1 : 0);

  struct Sender {
    Ticket<Model> ticket;
    model::Gate gate;
    std::array<Item, kEach> items;
    Model::var<bool> linked;             // under the list's lock
    Model::var<std::uint64_t> number;    // under the list's lock
    Model::atomic<std::uint64_t> timed;  // the number a timer was set for
    unsigned waits = 0;
  };

  Receiver receiver{kBound};
  std::array<Sender, kSenders> senders;
  model::Lock list;
  Model::atomic<std::uint32_t> waiting;  // changed under the list's lock, looked at without
  model::Order<kSenders> order;
  int given_up = 0;

  void thread(unsigned index) {
    if (index == 0) return receive();
    if (index > kSenders) return fire();
    Sender& me = senders[index - 1];
    for (int i = 0; i < kEach; ++i) {
      me.items[i].fill(static_cast<int>(index) - 1, i + 1, false, Receiver::kId);
      send(me, me.items[i]);
    }
  }

  void send(Sender& me, Item& item) {
    while (receiver.send(item) == Push::full) {
      const std::uint64_t number = me.ticket.begin();
      require(me.ticket.arm(number), "nobody knows the number yet");
      list.lock();
      me.linked.set(true), me.number.set(number);
      waiting.fetch_add(1, base::seq_cst);
      const Push again = receiver.send_again(item);
      if (again != Push::full) unlink(me);
      list.unlock();
      if (again == Push::full) {
        if (kDeadline) me.timed.store(number, base::release);
        wait(me);
        list.lock();
        if (me.linked.get()) unlink(me);
        list.unlock();
        require(me.ticket.revoke(number), "a wake leaves it open");
      } else {
        if (!me.ticket.disarm(number)) wait(me);  // use the wake up
        require(me.ticket.revoke(number), "a disarmed ticket is open");
        return;
      }
    }
  }
  void wait(Sender& me) {
    ++me.waits;
    me.gate.wait();
  }
  void unlink(Sender& who) {
    who.linked.set(false);
    waiting.fetch_add(static_cast<std::uint32_t>(-1), base::seq_cst);
  }

  void receive() {
    for (int received = 0; received < static_cast<int>(kSenders) * kEach;) {
      bool signals = false;
      if (Item* item = model::reversed(receiver.box.take(&signals))) {
        for (; item != nullptr; item = item->next, ++received) consume(*item);
      } else if (receiver.park()) {
        if (waiting.load(base::seq_cst) != 0 && receiver.box.has_room()) wake_all();
        receiver.gate.wait();
        item = receiver.box.take_direct();
        require(item != nullptr, "only messages end this wait");
        consume(*item), ++received;
      }
    }
  }
  void consume(Item& item) {
    order.next(item);
    receiver.consume();
  }
  void wake_all() {
    list.lock();
    for (Sender& s : senders) {
      if (!s.linked.get()) continue;
      unlink(s);
      if (s.ticket.wake(s.number.get())) s.gate.ready();
    }
    list.unlock();
  }

  // A deadline: an early look is repeated, a stale number dropped.
  void fire() {
    Sender& s = senders[0];
    for (int tries = 0; tries < 4; ++tries) {
      const std::uint64_t number = s.timed.load(base::acquire);
      if (number != 0 && s.ticket.look(number) == Ticket<Model>::Look::is_armed && s.ticket.wake(number))
        s.gate.ready();
      Model::pause();
    }
  }

  void after() {
    receiver.expect_empty();
    require(waiting.load(base::relaxed) == 0, "nobody is left in the list");
    for (const Sender& s : senders) {
      require(!s.linked.get(), "nobody is left in the list");
      require(s.gate.readied() == s.waits && s.gate.is_clear(), "one wake per wait");
    }
  }
};

constexpr Candidate kOne{"Waiting<1,3>", model::explore<Waiting<1, 3, 1, false>>},
    kTwo{"Waiting<2,2>", model::explore<Waiting<2, 2, 1, false>>},
    kDeadline{"Waiting<2,2,deadline>", model::explore<Waiting<2, 2, 1, true>>};

TEST(ModelWaiting, OneSenderIsWokenWithFewSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Waiting<1, 2, 1, false>>(1'000'000, 4)));
}
TEST(ModelWaiting, OneSenderIsWokenWhenThereIsRoom) {
  EXPECT_TRUE(holds(model::explore<Waiting<1, 3, 1, false>>(50'000)));
}
TEST(ModelWaiting, TwoSendersAreWokenWhenThereIsRoom) {
  EXPECT_TRUE(holds(model::explore<Waiting<2, 2, 1, false>>(50'000)));
}
TEST(ModelWaiting, ThreeSendersShareABoundOfTwo) {
  EXPECT_TRUE(holds(model::explore<Waiting<3, 2, 2, false>>(50'000)));
}
TEST(ModelWaiting, ADeadlineWakesOnceTogetherWithRoom) {
  EXPECT_TRUE(holds(model::explore<Waiting<2, 2, 1, true>>(50'000)));
}

TEST(ModelWaitingWeakened, Fails) {
  using base::acq_rel, base::acquire, base::seq_cst;
  constexpr auto lost = rl::test_result_deadlock;
  for (const model::Control& control : {
           model::Control{kTwo, "park", Op::cas, seq_cst, 1, acq_rel, lost},           // [mailbox-waiters]
           model::Control{kTwo, "receive", Op::load, seq_cst, 1, acquire, lost},       // its look at `waiting`
           model::Control{kTwo, "send", Op::rmw, seq_cst, 1, acq_rel, lost},           // joining
           model::Control{kTwo, "push_message", Op::load, seq_cst, 1, acquire, lost},  // the second push's word
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelWaitingWeakened, DISABLED_Sweep) { model::sweep({kOne, kTwo, kDeadline}, 50'000); }

}  // namespace
}  // namespace erlking
