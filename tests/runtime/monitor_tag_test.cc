// Monitors with options: SEMANTICS 4.9, and spawn_monitor with an alias.
#include "runtime/monitor.h"
#include "tests/support/runtime_fixture.h"

#include <array>

namespace erlking::testing {
namespace {

struct Job {
  int number;
};
struct Big {
  std::array<char, 5000> bytes;
};
struct alignas(64) Aligned {
  int n;
};
struct Number {
  int n;
};

struct MonitorTagTest : RuntimeTest {};

TEST_F(MonitorTagTest, Rule_4_9_TheDownCarriesTheTagInPlaceOfADown) {
  run([] {
    const Pid p = spawn(wait_forever);
    const MonitorRef tagged = monitor(p, {.tag = Job{7}});
    const MonitorRef plain = monitor(p);
    const MonitorRef other = monitor(p, {.tag = std::string("a text of some length, on the heap")});
    exit(p, Reason("bye", "for good"));
    receive(10s, [&](DownAs<Job> down) {
      EXPECT_EQ(down.tag.number, 7);
      EXPECT_EQ(down.ref, tagged);
      EXPECT_EQ(down.pid, p);
      EXPECT_EQ(down.reason, Reason("bye", "for good"));
      EXPECT_FALSE(down.name);
    });
    receive(10s, [&](Down down) { EXPECT_EQ(down.ref, plain); });
    receive(10s, [&](DownAs<std::string>& down) {
      EXPECT_EQ(down.ref, other);
      EXPECT_EQ(down.tag, "a text of some length, on the heap");
    });
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(MonitorTagTest, Rule_4_9_TagsOfAnySizeAndAlignment) {
  run([] {
    const Pid p = spawn(wait_forever);
    Big big{};
    big.bytes[4999] = 'x';
    monitor(p, {.tag = std::move(big)});
    monitor(p, {.tag = Aligned{3}});
    monitor(p, {.tag = std::make_unique<int>(5)});
    exit(p, reason::kill);
    receive(10s, [](DownAs<Big>& down) {
      EXPECT_EQ(down.tag.bytes[4999], 'x');
      EXPECT_EQ(down.reason, reason::killed);
    });
    receive(10s, [](DownAs<Aligned>& down) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&down.tag) % 64, 0u);
      EXPECT_EQ(down.tag.n, 3);
      EXPECT_EQ(down.reason, reason::killed);
    });
    receive(10s, [](DownAs<std::unique_ptr<int>> down) { EXPECT_EQ(*down.tag, 5); });
  });
}

TEST_F(MonitorTagTest, Rule_4_9_ForNamesAndForTheDead) {
  run([] {
    const Pid p = spawn({.name = "it"}, wait_forever);
    monitor(Name{"it"}, {.tag = Job{1}});
    exit(p, Reason("bye"));
    receive(10s, [&](DownAs<Job> down) {
      EXPECT_EQ(down.tag.number, 1);
      EXPECT_EQ(down.pid, p);
      ASSERT_TRUE(down.name);
      EXPECT_EQ(*down.name, "it");
    });
    monitor(Name{"it"}, {.tag = Job{2}});
    receive(10s, [&](DownAs<Job> down) {
      EXPECT_EQ(down.tag.number, 2);
      EXPECT_EQ(down.reason, reason::noproc);
      EXPECT_EQ(*down.name, "it");
    });
    monitor(p, {.tag = Job{3}});
    receive(10s, [&](DownAs<Job> down) {
      EXPECT_EQ(down.tag.number, 3);
      EXPECT_EQ(down.reason, reason::noproc);
    });
  });
}

TEST_F(MonitorTagTest, Rule_4_9_FlushMatchesByRefNotByTag) {
  run([] {
    const Pid p = spawn(wait_forever);
    std::vector<MonitorRef> refs;
    for (int i = 0; i < 3; ++i) refs.push_back(monitor(p, {.tag = Job{i}}));
    exit(p, reason::kill);
    await_down(monitor(p));
    EXPECT_FALSE(demonitor(refs[1]));
    EXPECT_FALSE(demonitor(refs[1], Flush::yes));
    for (const int n : {0, 2}) receive(10s, [&](DownAs<Job> down) { EXPECT_EQ(down.tag.number, n); });
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(MonitorTagTest, Rule_4_9_ATaggedDownTakesNoPlaceInTheBound) {
  run([] {
    const Monitored watcher = spawn_monitor({.mailbox = 1}, [] {
      const Pid p = spawn(wait_forever);
      for (int i = 0; i < 5; ++i) monitor(p, {.tag = Job{i}});
      EXPECT_EQ(send(self(), Number{1}), Delivery::queued);
      exit(p, reason::kill);
      for (int i = 0; i < 5; ++i) receive(10s, [&](DownAs<Job> down) { EXPECT_EQ(down.tag.number, i); });
      EXPECT_EQ(send(self(), Number{2}), Delivery::full);
      EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 1u);
    });
    EXPECT_EQ(await_down(watcher), reason::normal);
  });
}

TEST_F(MonitorTagTest, Rule_4_9_ATagIsDestroyedWithItsMonitor) {
  run([] {
    const auto count = std::make_shared<int>(0);
    const Pid p = spawn(wait_forever);
    const Watch a = monitor(p, {.tag = std::shared_ptr<int>(count)});
    const Watch b = monitor(p, {.alias = AliasKind::reply_demonitor, .tag = std::shared_ptr<int>(count)});
    const Monitored gone = spawn_monitor([&] { monitor(p, {.tag = std::shared_ptr<int>(count)}); });
    await_down(gone);
    EXPECT_EQ(count.use_count(), 3);
    EXPECT_TRUE(demonitor(a));
    EXPECT_EQ(count.use_count(), 2);
    send(b.alias, Number{1});
    receive(10s, [](Number) {});
    EXPECT_EQ(count.use_count(), 1);
    exit(p, reason::kill);
    await_down(monitor(p));
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(MonitorTagTest, Rule_4_9_ADownThatWasReceivedCanBePassedOn) {
  run([] {
    const Monitored other = spawn_monitor([] {
      receive(10s, [](DownAs<Job> down) {
        EXPECT_EQ(down.tag.number, 9);
        EXPECT_EQ(down.reason, reason::killed);
      });
    });
    const Pid p = spawn(wait_forever);
    monitor(p, {.tag = Job{9}});
    exit(p, reason::kill);
    receive(10s, when([](const Message& m) { return m.type_name().find("DownAs") != std::string_view::npos; },
                      [&](Message down) { EXPECT_EQ(send(other.pid, std::move(down)), Delivery::queued); }));
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_F(MonitorTagTest, Rule_4_9_ADeathAllocatesNothingToTellWithATag) {
  options.max_heap_bytes = std::size_t{8} << 20;
  options.workers = 1;
  run([] {
    sleep(1s);  // this process has its timer from here on
    const Pid hoard = spawn({.mailbox = 500'000}, wait_forever);
    for (int i = 0; i < 50; ++i) {
      const Pid p = spawn([] { sleep(5s); });
      monitor(p, {.tag = Job{i}});
      until_waiting(p);
    }
    const auto fill = [&]<class T>() {
      try {
        for (;;) send(hoard, T{});
      } catch (const std::bad_alloc&) {
      }
    };
    fill.operator()<std::array<char, 4000>>();
    for (int round = 0; round < 2; ++round) {
      fill.operator()<Number>();
      fill.operator()<DownAs<Job>>();
    }
    EXPECT_THROW(send(hoard, DownAs<Job>{}), std::bad_alloc) << "the memory is used up";
    for (int i = 0; i < 50; ++i) receive(10s, [](DownAs<Job> down) { EXPECT_EQ(down.reason, reason::normal); });
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(MonitorTagTest, Rule_4_11_SpawnMonitorTakesATagAndAnAlias) {
  run([] {
    for (int i = 0; i < 200; ++i) {
      const MonitoredAlias p = spawn_monitor({.mailbox = 4}, {.alias = AliasKind::explicit_unalias, .tag = Job{i}},
                                             [] { exit(Reason("at_once")); });
      EXPECT_EQ(await_down_and_unalias<Job>(p, Reason("at_once")).number, i);
    }
    const MonitoredAlias p = spawn_monitor(
        {}, {.tag = Job{1}}, [](int n) { EXPECT_EQ(n, 3); }, 3);
    EXPECT_FALSE(p.alias);
    receive(10s, [&](DownAs<Job> down) { EXPECT_EQ(down.reason, reason::normal); });
  });
}

TEST_F(MonitorTagTest, OutsideAProcessATagSaysWhatIsWrong) { EXPECT_THROW(DownTag(Job{1}), std::logic_error); }

}  // namespace
}  // namespace erlking::testing
