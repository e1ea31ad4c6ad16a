// What a message may be, and that it arrives as it was sent.
#include "runtime/message.h"

#include "tests/support/runtime_fixture.h"

#include <array>
#include <cstring>

namespace erlking::testing {
namespace {

struct Go {};
struct ThrowingEnd {
  ~ThrowingEnd() noexcept(false) {}
};
struct Pinned {
  Pinned(Pinned&&) = delete;
};
struct alignas(128) TooAligned {
  char bytes[128];
};

// What may be sent is decided by the compiler.
static_assert(Sendable<int> && Sendable<std::string> && Sendable<std::unique_ptr<int>> && Sendable<Ref<const int>>);
static_assert(!Sendable<int*> && !Sendable<const char*> && !Sendable<std::string_view> && !Sendable<int[3]> &&
              !Sendable<void>);
static_assert(!Sendable<const int> && !Sendable<int&> && !Sendable<Pinned> && !Sendable<ThrowingEnd> &&
              !Sendable<TooAligned>);
static_assert(!Sendable<Message> && std::movable<Message> && !std::copyable<Message>);

template <class T>
concept SendsLvalue = requires(Pid to, T value) {
  send(to, value);
};
static_assert(!SendsLvalue<int>, "send takes the object over");

struct MessageTest : RuntimeTest {};

template <std::size_t N>
struct Bytes {
  std::array<std::uint8_t, N> data;
};

template <std::size_t N>
void sends_and_receives() {
  Bytes<N> sent;
  for (std::size_t i = 0; i < N; ++i) sent.data[i] = static_cast<std::uint8_t>(i * 7 + N);
  for (int round = 0; round < 3; ++round) ASSERT_EQ(send(self(), Bytes<N>(sent)), Delivery::queued);
  for (int round = 0; round < 3; ++round) {
    receive(0s, [&](const Bytes<N>& got) { EXPECT_EQ(std::memcmp(got.data.data(), sent.data.data(), N), 0) << N; });
  }
}

TEST_F(MessageTest, EverySizeArrivesAsItWasSent) {
  run([] {
    sends_and_receives<1>();
    sends_and_receives<32>();
    sends_and_receives<33>();
    sends_and_receives<96>();
    sends_and_receives<97>();
    sends_and_receives<480>();
    sends_and_receives<4064>();
    sends_and_receives<32 * 1024 - 32>();
    sends_and_receives<32 * 1024 - 31>();
  });
}

TEST_F(MessageTest, LargeMessagesArriveAndAreFreed) {
  run([this] {
    sends_and_receives<40'000>();
    sends_and_receives<100'000>();
    const Monitored p = spawn_monitor(wait_forever);
    for (int i = 0; i < 10; ++i) send(p.pid, Bytes<40'000>{});
    EXPECT_GE(rt().stats().heap.large_blocks, 10u);
    exit(p.pid, reason::kill);
    await_down(p);
  });
}

TEST_F(MessageTest, LargeMessagesCrossWorkers) {
  run([] {
    const Monitored sink = spawn_monitor({.worker = 1}, [] {
      for (int i = 0; i < 200; ++i) {
        receive(10s, [&](const Bytes<40'000>& got) { EXPECT_EQ(got.data[39'999], static_cast<std::uint8_t>(i)); });
      }
    });
    const Monitored source = spawn_monitor({.stack = 1024 * 1024, .worker = 0}, [&] {
      for (int i = 0; i < 200; ++i) {
        Bytes<40'000> big;
        big.data[39'999] = static_cast<std::uint8_t>(i);
        EXPECT_EQ(send(sink.pid, std::move(big), 10s), Delivery::queued);
      }
    });
    EXPECT_EQ(await_down(source), reason::normal);
    EXPECT_EQ(await_down(sink), reason::normal);
  });
}

TEST_F(MessageTest, OverAlignedMessagesLieAligned) {
  struct alignas(64) Wide {
    std::uint64_t n;
  };
  struct alignas(32) Half {
    std::uint64_t n;
  };
  run([] {
    for (std::uint64_t i = 0; i < 20; ++i) {
      send(self(), Wide{i});
      send(self(), Half{i});
      receive(0s, [&](Wide& wide) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&wide) % 64, 0u);
        EXPECT_EQ(wide.n, i);
      });
      receive(0s, [&](const Half& half) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&half) % 32, 0u);
        EXPECT_EQ(half.n, i);
      });
    }
  });
}

