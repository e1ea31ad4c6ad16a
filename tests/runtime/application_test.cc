// A runtime that is a tree of supervisors: signals, the order of its stop, its exit status.
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

using Strings = std::vector<std::string>;

class Part : public Server {
 public:
  using Handles = Messages<Drain>;
  Part(std::function<void(std::string)> tell, std::string name) : tell_(std::move(tell)), name_(std::move(name)) {
    trap_exit(true);
    tell_(name_ + " up");
  }
  void on(Drain&) {}
  void terminate(const Reason&) { tell_(name_ + " down"); }

 private:
  std::function<void(std::string)> tell_;
  std::string name_;
};

class ApplicationTest : public RuntimeTest {
 protected:
  void SetUp() override {
    options.clock = ClockKind::real;
    RuntimeTest::SetUp();
  }
  ChildSpec part(std::string name) {
    const auto tell = [this](std::string what) {
      std::lock_guard lock(mutex_);
      all_.push_back(std::move(what));
    };
    return child<Part>(name, {.shutdown = forever}, std::function<void(std::string)>(tell), name);
  }
  SupervisorSpec tree() {
    return {.children = {part("a"), supervisor("sub", {.children = {part("b"), part("c")}}), part("d")}};
  }
  Strings happened() {
    std::lock_guard lock(mutex_);
    return all_;
  }
  bool was_logged(std::string_view text) {
    const auto all = reports();
    return std::any_of(all.begin(), all.end(),
                       [&](const Report& report) { return report.text.find(text) != std::string::npos; });
  }
  /// Runs the tree, and what is to happen once it is up.
  template <class Then>
  ExitStatus run_tree(SupervisorSpec spec, Then&& then, RootOptions with = {}) {
    Runtime& runtime = rt();
    auto status = std::async(std::launch::async, [&] { return runtime.run(std::move(spec), with); });
    then();
    return status.get();
  }
  void until(std::size_t many) {
    while (happened().size() < many) std::this_thread::sleep_for(1ms);
  }

 private:
  std::mutex mutex_;
  Strings all_;
};

class SignalTest : public ApplicationTest, public ::testing::WithParamInterface<int> {};

TEST_P(SignalTest, StopsTheTreeInOrder) {
  const ExitStatus status = run_tree(tree(), [&] {
    until(4);
    std::raise(GetParam());
  });
  EXPECT_EQ(status, kInOrder);
  EXPECT_EQ(happened(), (Strings{"a up", "b up", "c up", "d up", "d down", "c down", "b down", "a down"}));
}

INSTANTIATE_TEST_SUITE_P(Both, SignalTest, ::testing::Values(SIGTERM, SIGINT));

TEST_F(ApplicationTest, StopStopsTheTreeInOrderToo) {
  Runtime& runtime = rt();
  ASSERT_TRUE(runtime
                  .spawn([this] {
                    trap_exit(true);
                    EXPECT_TRUE(start_link(10s, tree()).has_value());
                    receive(forever, [](Exit) {});
                    sleep(100ms);  // the tree needs nobody's leave
                  })
                  .has_value());
  until(4);
  EXPECT_TRUE(runtime.stop());
  EXPECT_EQ(happened(), (Strings{"a up", "b up", "c up", "d up", "d down", "c down", "b down", "a down"}));
}

TEST_F(ApplicationTest, TheEndOfTheFirstProcessStopsTheTreeInOrder) {
  EXPECT_EQ(rt().run([this] { EXPECT_TRUE(start_link(10s, tree()).has_value()); }), 0);
  EXPECT_EQ(happened(), (Strings{"a up", "b up", "c up", "d up", "d down", "c down", "b down", "a down"}));
}

TEST_F(ApplicationTest, TheRootsEndByItselfIsItsStatus) {
  const auto done = [] { sleep(10ms); };
  EXPECT_EQ(run_tree({.auto_shutdown = AutoShutdown::any_significant,
                      .children = {part("a"), child("work", {.restart = transient, .significant = true}, done)}},
                     [] {}),
            kInOrder);
  EXPECT_EQ(happened(), (Strings{"a up", "a down"}));
}

TEST_F(ApplicationTest, GivingUpIsAFailure) {
  EXPECT_EQ(
      run_tree({.intensity = {2, 10s}, .children = {part("a"), child("bad", {}, [] { exit(Reason("bad")); })}}, [] {}),
      kRootFailed);
  EXPECT_EQ(happened(), (Strings{"a up", "a down"}));
  EXPECT_TRUE(was_logged("the root supervisor ended: shutdown"));
}

TEST_F(ApplicationTest, ARootThatDoesNotStartIsAFailure) {
  const auto fails = []() -> Started { return std::unexpected(StartError{StartFailure::failed, Reason("no_disk")}); };
  EXPECT_EQ(run_tree({.children = {part("a"), child("bad", {}, fails)}}, [] {}, {.signals = false}), kRootFailed);
  EXPECT_EQ(happened(), (Strings{"a up", "a down"}));
  EXPECT_TRUE(was_logged("the root supervisor did not start: {shutdown, failed_to_start_child: bad: no_disk}"));
}

TEST_F(ApplicationTest, WhoDoesNotStopIsNamedAndKilled) {
  options.stop = 400ms;
  const auto mute = [] {
    trap_exit(true);
    wait_forever();
  };
  const ExitStatus status =
      run_tree({.children = {part("a"), child("mute", {.shutdown = forever, .spawn = {.name = "mute"}}, mute)}}, [&] {
        until(1);
        while (!rt().whereis("mute")) std::this_thread::sleep_for(1ms);
        std::this_thread::sleep_for(10ms);
        std::raise(SIGTERM);
      });
  EXPECT_EQ(status, kNotInOrder);
  EXPECT_TRUE(was_logged("did not end within 200 ms of being told to; killed now"));
  EXPECT_TRUE(was_logged(" mute"));
}

TEST_F(ApplicationTest, SignalsAreForOneRuntimeAtATimeAndThenAsBefore) {
  static std::atomic<int> caught;
  caught = 0;
  const auto before = std::signal(
      SIGTERM, +[](int) { ++caught; });
  const ExitStatus status = run_tree(tree(), [&] {
    until(4);
    Options others = options;
    Runtime other(others);
    EXPECT_THROW(other.run(SupervisorSpec{}), std::logic_error);
    std::raise(SIGTERM);
  });
  EXPECT_EQ(status, kInOrder);
  EXPECT_EQ(caught, 0);
  std::raise(SIGTERM);
  EXPECT_EQ(caught, 1);
  std::signal(SIGTERM, before);
}

}  // namespace
}  // namespace erlking::testing
