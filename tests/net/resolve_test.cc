// Names: what is found, what is not, and connections by name.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace erlking::testing {
namespace {

class ResolveTest : public NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, ResolveTest, every_place(), name_of_place);

TEST_P(ResolveTest, ANumberIsItsOwnAddress) {
  run([] {
    EXPECT_EQ(resolve("192.0.2.1", 10s), std::vector<std::string>{"192.0.2.1"});
    EXPECT_EQ(resolve("2001:db8::1", 0s), std::vector<std::string>{"2001:db8::1"}) << "without a wait";
  });
}

TEST_P(ResolveTest, TheSystemsOwnNamesAreFound) {
  run([] {
    const auto found = resolve("localhost", 60s);
    ASSERT_TRUE(found) << found.error().to_string();
    for (const std::string& address : *found) EXPECT_TRUE(address.starts_with("127.") || address == "::1") << address;
    EXPECT_FALSE(found->empty());
  });
}

TEST_P(ResolveTest, WhatIsNoNameIsNotFound) {
  run([] {
    for (const std::string& wrong : {std::string(), std::string("a\0b", 3)}) {
      EXPECT_EQ(failure_of(resolve(wrong, 60s)), IoFailure::no_such_host);
    }
  });
}

TEST_P(ResolveTest, ABoundThatPassesEndsTheWait) {
  const std::size_t before = descriptors();
  run([] {
    int passed = 0;
    for (int i = 0; i < 1'000 && passed == 0; ++i) {  // a search without a server may be over before anybody looks
      const auto failure = failure_of(resolve("some.name.invalid", 0s));
      if (failure == IoFailure::timed_out) {
        ++passed;
      } else {
        EXPECT_EQ(failure, IoFailure::no_such_host);
      }
    }
    EXPECT_EQ(passed, 1);
  });
  for (int i = 0; i < 60'000 && descriptors() > before; ++i) std::this_thread::sleep_for(1ms);  // the search ends
}

// "127.1" is no number to us and one to the system: it goes the way of names, and needs no server of them.
TEST_P(ResolveTest, AConnectionByName) {
  run([] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    const std::uint16_t port = listener->local()->port;
    auto here = tcp::connect("127.1", port, 60s);
    ASSERT_TRUE(here) << here.error().to_string();
    EXPECT_EQ(here->peer()->address, "127.0.0.1");
    listener->close();
    EXPECT_EQ(failure_of(tcp::connect("127.1", port, 60s)), IoFailure::refused);
  });
}

}  // namespace
}  // namespace erlking::testing
