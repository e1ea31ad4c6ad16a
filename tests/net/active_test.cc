// Active sockets: what their owner is told, in which order, what slows the peer down, and every way it ends.
#include "tests/support/net_fixture.h"

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <utility>

namespace erlking::testing {
namespace {

struct ActiveTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, ActiveTest, every_place(), name_of_place);

struct Go {};

// Both ends of a connection.
struct Pair {
  Socket here, there;
};
Pair connected() {
  auto listener = tcp::listen({});
  EXPECT_TRUE(listener);
  auto here = tcp::connect("127.0.0.1", listener->local()->port, 10s);
  auto there = listener->accept(10s);
  EXPECT_TRUE(here && there);
  return {*std::move(here), *std::move(there)};
}

std::string patterned(std::size_t n) {
  std::string bytes(n, ' ');
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<char>('a' + i % 23);
  return bytes;
}

// All that comes until the end, credit being given as it is used up. What it ended with is told, too.
std::string received(Active& from, std::optional<IoError>* why = nullptr) {
  std::string all;
  for (bool going = true; going;) {
    receive(
        60s, [&](Active::Data& data) { all += data.bytes; }, [&](Active::Passive) { EXPECT_TRUE(from.add_credit(3)); },
        [&](Active::Ended& end) {
          going = false;
          EXPECT_EQ(end.from, from.id());
          if (why != nullptr) *why = end.error;
        });
  }
  return all;
}

// --- what the owner is told ------------------------------------------------------------------------------------------

TEST_P(ActiveTest, WhatComesIsAMessageAndTheLastCreditIsTold) {
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here), {.credit = 2});
    ASSERT_TRUE(made);
    for (const char* const word : {"one", "two"}) {
      ASSERT_TRUE(there.write(word, 10s));
      receive(10s, [&](Active::Data& data) {
        EXPECT_EQ(data.from, made->id());
        EXPECT_EQ(data.bytes, word);
      });
    }
    receive(10s, [&](Active::Passive told) { EXPECT_EQ(told.from, made->id()); });
    ASSERT_TRUE(there.write("three", 10s));
    EXPECT_TRUE(receive(
        20ms, [](Message) { return false; }, [](Timeout) { return true; }))
        << "without credit";
    ASSERT_TRUE(made->add_credit(1));
    receive(10s, [&](Active::Data& data) { EXPECT_EQ(data.bytes, "three"); });
    receive(10s, [](Active::Passive) {});
  });
}

TEST_P(ActiveTest, TheEndComesAfterAllDataAndNeedsNoCredit) {
  run([] {
    auto [here, there] = connected();
    ASSERT_TRUE(there.write("last words", 10s));
    there.close();
    auto made = Active::start(std::move(here), {.credit = 100, .part = 4});
    ASSERT_TRUE(made);
    std::optional<IoError> why = IoError{};
    EXPECT_EQ(received(*made, &why), "last words");
    EXPECT_FALSE(why);
  });
}

TEST_P(ActiveTest, AResetIsTold) {
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here), {.credit = 1});
    ASSERT_TRUE(made);
    const linger reset{.l_onoff = 1, .l_linger = 0};
    ASSERT_EQ(::setsockopt(there.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    there.close();
    receive(10s, [](Active::Ended& end) {
      ASSERT_TRUE(end.error);
      EXPECT_EQ(end.error->kind, IoFailure::reset);
    });
    EXPECT_EQ(failure_of(made->write("to nobody", 10s)), IoFailure::reset);
  });
}

TEST_P(ActiveTest, WhatTheSocketHasReadAheadComesFirst) {
  run([] {
    auto [here, there] = connected();
    ASSERT_TRUE(there.write("line\nand more", 10s));
    EXPECT_EQ(here.read_until("\n", 100, 10s), "line");
    auto made = Active::start(std::move(here), {.credit = 1000, .part = 3});
    ASSERT_TRUE(made && there.shutdown(Side::write));
    EXPECT_EQ(received(*made), "and more");
  });
}

// --- both directions -------------------------------------------------------------------------------------------------

