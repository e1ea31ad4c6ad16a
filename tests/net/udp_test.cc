// Datagrams: whole or not at all, and how waits for them end.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <string>

namespace erlking::testing {
namespace {

struct UdpTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, UdpTest, every_place(), name_of_place);

Udp bound(UdpOptions options = {}) {
  auto made = Udp::bind(options);
  EXPECT_TRUE(made) << made.error().to_string();
  return *std::move(made);
}

TEST_P(UdpTest, DatagramsComeWholeWithTheirSender) {
  run([] {
    for (const char* const address : {"127.0.0.1", "::1"}) {
      auto made = Udp::bind({.address = address});
      if (!made && made.error().kind == IoFailure::bad_address) continue;  // no IPv6 here
      ASSERT_TRUE(made) << made.error().to_string();
      Udp here = *std::move(made), there = bound({.address = address});
      ASSERT_TRUE(here.send_to(*there.local(), "first", 10s));
      ASSERT_TRUE(here.send_to(*there.local(), "", 10s));
      ASSERT_TRUE(here.send_to(*there.local(), "third one", 10s));
      char got[64];
      auto came = there.receive(got, 10s);
      ASSERT_TRUE(came);
      EXPECT_EQ(std::string_view(got, came->size), "first");
      EXPECT_EQ(came->from.to_string(), here.local()->to_string());
      EXPECT_EQ(there.receive(got, 10s)->size, 0u);
      EXPECT_EQ(there.receive(got, 10s)->size, 9u);
      ASSERT_TRUE(there.send_to(came->from, "back", 10s));
      EXPECT_EQ(here.receive(got, 10s)->size, 4u);
    }
  });
}

TEST_P(UdpTest, OneThatDoesNotFitIsTooLargeAndTheNextIsNot) {
  run([] {
    Udp here = bound(), there = bound();
    ASSERT_TRUE(here.send_to(*there.local(), "123456789", 10s));
    ASSERT_TRUE(here.send_to(*there.local(), "1234", 10s));
    char got[4];
    const auto cut = there.receive(got, 10s);
    EXPECT_EQ(failure_of(cut), IoFailure::too_large);
    EXPECT_EQ(cut.error().transferred, 9u);
    EXPECT_EQ(there.receive(got, 10s)->size, 4u);
    EXPECT_EQ(failure_of(here.send_to(*there.local(), std::string(100'000, 'x'), 10s)), IoFailure::too_large);
  });
}

TEST_P(UdpTest, AWaitEndsWithItsBoundAndWithADatagram) {
  run([] {
    Udp here = bound(), there = bound();
    char got[16];
    EXPECT_EQ(failure_of(there.receive(got, 0s)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(there.receive(got, 5ms)), IoFailure::timed_out);
    const Monitored sender = spawn_monitor([&] {
      sleep(5ms);
      EXPECT_TRUE(here.send_to(*there.local(), "late", 10s));
    });
    EXPECT_EQ(there.receive(got, 10s)->size, 4u);
    EXPECT_EQ(await_down(sender), reason::normal);
    ASSERT_TRUE(here.send_to(*there.local(), "x", 0s));
    EXPECT_TRUE(there.receive(got, 10s));
    const int ready = select(10s, on_writable(here, [] { return 1; }), [](Timeout) { return 2; });
    EXPECT_EQ(ready, 1);
  });
}

TEST_P(UdpTest, OneThatIsConnectedHearsItsPeerAloneAndOfItsAbsence) {
  run([] {
    Udp here = bound(), there = bound(), stranger = bound();
    EXPECT_EQ(failure_of(here.send("x", 10s)), IoFailure::bad_address);
    EXPECT_EQ(failure_of(here.peer()), IoFailure::closed);
    ASSERT_TRUE(here.connect(there.local()->address, there.local()->port));
    EXPECT_EQ(here.peer()->to_string(), there.local()->to_string());
    ASSERT_TRUE(stranger.send_to(*here.local(), "not heard", 10s));
    ASSERT_TRUE(here.send("ping", 10s));
    char got[16];
    const auto ping = there.receive(got, 10s);
    ASSERT_TRUE(ping);
    ASSERT_TRUE(there.send_to(ping->from, "pong!", 10s));
    EXPECT_EQ(here.receive(got, 10s)->size, 5u);
    there.close();
    ASSERT_TRUE(here.send("anybody?", 10s));
    EXPECT_EQ(failure_of(here.receive(got, 10s)), IoFailure::refused);
  });
}

TEST_P(UdpTest, MisuseIsTold) {
  run([] {
    Udp never;
    char got[4];
    EXPECT_EQ(failure_of(never.receive(got, 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(never.send("x", 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(never.send_to({"127.0.0.1", 1}, "x", 1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(never.local()), IoFailure::closed);
    EXPECT_EQ(failure_of(never.connect("127.0.0.1", 1)), IoFailure::closed);
    EXPECT_EQ(failure_of(Udp::bind({.address = "no such host"})), IoFailure::bad_address);
    Udp taken = bound();
    EXPECT_EQ(failure_of(Udp::bind({.port = taken.local()->port})), IoFailure::address_in_use);
    EXPECT_EQ(failure_of(taken.send_to({"nowhere", 1}, "x", 1s)), IoFailure::bad_address);
    EXPECT_EQ(failure_of(taken.send_to({"255.255.255.255", 9}, "x", 1s)), IoFailure::not_permitted);
    EXPECT_TRUE(taken.set_broadcast(true));
    Udp first = bound({.reuse_port = true});
    EXPECT_TRUE(Udp::bind({.port = first.local()->port, .reuse_port = true}));
  });
}

TEST_P(UdpTest, AProcessKilledInAWaitEndsAndItsPortIsFree) {
  run([] {
    for (unsigned round = 0; round < std::max(2u, scaled(20)); ++round) {
      Udp there = bound();
      const std::uint16_t port = there.local()->port;
      const Monitored waiting = spawn_monitor([there = std::move(there)]() mutable {
        char got[16];
        static_cast<void>(there.receive(got, forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(waiting.pid);
      exit(waiting.pid, reason::kill);
      EXPECT_EQ(await_down(waiting), reason::killed);
      EXPECT_TRUE(Udp::bind({.port = port}));
    }
  });
}

TEST_P(UdpTest, ManyGoBackAndForth) {
  run([] {
    constexpr unsigned kPeers = 20, kRounds = 50;
    Udp echo = bound();
    const SocketAddress at = *echo.local();
    const Monitored server = spawn_monitor([echo = std::move(echo)]() mutable {
      char bytes[64];
      for (;;) {
        const auto came = echo.receive(bytes, 20s);
        if (!came || came->size == 0) return;
        EXPECT_TRUE(echo.send_to(came->from, {bytes, came->size}, 10s));
      }
    });
    std::vector<Monitored> peers;
    for (unsigned i = 0; i < kPeers; ++i) {
      peers.push_back(spawn_monitor([at, i] {
        Udp socket = bound();
        ASSERT_TRUE(socket.connect(at.address, at.port));
        for (unsigned round = 0; round < kRounds; ++round) {
          const std::string sent = std::to_string(i) + ":" + std::to_string(round);
          char got[64];
          ASSERT_TRUE(socket.send(sent, 10s));
          const auto came = socket.receive(got, 20s);
          ASSERT_TRUE(came) << came.error().to_string();
          ASSERT_EQ(std::string_view(got, came->size), sent);
        }
      }));
    }
    for (const Monitored& peer : peers) EXPECT_EQ(await_down(peer), reason::normal);
    Udp last = bound();
    EXPECT_TRUE(last.send_to(at, "", 10s));
    EXPECT_EQ(await_down(server), reason::normal);
  });
}

}  // namespace
}  // namespace erlking::testing
