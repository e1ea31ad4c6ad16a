// Eight and twelve senders against one bounded mailbox: nothing lost, nothing doubled, the bound exact, each sender's
// order
// kept over messages and signals; on 1, 2 and 4 workers, pinned and not, for sends that wait, that do not, and both.
#include "tests/stress/stress.h"

#include <cstdio>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>

namespace erlking::testing {
namespace {

enum class Way : std::uint8_t { plain, waiting, mixed };

struct Case {
  unsigned senders, bound, workers;
  bool pinned;
  Way way;
};

std::string name_of_case(const ::testing::TestParamInfo<std::tuple<unsigned, unsigned, unsigned, bool, Way>>& info) {
  const auto& [senders, bound, workers, pinned, way] = info.param;
  return "Senders" + std::to_string(senders) + "Bound" + std::to_string(bound) + "Workers" + std::to_string(workers) +
         (pinned ? "Pinned" : "Free") +
         (way == Way::plain     ? "Plain"
          : way == Way::waiting ? "Waiting"
                                : "Mixed");
}

/// The n-th thing `sender` has to say; what it owns comes along or comes back.
struct Numbered {
  std::uint32_t sender;
  std::uint32_t n;
  std::unique_ptr<std::uint32_t> same;
};

/// What a sender knows at its end; its exit reason carries it to the receiver's Down.
struct Sums {
  std::uint64_t queued = 0, refused = 0, marks = 0;
};
Reason reason_of(const Sums& sums) {
  return Reason("done",
                std::to_string(sums.queued) + " " + std::to_string(sums.refused) + " " + std::to_string(sums.marks));
}
std::optional<Sums> sums_of(const Reason& reason) {
  if (reason.name() != "done") return std::nullopt;
  Sums sums;
  const std::string text(reason.detail());
  if (std::sscanf(text.c_str(), "%lu %lu %lu", &sums.queued, &sums.refused, &sums.marks) != 3) return std::nullopt;
  return sums;
}

void send_all(Pid to, std::uint32_t me, unsigned messages, Way way) {
  base::Random random = random_of(me + 1);
  Sums sums;
  std::uint32_t n = 0;
  for (unsigned i = 0; i < messages; ++i) {
    ++n;
    Numbered message{me, n, std::make_unique<std::uint32_t>(n)};
    Delivery delivery;
    const bool waits = way == Way::waiting || (way == Way::mixed && random.below(2) == 0);
    if (!waits) {
      delivery = send(to, std::move(message));
    } else if (random.below(8) != 0) {
      delivery = send(to, std::move(message), forever);
    } else {
      delivery = send(to, std::move(message), std::chrono::microseconds(random.below(60)));
    }
    if (delivery == Delivery::queued) {
      ++sums.queued;
    } else {
      ASSERT_EQ(delivery, Delivery::full);
      ++sums.refused;
      ASSERT_TRUE(message.same != nullptr && *message.same == n) << "the refused object was not handed back";
      if (random.below(4) == 0) yield();
    }
    if (random.below(32) == 0) {
      exit(to, Reason("mark", std::to_string(++n)));
      ++sums.marks;
    }
  }
  exit(reason_of(sums));
}

// The receiver's books of one sender.
struct Account {
  std::uint32_t last = 0;
  std::uint64_t received = 0, marks = 0;
  bool ended = false;
};

class Receiver {
 public:
  Receiver(const Case& c, unsigned messages)
      : case_(c), messages_(messages), accounts_(c.senders), random_(random_of(0)) {}

  void operator()() {
    trap_exit(true);
    for (std::uint32_t i = 0; i < case_.senders; ++i) {
      const int worker = case_.pinned ? static_cast<int>(i % case_.workers) : -1;
      const Monitored made =
          spawn_monitor({.stack = kStressStack, .worker = worker}, send_all, self(), i, messages_, case_.way);
      index_[made.pid] = i;
    }
    spawn({.stack = kStressStack}, watch, self(), case_.bound);
    std::uint64_t refused = 0;
    for (unsigned steps = 0; left() != 0 && !::testing::Test::HasFatalFailure(); ++steps) {
      check_depth(steps);
      if (random_.below(100) == 0) elsewhere();
      std::optional<Sums> sums;
      receive(
          30s, [&](Numbered message) { took(message); }, [&](Exit exit) { marked(exit); },
          [&](Down down) { sums = ended(down); }, [&](Timeout) { ADD_FAILURE() << "a message or a Down is missing"; });
      if (sums) refused += sums->refused;
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_TRUE(mailbox_empty());
    const auto info = process_info(self(), forever);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->mailbox_depth, 0u);
    EXPECT_EQ(info->refused, static_cast<std::uint32_t>(refused));
    EXPECT_TRUE(info->monitors.empty());
  }

