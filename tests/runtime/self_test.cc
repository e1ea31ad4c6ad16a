// What a process tells of itself and others: SEMANTICS §8.
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Go {};
struct Number {
  int n;
};

struct SelfTest : RuntimeTest {};

void described(Pid to) {
  trap_exit(true);
  link(to);
  monitor(to);
  for (int i = 0; i < 2; ++i) receive(5s, [](Number) {});
  receive(forever, [](Go) {});
}

TEST_F(SelfTest, Rule_8_5_ProcessInfoIsAPictureOfTheProcess) {
  run([own_worker = has_own_workers()] {
    const Monitored p =
        spawn_monitor({.name = "model", .mailbox = 5, .stack = 128 * 1024, .worker = 1}, described, self());
    for (int n = 0; n < 2; ++n) send(p.pid, Number{n}, 5s);
    until_waiting(p.pid);
    while (process_info(p.pid, 5s)->received < 2) yield();
    for (int n = 0; n < 7; ++n) send(p.pid, Number{n});
    const auto info = process_info(p.pid, 5s);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->pid, p.pid);
    EXPECT_EQ(info->parent, self());
    EXPECT_EQ(info->name, "model");
    EXPECT_NE(info->entry.find("Pid"), std::string::npos) << info->entry;
    EXPECT_EQ(info->status, Status::waiting);
    EXPECT_EQ(info->mailbox_depth, 5u);
    EXPECT_EQ(info->mailbox_bound, 5u);
    EXPECT_EQ(info->received, 2u);
    EXPECT_EQ(info->refused, 2u);
    EXPECT_TRUE(info->trap_exit);
    if (own_worker) {
      EXPECT_NE(info->worker, process_info(self(), 5s)->worker);
    } else {
      EXPECT_EQ(info->worker, 1);
    }
    EXPECT_EQ(info->pinned_to, info->worker);
    EXPECT_GE(info->stack_bytes, 64u * 1024);
    EXPECT_LE(info->stack_bytes, 128u * 1024);
    EXPECT_EQ(info->links, std::vector{self()});
    ASSERT_EQ(info->monitors.size(), 1u);
    EXPECT_EQ(info->monitors[0].second, self());
    ASSERT_EQ(info->monitored_by.size(), 1u);
    EXPECT_EQ(info->monitored_by[0], std::pair(p.ref, self()));
    unlink(p.pid);
    exit(p.pid, reason::kill);
    await_down(p);
    EXPECT_EQ(process_info(p.pid, 5s).error().kind, CallFailure::noproc);
  });
}

TEST_F(SelfTest, Rule_8_5_AProcessThatAsksForItselfIsRunning) {
  run([own_worker = has_own_workers()] {
    const auto before = process_info(self(), 1s);
    ASSERT_TRUE(before.has_value());
    EXPECT_EQ(before->pid, self());
    EXPECT_EQ(before->status, Status::running);
    EXPECT_FALSE(before->trap_exit);
    EXPECT_EQ(before->pinned_to, own_worker ? before->worker : -1);
    EXPECT_EQ(before->name, "");
    for (int i = 0; i < 3; ++i) yield();  // each gives a budget up
    EXPECT_GE(process_info(self(), 1s)->reductions, before->reductions + 3);
  });
}

TEST_F(SelfTest, Rule_8_5_ALabelIsToldByProcessInfo) {
  run([] {
    EXPECT_EQ(process_info(self(), 1s)->label, "");
    set_label("");
    set_label("connection 7");
    EXPECT_EQ(process_info(self(), 1s)->label, "connection 7");
    const Pid p = spawn([] {
      set_label("first");
      set_label("second");
      wait_forever();
    });
    until_waiting(p);
    EXPECT_EQ(process_info(p, 10s)->label, "second");
    exit(p, reason::kill);
    await_down(monitor(p));
    const Pid next = spawn(wait_forever);
    EXPECT_EQ(process_info(next, 10s)->label, "") << "a label ends with its process";
    exit(next, reason::kill);
  });
}

TEST_F(SelfTest, Rule_8_5_ALabelIsInTheReportOfACrash) {
  run([] {
    const Monitored p = spawn_monitor({.name = "store"}, [] {
      set_label("shard 3");
      throw std::runtime_error("lost");
    });
    await_down(p);
  });
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_NE(reports()[0].text.find("store(shard 3)"), std::string::npos) << reports()[0].text;
}

TEST_F(SelfTest, Rule_8_5_ActiveAliasesAreCounted) {
  run([] {
    const Alias a = alias();
    alias(AliasKind::reply);
    const Pid p = spawn(wait_forever);
    const Watch watch = monitor(p, {.alias = AliasKind::demonitor});
    EXPECT_EQ(process_info(self(), 1s)->aliases, 3u);
    exit(p, reason::kill);
    await_down(watch);
    EXPECT_EQ(process_info(self(), 1s)->aliases, 2u);
    unalias(a);
    EXPECT_EQ(process_info(self(), 1s)->aliases, 1u);
  });
}

[[gnu::noinline]] void use_stack(std::size_t bytes) {
  auto* const block = static_cast<char*>(__builtin_alloca(bytes));
  for (std::size_t i = 0; i < bytes; i += 64) block[i] = 1;
  asm volatile("" : : "r"(block) : "memory");
}

TEST_F(SelfTest, Rule_8_5_TheStackInUseAtMostIsTold) {
  run([] {
    const Pid p = spawn({.stack = 4 * 1024 * 1024}, [] {
      const auto before = *process_info(self(), 1s);
      EXPECT_GT(before.stack_used, 0u);
      EXPECT_LE(before.stack_used, before.stack_bytes);
      use_stack(1024 * 1024);
      wait_forever();
    });
    until_waiting(p);
    const auto info = *process_info(p, 10s);
    EXPECT_GE(info.stack_used, 1024u * 1024);
    EXPECT_LE(info.stack_used, 2048u * 1024);
    exit(p, reason::kill);
  });
}

}  // namespace
}  // namespace erlking::testing
