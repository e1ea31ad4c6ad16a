// The seats that the tests of a scheduler back end are run on, each a policy of policy_names() and a number of workers,
// and the fixture of those about tasks alone. Back ends are of two kinds, by Policy::max_tasks(): their tasks share
// workers, or each has one of its own.
#pragma once

#include "tests/stress/stress.h"
#include "tests/support/crew.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace erlking::testing {

using namespace sched;

using Seat = std::tuple<std::string_view, unsigned>;  // a policy and a number of workers

inline std::string name_of_seat(const ::testing::TestParamInfo<Seat>& info) {
  std::string name(std::get<0>(info.param));
  std::ranges::replace_if(
      name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name + "Workers" + std::to_string(std::get<1>(info.param));
}
/// Policy::max_tasks() of a back end.
inline unsigned max_tasks_of(std::string_view policy) {
  return Crew({.scheduler = {.policy = policy, .workers = 1}}).policy().max_tasks();
}
enum class Kind { shared, own };  // workers
inline std::vector<std::string_view> policies(Kind kind) {
  std::vector<std::string_view> names = policy_names();
  std::erase_if(names, [&](std::string_view name) { return (max_tasks_of(name) == 0) != (kind == Kind::shared); });
  return names;
}
inline std::vector<Seat> seats(Kind kind, std::initializer_list<unsigned> workers) {
  std::vector<Seat> seats;
  for (const std::string_view name : policies(kind)) {
    for (const unsigned n : workers) seats.emplace_back(name, n);
  }
  return seats;
}
/// For what is about the turns that tasks take on a worker, and so means nothing where each has one.
inline auto shared_workers(auto... workers) { return ::testing::ValuesIn(seats(Kind::shared, {workers...})); }
/// Every back end; the numbers of workers are for those who heed them.
inline auto with_workers(auto... workers) {
  std::vector<Seat> all = seats(Kind::shared, {workers...});
  for (const Seat& seat : seats(Kind::own, {std::max({workers...})})) all.push_back(seat);
  return ::testing::ValuesIn(all);
}

/// More than the places of a worker's ring, so that some wait behind it.
inline constexpr unsigned kMany = 1000;

class PolicyConformanceTest : public ::testing::TestWithParam<Seat> {
 protected:
  static std::string_view policy() { return std::get<0>(GetParam()); }
  static unsigned workers() { return std::get<1>(GetParam()); }
  bool has_own_workers() { return crew().policy().max_tasks() != 0; }
  /// Where a test pins what it wants on one worker: as far as can be from the first. A policy that gives each task its
  /// own worker pins it there instead.
  static std::uint16_t last_worker() { return static_cast<std::uint16_t>(workers() - 1); }
  static std::uint16_t worker_of(unsigned i) { return static_cast<std::uint16_t>(i % workers()); }

  Crew& crew() {
    if (crew_ == nullptr) {
      crew_ = std::make_unique<Crew>(
          CrewOptions{.scheduler = {.policy = policy(), .workers = workers(), .affinity = affinity}, .clock = clock});
    }
    return *crew_;
  }
  /// Whether `n` jobs end. What was lost, or never let run, fails here.
  void expect_ended(std::uint64_t n) { EXPECT_TRUE(crew().ended.reach(n)) << crew().ended.count() << " have ended"; }

  bool affinity = false;
  base::Clock::Kind clock = base::Clock::Kind::real;

  void TearDown() override { say_seed_on_failure(); }

 private:
  std::unique_ptr<Crew> crew_;
};

}  // namespace erlking::testing