 private:
  // Signals of a process that is no sender, now and then; it ends with its receiver.
  static void watch(Pid receiver, unsigned bound) {
    for (;;) {
      const auto info = process_info(receiver, 10s);
      if (!info) {
        EXPECT_EQ(info.error().kind, CallFailure::noproc);
        return;
      }
      EXPECT_LE(info->mailbox_depth, bound);
      sleep(500us);
    }
  }

  unsigned left() const {
    unsigned count = 0;
    for (const Account& account : accounts_) count += account.ended ? 0 : 1;
    return count;
  }

  // By the mailbox's own count at every step; through the public door now and then.
  void check_depth(unsigned step) {
    ASSERT_LE(self_process().mailbox.size(), case_.bound);
    if (step % 256 != 0) return;
    const auto info = process_info(self(), forever);
    ASSERT_TRUE(info.has_value());
    ASSERT_LE(info->mailbox_depth, case_.bound);
    ASSERT_EQ(info->mailbox_bound, case_.bound);
  }

  // The receiver blocks in other ways than in its loop's receive, or leaves messages lying.
  void elsewhere() {
    switch (random_.below(4)) {
      case 0:
        return yield();
      case 1:
        return sleep(20us);
      case 2: {
        const auto chosen = static_cast<std::uint32_t>(random_.below(case_.senders));
        receive(30us,
                when([&](const Numbered& message) { return message.sender == chosen; },
                     [&](Numbered message) { took(message); }),
                when([&](const Exit& exit) { return index_[exit.from] == chosen; }, [&](Exit exit) { marked(exit); }),
                [](Timeout) {});
        return;
      }
      default:
        EXPECT_FALSE(is_alive(Pid{}, 1s));
    }
  }

  void took(const Numbered& message) {
    Account& account = accounts_.at(message.sender);
    ASSERT_EQ(*message.same, message.n);
    ASSERT_GT(message.n, account.last) << "sender " << message.sender << ": out of order, or doubled";
    ASSERT_FALSE(account.ended) << "a message after its sender's Down";
    account.last = message.n;
    ++account.received;
  }
  void marked(const Exit& exit) {
    ASSERT_EQ(exit.reason.name(), "mark");
    Account& account = accounts_.at(index_.at(exit.from));
    const auto n = static_cast<std::uint32_t>(std::stoul(std::string(exit.reason.detail())));
    ASSERT_GT(n, account.last) << "a signal was overtaken, or overtook";
    account.last = n;
    ++account.marks;
  }
  std::optional<Sums> ended(const Down& down) {
    Account& account = accounts_.at(index_.at(down.pid));
    const auto sums = sums_of(down.reason);
    EXPECT_TRUE(sums.has_value()) << down.reason.report();
    EXPECT_FALSE(account.ended) << "two Downs";
    account.ended = true;
    if (!sums) return sums;
    EXPECT_EQ(account.received, sums->queued);
    EXPECT_EQ(account.marks, sums->marks);
    EXPECT_EQ(sums->queued + sums->refused, messages_);
    return sums;
  }

