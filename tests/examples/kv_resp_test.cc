// The store's protocol: requests cut at every point, malformed ones, numbers, patterns; and what the fuzzer has found.
#include "examples/kv/glob.h"
#include "examples/kv/resp.h"
#include "tests/fuzz/resp.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace kv {
namespace {

using Requests = std::vector<std::vector<std::string>>;

// What is parsed when `text` comes in pieces that end at `cuts`; an error is a last request of one word.
Requests parsed(const std::string& text, const std::vector<std::size_t>& cuts) {
  Parser parser;
  std::string bytes;
  std::vector<Span> arguments;
  Requests made;
  std::size_t from = 0, begun = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t to = i == cuts.size() ? text.size() : cuts[i];
    bytes += text.substr(from, to - from);
    from = to;
    for (auto result = Parser::Result::request; result == Parser::Result::request;) {
      result = parser.next(bytes, arguments);
      if (result == Parser::Result::error) {
        made.push_back({"error: " + parser.error()});
        return made;
      }
      if (result != Parser::Result::request) break;
      std::vector<std::string> words;
      for (; begun < arguments.size(); ++begun)
        words.push_back(bytes.substr(arguments[begun].begin, arguments[begun].size));
      if (!words.empty()) made.push_back(std::move(words));
    }
    bytes.erase(0, parser.taken());
    parser.rebase(arguments, std::exchange(begun, 0));
  }
  return made;
}

const std::string kMixed =
    "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nab\r\nc\r\nPING\r\n*0\r\n\r\nset \"a \\x41\" 'b "
    "c'\n*1\r\n$0\r\n\r\n*2\r\n$4\r\nECHO\r\n"
    "$2\r\n\r\n\r\n";

TEST(RespTest, EveryCutGivesTheSameRequests) {
  const Requests whole = parsed(kMixed, {});
  ASSERT_EQ(whole, (Requests{{"SET", "k", "ab\r\nc"}, {"PING"}, {"set", "a A", "b c"}, {""}, {"ECHO", "\r\n"}}));
  for (std::size_t first = 0; first <= kMixed.size(); ++first) {
    for (std::size_t second = first; second <= kMixed.size(); ++second) {
      ASSERT_EQ(parsed(kMixed, {first, second}), whole) << "cut at " << first << " and " << second;
    }
  }
}

TEST(RespTest, AByteAtATimeGivesTheSameRequests) {
  std::vector<std::size_t> cuts;
  for (std::size_t at = 1; at < kMixed.size(); ++at) cuts.push_back(at);
  EXPECT_EQ(parsed(kMixed, cuts), parsed(kMixed, {}));
}

TEST(RespTest, WhatIsMalformedIsNamedAsRedisDoes) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"*x\r\n", "invalid multibulk length"},
      {"*01\r\n", "invalid multibulk length"},
      {"*+1\r\n", "invalid multibulk length"},
      {"*\r\n", "invalid multibulk length"},
      {"* 1\r\n", "invalid multibulk length"},
      {"*2147483648\r\n", "invalid multibulk length"},
      {"*99999999999999999999\r\n", "invalid multibulk length"},
      {"*1\r\nPING\r\n", "expected '$', got 'P'"},
      {"*1\r\n\r\n", "expected '$', got '\r'"},
      {"*1\r\n$\r\n", "invalid bulk length"},
      {"*1\r\n$-1\r\n", "invalid bulk length"},
      {"*1\r\n$04\r\n", "invalid bulk length"},
      {"*1\r\n$536870913\r\n", "invalid bulk length"},
      {"*" + std::string(70'000, '1'), "too big mbulk count string"},
      {"*1\r\n$" + std::string(70'000, '1'), "too big bulk count string"},
      {std::string(70'000, 'a'), "too big inline request"},
      {"get \"a\r\n", "unbalanced quotes in request"},
      {"get 'a\r\n", "unbalanced quotes in request"},
      {"get \"a\"b\r\n", "unbalanced quotes in request"},
  };
  for (const auto& [text, error] : table) {
    EXPECT_EQ(parsed(text, {}), (Requests{{"error: Protocol error: " + error}})) << text.substr(0, 40);
  }
}

TEST(RespTest, WhatIsAllowedAtTheLimitsIsTaken) {
  EXPECT_EQ(parsed("*-1\r\nPING\r\n", {}), (Requests{{"PING"}}));
  EXPECT_EQ(parsed("*1\r\n$536870912\r\n", {}), Requests{}) << "it waits for the rest";
  EXPECT_EQ(parsed("*2147483647\r\n", {}), Requests{});
  EXPECT_EQ(parsed(std::string(60'000, 'a') + "\n", {}), (Requests{{std::string(60'000, 'a')}}));
}

TEST(RespTest, NumbersAreReadStrictly) {
  for (const char* bad : {"", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "9223372036854775808", "0x1"}) {
    EXPECT_FALSE(to_integer(bad)) << bad;
  }
  EXPECT_EQ(to_integer("0"), 0);
  EXPECT_EQ(to_integer("-9223372036854775808"), INT64_MIN);
  for (const char* bad : {"", " 1", "1 ", "nan", "x"}) EXPECT_FALSE(to_number(bad)) << bad;
  EXPECT_EQ(to_text(*to_number("inf")), "inf");
  EXPECT_EQ(to_text(3), "3");
  EXPECT_EQ(to_text(0.1), "0.10000000000000001");
}

TEST(RespTest, PatternsMatchAsInRedis) {
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("k*y", "key"));
  EXPECT_TRUE(matches("k?y", "key"));
  EXPECT_TRUE(matches("[a-c][^x]", "by"));
  EXPECT_TRUE(matches("a\\*", "a*"));
  EXPECT_TRUE(matches("*a*b", "xxaxxab"));
  EXPECT_FALSE(matches("k?y", "ky"));
  EXPECT_FALSE(matches("[a-c]", "d"));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_FALSE(matches("a*a*a*a*a*a*a*a*b", std::string(10'000, 'a'))) << "and soon";
}

TEST(RespTest, WhatTheFuzzerHasFoundHolds) {
  const char* const folder = std::getenv("EK_CORPUS");
  ASSERT_NE(folder, nullptr);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    EXPECT_TRUE(fuzz::resp_holds(text)) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 5u);
}

}  // namespace
}  // namespace kv
