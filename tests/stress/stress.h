// What the stress suites share: how much slower a build is, one seed for all that is random, a check that everything
// went.
//
// EK_SEED=<number> in the environment repeats a run's choices (not the machine's timing); a failing test prints its
// seed.
#pragma once

#include "base/random.h"
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>

namespace erlking::testing {

/// By how much less is done where everything takes longer.
#if defined(__SANITIZE_THREAD__)
inline constexpr unsigned kSlower = 10;
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr unsigned kSlower = 4;
#else
inline constexpr unsigned kSlower = 1;
#endif
constexpr unsigned scaled(unsigned n) { return std::max(1u, n / kSlower); }

/// Frames of an instrumented build, and of a failing EXPECT, are large.
inline constexpr std::size_t kStressStack = kSlower == 1 ? 64 * 1024 : 256 * 1024;

/// What EK_SEED says, else the system's; the same for the whole program.
inline std::uint64_t seed() {
  static const std::uint64_t value = [] {
    const char* const given = std::getenv("EK_SEED");
    return given != nullptr ? std::strtoull(given, nullptr, 0) : base::entropy_seed();
  }();
  return value;
}

/// A stream of its own for whoever is number `n` in the test.
inline base::Random random_of(std::uint64_t n) { return base::Random(seed() + n * 0x9e3779b97f4a7c15u); }

inline void say_seed_on_failure() {
  if (::testing::Test::HasFailure()) std::cerr << "EK_SEED=" << seed() << '\n';
}

/// Counts how many of it exist, wherever they are: in a mailbox, on a stack, in a closure.
class Tracked {
 public:
  explicit Tracked(std::shared_ptr<std::atomic<long>> count) noexcept : count_(std::move(count)) { add(1); }
  Tracked(Tracked&& other) noexcept : count_(std::move(other.count_)) {}
  Tracked& operator=(Tracked&& other) noexcept {
    std::swap(count_, other.count_);
    return *this;
  }
  ~Tracked() { add(-1); }
  explicit operator bool() const noexcept { return count_ != nullptr; }

 private:
  void add(long n) noexcept {
    if (count_ != nullptr) count_->fetch_add(n);
  }
  std::shared_ptr<std::atomic<long>> count_;
};
inline std::shared_ptr<std::atomic<long>> make_count() { return std::make_shared<std::atomic<long>>(0); }

/// A RuntimeTest on the real clock that says its seed when it fails.
class StressTest : public RuntimeTest {
 protected:
  StressTest() { options.clock = ClockKind::real; }
  void TearDown() override {
    RuntimeTest::TearDown();
    say_seed_on_failure();
  }
  /// Waits for the end of a process that may have ended already.
  void expect_well_ended(Pid pid) {
    const Reason why = rt().wait(pid, 30s).value_or(Reason("hangs"));
    EXPECT_TRUE(why == reason::normal || why == reason::noproc) << why.report();
  }
  /// Runs `body` as a process, then waits until every process has ended by itself.
  template <class F>
  void run_to_the_end(F&& body) {
    run(std::forward<F>(body));
    EXPECT_TRUE(drive([&] { return rt().processes() == 0; })) << rt().processes() << " processes are left";
  }
};

/// Takes about so long, without a safe point.
inline void compute(std::uint64_t turns) {
  for (std::uint64_t i = 0; i < turns; ++i) asm volatile("" ::: "memory");
}

}  // namespace erlking::testing