  Case case_;
  unsigned messages_;
  std::vector<Account> accounts_;
  std::unordered_map<Pid, std::uint32_t> index_;
  base::Random random_;
};

class MailboxStressTest : public StressTest,
                          public ::testing::WithParamInterface<std::tuple<unsigned, unsigned, unsigned, bool, Way>> {};

TEST_P(MailboxStressTest, NothingIsLostDoubledReorderedOrBeyondTheBound) {
  const auto& [senders, bound, workers, pinned, way] = GetParam();
  const Case c{senders, bound, workers, pinned, way};
  options.workers = workers;
  const unsigned messages = scaled(way == Way::plain ? 8'000 : bound == 1 ? 2'000 : 4'000);
  const auto ended =
      rt().spawn_wait(60s, {.name = "receiver", .mailbox = bound, .stack = kStressStack, .worker = pinned ? 0 : -1},
                      Receiver(c, messages));
  ASSERT_TRUE(ended.has_value());
  EXPECT_EQ(ended->value_or(Reason("hangs")), reason::normal);
  EXPECT_TRUE(drive([&] { return rt().processes() == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Every, MailboxStressTest,
                         ::testing::Combine(::testing::Values(8u, 12u), ::testing::Values(1u, 2u, 16u, 1024u),
                                            ::testing::Values(1u, 2u, 4u), ::testing::Bool(),
                                            ::testing::Values(Way::plain, Way::waiting, Way::mixed)),
                         name_of_case);

// Rings of processes that send to each other with tiny bounds and wait for room: whoever waits lets others into its own
// mailbox (B6 in runtime/README.md), or the ring stands still.
struct RingStressTest : StressTest, ::testing::WithParamInterface<std::tuple<unsigned, unsigned>> {};

TEST_P(RingStressTest, ProcessesThatWaitForEachOthersRoomGoOn) {
  const auto& [workers, bound] = GetParam();
  options.workers = workers;
  struct Token {
    unsigned hops;
  };
  constexpr unsigned kMembers = 6;
  const unsigned hops = scaled(2'000);
  // Each member has `bound` messages under way in a ring whose mailboxes hold `bound` each; it takes one for each it
  // sends.
  struct Ring {
    std::atomic<std::uint64_t> pids[kMembers];
    std::atomic<bool> go{false};
  };
  struct Member {
    std::shared_ptr<Ring> ring;
    unsigned me, bound, rounds;
    void operator()() const {
      while (!ring->go) yield();
      const Pid next{ring->pids[(me + 1) % kMembers]};
      unsigned taken = 0;
      const auto take = [&](Bound wait) {
        bool any = true;
        receive(
            wait, [](Token) {}, [&](Timeout) { any = false; });
        return any;
      };
      for (unsigned sent = 0; sent < rounds; ++sent) {
        ASSERT_EQ(send(next, Token{sent}, 20s), Delivery::queued) << "nobody made room";
        while (sent + 2 > taken + bound) {
          ASSERT_TRUE(take(20s)) << "no message came";
          ++taken;
        }
      }
      while (taken < rounds) {
        ASSERT_TRUE(take(20s));
        ++taken;
      }
    }
  };
  run_to_the_end([&, bound = bound] {
    std::vector<Monitored> members;
    auto ring = std::make_shared<Ring>();
    for (unsigned i = 0; i < kMembers; ++i) {
      members.push_back(spawn_monitor({.mailbox = bound, .stack = kStressStack}, Member{ring, i, bound, hops}));
      ring->pids[i] = members.back().pid.id;
    }
    ring->go = true;
    for (const Monitored& member : members) {
      EXPECT_EQ(receive(60s,
                        when([&](const Down& down) { return down.ref == member.ref; },
                             [](Down& down) { return down.reason; }),
                        [](Timeout) { return Reason("hangs"); }),
                reason::normal);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Every, RingStressTest,
                         ::testing::Combine(::testing::Values(1u, 2u, 4u), ::testing::Values(1u, 2u, 16u)),
                         [](const auto& info) {
                           return "Workers" + std::to_string(std::get<0>(info.param)) + "Bound" +
                                  std::to_string(std::get<1>(info.param));
                         });

// A bound changed at run time holds for whoever sends from then on; what is queued stays.
TEST_F(StressTest, ABoundThatChangesUnderSendersLosesNothing) {
  options.workers = 4;
  struct Counted {
    unsigned n;
  };
  static constexpr unsigned messages = scaled(5'000);
  run_to_the_end([] {
    constexpr unsigned kSenders = 8;
    unsigned downs = 0, received = 0;
    std::uint64_t queued = 0;
    base::Random random = random_of(0);
    for (unsigned s = 0; s < kSenders; ++s) {
      spawn_monitor({.stack = kStressStack}, [to = self()] {
        Sums sums;
        for (unsigned i = 0; i < messages; ++i) {
          if (send(to, Counted{i}, 5s) == Delivery::queued) ++sums.queued;
        }
        exit(reason_of(sums));
      });
    }
    constexpr std::uint32_t kBounds[] = {1, 3, 64, 1024};
    std::uint32_t widest = 1024;
    for (unsigned steps = 0; downs < kSenders; ++steps) {
      if (steps % 64 == 0) set_mailbox_bound(kBounds[random.below(4)]);
      ASSERT_LE(self_process().mailbox.size(), widest);
      receive(
          30s, [&](Counted) { ++received; },
          [&](Down down) {
            ++downs;
            const auto sums = sums_of(down.reason);
            ASSERT_TRUE(sums) << down.reason.report();
            queued += sums->queued;
          });
    }
    EXPECT_EQ(received, queued);
    EXPECT_EQ(queued, std::uint64_t{kSenders} * messages);
  });
}

}  // namespace
}  // namespace erlking::testing
