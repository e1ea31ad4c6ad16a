// message_bytes: what it counts of standard types, and that a type's own function is asked, also deep inside.
#include "runtime/message_bytes.h"

#include "gc/gc.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <unordered_map>

namespace user {

struct Flat {
  int a, b;
};
struct Put {
  std::string key, value;
};
std::size_t message_bytes(const Put& put) {
  return erlking::message_bytes(put.key) + erlking::message_bytes(put.value);
}
struct Small {
  char c;
};
std::size_t message_bytes(const Small&) { return 0; }

}  // namespace user

namespace erlking::testing {
namespace {

const std::string kLong(1'000, 'x');

TEST(MessageBytesTest, AnObjectThatOwnsNothingCountsItself) {
  EXPECT_EQ(message_bytes(1), sizeof(int));
  EXPECT_EQ(message_bytes(user::Flat{}), sizeof(user::Flat));
  EXPECT_EQ(message_bytes(share(std::string(kLong))), sizeof(void*)) << "shared: not its own";
  EXPECT_EQ(message_bytes(std::make_shared<std::string>(kLong)), sizeof(std::shared_ptr<int>));
}

TEST(MessageBytesTest, AStringCountsWhatLiesOutsideIt) {
  EXPECT_EQ(message_bytes(std::string("short")), sizeof(std::string));
  EXPECT_EQ(message_bytes(kLong), sizeof(std::string) + kLong.capacity() + 1);
  std::u32string wide(100, U'x');
  EXPECT_EQ(message_bytes(wide), sizeof wide + (wide.capacity() + 1) * 4);
}

TEST(MessageBytesTest, AVectorCountsItsCapacityAndWhatItsElementsOwn) {
  std::vector<std::uint64_t> numbers(10);
  numbers.reserve(1'000);
  EXPECT_EQ(message_bytes(numbers), sizeof numbers + numbers.capacity() * 8);
  const std::vector<std::string> texts{kLong, "short", kLong};
  EXPECT_EQ(message_bytes(texts),
            sizeof texts + texts.capacity() * sizeof(std::string) + texts[0].capacity() + texts[2].capacity() + 2);
  EXPECT_EQ(message_bytes(std::vector<bool>(800)), sizeof(std::vector<bool>) + std::vector<bool>(800).capacity() / 8);
}

TEST(MessageBytesTest, OtherContainersCountTheirElementsAndNodes) {
  const auto at_least = [](const auto& all, std::size_t bytes) {
    EXPECT_GE(message_bytes(all), bytes);
    EXPECT_LE(message_bytes(all), 2 * bytes);
  };
  at_least(std::deque<std::string>(10, kLong), 10'000);
  at_least(std::list<std::string>(10, kLong), 10'000);
  at_least(std::map<int, std::string>{{1, kLong}, {2, kLong}}, 2'000);
  at_least(std::unordered_map<std::string, std::string>{{kLong, kLong}}, 2'000);
}

TEST(MessageBytesTest, WhatHoldsOthersCountsWhatTheyOwn) {
  const std::size_t owned = kLong.capacity() + 1;
  EXPECT_EQ(message_bytes(std::optional(kLong)), sizeof(std::optional<std::string>) + owned);
  EXPECT_EQ(message_bytes(std::optional<std::string>()), sizeof(std::optional<std::string>));
  EXPECT_EQ(message_bytes(std::pair(1, kLong)), sizeof(std::pair<int, std::string>) + owned);
  EXPECT_EQ(message_bytes(std::tuple(kLong, 1, kLong)), sizeof(std::tuple<std::string, int, std::string>) + 2 * owned);
  EXPECT_EQ(message_bytes(std::array<std::string, 2>{kLong, kLong}), 2 * (sizeof(std::string) + owned));
  EXPECT_EQ(message_bytes(std::make_unique<std::string>(kLong)), sizeof(void*) + sizeof(std::string) + owned);
  EXPECT_EQ(message_bytes(std::unique_ptr<std::string>()), sizeof(void*));
  using Either = std::variant<int, std::string>;
  EXPECT_EQ(message_bytes(Either(kLong)), sizeof(Either) + owned);
  EXPECT_EQ(message_bytes(Either(1)), sizeof(Either));
}

TEST(MessageBytesTest, ATypesOwnFunctionIsAsked) {
  const user::Put put{kLong, kLong};
  EXPECT_EQ(message_bytes(put), sizeof put + 2 * (kLong.capacity() + 1));
  EXPECT_EQ(message_bytes(std::vector{put, put}), sizeof(std::vector<int>) + 2 * message_bytes(put));
  EXPECT_EQ(message_bytes(user::Small{}), sizeof(user::Small)) << "never less than the object";
}

}  // namespace
}  // namespace erlking::testing