TEST_F(MessageTest, SharedValuesAreSentOnWithoutCopies) {
  run([] {
    Ref<const std::vector<int>> big = share(std::vector<int>(10'000, 3));
    const void* const at = big.get();
    std::vector<Monitored> all;
    for (int i = 0; i < 20; ++i) {
      all.push_back(spawn_monitor([at] {
        receive(5s, [&](Ref<const std::vector<int>> got) {
          EXPECT_EQ(got.get(), at);
          EXPECT_EQ(got->size(), 10'000u);
        });
      }));
      send(all.back().pid, Ref(big));
    }
    for (auto& one : all) EXPECT_EQ(await_down(one), reason::normal);
    EXPECT_EQ(big.use_count(), 1u);
  });
}

TEST_F(MessageTest, AMessageIsDestroyedExactlyOnceOnEveryWay) {
  struct Counted {
    std::shared_ptr<int> value;
  };
  auto value = std::make_shared<int>();
  run([&] {
    send(self(), Counted{value});
    receive(0s, [](Counted) {});
    send(self(), Counted{value});
    receive(0s, [](Message) {});
    send(self(), Counted{value});
    flush();
    send(Pid{}, Counted{value});
    const Pid full = spawn({.mailbox = 1}, wait_forever);
    send(full, Go{});
    send(full, Counted{value});
    send(full, Counted{value}, 1ms);
    EXPECT_EQ(value.use_count(), 1);
    send(self(), Counted{value});  // left in the mailbox at the end
  });
  EXPECT_EQ(value.use_count(), 1);
}

TEST_F(MessageTest, AMoveThatThrowsSendsNothing) {
  struct Thrower {
    bool throws = true;
    Thrower() = default;
    Thrower(Thrower&& other) : throws(other.throws) {
      if (throws) throw std::runtime_error("no");
    }
    Thrower& operator=(Thrower&&) = default;
  };
  run([] {
    Thrower thrower;
    EXPECT_THROW(send(self(), std::move(thrower)), std::runtime_error);
    EXPECT_THROW(send(self(), std::move(thrower), 1s), std::runtime_error);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(process_info(self(), 1s)->mailbox_depth, 0u);
  });
}

TEST_F(MessageTest, AMoveThatThrowsOnTheWayBackLeavesNothingBehind) {
  struct Once {
    std::shared_ptr<int> moves;
    explicit Once(std::shared_ptr<int> counter) : moves(std::move(counter)) {}
    Once(Once&& other) noexcept : moves(other.moves) {}
    Once& operator=(Once&&) { throw std::runtime_error("not back"); }
  };
  // Without an assignment a move that may throw has no safe way back: no message.
  struct Stranded {
    Stranded() = default;
    Stranded(Stranded&&) noexcept(false) {}
  };
  static_assert(Sendable<Once> && !Sendable<Stranded>);
  auto counter = std::make_shared<int>(0);
  run([&] {
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    Once once(counter);
    EXPECT_THROW(send(gone.pid, std::move(once)), std::runtime_error);
  });
  EXPECT_EQ(counter.use_count(), 1);
}

TEST_F(MessageTest, TypesOfOneNameInTwoPlacesAreDifferent) {
  run([] {
    const auto first = [] {
      struct Local {
        int n;
      };
      send(self(), Local{1});
    };
    struct Local {
      int n;
    };
    first();
    EXPECT_EQ(receive(
                  0s, [](Local local) { return local.n; }, [](Timeout) { return -1; }),
              -1);
    EXPECT_EQ(flush(), 1u);
  });
}

}  // namespace
}  // namespace erlking::testing
