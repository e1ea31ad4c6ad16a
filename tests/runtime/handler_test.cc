// Handlers: processes without a stack of their own.
#include "tests/support/runtime_fixture.h"

#include <array>
#include <set>

namespace erlking::testing {
namespace {

struct Add {
  long n;
};
struct Sum {
  using Reply = long;
};
struct Fail {};
struct Leave {
  Reason why;
};
struct WaitFor {
  Pid asker;
};
struct Token {
  long n;
};
struct Nap {
  Duration length;
};

struct Counter {
  long sum = 0;
  void handle(Message message) {
    match(
        message, [&](Add add) { sum += add.n; }, [&](Sum&, From<Sum> from) { from.reply(sum); },
        [](Fail) { throw std::runtime_error("out of sorts"); }, [](Leave& leave) { exit(leave.why); },
        [](Nap nap) { sleep(nap.length); },
        [](WaitFor& wait) {
          const long n = receive(10s, [](Token token) { return token.n; });
          send(wait.asker, Token{n + 1});
        });
  }
};

// The same with a state too large for the control block.
struct LargeCounter : Counter {
  std::array<char, 200> more{};
};

class HandlerTest : public RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, HandlerTest, every_setting(), name_of_setting);

TEST_P(HandlerTest, HandlesMessagesAndCalls) {
  run([] {
    const Pid small = spawn_handler(Counter{});
    const Pid large = spawn_handler({.mailbox = 2'000}, LargeCounter{});
    for (long i = 1; i <= 1'000; ++i) {
      EXPECT_EQ(send(small, Add{i}), Delivery::queued);
      EXPECT_EQ(send(large, Add{i}), Delivery::queued);
    }
    EXPECT_EQ(call(small, Sum{}, 5s), 500'500);
    EXPECT_EQ(call(large, Sum{}, 5s), 500'500);
    exit(small, reason::kill);
    EXPECT_FALSE(is_alive(small, 5s));
    exit(large, reason::shutdown);
    EXPECT_FALSE(is_alive(large, 5s));
  });
}

TEST_P(HandlerTest, HasNoStackWhileItIsIdle) {
  run([] {
    const Pid handler = spawn_handler(Counter{});
    const auto before = process_info(handler, 5s);
    ASSERT_TRUE(before.has_value());
    EXPECT_EQ(before->status, Status::waiting);
    send(handler, WaitFor{self()});
    until_waiting(handler);
    const auto waiting = process_info(handler, 5s);
    ASSERT_TRUE(waiting.has_value());
    EXPECT_GT(waiting->stack_bytes, 0u) << "it waits within handle(), on a stack";
    send(handler, Token{6});
    EXPECT_EQ(receive(5s, [](Token token) { return token.n; }), 7);
    exit(handler, reason::kill);
  });
  EXPECT_LT(rt().stats().stacks.taken, 1'000u);
}

TEST_P(HandlerTest, KeepsWhatItDoesNotTakeWhileItWaits) {
  run([] {
    const Pid handler = spawn_handler(Counter{});
    send(handler, WaitFor{self()});
    for (long i = 0; i < 100; ++i) send(handler, Add{1});
    send(handler, Token{0});
    EXPECT_EQ(receive(5s, [](Token token) { return token.n; }), 1);
    EXPECT_EQ(call(handler, Sum{}, 5s), 100);
    exit(handler, reason::kill);
  });
}

TEST_P(HandlerTest, EndsWithTheReasonOfItsExit) {
  run([] {
    const auto end = [](auto&& message) {
      const Monitored made = spawn_handler_monitor(Counter{});
      send(made.pid, std::move(message));
      return await_down(made);
    };
    EXPECT_EQ(end(Leave{reason::normal}), reason::normal);
    EXPECT_EQ(end(Leave{Reason("fed_up")}), Reason("fed_up"));
    const Reason crash = end(Fail{});
    EXPECT_TRUE(crash.is_exception());
    EXPECT_NE(crash.report().find("out of sorts"), std::string::npos) << crash.report();
    const Monitored killed = spawn_handler_monitor(Counter{});
    exit(killed.pid, reason::kill);
    EXPECT_EQ(await_down(killed), reason::killed);
  });
}

TEST_P(HandlerTest, AKillFindsItWhileItWaits) {
  run([] {
    const Monitored made = spawn_handler_monitor(Counter{});
    send(made.pid, Nap{1h});
    until_waiting(made.pid);
    exit(made.pid, reason::kill);
    EXPECT_EQ(await_down(made), reason::killed);
  });
}

TEST_P(HandlerTest, IsLinkedLikeAnyOther) {
  run([] {
    trap_exit(true);
    const Pid handler = spawn_handler_link(Counter{});
    send(handler, Leave{Reason("first")});
    EXPECT_EQ(await_exit(handler), Reason("first"));
    const Monitored parent = spawn_monitor([to = self()] {
      send(to, Leave{Reason(to_string(spawn_handler_link({.name = "child"}, Counter{})))});
      exit(Reason("gone"));
    });
    receive(5s, [](Leave) {});
    EXPECT_EQ(await_down(parent), Reason("gone"));
    while (whereis("child")) sleep(1ms);
  });
}

struct Job {
  int number;
};
struct Report {
  To to;
};
struct Worker {
  void handle(Message message) const {
    match(
        message, [](Report& report) { send(report.to, Token{1}); }, [](Leave& leave) { exit(leave.why); });
  }
};

TEST_P(HandlerTest, Rule_4_11_IsMonitoredWithATagAndAnAlias) {
  run([] {
    for (int i = 0; i < 50; ++i) {
      const MonitoredAlias p =
          spawn_handler_monitor({.mailbox = 4}, {.alias = AliasKind::explicit_unalias, .tag = Job{i}}, Worker{});
      send(p.pid, Leave{Reason("done")});
      EXPECT_EQ(await_down_and_unalias<Job>(p, Reason("done")).number, i);
    }
    const MonitoredAlias answers = spawn_handler_monitor({}, {.alias = AliasKind::reply_demonitor}, Worker{});
    send(answers.pid, Report{answers.alias});
    receive(10s, [](Token token) { EXPECT_EQ(token.n, 1); });
    exit(answers.pid, reason::kill);
    await_down(monitor(answers.pid));
    EXPECT_TRUE(mailbox_empty()) << "the answer has ended the monitor";
    const MonitoredAlias plain = spawn_handler_monitor({}, MonitorOptions{}, Worker{});
    EXPECT_FALSE(plain.alias);
    exit(plain.pid, reason::kill);
    EXPECT_EQ(await_down(plain.ref), reason::killed);
  });
}

TEST_P(HandlerTest, ANameThatIsTakenLeavesNothingBehind) {
  run([] {
    const Pid first = spawn_handler({.name = "it"}, LargeCounter{});
    const auto second = try_spawn_handler({.name = "it"}, LargeCounter{});
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error(), SpawnError::name_taken);
    exit(first, reason::kill);
  });
}

struct Starter {
  Pid to;
  bool fails = false;
  void started() {
    send(to, Token{1});
    if (fails) throw std::runtime_error("not today");
  }
  void handle(Message) { send(to, Token{2}); }
};

TEST_P(HandlerTest, StartsInTheNewProcessBeforeAnyMessage) {
  run([] {
    const Pid handler = spawn_handler(Starter{self()});
    send(handler, Add{0});
    EXPECT_EQ(receive(5s, [](Token token) { return token.n; }), 1);
    EXPECT_EQ(receive(5s, [](Token token) { return token.n; }), 2);
    exit(handler, reason::kill);
    const Monitored failing = spawn_handler_monitor(Starter{self(), true});
    send(failing.pid, Add{0});
    EXPECT_TRUE(await_down(failing).is_exception());
    EXPECT_EQ(receive(5s, [](Token token) { return token.n; }), 1);
    EXPECT_TRUE(mailbox_empty());
  });
}

// Tells when it is destroyed, and does so as a process may.
struct Mourned {
  std::shared_ptr<std::atomic<int>> destroyed;
  Pid to;
  explicit Mourned(std::shared_ptr<std::atomic<int>> count, Pid whom) : destroyed(std::move(count)), to(whom) {}
  Mourned(Mourned&&) = default;
  ~Mourned() {
    if (destroyed == nullptr) return;
    destroyed->fetch_add(1);
    if (sched::current() != nullptr && to != Pid{}) send(to, Token{42});
  }
  void handle(Message message) {
    match(
        message, [](Leave& leave) { exit(leave.why); }, [](Fail) { throw 7; }, [](Nap nap) { sleep(nap.length); });
  }
};

TEST_P(HandlerTest, ItsStateIsDestroyedOnceBeforeAnybodyIsTold) {
  run([] {
    const auto count = std::make_shared<std::atomic<int>>(0);
    int deaths = 0;
    for (int way = 0; way < 4; ++way) {
      const Monitored made = spawn_handler_monitor(Mourned(count, self()));
      if (way == 0) send(made.pid, Leave{reason::normal});
      if (way == 1) send(made.pid, Fail{});
      if (way == 2) exit(made.pid, reason::kill);
      if (way == 3) {
        send(made.pid, Nap{1h});
        until_waiting(made.pid);
        exit(made.pid, reason::shutdown);
      }
      await_down(made);
      EXPECT_EQ(count->load(), ++deaths);
      EXPECT_EQ(receive(0s, [](Token token) { return token.n; }), 42);
    }
  });
}

TEST_P(HandlerTest, AFullMailboxIsToldAsElsewhere) {
  run([] {
    const Pid handler = spawn_handler({.mailbox = 2}, Counter{});
    send(handler, Nap{300ms});
    until_waiting(handler);
    EXPECT_EQ(send(handler, Add{1}), Delivery::queued);
    EXPECT_EQ(send(handler, Add{1}), Delivery::queued);
    EXPECT_EQ(send(handler, Add{1}), Delivery::full);
    EXPECT_EQ(send(handler, Add{1}, 10s), Delivery::queued);
    EXPECT_EQ(call(handler, Sum{}, 10s), 3);
    exit(handler, reason::kill);
  });
}

// Handlers hand a token on to the next by chance; some wait on the way, so that loops change hands.
struct Walker {
  std::shared_ptr<std::vector<Pid>> all;
  std::uint64_t seed;
  void handle(Message message) {
    match(message, [&](Token token) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      const std::uint64_t dice = seed >> 33;
      if (dice % 16 == 0) yield();
      if (dice % 64 == 0) sleep(20us);
      if (token.n == 0) {
        send(all->front(), Token{-1});
      } else {
        send((*all)[1 + dice % (all->size() - 1)], Token{token.n - 1}, 10s);
      }
    });
  }
};

TEST_P(HandlerTest, ManyThatWaitNowAndThenLoseNothing) {
  run([] {
    constexpr int kWalkers = 200, kTokens = 50;
    constexpr long kSteps = 300;
    auto pids = std::make_shared<std::vector<Pid>>(1, self());
    for (int i = 0; i < kWalkers; ++i) pids->push_back(spawn_handler(Walker{pids, std::uint64_t(i)}));
    for (int i = 0; i < kTokens; ++i) send((*pids)[1 + i], Token{kSteps});
    for (int i = 0; i < kTokens; ++i) receive(50s, [](Token token) { EXPECT_EQ(token.n, -1); });
    for (std::size_t i = 1; i < pids->size(); ++i) exit((*pids)[i], reason::kill);
    for (std::size_t i = 1; i < pids->size(); ++i) EXPECT_FALSE(is_alive((*pids)[i], 10s));
    pids->clear();
  });
}

TEST_P(HandlerTest, OneThatIsNeverDoneLetsOthersRun) {
  run([] {
    // Two that keep each other busy for ever, and one that wants its turn.
    struct Busy {
      void handle(Message message) {
        match(message, [](WaitFor& wait) { send(wait.asker, WaitFor{self()}); });
      }
    };
    const Pid a = spawn_handler(Busy{}), b = spawn_handler(Busy{}), counter = spawn_handler(Counter{});
    send(a, WaitFor{b});
    EXPECT_EQ(call(counter, Sum{}, 10s), 0);
    for (const Pid pid : {a, b, counter}) exit(pid, reason::kill);
  });
}

TEST_P(HandlerTest, CanBeMadeFromOutside) {
  const auto pid = rt().spawn_handler({.name = "outside"}, LargeCounter{});
  ASSERT_TRUE(pid.has_value());
  EXPECT_EQ(rt().send(*pid, Add{5}), Delivery::queued);
  EXPECT_EQ(rt().call(*pid, Sum{}, 10s), 5);
}

class HandlerLimitTest : public RuntimeTest {};

TEST_F(HandlerLimitTest, EndsWithSystemLimitWhenThereIsNoStackToRunOn) {
  options.workers = 1;
  options.max_stack_bytes = 8 * 1024 * 1024;
  run([] {
    const Monitored handler = spawn_handler_monitor({.stack = 1024 * 1024}, Counter{});
    std::vector<Pid> holders;
    for (;;) {
      auto holder = try_spawn({.stack = 1024 * 1024}, wait_forever);
      if (!holder) break;
      holders.push_back(*holder);
    }
    send(handler.pid, Add{1});
    EXPECT_EQ(await_down(handler), reason::system_limit);
    for (const Pid pid : holders) exit(pid, reason::kill);
  });
}

}  // namespace
}  // namespace erlking::testing
