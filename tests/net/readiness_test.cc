// Waiting for a descriptor, alone and beside messages: what ends it, and that nothing is left of it.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace erlking::testing {
namespace {

struct ReadinessTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, ReadinessTest, every_place(), name_of_place);

struct Stop {};

// A descriptor of a foreign library: an eventfd.
class Event {
 public:
  Event() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Event(Event&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Event() { close(); }
  int fd() const { return fd_; }
  void set() const { EXPECT_EQ(::eventfd_write(fd_, 1), 0); }
  bool clear() const {
    eventfd_t value = 0;
    return ::eventfd_read(fd_, &value) == 0;
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
};

// Another descriptor of the same eventfd or end, which stays when the first is closed.
int copy_of(int fd) { return ::dup(fd); }

TEST_P(ReadinessTest, AForeignDescriptorIsWaitedFor) {
  run([] {
    const Event event;
    EXPECT_EQ(failure_of(wait_readable(event.fd(), 0s)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(wait_readable(event.fd(), 5ms)), IoFailure::timed_out);
    const Monitored setter = spawn_monitor([&event] {
      sleep(5ms);
      event.set();
    });
    EXPECT_TRUE(wait_readable(event.fd(), 10s));
    EXPECT_TRUE(wait_readable(event.fd(), 0s));
    EXPECT_TRUE(event.clear());
    EXPECT_TRUE(wait_writable(event.fd(), 0s));
    EXPECT_EQ(failure_of(wait_readable(-1, 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(wait_writable(1'000'000, 1s)), IoFailure::closed);
    await_down(setter);
  });
}

TEST_P(ReadinessTest, AFullPipeIsWaitedForUntilItIsRead) {
  run([] {
    auto [reader, writer] = *Pipe::make();
    const auto full = writer.write(std::string(1 << 20, 'x'), 10ms);
    EXPECT_EQ(failure_of(full), IoFailure::timed_out);
    EXPECT_EQ(failure_of(wait_writable(writer.fd(), 5ms)), IoFailure::timed_out);
    const Monitored other = spawn_monitor([reader = std::move(reader), n = full.error().transferred]() mutable {
      sleep(5ms);
      std::string all(n, ' ');
      EXPECT_TRUE(reader.read_exactly(std::span(all.data(), all.size()), 10s));
      receive(10s, [](Stop) {});
    });
    EXPECT_TRUE(wait_writable(writer.fd(), 10s));
    const int got = select(10s, on_writable(writer, [] { return 1; }), [](Timeout) { return 2; });
    EXPECT_EQ(got, 1);
    EXPECT_EQ(send(other.pid, Stop{}), Delivery::queued);
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_P(ReadinessTest, WhicheverComesFirstOfAMessageAndADescriptor) {
  run([] {
    const Event event;
    for (int round = 0; round < 30; ++round) {
      const Monitored other = spawn_monitor([&event, to = self(), round] {
        if (round % 3 == 0) sleep(1ms);
        if (round % 2 == 0) {
          event.set();
        } else {
          EXPECT_EQ(send(to, Stop{}), Delivery::queued);
        }
      });
      const char got = select(
          10s, on_readable(event.fd(), [] { return 'd'; }), [](Stop) { return 'm'; }, [](Timeout) { return 't'; });
      EXPECT_EQ(got, round % 2 == 0 ? 'd' : 'm');
      EXPECT_EQ(event.clear(), round % 2 == 0);
      await_down(other);
    }
  });
}

TEST_P(ReadinessTest, OfAMessageAndADescriptorThatAreBothThereTheMessageIsTaken) {
  run([] {
    const Event event;
    event.set();
    EXPECT_EQ(send(self(), Stop{}), Delivery::queued);
    const auto once = [&] {
      return select(
          0s, on_readable(event.fd(), [] { return 'd'; }), [](Stop) { return 'm'; }, [](Timeout) { return 't'; });
    };
    EXPECT_EQ(once(), 'm');
    EXPECT_EQ(once(), 'd');
    EXPECT_TRUE(event.clear());
    EXPECT_EQ(once(), 't');
  });
}

TEST_P(ReadinessTest, ThatComeAtTheSameMomentNeitherIsLost) {
  run([] {
    const Event event;
    const unsigned rounds = std::max(20u, scaled(500));
    unsigned events = 0, messages = 0, timeouts = 0;
    const Monitored other = spawn_monitor([&event, to = self(), rounds] {
      for (unsigned i = 0; i < rounds; ++i) {
        event.set();
        EXPECT_EQ(send(to, Stop{}, 10s), Delivery::queued);
        if (i % 4 == 0) yield();
      }
    });
    std::uint64_t set = 0;
    while ((set < rounds || messages < rounds) && timeouts < 100'000) {
      select(
          std::chrono::microseconds(200),
          on_readable(event.fd(),
                      [&] {
                        ++events;
                        eventfd_t value = 0;
                        if (::eventfd_read(event.fd(), &value) == 0) set += value;
                      }),
          [&](Stop) { ++messages; }, [&](Timeout) { ++timeouts; });
    }
    EXPECT_EQ(set, rounds);
    EXPECT_EQ(messages, rounds);
    EXPECT_GT(events, 0u);
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_P(ReadinessTest, ASocketWithBufferedBytesIsReadyAtOnce) {
  run([] {
    auto listener = tcp::listen({});
    auto here = tcp::connect("127.0.0.1", listener->local()->port, 10s);
    ASSERT_TRUE(here);
    const char came = select(10s, on_readable(*listener, [] { return 'c'; }), [](Timeout) { return 't'; });
    EXPECT_EQ(came, 'c');
    auto there = listener->accept(10s);
    ASSERT_TRUE(there && here->write("one\ntwo\n", 10s));
    EXPECT_EQ(there->read_until("\n", 10, 10s), "one");
    const auto once = [&] {
      return select(0s, on_readable(*there, [&] { return there->read_until("\n", 10, 0s).value_or("none"); }),
                    [](Timeout) { return std::string("timeout"); });
    };
    EXPECT_EQ(once(), "two");
    EXPECT_EQ(once(), "timeout");
    here->close();
    EXPECT_EQ(select(10s, on_readable(*there, [&] { return there->read_until("\n", 10, 0s).error().kind; }),
                     [](Timeout) { return IoFailure::timed_out; }),
              IoFailure::end_of_stream);
    there->close();
    EXPECT_EQ(once(), "none");
  });
}

TEST_P(ReadinessTest, OfSeveralDescriptorsInOneSelectTheOneThatIsReady) {
  run([] {
    const Event first, second;
    auto [reader, writer] = *Pipe::make();
    for (int i = 0; i < 30; ++i) {
      const Monitored other = spawn_monitor([&, i] {
        if (i % 3 == 0) first.set();
        if (i % 3 == 1) second.set();
        if (i % 3 == 2) {
          EXPECT_TRUE(writer.write("x", 10s));
        }
      });
      char byte[1];
      const int got =
          select(10s, on_readable(first.fd(), [&] { return first.clear() ? 0 : 10; }),
                 on_readable(second.fd(), [&] { return second.clear() ? 1 : 10; }),
                 on_readable(reader, [&] { return reader.read(byte, 0s) ? 2 : 10; }), [](Stop) { return 11; });
      EXPECT_EQ(got, i % 3);
      await_down(other);
    }
    EXPECT_EQ(select(10s, on_writable(-1, [] { return 1; }), [](Stop) { return 2; }), 1) << "to try says what is wrong";
  });
}

// --- how it ends -----------------------------------------------------------------------------------------------------

TEST_P(ReadinessTest, AProcessKilledInItEndsAndTheDescriptorIsFree) {
  run([] {
    for (unsigned round = 0; round < std::max(4u, scaled(40)); ++round) {
      const Event event;
      const Monitored waiting = spawn_monitor([&event, round] {
        if (round % 4 < 2) {
          select(forever, on_readable(event.fd(), [] {}), [](Stop) {});
        } else {
          static_cast<void>(wait_readable(event.fd(), forever));
        }
      });
      if (round % 2 == 0) until_waiting(waiting.pid);
      if (round % 8 == 0) event.set();
      exit(waiting.pid, reason::kill);
      const Reason why = await_down(waiting);
      EXPECT_TRUE(why == reason::killed || (round % 8 == 0 && why == reason::normal)) << why.report();
      event.set();
      EXPECT_TRUE(wait_readable(event.fd(), 10s));
    }
  });
}

TEST_P(ReadinessTest, SignalsAndOtherMessagesDoNotEndIt) {
  run([] {
    const Event event;
    const Monitored waiting = spawn_monitor([&event] {
      const int got = select(20s, on_readable(event.fd(), [] { return 1; }), [](Stop) { return 2; });
      EXPECT_EQ(got, 1);
    });
    until_waiting(waiting.pid);
    for (int i = 0; i < 50; ++i) {
      EXPECT_TRUE(process_info(waiting.pid, 10s));
      demonitor(monitor(waiting.pid));
      EXPECT_EQ(send(waiting.pid, int{i}), Delivery::queued);
    }
    event.set();
    EXPECT_EQ(await_down(waiting), reason::normal);
  });
}

TEST_P(ReadinessTest, WhatSomebodyElseHasReadIsNotThere) {
  run([] {
    const Event event;
    std::vector<Monitored> waiting;
    event.set();
    unsigned timeouts = 0, reads = 0;
    for (int i = 0; i < 3; ++i) {
      select(5ms, on_readable(event.fd(), [&] { reads += event.clear(); }), [&](Timeout) { ++timeouts; });
    }
    EXPECT_EQ(reads, 1u);
    EXPECT_EQ(timeouts, 2u);
  });
}

TEST_P(ReadinessTest, WhoWaitsForAClosedDescriptorIsNotInTheWayOfTheNextOfItsNumber) {
  run([] {
    Event event;
    const int number = event.fd();
    const Monitored waiting = spawn_monitor([number] { static_cast<void>(wait_readable(number, 60s)); });
    sleep(10ms);
    event.close();
    const Event next;
    EXPECT_EQ(next.fd(), number);
    EXPECT_EQ(failure_of(wait_readable(next.fd(), 20ms)), IoFailure::timed_out);
    next.set();
    EXPECT_TRUE(wait_readable(next.fd(), 10s));
    exit(waiting.pid, reason::kill);
    static_cast<void>(await_down(waiting));
  });
}

TEST_P(ReadinessTest, ADescriptorThatSomebodyClosesEndsWithItsBound) {
  run([] {
    const Event first;  // the driver's own descriptors are made now, and take no number that is closed below
    EXPECT_EQ(failure_of(wait_readable(first.fd(), 1ms)), IoFailure::timed_out);
    for (int round = 0; round < 4; ++round) {
      Event event;
      const int number = event.fd();
      const int still = copy_of(number);
      const Monitored closer = spawn_monitor([&event] {
        sleep(2ms);
        event.close();
      });
      if (round % 2 == 0) {
        EXPECT_EQ(failure_of(wait_readable(number, 20ms)), IoFailure::timed_out);
      } else {
        EXPECT_EQ(select(
                      20ms, on_readable(number, [] { return 1; }), [](Stop) { return 2; }, [](Timeout) { return 3; }),
                  3);
      }
      await_down(closer);
      EXPECT_EQ(failure_of(wait_readable(number, 20ms)), IoFailure::closed);
      ::close(still);
      Event next;  // most likely of the same number
      next.set();
      EXPECT_TRUE(wait_readable(next.fd(), 10s));
    }
  });
}

TEST_P(ReadinessTest, ASelectWhoseBodyThrowsIsOverBefore) {
  run([] {
    const Event event;
    event.set();
    EXPECT_THROW(select(10s, on_readable(event.fd(), [] { throw std::runtime_error("body"); })), std::runtime_error);
    EXPECT_TRUE(event.clear());
    EXPECT_EQ(send(self(), int{1}), Delivery::queued);
    EXPECT_THROW(select(10s, on_readable(event.fd(), [] {}),
                        when([](const int&) -> bool { throw std::runtime_error("guard"); }, [](int) {})),
                 std::runtime_error);
    event.set();
    EXPECT_TRUE(wait_readable(event.fd(), 10s));
  });
}

bool fails(int n) {
  if (n != 0) throw std::runtime_error("in noexcept");
  return false;
}
TEST_P(ReadinessTest, AProcessWhoseStackIsGivenUpInItHarmsNobody) {
  may_leak = true;
  run([] {
    const Event event;
    const Monitored waiting = spawn_monitor([&event] {
      select(10s, on_readable(event.fd(), [] {}), when([](const int& n) noexcept { return fails(n); }, [](int) {}));
    });
    until_waiting(waiting.pid);
    EXPECT_EQ(send(waiting.pid, int{1}), Delivery::queued);
    EXPECT_TRUE(await_down(waiting).is_exception());
    event.set();
    for (int i = 0; i < 20; ++i) {
      const Monitored other = spawn_monitor([] { sleep(1ms); });
      await_down(other);
    }
  });
}

TEST_P(ReadinessTest, ManyWaitAtOnce) {
  run([] {
    constexpr unsigned kMany = 200;
    std::vector<Event> events(kMany);
    std::vector<Monitored> waiting;
    for (unsigned i = 0; i < kMany; ++i) {
      waiting.push_back(spawn_monitor([&events, i] {
        const int got = select(20s, on_readable(events[i].fd(), [] { return 1; }), [](Stop) { return 2; });
        EXPECT_EQ(got, i % 2 == 0 ? 1 : 2);
      }));
    }
    for (unsigned i = 0; i < kMany; ++i) {
      if (i % 2 == 0) {
        events[i].set();
      } else {
        EXPECT_EQ(send(waiting[i].pid, Stop{}), Delivery::queued);
      }
    }
    for (const Monitored& one : waiting) EXPECT_EQ(await_down(one), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
