// Calls that wait for each other are told of, if Options.call_cycles asks for it; others never are.
#include "tests/support/runtime_fixture.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

namespace erlking::testing {
namespace {

/// Calls the next of a row, which goes on with what is left of it.
struct Along {
  std::vector<std::string> row;
  Duration bound;
  using Reply = bool;
};

class Link : public Server {
 public:
  using Handles = Messages<Along>;
  bool on(Along& along) {
    if (along.row.empty()) return true;
    const std::string next = along.row.front();
    along.row.erase(along.row.begin());
    const auto answer = call(Name{next}, Along{along.row, along.bound}, along.bound);
    return answer.has_value() && *answer;
  }
};

class CallGraphTest : public RuntimeTest {
 protected:
  CallGraphTest() { options.call_cycles = true; }
  std::vector<std::string> cycles() {
    std::vector<std::string> told;
    for (const Report& report : reports()) {
      if (report.text.find("cycle") != std::string::npos) told.push_back(report.text);
    }
    return told;
  }
  static void start_all(std::initializer_list<const char*> names) {
    for (const char* name : names) ASSERT_TRUE(erlking::start<Link>(1s, {.name = name}).has_value());
  }
};

TEST_F(CallGraphTest, ACycleIsToldOfWithItsChain) {
  std::vector<std::string> expected;  // by whoever is the last to begin its wait
  run([&] {
    start_all({"a", "b", "c"});
    const char* const names[] = {"a", "b", "c"};
    for (std::size_t first = 0; first < 3; ++first) {
      std::string text = "a cycle of calls: ";
      for (std::size_t i = 0; i <= 3; ++i) {
        const char* const name = names[(first + i) % 3];
        text += (i == 0 ? "" : i == 1 ? " waits for " : ", which waits for ") + to_string(*whereis(name)) + " " + name;
      }
      expected.push_back(text);
    }
    const auto answer = call(Name{"a"}, Along{{"b", "c", "a"}, 1s}, 10s);
    EXPECT_EQ(answer, false);
    for (const char* name : names) exit(*whereis(name), reason::kill);
  });
  const auto told = cycles();
  ASSERT_GE(told.size(), 1u);
  for (const std::string& each : told) EXPECT_TRUE(std::ranges::count(expected, each) == 1) << each;
}

TEST_F(CallGraphTest, AHookGetsTheProcessesOfTheCycleInItsOrder) {
  std::mutex mutex;
  std::vector<erlking::Report> given;
  options.report_hook = [&](const erlking::Report& report) {
    const std::lock_guard lock(mutex);
    given.push_back(report);
  };
  ReportedProcess a, b;
  run([&] {
    start_all({"a", "b"});
    a = {*whereis("a"), "a"};
    b = {*whereis("b"), "b"};
    EXPECT_EQ(call(Name{"a"}, Along{{"b", "a"}, 1s}, 10s), false);
    for (const char* name : {"a", "b"}) exit(*whereis(name), reason::kill);
  });
  ASSERT_FALSE(given.empty());
  const auto* const cycle = std::get_if<CallCycleReport>(&given.front());
  ASSERT_NE(cycle, nullptr);
  EXPECT_EQ(cycle->processes, (cycle->processes.front() == a ? std::vector{a, b} : std::vector{b, a}));
  const auto json = nlohmann::json::parse(to_json(*cycle));
  EXPECT_EQ(json.at("kind"), "call_cycle");
  EXPECT_EQ(json.at("processes").at(0).at("pid"), to_string(cycle->processes[0].pid));
  EXPECT_EQ(json.at("processes").at(1).at("name"), cycle->processes[1].name);
}

TEST_F(CallGraphTest, ACrowdOfCyclesIsLimitedAsOtherReportsAre) {
  options.reports_per_second = 1;
  run([] {
    start_all({"a", "b"});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(call(Name{"a"}, Along{{"b", "a"}, 100ms}, 10s), false);
    for (const char* name : {"a", "b"}) exit(*whereis(name), reason::kill);
  });
  EXPECT_TRUE(rt().stop());    // tells what was left out
  const auto told = cycles();  // three at least, in two seconds at most
  EXPECT_TRUE(std::ranges::any_of(
      told, [](const std::string& text) { return text.find("call_cycle reports were left out") != text.npos; }));
}

TEST_F(CallGraphTest, TwoProcessesThatCallEachOther) {
  run([] {
    const Pid me = self();
    const Pid other = spawn([me] { EXPECT_FALSE(call(me, Along{}, 1s).has_value()); });
    EXPECT_FALSE(call(other, Along{}, 1s).has_value());
  });
  EXPECT_GE(cycles().size(), 1u);  // 2 if they close it at the same time
}

TEST_F(CallGraphTest, NothingIsToldUnlessAskedFor) {
  options.call_cycles = false;
  run([] {
    start_all({"a", "b"});
    EXPECT_EQ(call(Name{"a"}, Along{{"b", "a"}, 1s}, 10s), false);
    for (const char* name : {"a", "b"}) exit(*whereis(name), reason::kill);
  });
  EXPECT_TRUE(cycles().empty());
}

TEST_F(CallGraphTest, ChainsThatAreNoCyclesAreNotToldOf) {
  options.workers = 4;
  run([] {
    start_all({"a", "b", "c"});
    std::vector<MonitorRef> callers;
    for (int n = 0; n < 8; ++n) {
      callers.push_back(spawn_monitor([] {
                          for (int i = 0; i < 300; ++i) {
                            EXPECT_EQ(call(Name{"a"}, Along{{"b", "c"}, 10s}, 10s), true);
                            EXPECT_EQ(call(Name{"b"}, Along{{"c"}, 10s}, 10s), true);
                          }
                        }).ref);
    }
    for (const MonitorRef ref : callers) EXPECT_EQ(await_down(ref), reason::normal);
    for (const char* name : {"a", "b", "c"}) exit(*whereis(name), reason::kill);
  });
  EXPECT_TRUE(cycles().empty());
}

}  // namespace
}  // namespace erlking::testing
