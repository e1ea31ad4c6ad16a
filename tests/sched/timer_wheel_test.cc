#include "sched/timer_wheel.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

namespace erlking::sched {
namespace {

constexpr Nanos kTick = TimerWheel::kTick;
constexpr Nanos kSecond = 1'000'000'000;
constexpr Nanos kStart = 1'000 * kSecond + 123;  // no multiple of a tick

class TimerWheelTest : public testing::Test {
 protected:
  // Advances and returns the numbers of what fired, in order; checks that none did so early.
  std::vector<std::uint64_t> advance(Nanos now) {
    std::vector<std::uint64_t> fired;
    wheel.advance(now, [&](TimerNode& node) {
      EXPECT_FALSE(node.is_armed());
      EXPECT_LE(node.when, now);
      fired.push_back(node.number);
      return Fired::done;
    });
    wheel.validate();
    return fired;
  }

  // Advances to wherever the wheel asks to be called until something fires; the instant at which it did.
  Nanos advance_to_first(int steps_max = 20) {
    for (int i = 0; i < steps_max; ++i) {
      const Nanos at = wheel.next();
      if (!advance(at).empty()) return at;
    }
    ADD_FAILURE() << "nothing fired";
    return -1;
  }

  using Numbers = std::vector<std::uint64_t>;
  TimerWheel wheel{kStart};
};

TEST_F(TimerWheelTest, AnEmptyWheelAsksForNothing) {
  EXPECT_TRUE(wheel.empty());
  EXPECT_EQ(wheel.next(), kForever);
  EXPECT_TRUE(advance(kStart + 1).empty());
  EXPECT_TRUE(advance(kForever).empty());
  EXPECT_EQ(wheel.next(), kForever);
}

TEST_F(TimerWheelTest, ADurationCountsFromTheNextAdvance) {
  TimerNode a;
  wheel.arm_after(a, 10 * kTick);
  EXPECT_TRUE(a.is_armed());
  EXPECT_EQ(wheel.size(), 1u);
  EXPECT_EQ(wheel.next(), kStart);              // advance before sleeping
  const Nanos anchored = kStart + 5 * kSecond;  // the cached clock lagged this much
  EXPECT_TRUE(advance(anchored).empty());
  EXPECT_EQ(a.when.load(), anchored + 10 * kTick);
  EXPECT_TRUE(advance(anchored + 10 * kTick - 1).empty());
  EXPECT_EQ(advance(anchored + 11 * kTick).size(), 1u);
  EXPECT_FALSE(a.is_armed());
  EXPECT_TRUE(wheel.empty());
}

TEST_F(TimerWheelTest, DurationZeroFiresInTheAdvanceThatAnchorsIt) {
  TimerNode a;
  wheel.arm_after(a, 0);
  EXPECT_EQ(advance(kStart).size(), 1u);
}

TEST_F(TimerWheelTest, APastInstantFiresAtTheNextAdvanceEvenWithinTheTick) {
  TimerNode a, b, c;
  a.number = 1, b.number = 2, c.number = 3;
  wheel.arm_at(a, kStart);
  wheel.arm_at(b, 0);
  wheel.arm_at(c, -5);
  EXPECT_EQ(wheel.next(), kStart);
  EXPECT_EQ(advance(kStart), (Numbers{1, 2, 3}));
}

TEST_F(TimerWheelTest, AnInstantFiresInTheFirstTickThatBeginsAtItOrLater) {
  TimerNode a;
  const Nanos tick = (kStart / kTick + 7) * kTick;
  wheel.arm_at(a, tick);
  EXPECT_EQ(wheel.next(), tick);
  EXPECT_TRUE(advance(tick - 1).empty());
  EXPECT_EQ(advance(tick).size(), 1u);
  wheel.arm_at(a, tick + 1);
  EXPECT_TRUE(advance(tick + kTick - 1).empty());
  EXPECT_EQ(advance(tick + kTick).size(), 1u);
}

TEST_F(TimerWheelTest, ACancelledTimerDoesNotFire) {
  TimerNode fresh, past, soon, late, never;
  wheel.arm_after(fresh, 1);
  wheel.arm_at(past, 1);
  wheel.arm_at(soon, kStart + kTick);
  wheel.arm_at(late, kStart + 3600 * kSecond);
  for (TimerNode* node : {&fresh, &past, &soon, &late, &never}) {
    wheel.cancel(*node);
    EXPECT_FALSE(node->is_armed());
    wheel.cancel(*node);
    wheel.validate();
  }
  EXPECT_EQ(wheel.next(), kForever);  // no bit is left behind
  EXPECT_TRUE(advance(kForever).empty());
}

TEST_F(TimerWheelTest, ReachesEveryLevelExactly) {
  for (unsigned bits = 0; bits < 62; ++bits) {
    for (const Nanos delta : {-1, 0, 1}) {
      TimerWheel one(kStart);
      TimerNode node;
      const Nanos instant = kStart + (Nanos{1} << bits) + delta;
      one.arm_at(node, instant);
      Nanos fired_at = -1;
      int steps = 0;
      while (fired_at < 0 && ++steps < 20) {
        const Nanos at = one.next();
        ASSERT_LE(at, std::max(instant, kStart) + kTick);
        one.advance(at, [&](TimerNode&) {
          fired_at = at;
          return Fired::done;
        });
      }
      ASSERT_GE(fired_at, instant) << bits;
      ASSERT_LT(fired_at - instant, kTick) << bits;
      ASSERT_LE(steps, 10) << "one cascade per level at most";
    }
  }
}

TEST_F(TimerWheelTest, AVeryLongTimeComesAndForeverDoesNot) {
  TimerNode year, forever, forever_after, last;
  const Nanos long_time = (Nanos{1} << 33) * 1'000'000;  // 2^33 ms
  wheel.arm_after(year, long_time);
  wheel.arm_at(forever, kForever);
  wheel.arm_after(forever_after, kForever);
  wheel.arm_at(last, kForever - kForever % kTick);
  last.number = 9;
  EXPECT_TRUE(advance(kStart).empty());
  EXPECT_TRUE(advance(kStart + long_time - 1).empty());
  EXPECT_EQ(advance(kStart + long_time + kTick).size(), 1u);
  EXPECT_EQ(wheel.size(), 3u);
  wheel.cancel(forever);
  EXPECT_EQ(advance_to_first(), kForever - kForever % kTick);
  EXPECT_EQ(wheel.next(), kForever);
  EXPECT_EQ(wheel.size(), 1u);
  EXPECT_TRUE(forever_after.is_armed());
}

TEST_F(TimerWheelTest, TimeDoesNotRunBackwards) {
  TimerNode a;
  advance(kStart + kSecond);
  wheel.arm_after(a, 2 * kTick);
  EXPECT_TRUE(advance(kStart).empty());
  EXPECT_EQ(a.when.load(), kStart + kSecond + 2 * kTick);
  EXPECT_EQ(wheel.now(), kStart + kSecond);
}

TEST_F(TimerWheelTest, FiresInTheOrderOfTheTicks) {
  std::vector<std::unique_ptr<TimerNode>> nodes;
  base::Random random(3);
  for (int i = 0; i < 500; ++i) {
    nodes.push_back(std::make_unique<TimerNode>());
    wheel.arm_at(*nodes.back(), kStart + 1 + static_cast<Nanos>(random.below(1ull << random.below(40))));
  }
  Nanos before = 0;
  std::size_t n = wheel.advance(kStart + 3600 * kSecond, [&](TimerNode& node) {
    const Nanos tick = (node.when + kTick - 1) / kTick;
    EXPECT_GE(tick, before);
    before = tick;
    return Fired::done;
  });
  EXPECT_EQ(n, 500u);
}

TEST_F(TimerWheelTest, OneKeptFiresAgainAtTheNextTickAndOnlyOncePerAdvance) {
  for (const Nanos at : {kStart, kStart + 64 * kTick - 1, (kStart / kTick / 64 + 1) * 64 * kTick - 1,
                         (kStart / kTick / 4096 + 1) * 4096 * kTick - 1}) {  // also across the ends of a level
    TimerWheel one(kStart - kStart % kTick);
    TimerNode node;
    one.arm_at(node, 5);
    int calls = 0;
    auto again = [&](TimerNode&) {
      ++calls;
      return Fired::again;
    };
    EXPECT_EQ(one.advance(at, again), 1u);
    EXPECT_TRUE(node.is_armed());
    EXPECT_EQ(node.when.load(), 5);
    one.validate();
    const Nanos next_tick = (at / kTick + 1) * kTick;
    EXPECT_EQ(one.next(), next_tick);
    EXPECT_EQ(one.advance(next_tick - 1, again), 0u);
    EXPECT_EQ(one.advance(next_tick, again), 1u);
    one.validate();
    EXPECT_EQ(one.advance(next_tick + 3600 * kSecond, again), 1u);  // a jump is one more call, not one per tick
    one.validate();
    EXPECT_EQ(calls, 3);
    one.cancel(node);
    EXPECT_EQ(one.next(), kForever);
  }
}

TEST_F(TimerWheelTest, ACallbackCancelsOthersOfItsBatch) {
  TimerNode nodes[4];
  // Two of one tick, one of the same batch at a higher level, one kept before.
  wheel.arm_at(nodes[0], kStart + kTick);
  wheel.arm_at(nodes[1], kStart + kTick);
  wheel.arm_at(nodes[2], kStart + kSecond);
  wheel.arm_at(nodes[3], kStart + 2 * kTick);
  int calls = 0;
  wheel.advance(kStart + 2 * kSecond, [&](TimerNode&) {
    if (++calls == 1) {
      for (TimerNode& other : nodes) wheel.cancel(other);
    }
    return Fired::done;
  });
  EXPECT_EQ(calls, 1);
  wheel.validate();
  EXPECT_EQ(wheel.next(), kForever);
}

TEST_F(TimerWheelTest, ACallbackCancelsOneThatWasKeptBeforeIt) {
  TimerNode kept, canceller;
  wheel.arm_at(kept, 1);
  wheel.arm_at(canceller, 2);
  wheel.advance(kStart, [&](TimerNode& node) {
    if (&node == &kept) return Fired::again;
    wheel.cancel(kept);
    return Fired::done;
  });
  EXPECT_FALSE(kept.is_armed());
  EXPECT_EQ(wheel.next(), kForever);
  wheel.validate();
}

TEST_F(TimerWheelTest, WhatACallbackArmsWaitsForALaterAdvance) {
  TimerNode a, zero, past, due;
  wheel.arm_at(a, kStart);
  int calls = 0;
  const Nanos now = kStart + kSecond;
  auto fire = [&](TimerNode& node) {
    if (++calls == 1) {
      wheel.arm_after(zero, 0);
      wheel.arm_at(past, 5);
      wheel.arm_at(due, now);
      wheel.arm_at(node, 5);  // itself
    }
    return Fired::done;
  };
  EXPECT_EQ(wheel.advance(now, fire), 1u);
  EXPECT_EQ(wheel.size(), 4u);
  EXPECT_EQ(wheel.next(), now);
  wheel.validate();
  EXPECT_EQ(wheel.advance(now, fire), 4u);
}

TEST_F(TimerWheelTest, ACallbackMayFreeItsNode) {
  auto node = std::make_unique<TimerNode>();
  wheel.arm_after(*node, 0);
  wheel.advance(kStart, [&](TimerNode&) {
    node.reset();
    return Fired::done;
  });
  EXPECT_TRUE(wheel.empty());
}

TEST_F(TimerWheelTest, APeriodicTimerKeepsItsPace) {
  TimerNode node;
  const Nanos period = 3 * kTick + 17;
  wheel.arm_at(node, kStart + period);
  int calls = 0;
  for (Nanos now = kStart; now <= kStart + 1'000 * period + kTick; now += kTick / 3) {
    wheel.advance(now, [&](TimerNode& n) {
      EXPECT_LT(now - n.when, 2 * kTick);
      ++calls;
      wheel.arm_at(n, n.when + period);
      return Fired::done;
    });
  }
  EXPECT_GE(calls, 1'000);
  EXPECT_LE(calls, 1'001);
}

TEST_F(TimerWheelTest, ClearLetsGoOfEverything) {
  TimerNode a, b, c;
  wheel.arm_after(a, 5);
  wheel.arm_at(b, 5);
  wheel.arm_at(c, kStart + kSecond);
  wheel.clear();
  EXPECT_TRUE(wheel.empty());
  EXPECT_FALSE(a.is_armed() || b.is_armed() || c.is_armed());
  wheel.validate();
  EXPECT_EQ(wheel.next(), kForever);
}

// The model: a multimap from the first instant at which the wheel may fire a node (its tick's start, or now when it was
// past when armed) to the node. Everything the wheel does is compared with it: what fires, when, how often.
class Model {
 public:
  // `jumps`: durations and gaps of up to decades.
  Model(std::uint64_t seed, bool jumps)
      : random_(seed), jumps_(jumps), now_(static_cast<Nanos>(random_.below(1ull << 45))), wheel_(now_) {
    nodes_.reserve(kNodes);
    for (std::size_t i = 0; i < kNodes; ++i) {
      nodes_.push_back(std::make_unique<TimerNode>());
      nodes_.back()->number = i;
    }
  }

  void step() {
    const std::uint64_t what = random_.below(100);
    TimerNode& node = *nodes_[random_.below(kNodes)];
    if (what < 35) {
      arm(node);
    } else if (what < 55) {
      cancel(node);
    } else {
      advance();
    }
    if (random_.below(16) == 0) wheel_.validate();
    ASSERT_EQ(wheel_.size(), due_.size() + fresh_.size());
    check_next();
  }

  bool far() const { return now_ > kForever / 4 * 3; }

 private:
  static constexpr std::size_t kNodes = 60;

  static Nanos round_up(Nanos instant) {
    return instant > kForever - kTick ? kForever : (instant + kTick - 1) / kTick * kTick;
  }

  Nanos some_duration() {
    switch (random_.below(12)) {
      case 0:
        return 0;
      case 1:
        return kForever;
      case 2:
        return kForever - now_ - static_cast<Nanos>(random_.below(1ull << 40));  // the far end
      case 3:
        return (kTick - now_ % kTick) % kTick;  // a whole tick
      default:
        return static_cast<Nanos>(random_.below(1ull << random_.below(jumps_ ? 60 : 45)));
    }
  }

  void arm(TimerNode& node) {
    if (node.is_armed()) return;
    Nanos d = some_duration();
    if (d < 0) d = 0;
    if (random_.below(2) == 0) {
      wheel_.arm_after(node, d);
      fresh_[node.number] = d;
    } else {
      const Nanos instant = random_.below(10) == 0 ? now_ - d : base::after(now_, d);
      wheel_.arm_at(node, instant);
      // Past when armed: the next advance(). Otherwise the start of its tick; kForever never.
      insert(node.number, instant <= now_ ? now_ : round_up(instant));
      exact_[node.number] = instant;
    }
    ASSERT_TRUE(node.is_armed());
  }

  void insert(std::uint64_t number, Nanos from) { at_[number] = due_.emplace(from, number); }

  void forget(std::uint64_t number) {
    if (fresh_.erase(number) != 0) return;
    const auto it = at_.find(number);
    ASSERT_NE(it, at_.end());
    due_.erase(it->second);
    at_.erase(it);
  }

  void cancel(TimerNode& node) {
    if (node.is_armed()) forget(node.number);
    wheel_.cancel(node);
    ASSERT_FALSE(node.is_armed());
  }

  void advance() {
    Nanos by = 0;
    switch (random_.below(8)) {
      case 0:
        break;
      case 1:
        by = static_cast<Nanos>(random_.below(1ull << random_.below(jumps_ ? 58 : 40)));
        break;
      case 2:
        by = wheel_.next() == kForever ? 0 : std::max<Nanos>(0, wheel_.next() - now_);
        break;
      case 3:
        by = kTick - now_ % kTick;
        break;
      default:
        by = static_cast<Nanos>(random_.below(1ull << random_.below(22)));
    }
    now_ = base::after(now_, by);
    if (now_ == kForever) now_ = kForever - kTick;
    for (const auto& [number, d] : fresh_) {
      const Nanos instant = base::after(now_, d);
      insert(number, d == 0 ? now_ : round_up(instant));
      exact_[number] = instant;
    }
    fresh_.clear();

    std::set<std::uint64_t> called;
    std::vector<std::uint64_t> kept;
    const std::size_t n = wheel_.advance(now_, [&](TimerNode& node) {
      const std::uint64_t number = node.number;
      EXPECT_FALSE(node.is_armed());
      EXPECT_TRUE(called.insert(number).second) << "twice in one advance";
      const auto it = at_.find(number);
      if (it == at_.end() || it->second->first > now_) {
        ADD_FAILURE() << "fired, but not due";
        return Fired::done;
      }
      EXPECT_GE(now_, exact_[number]) << "early";
      due_.erase(it->second);
      at_.erase(it);
      TimerNode& other = *nodes_[random_.below(kNodes)];
      switch (random_.below(8)) {
        case 0:
          kept.push_back(number);
          return Fired::again;
        case 1:  // perhaps one due in the same batch, perhaps one kept a moment ago
          if (std::erase(kept, other.number) != 0) {
            wheel_.cancel(other);
          } else {
            cancel(other);
          }
          break;
        case 2:
          arm_inside(node);
          break;
        case 3:
          if (!other.is_armed()) arm_inside(other);
          break;
        default:
          break;
      }
      return Fired::done;
    });
    EXPECT_EQ(n, called.size());
    for (const std::uint64_t number : kept) {
      insert(number, (now_ / kTick + 1) * kTick);
    }
    // Never lost: all that is still due was armed within a callback, to wait for the next advance.
    for (const auto& [from, number] : due_) {
      if (from > now_) break;
      ASSERT_TRUE(armed_inside_.contains(number)) << "due and not fired";
    }
    armed_inside_.clear();
  }

  void arm_inside(TimerNode& node) {
    arm(node);
    armed_inside_.insert(node.number);
  }

  void check_next() {
    const Nanos next = wheel_.next();
    if (!fresh_.empty()) {
      ASSERT_LE(next, now_);
    } else if (due_.empty()) {
      ASSERT_EQ(next, kForever);
    } else {
      ASSERT_LE(next, std::max(due_.begin()->first, now_));
      if (due_.begin()->first > now_) {
        ASSERT_GT(next, now_) << "an advance then would do nothing";
      }
    }
  }

  base::Random random_;
  const bool jumps_;
  Nanos now_;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<TimerNode>> nodes_;
  std::multimap<Nanos, std::uint64_t> due_;
  std::unordered_map<std::uint64_t, std::multimap<Nanos, std::uint64_t>::iterator> at_;
  std::map<std::uint64_t, Nanos> fresh_;
  std::map<std::uint64_t, Nanos> exact_;
  std::set<std::uint64_t> armed_inside_;
};

TEST(TimerWheelModelTest, BehavesAsAMultimapUnderRandomUse) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, seed % 3 == 0);
    for (int i = 0; i < 2'000 && !model.far(); ++i) {
      model.step();
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace erlking::sched
