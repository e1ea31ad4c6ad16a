// Stream sockets: what they carry, every way a wait on them ends, and what is left when their owner does.
#include "tests/support/net_fixture.h"

#include <fcntl.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace erlking::testing {
namespace {

struct SocketTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, SocketTest, every_place(), name_of_place);

Listener listening() {
  auto made = tcp::listen({});
  EXPECT_TRUE(made) << made.error().to_string();
  return *std::move(made);
}
std::uint16_t port_of(const Listener& listener) { return listener.local()->port; }

// Both ends of a connection.
struct Pair {
  Socket here, there;
};
Pair connected() {
  Listener listener = listening();
  auto here = tcp::connect("127.0.0.1", port_of(listener), 10s);
  auto there = listener.accept(10s);
  EXPECT_TRUE(here && there);
  return {*std::move(here), *std::move(there)};
}

// --- connecting -----------------------------------------------------------------------------------------------------

// Nobody answers there until the one before has been accepted: a connect is under way for a while, as to far away.
TEST_P(SocketTest, AConnectThatTakesItsTimeIsWaitedFor) {
  run([] {
    auto listener = tcp::listen({.backlog = 0});
    ASSERT_TRUE(listener);
    std::vector<Socket> in_line;
    std::expected<Socket, IoError> one;
    while ((one = tcp::connect("127.0.0.1", port_of(*listener), 50ms))) in_line.push_back(*std::move(one));
    EXPECT_EQ(one.error().kind, IoFailure::timed_out) << one.error().to_string();
    EXPECT_LT(in_line.size(), 10u);
    const Monitored taker = spawn_monitor([&] {
      sleep(20ms);
      for (std::size_t i = 0; i <= in_line.size(); ++i) {
        if (!listener->accept(10s)) return;
      }
    });
    EXPECT_TRUE(tcp::connect("127.0.0.1", port_of(*listener), 20s));
    await_down(taker);
  });
}

// --- what they carry -------------------------------------------------------------------------------------------------

TEST_P(SocketTest, WhatIsWrittenIsReadAndTheEndIsZero) {
  run([] {
    auto [here, there] = connected();
    char got[64];
    ASSERT_TRUE(here.write("ping", 10s));
    EXPECT_EQ(there.read(got, 10s), 4u);
    EXPECT_EQ(std::string_view(got, 4), "ping");
    ASSERT_TRUE(there.write("pong!", 10s));
    ASSERT_TRUE(here.read_exactly(std::span(got, 5), 10s));
    EXPECT_EQ(std::string_view(got, 5), "pong!");
    ASSERT_TRUE(here.shutdown(Side::write));
    EXPECT_EQ(there.read(got, 10s), 0u);
    ASSERT_TRUE(there.write("still open this way", 10s));
    EXPECT_EQ(here.read(got, 10s), 19u);
    EXPECT_EQ(here.read(std::span<char>(), 10s), 0u);
  });
}

TEST_P(SocketTest, EachEndKnowsBothAddresses) {
  run([] {
    Listener listener = listening();
    auto here = tcp::connect("localhost", port_of(listener), 10s);
    auto there = listener.accept(10s);
    ASSERT_TRUE(here && there);
    EXPECT_EQ(here->peer()->to_string(), listener.local()->to_string());
    EXPECT_EQ(here->local()->to_string(), there->peer()->to_string());
    EXPECT_EQ(here->peer()->address, "127.0.0.1");
    EXPECT_EQ((SocketAddress{"::1", 80}.to_string()), "[::1]:80");
  });
}

