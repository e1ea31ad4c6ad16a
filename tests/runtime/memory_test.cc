// A bound on the bytes that wait for a process: what counts, and what happens beyond.
#include "tests/support/crew.h"
#include "tests/support/runtime_fixture.h"

namespace erlking::testing {
namespace {

struct Load {
  std::string bytes;
};
std::size_t message_bytes(const Load& load) { return erlking::message_bytes(load.bytes); }
struct Ask {
  std::string bytes;
  using Reply = std::size_t;
};
std::size_t message_bytes(const Ask& ask) { return erlking::message_bytes(ask.bytes); }
struct Go {};

constexpr std::size_t kBlock = 100'000, kBound = 1'000'000;
Load load() { return {std::string(kBlock, 'x')}; }

class MemoryTest : public RuntimeTest {
 protected:
  /// Takes a Load for each Go.
  static Pid slow(OverMemory over, std::size_t most = kBound, std::uint32_t mailbox = 1'000) {
    return spawn({.mailbox = mailbox, .max_memory = most, .over_memory = over}, [] {
      for (;;) {
        receive(forever, [](Go) {});
        receive(forever, [](const Load&) {});
      }
    });
  }
  static void until_waiting(Pid pid) {
    while (process_info(pid, 10s)->status != Status::waiting) yield();
  }
  static void until_only(std::uint32_t messages, Pid pid) {
    while (process_info(pid, 10s)->mailbox_depth > messages) yield();
  }
};

TEST_F(MemoryTest, BeyondTheBoundASendIsRefusedAndKeepsItsMessage) {
  run([] {
    const Pid p = slow(OverMemory::refuse);
    std::size_t sent = 0;
    for (Load next = load(); send(p, std::move(next)) == Delivery::queued; next = load()) ++sent;
    EXPECT_EQ(sent, 9u) << "each takes a little more than its text";
    Load kept = load();
    EXPECT_EQ(send(p, std::move(kept)), Delivery::full);
    EXPECT_EQ(kept.bytes.size(), kBlock);
    EXPECT_EQ(send(p, Go{}), Delivery::queued) << "a small one has room";
    const auto info = *process_info(p, 10s);
    EXPECT_EQ(info.max_memory, kBound);
    EXPECT_GE(info.queued_bytes, 8 * kBlock);
    EXPECT_LE(info.queued_bytes, kBound);
    EXPECT_GE(info.refused, 2u);
    until_only(8, p);
    EXPECT_EQ(send(p, load()), Delivery::queued) << "one has left";
    EXPECT_EQ(send(p, load()), Delivery::full);
    exit(p, reason::kill);
  });
  EXPECT_TRUE(reports().empty());
}

TEST_F(MemoryTest, ASendWithABoundWaitsForRoom) {
  run([] {
    const Pid p = slow(OverMemory::refuse);
    while (send(p, load()) == Delivery::queued) {
    }
    const auto began = now();
    EXPECT_EQ(send(p, load(), 2s), Delivery::full);
    EXPECT_GE(now() - began, 2s);
    EXPECT_LT(now() - began, 2100ms);
    const Pid sender = spawn([p, to = self()] {
      EXPECT_EQ(send(p, load(), 1min), Delivery::queued);
      send(to, Go{});
    });
    until_waiting(sender);
    send(p, Go{});
    receive(10s, [](Go) {});
    exit(p, reason::kill);
  });
}

TEST_F(MemoryTest, WhoWaitsForRoomIsToldWhenTheReceiverEnds) {
  run([] {
    const Pid p = slow(OverMemory::refuse);
    while (send(p, load()) == Delivery::queued) {
    }
    const Pid sender = spawn([p, to = self()] {
      EXPECT_EQ(send(p, load(), forever), Delivery::noproc);
      send(to, Go{});
    });
    until_waiting(sender);
    exit(p, reason::kill);
    receive(10s, [](Go) {});
  });
}

TEST_F(MemoryTest, ACallWaitsForRoomAtMostItsBound) {
  run([] {
    const Pid server = spawn({.max_memory = kBound}, [] {
      receive(forever, [](Go) {});
      for (;;)
        receive(
            forever, [](Ask& ask, From<Ask> from) { from.reply(ask.bytes.size()); }, [](const Load&) {});
    });
    while (send(server, load()) == Delivery::queued) {
    }
    const auto began = now();
    const auto refused = call(server, Ask{std::string(kBlock, 'x')}, 3s);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().kind, CallFailure::full);
    EXPECT_GE(now() - began, 3s);
    EXPECT_LT(now() - began, 3100ms);
    EXPECT_EQ(call(server, Ask{std::string(2 * kBound, 'x')}, 0s).error().kind, CallFailure::full);
    send(server, Go{});
    EXPECT_EQ(call(server, Ask{std::string(kBlock, 'x')}, 10s), kBlock);
    exit(server, reason::kill);
  });
}

TEST_F(MemoryTest, AMessageLargerThanTheBoundIsNeverAccepted) {
  run([] {
    const Pid p = slow(OverMemory::refuse, kBlock);
    EXPECT_EQ(send(p, load()), Delivery::full);
    EXPECT_EQ(send(p, load(), 1s), Delivery::full);
    EXPECT_EQ(send(p, Load{"small"}), Delivery::queued);
    exit(p, reason::kill);
  });
}

TEST_F(MemoryTest, TheBoundOnMessagesHoldsAsWell) {
  run([] {
    const Pid p = slow(OverMemory::refuse, kBound, 3);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(send(p, Load{"small"}), Delivery::queued);
    EXPECT_EQ(send(p, Load{"small"}), Delivery::full);
    const std::size_t before = process_info(p, 10s)->queued_bytes;
    EXPECT_GT(before, 0u);
    EXPECT_LT(before, 1'000u) << "what was refused is not counted";
    exit(p, reason::kill);
  });
}

TEST_F(MemoryTest, WithReportTheyAreAcceptedAndToldOfOnce) {
  run([] {
    const Pid p = slow(OverMemory::report);
    register_name("hoarder", p);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(send(p, load()), Delivery::queued);
    for (int i = 0; i < 20; ++i) send(p, Go{});
    until_only(0, p);
    EXPECT_EQ(process_info(p, 10s)->queued_bytes, 0u);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(send(p, load()), Delivery::queued);
    exit(p, reason::kill);
  });
  const auto told = reports();
  ASSERT_EQ(told.size(), 2u) << "once each time it has grown beyond";
  EXPECT_EQ(told[0].component, "memory");
  EXPECT_NE(told[0].text.find("hoarder"), std::string::npos) << told[0].text;
  EXPECT_NE(told[0].text.find("1000000 may"), std::string::npos) << told[0].text;
}

TEST_F(MemoryTest, WithKillItIsReportedAndEnds) {
  run([] {
    const Pid p = slow(OverMemory::kill);
    const MonitorRef ref = monitor(p);
    for (int i = 0; i < 10; ++i) send(p, load());
    receive(10s, [&](Down& down) {
      EXPECT_EQ(down.ref, ref);
      EXPECT_EQ(down.reason, reason::killed);
    });
  });
  ASSERT_FALSE(reports().empty());
  EXPECT_NE(reports()[0].text.find("is killed: "), std::string::npos) << reports()[0].text;
}

TEST_F(MemoryTest, TheReportIsALineOfJsonToo) {
  const MemoryReport report{
      .process = {Pid{7}, "store"}, .queued_bytes = 1'200, .max_memory = 1'000, .mailbox_depth = 3, .killed = true};
  const std::string json = to_json(report);
  for (const char* field : {R"("kind":"memory")", R"("name":"store")", R"("queued_bytes":1200)", R"("max_memory":1000)",
                            R"("mailbox_depth":3)", R"("killed":true)"}) {
    EXPECT_NE(json.find(field), std::string::npos) << json;
  }
  EXPECT_NE(to_text(report).find("store is killed: 1200 bytes in 3 messages wait, 1000 may"), std::string::npos);
}

TEST_F(MemoryTest, AThreadIsRefusedToo) {
  std::atomic<bool> over{false};
  const Pid p = *rt().spawn({.max_memory = kBound, .over_memory = OverMemory::refuse}, [&] {
    receive(forever, [](Go) {});
    over = true;
  });
  unsigned sent = 0;
  while (rt().send(p, load()) == Delivery::queued) ++sent;
  EXPECT_EQ(sent, 9u);
  EXPECT_EQ(rt().send(p, Go{}), Delivery::queued);
  EXPECT_TRUE(drive([&] { return over.load(); }));
}

TEST_F(MemoryTest, AHandlerHasTheBoundAsWell) {
  struct Sink {
    void handle(Message message) const {
      match(message, [](Go) { sleep(1s); });
    }
  };
  run([] {
    const Pid p = spawn_handler({.max_memory = kBound}, Sink{});
    send(p, Go{});
    until_waiting(p);
    unsigned sent = 0;
    while (send(p, load()) == Delivery::queued) ++sent;
    EXPECT_EQ(sent, 9u);
    EXPECT_EQ(send(p, load(), 10s), Delivery::queued) << "it goes on after a second";
    exit(p, reason::kill);
  });
}

TEST_F(MemoryTest, WithoutABoundWhatWaitsIsToldAllTheSame) {
  run([] {
    const Pid p = spawn(wait_forever);
    EXPECT_EQ(process_info(p, 10s)->queued_bytes, 0u);
    for (int i = 0; i < 5; ++i) send(p, load());
    const auto info = *process_info(p, 10s);
    EXPECT_EQ(info.max_memory, 0u);
    EXPECT_GE(info.queued_bytes, 5 * kBlock);
    EXPECT_LE(info.queued_bytes, 6 * kBlock);
    exit(p, reason::kill);
  });
}

TEST_F(MemoryTest, TheSlotsNextTenantHasAnAccountOfItsOwn) {
  run([] {
    for (int i = 0; i < 1'000; ++i) {
      const Pid p = i % 2 == 0 ? slow(OverMemory::refuse) : spawn(wait_forever);
      for (int j = 0; j < 12; ++j) send(p, load());
      EXPECT_EQ(send(p, load()), i % 2 == 0 ? Delivery::full : Delivery::queued);
      const MonitorRef ref = monitor(p);
      exit(p, reason::kill);
      receive(10s, when([&](const Down& down) { return down.ref == ref; }, [](Down) {}));
      EXPECT_EQ(send(p, load()), Delivery::noproc);
    }
  });
}

// Many senders, with and without bounds on their waits, and a receiver that takes what it is told to and is killed in
// the middle: what was accepted is received or dropped, and the bound is never passed.
class MemoryStressTest : public RuntimeMatrixTest {};

TEST_P(MemoryStressTest, TheBoundIsNeverPassed) {
  constexpr int kSenders = 8, kEach = 300;
  std::atomic<std::uint64_t> accepted{0}, received{0}, over{0};
  run([&] {
    const Pid sink = spawn({.max_memory = kBound}, [&] {
      for (;;) {
        receive(
            forever, [&](const Load&) { ++received; }, [](Go) { exit(reason::normal); });
        if (process_info(self(), 1s)->queued_bytes > kBound) ++over;
      }
    });
    for (int s = 0; s < kSenders; ++s) {
      spawn_monitor([&, sink, s] {
        for (int i = 0; i < kEach; ++i) {
          if (send(sink, load(), s % 2 == 0 ? Bound(forever) : Bound(1ms)) == Delivery::queued) ++accepted;
        }
      });
    }
    for (int s = 0; s < kSenders; ++s) receive(60s, [](Down& down) { EXPECT_EQ(down.reason, reason::normal); });
    const MonitorRef ref = monitor(sink);
    EXPECT_EQ(send(sink, Go{}, 60s), Delivery::queued);
    receive(60s, when([&](const Down& down) { return down.ref == ref; }, [](Down) {}));
  });
  EXPECT_EQ(received, accepted);
  EXPECT_GE(accepted, static_cast<std::uint64_t>(kSenders / 2 * kEach));
  EXPECT_EQ(over, 0u);
}
INSTANTIATE_TEST_SUITE_P(Every, MemoryStressTest, every_setting(), name_of_setting);

}  // namespace
}  // namespace erlking::testing
