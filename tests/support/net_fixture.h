// A runtime for tests of what lies outside: each driver on each scheduler, on the real clock, and a check that no
// descriptor is left open.
//
//   struct PipeTest : NetTest {};
//   INSTANTIATE_TEST_SUITE_P(Every, PipeTest, every_place(), name_of_place);
#pragma once

#include "tests/stress/stress.h"
#include <erlking/erlking.h>

#include <cstddef>
#include <filesystem>
#include <ostream>
#include <string>
#include <string_view>
#include <thread>

namespace erlking {

inline void PrintTo(IoFailure failure, std::ostream* out) { *out << to_string(failure); }

namespace testing {

/// Where such a test runs.
struct Place {
  const char *driver, *scheduler;
  unsigned workers;
};
inline std::string name_of_place(const ::testing::TestParamInfo<Place>& info) {
  const auto [driver, scheduler, workers] = info.param;
  return std::string(driver) + "_" + scheduler + (workers != 0 ? std::to_string(workers) : "");
}
inline auto every_place() {
  return ::testing::Values(Place{"uring", "steal", 1}, Place{"uring", "steal", 2}, Place{"uring", "threads", 0},
                           Place{"epoll", "steal", 1}, Place{"epoll", "steal", 2}, Place{"epoll", "threads", 0});
}

class NetTest : public RuntimeTest, public ::testing::WithParamInterface<Place> {
 protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    options.io = GetParam().driver;
    options.scheduler = GetParam().scheduler;
    options.workers = GetParam().workers;
    options.clock = ClockKind::real;
    before_ = descriptors();
  }
  void TearDown() override {
    RuntimeTest::TearDown();
    // What a spare thread was at when nobody wanted it any more ends a little later.
    for (int i = 0; i < 500 && descriptors() != before_; ++i) std::this_thread::sleep_for(10ms);
    EXPECT_EQ(descriptors(), before_) << "descriptors leaked";
  }
  bool is_epoll() const { return GetParam().driver == std::string_view("epoll"); }
  static std::size_t descriptors() {
    std::size_t n = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
    return n;
  }

 private:
  std::size_t before_ = 0;
};

/// How it failed; that it did not fails the test.
template <class T>
IoFailure failure_of(const std::expected<T, IoError>& outcome) {
  EXPECT_FALSE(outcome.has_value());
  return outcome ? IoFailure::failed : outcome.error().kind;
}

}  // namespace testing
}  // namespace erlking
