// Who holds the memory: the listing, from inside and outside, as text and as JSON.
#include "runtime/holders.h"

#include "tests/support/crew.h"
#include "tests/support/runtime_fixture.h"

#include <nlohmann/json.hpp>

namespace erlking::testing {
namespace {

using Text = std::string;

class HoldersTest : public RuntimeTest {
 protected:
  static Pid holder(std::string name, std::size_t messages, std::size_t bytes) {
    const Pid pid = spawn({.name = std::move(name)}, wait_forever);
    for (std::size_t i = 0; i < messages; ++i) send(pid, Text(bytes, 'x'));
    return pid;
  }
  static void end(const std::vector<Pid>& pids) {
    for (const Pid pid : pids) exit(pid, reason::kill);
  }
};

TEST_F(HoldersTest, TheOnesForWhichMostBytesWaitComeFirst) {
  run([] {
    const std::vector<Pid> pids{holder("few", 2, 1'000), holder("large", 3, 100'000), holder("many", 500, 100),
                                spawn(wait_forever)};
    const MemoryHolders found = memory_holders(10s);
    ASSERT_EQ(found.holders.size(), 3u) << "who has no messages holds none";
    EXPECT_EQ(found.holders[0].name, "large");
    EXPECT_EQ(found.holders[1].name, "many");
    EXPECT_EQ(found.holders[2].name, "few");
    EXPECT_EQ(found.holders[1].mailbox_depth, 500u);
    EXPECT_GE(found.holders[0].queued_bytes, 300'000u);
    EXPECT_LT(found.holders[0].queued_bytes, 310'000u);
    EXPECT_TRUE(found.holders[0].answered);
    EXPECT_GT(found.holders[0].stack_used, 0u);
    EXPECT_GE(found.messages, 505u);
    EXPECT_GE(found.processes, 5u);
    EXPECT_GT(found.heap_used, 0u);
    EXPECT_GE(found.heap_bytes, found.heap_used);
    EXPECT_EQ(memory_holders(10s, 1).holders.size(), 1u);
    EXPECT_EQ(memory_holders(10s, 1).holders[0].name, "large");
    end(pids);
  });
}

TEST_F(HoldersTest, ABoundIsShown) {
  run([] {
    const Pid pid = spawn({.max_memory = 1'000'000}, wait_forever);
    send(pid, Text(1'000, 'x'));
    const MemoryHolders found = memory_holders(10s);
    ASSERT_EQ(found.holders.size(), 1u);
    EXPECT_EQ(found.holders[0].max_memory, 1'000'000u);
    exit(pid, reason::kill);
  });
}

TEST_F(HoldersTest, WithMoreThanCanBeAskedTheDeepestAre) {
  run([] {
    std::vector<Pid> pids;
    for (std::size_t i = 1; i <= 100; ++i) pids.push_back(holder("p" + std::to_string(i), i, 100));
    const MemoryHolders found = memory_holders(10s, 3);
    ASSERT_EQ(found.holders.size(), 3u);
    EXPECT_EQ(found.holders[0].name, "p100");
    EXPECT_EQ(found.holders[2].name, "p98");
    EXPECT_EQ(found.messages, 5'050u);
    end(pids);
  });
}

TEST_F(HoldersTest, WhoDoesNotAnswerIsShownByItsDepth) {
  options.clock = ClockKind::real;
  std::atomic<bool> begun{false}, over{false};
  run([&] {
    const Pid deaf = spawn({.name = "deaf"}, [&] {
      begun = true;
      while (!over) std::this_thread::sleep_for(1ms);
    });
    while (!begun) yield();
    for (int i = 0; i < 10; ++i) send(deaf, Text("x"));
    const Pid other = holder("other", 1, 100);
    const MemoryHolders found = memory_holders(1s);
    over = true;
    ASSERT_EQ(found.holders.size(), 2u);
    EXPECT_EQ(found.holders[0].name, "other");
    EXPECT_EQ(found.holders[1].name, "deaf");
    EXPECT_FALSE(found.holders[1].answered);
    EXPECT_EQ(found.holders[1].mailbox_depth, 10u);
    EXPECT_NE(to_text(found).find("no answer"), std::string::npos);
    exit(other, reason::kill);
  });
}

TEST_F(HoldersTest, AThreadAsksTheRuntime) {
  options.clock = ClockKind::real;
  const Pid pid = *rt().spawn({.name = "sink"}, wait_forever);
  ASSERT_EQ(rt().send(pid, Text(10'000, 'x')), Delivery::queued);
  const auto found = rt().holders(10s);
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->holders.size(), 1u);
  EXPECT_EQ(found->holders[0].pid, pid);
  EXPECT_GE(found->holders[0].queued_bytes, 10'000u);
}

TEST(HoldersTextTest, IsATableWithoutControlCharacters) {
  MemoryHolders found;
  found.processes = 3;
  found.messages = 7;
  found.holders.push_back({.pid = Pid{1},
                           .name = "a\nb",
                           .mailbox_depth = 7,
                           .answered = true,
                           .queued_bytes = 50'000,
                           .max_memory = 0,
                           .stack_used = 3'000});
  found.holders.back().entry = "void (*)()";
  const std::string text = to_text(found);
  EXPECT_NE(text.find("3 processes; 7 messages wait"), std::string::npos) << text;
  EXPECT_NE(text.find("48 KiB"), std::string::npos) << text;
  EXPECT_EQ(std::ranges::count(text, '\n'), 3) << text;
}

TEST(HoldersJsonTest, IsValidWhateverTheNames) {
  MemoryHolders found;
  found.holders.push_back({.pid = Pid{1}, .name = "\xff\"", .mailbox_depth = 7});
  const auto json = nlohmann::json::parse(to_json(found));
  EXPECT_EQ(json["holders"][0]["mailbox_depth"], 7);
  EXPECT_EQ(json["holders"][0]["answered"], false);
}

}  // namespace
}  // namespace erlking::testing
