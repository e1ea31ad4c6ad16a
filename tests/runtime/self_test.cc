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
  run([] {
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
    EXPECT_EQ(info->worker, 1);
    EXPECT_EQ(info->pinned_to, 1);
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
  run([] {
    const auto before = process_info(self(), 1s);
    ASSERT_TRUE(before.has_value());
    EXPECT_EQ(before->pid, self());
    EXPECT_EQ(before->status, Status::running);
    EXPECT_FALSE(before->trap_exit);
    EXPECT_EQ(before->pinned_to, -1);
    EXPECT_EQ(before->name, "");
    for (int i = 0; i < 3; ++i) yield();  // each gives a budget up
    EXPECT_GE(process_info(self(), 1s)->reductions, before->reductions + 3);
  });
}

}  // namespace
}  // namespace erlking::testing
