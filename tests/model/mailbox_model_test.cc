// Mailbox under the model: bounds 1 and 2, so that full happens; messages, signals and a timer race for one wait.
#include "tests/model/mailbox_model.h"

namespace erlking {
namespace {

using model::Candidate, model::Item, model::Model, model::Op, model::Receiver, model::require;

/// Messages only: the plain receiver.
template <int kSenders, int kEach, std::uint32_t kBound>
struct Messages {
  static constexpr rl::thread_id_t kThreads = 1 + kSenders;

  Receiver receiver{kBound};
  std::array<std::array<Item, kEach>, kSenders> items;
  model::Order<kSenders> order;

  void thread(unsigned index) {
    if (index == 0) return receive();
    for (int i = 0; i < kEach; ++i) {
      Item& item = items[index - 1][i];
      item.fill(static_cast<int>(index) - 1, i + 1, false, Receiver::kId);
      receiver.send_until_accepted(item);
    }
  }
  void receive() {
    for (int received = 0; received < kSenders * kEach;) {
      bool signals = false;
      if (Item* item = model::reversed(receiver.box.take(&signals))) {
        require(!signals, "there are none");
        for (; item != nullptr; item = item->next, ++received) consume(*item);
      } else if (receiver.park()) {
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
  void after() { receiver.expect_empty(); }
};

/// Messages and signals; the receiver takes while it still holds unconsumed messages.
template <std::uint32_t kBound>
struct Signals {
  static constexpr rl::thread_id_t kThreads = 3;

  Receiver receiver{kBound};
  std::array<std::array<Item, 3>, 2> items;
  model::Order<2> order;
  int delivered = 0, held = 0;

  void thread(unsigned index) {
    switch (index) {
      case 0:
        return receive();
      case 1:
        return message(0, 0), signal(0, 1), message(0, 2);
      default:
        return signal(1, 0), message(1, 1);
    }
  }
  void message(int sender, int i) {
    items[sender][i].fill(sender, i + 1, false, Receiver::kId);
    receiver.send_until_accepted(items[sender][i]);
  }
  void signal(int sender, int i) {
    items[sender][i].fill(sender, i + 1, true, Receiver::kId);
    receiver.signal(items[sender][i]);
  }

  void receive() {
    while (delivered < 5) {
      if (held > 0 && rl::rand(2) == 0) {
        consume();
      } else if (!take()) {
        if (held > 0)
          consume();
        else if (receiver.park())
          woken();
      }
    }
    while (held > 0) consume();
  }
  void consume() { receiver.consume(), --held; }
  bool take() {
    const bool announced = receiver.box.has_signal();
    bool signals = false, seen = false;
    Item* item = model::reversed(receiver.box.take(&signals));
    require(!announced || (item != nullptr && signals), "an announced signal is there");
    if (item == nullptr) return false;
    for (; item != nullptr; item = item->next) seen |= deliver(*item);
    require(seen == signals, "take says whether there are signals");
    return true;
  }
  void woken() {
    receiver.gate.wait();
    if (Item* direct = receiver.box.take_direct()) {
      require(!deliver(*direct), "a signal never goes to direct");
      return;
    }
    require(receiver.box.has_signal(), "a message or a signal ended the wait");
    require(take(), "and it is there");
  }
  bool deliver(Item& item) {
    order.next(item);
    ++delivered;
    if (item.signal.get()) return true;
    ++held;
    return false;
  }
  void after() { receiver.expect_empty(); }
};

/// A timer against a sender; the receiver has timed out iff `fired` says so.
template <bool kWithSignal>
struct Timer {
  static constexpr rl::thread_id_t kThreads = 3;
  static constexpr int kItems = kWithSignal ? 2 : 1;

  Receiver receiver{1};
  std::array<Item, 2> items;
  model::Order<1> order;
  Model::var<int> fired;  // plain: written between winning the wait and ready()
  bool rang = false, timed_out = false;
  int delivered = 0;

  void thread(unsigned index) {
    switch (index) {
      case 0:
        return receive();
      case 1:
        if (kWithSignal) {
          items[0].fill(0, 1, true, Receiver::kId);
          receiver.signal(items[0]);
        }
        items[kItems - 1].fill(0, kItems, false, Receiver::kId);
        return receiver.send_until_accepted(items[kItems - 1]);
      default:
        for (int tries = 0; tries < 4 && !rang; ++tries) {
          if (receiver.box.wake()) {
            rang = true;
            fired.set(1);
            receiver.gate.ready();
          } else {
            Model::pause();
          }
        }
    }
  }
  void receive() {
    while (delivered < kItems) {
      bool signals = false;
      if (Item* item = model::reversed(receiver.box.take(&signals))) {
        for (; item != nullptr; item = item->next) deliver(*item);
      } else if (receiver.park()) {
        receiver.gate.wait();
        const bool first = fired.get() == 1 && !timed_out;
        timed_out |= first;
        Item* const direct = receiver.box.take_direct();
        require((direct != nullptr) + receiver.box.has_signal() + first <= 1 || kWithSignal,
                "exactly one ended the wait");
        require(direct != nullptr || first || receiver.box.has_signal(), "something ended the wait");
        require(direct == nullptr || !first, "a timeout hands over nothing");
        if (direct != nullptr) deliver(*direct);
      }
    }
    require((fired.get() == 1) == timed_out, "no timeout goes unnoticed");
  }
  void deliver(Item& item) {
    order.next(item);
    ++delivered;
    if (!item.signal.get()) receiver.consume();
  }
  void after() {
    require(rang == timed_out, "timed out iff it rang");
    receiver.expect_empty();
  }
};

/// The receiver dies among pushes and its slot is used again: nothing accepted is lost, nothing reaches the wrong one.
struct Death {
  static constexpr rl::thread_id_t kThreads = 3;
  static constexpr std::uint64_t kOld = Receiver::kId, kNew = kOld + (std::uint64_t{1} << 32);

  Mailbox<Model, Item> box;
  model::Gate gate;
  Model::atomic<std::uint64_t> reborn;  // the new pid, as another process hears of it
  std::array<Item, 6> items;
  std::array<int, 6> accepted{}, got{};
  model::Order<3> order;
  unsigned parks = 0;

  Death() { box.reopen(kOld, 2); }

  void thread(unsigned index) {
    switch (index) {
      case 0:
        return live_twice();
      case 1:
        for (int i = 0; i < 3; ++i) push(i, 0, i + 1, i == 1, kOld);
        return;
      default:
        push(3, 1, 1, false, kOld);
        while (reborn.load(base::acquire) != kNew) Model::pause();
        require(push(4, 1, 2, true, kOld) == Push::closed, "the old one is known to be dead");
        require(box.is_open(kNew), "the new one is known to live");
        Push p;
        while ((p = push(5, 2, 1, false, kNew)) == Push::full) Model::pause();
        require(p != Push::closed, "the new one accepts");
    }
  }
  Push push(int i, int sender, int number, bool signal, std::uint64_t id) {
    items[i].fill(sender, number, signal, id);
    const Push p = signal ? box.push_signal(&items[i], id) : box.push_message(&items[i], id);
    if (p == Push::queued || p == Push::woke) ++accepted[i];
    if (p == Push::woke) gate.ready();
    return p;
  }

  void live_twice() {
    const unsigned way = rl::rand(3);
    if (way == 1) {
      take(kOld);
    } else if (way == 2 && box.park()) {  // nothing was pushed yet, so something will be
      ++parks;
      gate.wait();
    }
    Item* item = model::reversed(box.close());
    if (Item* direct = box.take_direct()) deliver(*direct, kOld);
    for (; item != nullptr; item = item->next) deliver(*item, kOld);
    require(!box.has_any() && box.size() == 0 && !box.is_open(kOld), "closed is empty");

    box.reopen(kNew, 1);
    reborn.store(kNew, base::release);
    while (got[5] == 0) {
      if (take(kNew)) continue;
      if (!box.park()) continue;
      ++parks;
      gate.wait();
      Item* const direct = box.take_direct();
      require(direct != nullptr, "a message ended the wait");
      deliver(*direct, kNew);
      box.consume();
    }
  }
  bool take(std::uint64_t id) {
    bool signals = false;
    Item* item = model::reversed(box.take(&signals));
    if (item == nullptr) return false;
    for (; item != nullptr; item = item->next) {
      deliver(*item, id);
      if (!item->signal.get()) box.consume();
    }
    return true;
  }
  void deliver(Item& item, std::uint64_t id) {
    require(item.id.get() == id, "an item reaches the incarnation it was sent to");
    order.later(item);
    ++got[&item - items.data()];
  }
  void after() {
    require(accepted == got, "what was accepted was received or drained, once");
    require(box.size() == 0, "nothing is left");
    require(gate.readied() == parks && gate.is_clear(), "one wake per park");
  }
};

constexpr Candidate kBound1{"Messages<2,2,1>", model::explore<Messages<2, 2, 1>>},
    kBound2{"Messages<2,2,2>", model::explore<Messages<2, 2, 2>>}, kSignals{"Signals<1>", model::explore<Signals<1>>},
    kTimer{"Timer<true>", model::explore<Timer<true>>}, kDeath{"Death", model::explore<Death>};

TEST(ModelMailbox, OneMessageInAnySchedule) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Messages<1, 1, 1>>(1'000'000)));
}
TEST(ModelMailbox, TwoMessagesWithFewSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Messages<1, 2, 1>>(1'000'000, 4)));
}
TEST(ModelMailbox, TwoSendersWithFewSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<Messages<2, 1, 1>>(1'000'000, 3)));
}
TEST(ModelMailbox, TwoSendersKeepToABoundOfOne) { EXPECT_TRUE(holds(model::explore<Messages<2, 2, 1>>(50'000))); }
TEST(ModelMailbox, TwoSendersKeepToABoundOfTwo) { EXPECT_TRUE(holds(model::explore<Messages<2, 2, 2>>(50'000))); }
TEST(ModelMailbox, ThreeSendersKeepToABoundOfOne) { EXPECT_TRUE(holds(model::explore<Messages<3, 1, 1>>(50'000))); }
TEST(ModelMailbox, SignalsKeepTheirPlaceAmongMessages) { EXPECT_TRUE(holds(model::explore<Signals<1>>(50'000))); }
TEST(ModelMailbox, SignalsAreNotCountedAsMessages) { EXPECT_TRUE(holds(model::explore<Signals<2>>(50'000))); }
TEST(ModelMailbox, ATimerOrAMessageEndsTheWait) { EXPECT_TRUE(holds(model::explore<Timer<false>>(50'000))); }
TEST(ModelMailbox, ATimerASignalOrAMessageEndsTheWait) { EXPECT_TRUE(holds(model::explore<Timer<true>>(50'000))); }
TEST(ModelMailbox, DeathDrainsAndRebirthRefusesTheStale) { EXPECT_TRUE(holds(model::explore<Death>(50'000))); }

TEST(ModelMailboxWeakened, Fails) {
  using base::acquire, base::relaxed, base::release, base::seq_cst;
  constexpr auto race = rl::test_result_data_race, wrong = rl::test_result_user_assert_failed;
  for (const model::Control& control : {
           model::Control{kBound1, "push_message", Op::load, acquire, 1, relaxed, wrong},  // M2: full, but it was not
           model::Control{kBound1, "push_message", Op::cas_failure, acquire, 1, relaxed, wrong},  // M2
           model::Control{kBound1, "push_message", Op::cas_failure, acquire, 2, relaxed, wrong},  // M2
           model::Control{kBound2, "take", Op::cas, seq_cst, 1, acquire, wrong},                  // M2
           model::Control{kBound1, "push_message", Op::cas, seq_cst, 2, acquire, race},           // the item's contents
           model::Control{kBound1, "take", Op::cas, seq_cst, 1, release, race},                   // the item's contents
           model::Control{kTimer, "push_message", Op::cas, seq_cst, 1, release, race},            // M3: direct
           model::Control{kBound1, "park", Op::cas, seq_cst, 1, acquire, race},                   // M3: direct
           model::Control{kTimer, "wake", Op::cas, seq_cst, 1, release, race},                    // fired
           model::Control{kSignals, "push_signal", Op::cas, seq_cst, 1, acquire, race},           // the item's contents
           model::Control{kDeath, "push_message", Op::load, acquire, 1, relaxed, wrong},          // M6
           model::Control{kDeath, "push_signal", Op::load, acquire, 1, relaxed, wrong},           // M6
           model::Control{kDeath, "reopen", Op::store, release, 1, relaxed, wrong},               // M6
           model::Control{kDeath, "close", Op::rmw, seq_cst, 1, release, race},                   // the items drained
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelMailboxWeakened, DISABLED_Sweep) { model::sweep({kBound1, kBound2, kSignals, kTimer, kDeath}, 20'000); }

}  // namespace
}  // namespace erlking