TEST_P(ActiveTest, NothingIsLostAndAFullMailboxSlowsThePeer) {
  static constexpr std::size_t kBytes = 24 << 20;  // more than the system buffers
  run([] {
    const auto going = std::make_shared<std::atomic<bool>>(false);  // a message would find the mailbox full
    const Monitored owner = spawn_monitor({.mailbox = 4, .stack = 512 * 1024}, [going] {
      receive(30s, [&](Socket& socket) {
        auto made = Active::start(std::move(socket), {.credit = Active::kMaxCredit});
        ASSERT_TRUE(made);
        while (!going->load()) sleep(5ms);
        EXPECT_TRUE(received(*made) == patterned(kBytes));
      });
    });
    auto [here, there] = connected();
    ASSERT_EQ(give(owner.pid, std::move(here)), Delivery::queued);
    const std::string bytes = patterned(kBytes);
    const auto sent = there.write(bytes, 300ms);
    EXPECT_EQ(failure_of(sent), IoFailure::timed_out) << "the owner takes nothing yet";
    going->store(true);
    ASSERT_TRUE(there.write(std::string_view(bytes).substr(sent.error().transferred), 60s));
    ASSERT_TRUE(there.shutdown(Side::write));
    EXPECT_EQ(await_down(owner), reason::normal);
  });
}

TEST_P(ActiveTest, ItReadsWhileItWrites) {
  static constexpr std::size_t kBytes = 16 << 20;
  run([] {
    auto [here, there] = connected();
    // The peer reads nothing before it has written all.
    const Monitored peer = spawn_monitor([there = std::move(there)]() mutable {
      std::string all = patterned(kBytes);
      EXPECT_TRUE(there.write(all, 60s));
      EXPECT_TRUE(there.shutdown(Side::write));
      std::fill(all.begin(), all.end(), ' ');
      EXPECT_TRUE(there.read_exactly(std::span(all.data(), all.size()), 60s));
      EXPECT_TRUE(all == patterned(kBytes));
    });
    auto made = Active::start(std::move(here), {.credit = 10'000});
    ASSERT_TRUE(made);
    EXPECT_TRUE(made->write(patterned(kBytes), 60s));
    EXPECT_TRUE(received(*made) == patterned(kBytes));
    EXPECT_EQ(await_down(peer), reason::normal);
  });
}

TEST_P(ActiveTest, AWriteThatTakesTooLongSaysHowMuchWent) {
  static constexpr std::size_t kBytes = 24 << 20;
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here));
    ASSERT_TRUE(made);
    const auto sent = made->write(patterned(kBytes), 50ms);
    ASSERT_EQ(failure_of(sent), IoFailure::timed_out);
    EXPECT_GT(sent.error().transferred, 0u);
    EXPECT_LT(sent.error().transferred, kBytes);
    auto socket = made->stop();
    ASSERT_TRUE(socket && socket->shutdown(Side::write));
    std::string all(sent.error().transferred, ' ');
    ASSERT_TRUE(there.read_exactly(std::span(all.data(), all.size()), 60s));
    EXPECT_TRUE(all == patterned(all.size()));
    char more;
    EXPECT_EQ(there.read(std::span(&more, 1), 10s), 0u) << "and no byte beside";
  });
}

// --- its end ---------------------------------------------------------------------------------------------------------

TEST_P(ActiveTest, StoppedItIsASocketAgainAndNoByteIsLost) {
  run([] {
    const Monitored owner = spawn_monitor({.mailbox = 2}, [] {
      receive(30s, [](Socket& socket) {
        auto made = Active::start(std::move(socket), {.credit = 100, .part = 2});
        ASSERT_TRUE(made);
        sleep(50ms);  // the mailbox is full, and a part is held
        const Pid id = made->id();
        auto again = made->stop();
        ASSERT_TRUE(again);
        EXPECT_FALSE(made->is_open());
        std::string all;
        const auto take = [&](Active::Data& data) {
          EXPECT_EQ(data.from, id);
          all += data.bytes;
        };
        while (receive(
            0s, [&](Active::Data& data) { return take(data), true; }, [](Timeout) { return false; })) {
        }
        std::string rest(9 - all.size(), ' ');
        ASSERT_TRUE(again->read_exactly(std::span(rest.data(), rest.size()), 10s));
        EXPECT_EQ(all + rest, "123456789");
        ASSERT_TRUE(again->write("thanks", 10s));
      });
    });
    auto [here, there] = connected();
    ASSERT_TRUE(there.write("123456789", 10s));
    ASSERT_EQ(give(owner.pid, std::move(here)), Delivery::queued);
    EXPECT_EQ(await_down(owner), reason::normal);
    EXPECT_EQ(there.read_until("s", 100, 10s), "thank");
  });
}