TEST_P(SocketTest, MoreThanTheSystemBuffersGoesThroughWhileThePeerReads) {
  constexpr std::size_t kBytes = 8 << 20;
  run([] {
    auto [here, there] = connected();
    const Monitored writer = spawn_monitor([here = std::move(here)]() mutable {
      std::string bytes(kBytes, 'x');
      for (std::size_t i = 0; i < bytes.size(); i += 1000) bytes[i] = static_cast<char>(i / 1000 % 251);
      EXPECT_TRUE(here.write(bytes, 60s));
    });
    std::vector<char> got(kBytes);
    ASSERT_TRUE(there.read_exactly(got, 60s));
    for (std::size_t i = 0; i < kBytes; i += 1000) ASSERT_EQ(got[i], static_cast<char>(i / 1000 % 251)) << i;
    EXPECT_EQ(there.read(got, 10s), 0u);
    EXPECT_EQ(await_down(writer), reason::normal);
  });
}

TEST_P(SocketTest, PartsGoOutInOrderAsOne) {
  run([] {
    auto [here, there] = connected();
    char got[64];
    ASSERT_TRUE(here.write({"one", "", " two", std::string_view(" three")}, 10s));
    ASSERT_TRUE(there.read_exactly(std::span(got, 13), 10s));
    EXPECT_EQ(std::string_view(got, 13), "one two three");
    EXPECT_TRUE(here.write(std::span<const std::string_view>(), 10s));
    EXPECT_TRUE(here.write({"", ""}, 0s));
    EXPECT_EQ(failure_of(there.read(got, 0s)), IoFailure::timed_out);

    std::vector<std::string> parts;
    std::string all;
    for (unsigned i = 0; i < 300; ++i) {  // more than one call takes, and more than the system buffers
      parts.emplace_back(i * 97 % 50'000, static_cast<char>('a' + i % 26));
      all += parts.back();
    }
    const Monitored writer = spawn_monitor([&here = here, &parts] {
      const std::vector<std::string_view> views(parts.begin(), parts.end());
      EXPECT_TRUE(here.write(views, 60s));
    });
    std::vector<char> came(all.size());
    ASSERT_TRUE(there.read_exactly(came, 60s));
    EXPECT_TRUE(std::string_view(came.data(), came.size()) == all);
    EXPECT_EQ(await_down(writer), reason::normal);
  });
}

TEST_P(SocketTest, PartsThatDoNotAllGoInTimeSayHowMuchWent) {
  run([] {
    auto [here, there] = connected();
    const std::string large(8 << 20, 'z');
    const auto written = here.write({"head", large, large, large}, 30ms);
    EXPECT_EQ(failure_of(written), IoFailure::timed_out);
    here.close();
    EXPECT_EQ(failure_of(here.write({"x"}, 1s)), IoFailure::closed);
    std::vector<char> got(64 * 1024);
    std::size_t came = 0;
    for (auto n = there.read(got, 10s); n && *n > 0; n = there.read(got, 10s)) came += *n;
    EXPECT_EQ(came, written.error().transferred);
    auto [from, to] = connected();
    to.close();
    EXPECT_EQ(failure_of(from.write({large, large}, 10s)), IoFailure::reset);
  });
}

TEST_P(SocketTest, LinesComeOneByOneHoweverTheyArrive) {
  run([] {
    auto [here, there] = connected();
    ASSERT_TRUE(here.write("one\r\ntwo\r\n\r\nthr", 10s));
    EXPECT_EQ(there.read_until("\r\n", 100, 10s), "one");
    EXPECT_EQ(there.read_until("\r\n", 100, 10s), "two");
    EXPECT_EQ(there.read_until("\r\n", 100, 10s), "");
    EXPECT_EQ(failure_of(there.read_until("\r\n", 100, 10ms)), IoFailure::timed_out);
    ASSERT_TRUE(here.write("ee\r", 10s));
    EXPECT_EQ(failure_of(there.read_until("\r\n", 100, 10ms)), IoFailure::timed_out);
    ASSERT_TRUE(here.write("\nrest", 10s));
    EXPECT_EQ(there.read_until("\r\n", 5, 10s), "three");
    char rest[10];
    EXPECT_EQ(there.read(rest, 10s), 4u);
    EXPECT_EQ(failure_of(there.read_until("", 5, 10s)), IoFailure::invalid);
  });
}

TEST_P(SocketTest, ALineLongerThanItsLimitIsRefusedAndNothingIsLost) {
  run([] {
    auto [here, there] = connected();
    ASSERT_TRUE(here.write("123456789\n", 10s));
    EXPECT_EQ(failure_of(there.read_until("\n", 8, 10s)), IoFailure::too_large);
    EXPECT_EQ(there.read_until("\n", 9, 10s), "123456789");
    const Monitored flood = spawn_monitor([here = std::move(here)]() mutable {
      const std::string filler(100'000, 'y');
      static_cast<void>(here.write(filler, 10s));
    });
    EXPECT_EQ(failure_of(there.read_until("\n", 1000, 10s)), IoFailure::too_large);
    there.close();
    await_down(flood);
  });
}

TEST_P(SocketTest, UnixSocketsCarryTheSame) {
  run([] {
    const std::string path = "/tmp/ek-socket-test-" + std::to_string(::getpid());
    ::unlink(path.c_str());
    EXPECT_EQ(failure_of(unix_socket::connect(path, 10s)), IoFailure::not_found);
    auto listener = unix_socket::listen({.path = path});
    ASSERT_TRUE(listener) << listener.error().to_string();
    EXPECT_EQ(failure_of(unix_socket::listen({.path = path})), IoFailure::address_in_use);
    auto here = unix_socket::connect(path, 10s);
    auto there = listener->accept(10s);
    ASSERT_TRUE(here && there);
    EXPECT_EQ(here->peer()->to_string(), path);
    ASSERT_TRUE(here->write("hello", 10s));
    char got[16];
    EXPECT_EQ(there->read(got, 10s), 5u);
    listener->close();
    EXPECT_NE(::access(path.c_str(), F_OK), 0) << "the path is left";
    EXPECT_EQ(failure_of(unix_socket::connect(std::string(200, 'x'), 10s)), IoFailure::too_large);
    EXPECT_EQ(failure_of(unix_socket::listen({.path = ""})), IoFailure::bad_address);
  });
}

TEST_P(SocketTest, AUnixSocketWhoseLineIsFullKeepsTheConnectorWaiting) {
  run([] {
    const std::string path = "/tmp/ek-socket-line-" + std::to_string(::getpid());
    ::unlink(path.c_str());
    auto listener = unix_socket::listen({.path = path, .backlog = 1});
    ASSERT_TRUE(listener);
    std::vector<Socket> in_line;
    for (;;) {
      auto more = unix_socket::connect(path, 50ms);
      if (!more) {
        EXPECT_EQ(more.error().kind, IoFailure::timed_out) << more.error().to_string();
        break;
      }
      in_line.push_back(*std::move(more));
      ASSERT_LT(in_line.size(), 100u);
    }
    const Monitored late = spawn_monitor([&] { EXPECT_TRUE(unix_socket::connect(path, 20s)); });
    sleep(20ms);
    for (std::size_t i = 0; i <= in_line.size(); ++i) EXPECT_TRUE(listener->accept(10s));
    EXPECT_EQ(await_down(late), reason::normal);
  });
}

TEST_P(SocketTest, ASocketMovesToAnotherProcessInAMessage) {
  run([] {
    auto [here, there] = connected();
    const Monitored other = spawn_monitor([] {
      receive(
          10s,
          [](Socket socket) {
            char rest[4];
            EXPECT_TRUE(socket.read_exactly(rest, 10s));
            EXPECT_EQ(std::string_view(rest, 4), "rest");
            EXPECT_TRUE(socket.write("from there", 10s));
          },
          [](Timeout) { ADD_FAILURE() << "no socket came"; });
    });
    ASSERT_TRUE(here.write("line\nrest", 10s));
    EXPECT_EQ(there.read_until("\n", 100, 10s), "line");
    EXPECT_EQ(give(Pid{}, std::move(there)), Delivery::noproc);
    EXPECT_TRUE(there.is_open()) << "refused, it is still ours";
    EXPECT_EQ(give(other.pid, std::move(there)), Delivery::queued);
    EXPECT_FALSE(there.is_open());
    EXPECT_EQ(there.buffered(), 0u);
    char got[16];
    EXPECT_EQ(here.read(got, 10s), 10u);
    EXPECT_EQ(here.read(got, 10s), 0u);  // it closed with its owner
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_P(SocketTest, AnAdoptedDescriptorIsASocketLikeAnother) {
  run([] {
    int ends[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    auto here = Socket::adopt(ends[0]);
    auto there = Socket::adopt(ends[1]);
    ASSERT_TRUE(here && there);
    EXPECT_EQ(::fcntl(here->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    const Monitored writer = spawn_monitor([&] {
      sleep(5ms);
      EXPECT_TRUE(here->write("late", 10s));
    });
    char got[16];
    EXPECT_EQ(there->read(got, 10s), 4u);
    await_down(writer);
    EXPECT_EQ(failure_of(Socket::adopt(-1)), IoFailure::closed);
  });
}

// --- how a wait ends -------------------------------------------------------------------------------------------------

TEST_P(SocketTest, AReadThatTimesOutLosesNothing) {
  run([] {
    auto [here, there] = connected();
    char got[8];
    EXPECT_EQ(failure_of(there.read(got, 5ms)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(there.read(got, 0s)), IoFailure::timed_out);
    ASSERT_TRUE(here.write("abc", 10s));
    const auto short_read = there.read_exactly(std::span(got, 8), 20ms);
    ASSERT_FALSE(short_read);
    EXPECT_EQ(short_read.error().kind, IoFailure::timed_out);
    EXPECT_EQ(short_read.error().transferred, 3u);
    ASSERT_TRUE(here.write("defgh", 10s));
    ASSERT_TRUE(there.read_exactly(std::span(got, 8), 10s));
    EXPECT_EQ(std::string_view(got, 8), "abcdefgh");
  });
}

TEST_P(SocketTest, OfAReadThatEndsAsItTimesOutNothingIsLostOrDoubled) {
  run([] {
    auto [here, there] = connected();
    constexpr unsigned kRounds = 300;
    const Monitored writer = spawn_monitor([here = std::move(here)]() mutable {
      for (unsigned i = 0; i < kRounds; ++i) {
        const unsigned value = i;
        ASSERT_TRUE(here.write(std::as_bytes(std::span(&value, 1)), 10s));
        sleep(std::chrono::microseconds(700));
      }
    });
    unsigned next = 0, timeouts = 0;
    while (next < kRounds && timeouts < 100'000) {
      unsigned value = 0;
      const auto got = there.read_exactly(std::as_writable_bytes(std::span(&value, 1)), std::chrono::microseconds(500));
      if (!got) {
        ASSERT_EQ(got.error().kind, IoFailure::timed_out) << got.error().to_string();
        ++timeouts;
        continue;
      }
      ASSERT_EQ(value, next);
      ++next;
    }
    EXPECT_EQ(next, kRounds);
    EXPECT_EQ(await_down(writer), reason::normal);
  });
}

TEST_P(SocketTest, AWriteToAPeerThatDoesNotReadTimesOutAndSaysHowMuchWent) {
  run([] {
    auto [here, there] = connected();
    const std::string bytes(32 << 20, 'z');
    const auto written = here.write(bytes, 50ms);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind, IoFailure::timed_out);
    EXPECT_GT(written.error().transferred, 0u);
    const std::size_t went = written.error().transferred;
    here.close();
    std::vector<char> got(64 * 1024);
    std::size_t came = 0;
    for (auto n = there.read(got, 10s); n && *n > 0; n = there.read(got, 10s)) came += *n;
    EXPECT_EQ(came, went);
  });
}

TEST_P(SocketTest, AcceptAndConnectTimeOut) {
  run([] {
    Listener listener = listening();
    EXPECT_EQ(failure_of(listener.accept(5ms)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(listener.accept(0s)), IoFailure::timed_out);
    auto here = tcp::connect("127.0.0.1", port_of(listener), 10s);
    ASSERT_TRUE(here);
    EXPECT_TRUE(listener.accept(10s));
  });
}

TEST_P(SocketTest, NobodyThereIsRefusedAndNonsenseIsABadAddress) {
  run([] {
    std::uint16_t port = 0;
    {
      Listener gone = listening();
      port = port_of(gone);
    }
    const auto refused = tcp::connect("127.0.0.1", port, 10s);
    EXPECT_EQ(failure_of(refused), IoFailure::refused);
    EXPECT_NE(refused.error().to_string().find("connect: nobody listens there"), std::string::npos)
        << refused.error().to_string();
    EXPECT_EQ(failure_of(tcp::connect("", 1, 10s)), IoFailure::no_such_host);
    EXPECT_EQ(failure_of(tcp::listen({.address = "300.1.1.1"})), IoFailure::bad_address);
    Listener taken = listening();
    EXPECT_EQ(failure_of(tcp::listen({.port = port_of(taken)})), IoFailure::address_in_use);
    Socket never;
    char byte[1];
    EXPECT_EQ(failure_of(never.read(byte, 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(never.write("x", 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(never.peer()), IoFailure::closed);
    Listener none;
    EXPECT_EQ(failure_of(none.accept(1s)), IoFailure::closed);
  });
}

TEST_P(SocketTest, APeerThatIsGoneIsAReset) {
  run([] {
    auto [here, there] = connected();
    ASSERT_TRUE(here.write("unread", 10s));
    there.close();  // with bytes unread: a reset, not an end
    char got[8];
    const auto read = here.read(got, 10s);
    EXPECT_EQ(failure_of(read), IoFailure::reset);
    const std::string more(1 << 20, 'm');
    EXPECT_EQ(failure_of(here.write(more, 10s)), IoFailure::reset);
  });
}

TEST_P(SocketTest, SharedPortsAndKeepAlive) {
  run([] {
    auto first = tcp::listen({.reuse_port = true});
    ASSERT_TRUE(first);
    EXPECT_TRUE(tcp::listen({.port = port_of(*first), .reuse_port = true}));
    auto [here, there] = connected();
    EXPECT_TRUE(here.set_no_delay(false));
    EXPECT_TRUE(here.set_keep_alive(true, 30s));
    EXPECT_EQ(failure_of(here.set_keep_alive(true, 0s)), IoFailure::invalid);
  });
}

// --- how a process ends in it ----------------------------------------------------------------------------------------

TEST_P(SocketTest, AProcessKilledInEachWaitEndsAndItsSocketsClose) {
  run([] {
    for (unsigned round = 0; round < std::max(2u, scaled(20)); ++round) {
      auto [here, there] = connected();
      const Monitored reader = spawn_monitor([there = std::move(there)]() mutable {
        char got[8];
        static_cast<void>(there.read(got, forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(reader.pid);
      exit(reader.pid, reason::kill);
      EXPECT_EQ(await_down(reader), reason::killed);
      char got[8];
      EXPECT_EQ(here.read(got, 10s), 0u);

      auto [from, to] = connected();
      const Monitored writer = spawn_monitor([from = std::move(from)]() mutable {
        const std::string bytes(16 << 20, 'w');
        static_cast<void>(from.write(bytes, forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(writer.pid);
      exit(writer.pid, reason::kill);
      EXPECT_EQ(await_down(writer), reason::killed);

      const Monitored acceptor = spawn_monitor([] {
        Listener listener = listening();
        static_cast<void>(listener.accept(forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(acceptor.pid);
      exit(acceptor.pid, reason::kill);
      EXPECT_EQ(await_down(acceptor), reason::killed);
    }
  });
}

struct Go {};
// Ends whoever destroys it, with its stack given up.
struct Bomb {
  bool armed = true;
  Bomb() = default;
  Bomb(Bomb&& other) noexcept : armed(std::exchange(other.armed, false)) {}
  ~Bomb() {
    if (armed) std::terminate();
  }
};

// What is delivered in the wait and belongs to nobody is dropped when the kernel has let go of the stack (OW4).
TEST_P(SocketTest, ADestructorThatEndsTheProcessInAReadLeavesNoReadBehind) {
  may_leak = true;  // the block of what ended it
  run([] {
    auto [here, there] = connected();
    const Monitored reader = spawn_monitor([&here = here, parent = self()] {
      Alias mine = alias();
      send(parent, Alias(mine));
      receive(10s, [](Go) {});
      EXPECT_TRUE(unalias(mine));
      char byte;
      static_cast<void>(here.read(std::span(&byte, 1), 300ms));
      ADD_FAILURE() << "it has survived";
    });
    const Alias revoked = receive(10s, [](Alias alias) { return alias; });
    send(reader.pid, Go{});
    sleep(50ms);
    send(revoked, Bomb{});
    EXPECT_TRUE(process_info(reader.pid, 10s)) << "which has it look at what has come";
    EXPECT_EQ(await_down(reader), reason::terminate);
    ASSERT_TRUE(there.write("x", 10s));
    char byte = 0;
    EXPECT_EQ(here.read(std::span(&byte, 1), 10s), 1u) << "the dead one's read has taken it";
    EXPECT_EQ(byte, 'x');
  });
}

TEST_P(SocketTest, AConnectionThatComesAsItsAcceptorIsKilledIsNotLeaked) {
  run([] {  // the fixture counts descriptors
    for (unsigned round = 0; round < std::max(2u, scaled(50)); ++round) {
      struct Port {
        std::uint16_t port;
      };
      const Monitored acceptor = spawn_monitor([to = self()] {
        Listener listener = listening();
        send(to, Port{port_of(listener)});
        while (listener.accept(forever)) {
        }
      });
      const std::uint16_t port = receive(
          10s, [](Port p) { return p.port; }, [](Timeout) { return std::uint16_t{0}; });
      const Monitored knocker = spawn_monitor([port] { static_cast<void>(tcp::connect("127.0.0.1", port, 10s)); });
      if (round % 2 == 0) yield();
      exit(acceptor.pid, reason::kill);
      EXPECT_EQ(await_down(acceptor), reason::killed);
      await_down(knocker);
    }
  });
}

TEST_P(SocketTest, ASignalInAWaitDoesNotEndIt) {
  run([] {
    auto [here, there] = connected();
    const Monitored reader = spawn_monitor([there = std::move(there)]() mutable {
      char got[8];
      EXPECT_EQ(there.read(got, 20s), 2u);
    });
    until_waiting(reader.pid);
    for (int i = 0; i < 50; ++i) {
      EXPECT_TRUE(process_info(reader.pid, 10s));
      demonitor(monitor(reader.pid));
      EXPECT_EQ(send(reader.pid, int{i}), Delivery::queued);
    }
    ASSERT_TRUE(here.write("go", 10s));
    EXPECT_EQ(await_down(reader), reason::normal);
  });
}

TEST_P(SocketTest, TheRuntimeStopsUnderOpenConnections) {
  auto started = std::make_shared<std::atomic<int>>(0);
  ASSERT_TRUE(rt().spawn([started] {
    auto listener = std::make_shared<Listener>(listening());
    const std::uint16_t port = port_of(*listener);
    for (int i = 0; i < 20; ++i) {
      spawn([started, port] {
        auto socket = tcp::connect("127.0.0.1", port, 10s);
        started->fetch_add(1);
        char got[8];
        if (socket) static_cast<void>(socket->read(got, forever));
      });
    }
    std::vector<Socket> accepted;
    for (;;) {
      auto socket = listener->accept(forever);
      if (socket) accepted.push_back(*std::move(socket));
    }
  }));
  ASSERT_TRUE(drive([&] { return started->load() == 20; }));
  EXPECT_TRUE(rt().stop());
}

// --- its buffer ------------------------------------------------------------------------------------------------------

TEST(ReadBufferTest, KeepsWhatIsLeftInOrder) {
  detail::ReadBuffer buffer;
  std::string all, got;
  base::Random random(1);
  for (int round = 0; round < 2'000; ++round) {
    const std::string more(random.below(300), static_cast<char>('a' + round % 26));
    const std::span<char> room = buffer.room(300, nullptr);
    ASSERT_GE(room.size(), 300u);
    std::copy(more.begin(), more.end(), room.begin());
    buffer.fill(more.size());
    all += more;
    char some[400];
    got.append(some, buffer.take(some, random.below(400)));
    ASSERT_EQ(got + std::string(buffer.view()), all) << round;
    if (round % 100 == 0) {
      all.clear();
      got.clear();
      buffer.drop(buffer.size());
    }
  }
}

TEST(ReadBufferTest, DoesNotGrowWithTheLengthOfAConversation) {
  detail::ReadBuffer buffer;
  for (int round = 0; round < 1'000; ++round) {
    const std::span<char> room = buffer.room(4096, nullptr);
    ASSERT_LE(room.size(), 4u * 4096) << round;
    buffer.fill(4096);
    buffer.drop(buffer.size() - 1);  // the first byte of the next line has come, always
  }
}

// --- many ------------------------------------------------------------------------------------------------------------

TEST_P(SocketTest, ManyConnectionsEchoAtOnce) {
  constexpr unsigned kPeers = 60, kRounds = 50;
  run([] {
    Listener listener = listening();
    const std::uint16_t port = port_of(listener);
    const Monitored server = spawn_monitor([listener = std::move(listener)]() mutable {
      for (unsigned i = 0; i < kPeers; ++i) {
        auto peer = listener.accept(20s);
        ASSERT_TRUE(peer) << peer.error().to_string();
        spawn([peer = *std::move(peer)]() mutable {
          char buffer[512];
          for (auto n = peer.read(buffer, 20s); n && *n > 0; n = peer.read(buffer, 20s)) {
            if (!peer.write({buffer, *n}, 20s)) return;
          }
        });
      }
    });
    std::vector<Monitored> clients;
    for (unsigned i = 0; i < kPeers; ++i) {
      clients.push_back(spawn_monitor([port, i] {
        auto socket = tcp::connect("127.0.0.1", port, 20s);
        ASSERT_TRUE(socket) << socket.error().to_string();
        for (unsigned round = 0; round < kRounds; ++round) {
          const std::string sent = std::to_string(i) + ":" + std::to_string(round) + "\n";
          ASSERT_TRUE(socket->write(sent, 20s));
          const auto got = socket->read_until("\n", 100, 20s);
          ASSERT_TRUE(got) << got.error().to_string();
          ASSERT_EQ(*got + "\n", sent);
        }
      }));
    }
    for (const Monitored& client : clients) EXPECT_EQ(await_down(client), reason::normal);
    EXPECT_EQ(await_down(server), reason::normal);
  });
}

TEST_P(SocketTest, WithoutDescriptorsAcceptSaysSoAndDoesNotSpin) {
  run([] {
    Listener listener = listening();
    auto here = tcp::connect("127.0.0.1", port_of(listener), 10s);
    ASSERT_TRUE(here);
    EXPECT_TRUE(listener.accept(10s));  // the driver is there
    auto second = tcp::connect("127.0.0.1", port_of(listener), 10s);
    ASSERT_TRUE(second);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 3;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto began = now();
    const auto refused = listener.accept(10s);
    const auto took = now() - began;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(failure_of(refused), IoFailure::limit);
    EXPECT_GE(took, 50ms);
    EXPECT_TRUE(listener.accept(10s));  // it has stayed in line
  });
}

}  // namespace
}  // namespace erlking::testing
