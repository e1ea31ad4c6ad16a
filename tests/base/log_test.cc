#include "base/log.h"

#include "base/mutex.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace erlking::base {
namespace {

class LogTest : public testing::Test {
 protected:
  void SetUp() override { set_log_level(Level::info); }
  void TearDown() override {
    set_log_sink(nullptr);
    set_log_level(Level::info);
  }

  void catch_reports() {
    set_log_sink([this](Level level, std::string_view component, std::string_view message) {
      MutexLock lock(mutex_);
      reports_.push_back(std::string(to_string(level)) + "|" + std::string(component) + "|" + std::string(message));
    });
  }

  Mutex mutex_;
  std::vector<std::string> reports_;
};

TEST_F(LogTest, ASinkGetsWhatReachesTheLevel) {
  catch_reports();
  log(Level::debug, "io", "not this");
  log(Level::info, "io", "a\nb");
  log(Level::error, "net", "c");
  log(Level::off, "net", "never a report");
  EXPECT_EQ(reports_, (std::vector<std::string>{"info|io|a\nb", "error|net|c"}));
}

TEST_F(LogTest, TheLevelCanBeChangedAndAsked) {
  catch_reports();
  set_log_level(Level::debug);
  EXPECT_TRUE(log_enabled(Level::debug));
  log(Level::debug, "a", "1");
  set_log_level(Level::off);
  EXPECT_EQ(log_level(), Level::off);
  EXPECT_FALSE(log_enabled(Level::error));
  log(Level::error, "a", "2");
  EXPECT_EQ(reports_, (std::vector<std::string>{"debug|a|1"}));
}

TEST_F(LogTest, DetailsStandBelowTheirReport) {
  const std::vector<std::string> details{"first", "forged\n2026 error x: y"};
  catch_reports();
  log(Level::info, "io", "message", details);
  EXPECT_EQ(reports_, (std::vector<std::string>{"info|io|message\n    first\n    forged\n2026 error x: y"}));
  set_log_sink(nullptr);
  testing::internal::CaptureStderr();
  log(Level::info, "io", "message", details);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(text.ends_with(" info io: message\n    first\n    forged\\n2026 error x: y\n")) << text;
  EXPECT_EQ(to_lines("message", details), "message\n    first\n    forged\\n2026 error x: y");
}

TEST_F(LogTest, ALineOfItsOwnFormGoesToStderrAsItIs) {
  testing::internal::CaptureStderr();
  log_line(Level::error, "io", "{\"a\":1}");
  log_line(Level::debug, "io", "below the level");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "{\"a\":1}\n");
  catch_reports();
  log_line(Level::error, "io", "{}");
  EXPECT_EQ(reports_, (std::vector<std::string>{"error|io|{}"}));
}

TEST_F(LogTest, AFileIsAppendedTo) {
  const auto folder = std::filesystem::temp_directory_path() / ("erlking_log_" + std::to_string(::getpid()));
  const std::string path = (folder / "made" / "lines").string();
  for (const char* const line : {"first {} %s", "second"}) {
    auto file = LogFile::open(path);
    ASSERT_TRUE(file) << file.error();
    const LogFile moved = std::move(*file);
    moved.write(line);
  }
  std::ifstream in(path);
  std::string first, second, third;
  std::getline(in, first);
  std::getline(in, second);
  EXPECT_EQ(first, "first {} %s");
  EXPECT_EQ(second, "second");
  EXPECT_FALSE(std::getline(in, third));
  std::filesystem::remove_all(folder);
}

TEST_F(LogTest, AFileThatCannotBeOpenedSaysWhy) {
  const auto file = LogFile::open("/proc/none/lines");
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().find("/proc/none/lines"), std::string::npos) << file.error();
}

TEST_F(LogTest, TheTimeOfDayIsUtcToTheMicrosecond) {
  const std::string time = time_of_day();
  ASSERT_EQ(time.size(), std::string_view("2026-01-31T23:59:59.123456Z").size()) << time;
  for (const auto& [at, mark] : {std::pair{4, '-'}, {10, 'T'}, {19, '.'}, {26, 'Z'}}) {
    EXPECT_EQ(time[static_cast<std::size_t>(at)], mark) << time;
  }
}

TEST_F(LogTest, StderrGetsOneLinePerReport) {
  testing::internal::CaptureStderr();
  log(Level::warning, "io", "braces {} and %s stay\nnext\tü\x01");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(text.ends_with(" warning io: braces {} and %s stay\\nnext\\tü\\x01\n")) << text;
  EXPECT_EQ(text.find('\n'), text.size() - 1);
  EXPECT_EQ(text.find_first_not_of("0123456789-:. "), text.find("warning"));
}

TEST_F(LogTest, NullBringsStderrBack) {
  catch_reports();
  set_log_sink(nullptr);
  testing::internal::CaptureStderr();
  log(Level::error, "a", "b");
  EXPECT_TRUE(testing::internal::GetCapturedStderr().ends_with("error a: b\n"));
  EXPECT_TRUE(reports_.empty());
}

TEST_F(LogTest, AThrowingSinkHarmsNobody) {
  set_log_sink([](Level, std::string_view, std::string_view) { throw std::runtime_error("no"); });
  log(Level::error, "a", "b");
}

TEST_F(LogTest, AnyThreadReportsWhileSinksChange) {
  std::vector<std::thread> threads;
  set_log_sink([](Level, std::string_view, std::string_view) {});
  std::atomic<bool> stop{false};
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop.load()) log(Level::debug, "a", "dropped or caught");
    });
  }
  for (int i = 0; i < 200; ++i) {
    set_log_sink([i](Level, std::string_view, std::string_view) { EXPECT_GE(i, 0); });
    set_log_level(i % 2 == 0 ? Level::debug : Level::info);
  }
  stop.store(true);
  for (std::thread& t : threads) t.join();
}

TEST(LogLevelTest, NamesGoBothWays) {
  for (const Level level : {Level::debug, Level::info, Level::warning, Level::error, Level::off}) {
    Level parsed{};
    EXPECT_TRUE(parse_level(to_string(level), parsed));
    EXPECT_EQ(parsed, level);
  }
  Level untouched = Level::warning;
  EXPECT_FALSE(parse_level("loud", untouched));
  EXPECT_EQ(untouched, Level::warning);
}

}  // namespace
}  // namespace erlking::base