TEST_P(ActiveTest, ItClosesWithItsOwnerHoweverThatEnds) {
  run([] {
    for (const Reason& why : {reason::normal, reason::kill}) {
      auto [here, there] = connected();
      const Monitored owner = spawn_monitor([&why] {
        receive(30s, [&](Socket& socket) {
          auto made = Active::start(std::move(socket));
          ASSERT_TRUE(made);
          if (why != reason::normal) receive(forever, [](Go) {});
        });
      });
      ASSERT_EQ(give(owner.pid, std::move(here)), Delivery::queued);
      if (why != reason::normal) {
        sleep(5ms);
        exit(owner.pid, why);
      }
      static_cast<void>(await_down(owner));
      char byte;
      EXPECT_EQ(there.read(std::span(&byte, 1), 10s), 0u);
    }
  });
}

TEST_P(ActiveTest, ClosedItTellsNoMoreAndCannotBeUsed) {
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here));
    ASSERT_TRUE(made);
    made->close();
    made->close();
    EXPECT_FALSE(made->is_open());
    EXPECT_EQ(failure_of(made->add_credit(1)), IoFailure::closed);
    EXPECT_EQ(failure_of(made->write("x", 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(made->stop()), IoFailure::closed);
    char byte;
    EXPECT_EQ(there.read(std::span(&byte, 1), 10s), 0u);
    EXPECT_TRUE(receive(
        0s, [](Message) { return false; }, [](Timeout) { return true; }));
  });
}

// --- misuse ----------------------------------------------------------------------------------------------------------

TEST_P(ActiveTest, AnotherProcessIsNotItsOwner) {
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here));
    ASSERT_TRUE(made);
    const Monitored other = spawn_monitor([active = std::move(*made)]() mutable {
      EXPECT_TRUE(active.is_open());
      EXPECT_EQ(failure_of(active.add_credit(1)), IoFailure::not_owner);
      EXPECT_EQ(failure_of(active.stop()), IoFailure::not_owner);
      const auto wrote = active.write("x", 1s);
      EXPECT_EQ(failure_of(wrote), IoFailure::not_owner);
      EXPECT_EQ(wrote.error().to_string(), "write: it belongs to another process");
    });
    EXPECT_EQ(await_down(other), reason::normal);
    char byte;
    EXPECT_EQ(there.read(std::span(&byte, 1), 10s), 0u) << "who has it closes it, though its owner lives";
  });
}

TEST_P(ActiveTest, MessagesOfOthersDoNotHoldItUp) {
  run([] {
    auto [here, there] = connected();
    auto made = Active::start(std::move(here));
    ASSERT_TRUE(made);
    for (int i = 0; i < 100; ++i) static_cast<void>(send(made->id(), Go{}, 10s));
    ASSERT_TRUE(made->write("still here", 10s));
    char got[10];
    EXPECT_TRUE(there.read_exactly(got, 10s));
  });
}

TEST_P(ActiveTest, WhatCannotBeIsRefused) {
  run([] {
    EXPECT_EQ(failure_of(Active::start(Socket())), IoFailure::closed);
    for (const ActiveOptions& wrong :
         {ActiveOptions{.credit = Active::kMaxCredit + 1}, {.part = 0}, {.part = (1 << 20) + 1}}) {
      auto [here, there] = connected();
      EXPECT_EQ(failure_of(Active::start(std::move(here), wrong)), IoFailure::invalid);
    }
    auto [here, there] = connected();
    auto made = Active::start(std::move(here), {.credit = 0});
    ASSERT_TRUE(made);
    EXPECT_EQ(failure_of(made->add_credit(Active::kMaxCredit + 1)), IoFailure::too_large);
    EXPECT_TRUE(made->add_credit(Active::kMaxCredit));
    EXPECT_EQ(failure_of(made->add_credit(1)), IoFailure::too_large);
  });
}

}  // namespace
}  // namespace erlking::testing
