// Process groups: scopes, joining and leaving, reading, watching (SEMANTICS §13).
#include "runtime/groups.h"

#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

using Kind = groups::Change::Kind;

struct Go {};
struct Filler {};
struct Idler {
  void handle(Message) {}
};

std::vector<Pid> sorted(const groups::Members& members) {
  std::vector<Pid> pids(members.begin(), members.end());
  std::sort(pids.begin(), pids.end());
  return pids;
}
std::vector<Pid> sorted(std::vector<Pid> pids) {
  std::sort(pids.begin(), pids.end());
  return pids;
}
std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

/// The failure of a call that has one.
template <class T>
CallError error_of(const std::expected<T, CallError>& answer) {
  if (answer) ADD_FAILURE() << "it succeeded";
  return answer ? CallError{} : answer.error();
}

/// Returns when the scope has handled all that its members' deaths have sent it: until the group is as large as said.
void until_size(const groups::Group& group, std::size_t size) {
  for (int i = 0; i < 10'000 && groups::members(group).size() != size; ++i) sleep(1ms);
  ASSERT_EQ(groups::members(group).size(), size);
}

/// Ends a process and returns when it has ended.
void end(Pid pid) {
  const MonitorRef ref = monitor(pid);
  exit(pid, reason::kill);
  await_down(ref);
}

/// The next Change of the subscription; fails the test if none comes.
groups::Change next_change(groups::SubscriptionRef ref) {
  return receive(10s,
                 when([&](const groups::Change& change) { return change.ref == ref; },
                      [](groups::Change& change) { return std::move(change); }),
                 [](Timeout) {
                   ADD_FAILURE() << "no Change";
                   return groups::Change{};
                 });
}
void expect_change(groups::SubscriptionRef ref, Kind kind, const std::string& group, std::vector<Pid> pids) {
  const groups::Change change = next_change(ref);
  EXPECT_EQ(change.kind, kind);
  EXPECT_EQ(change.group ? *change.group : "none", group);
  EXPECT_EQ(std::vector<Pid>(change.pids.begin(), change.pids.end()), pids);
}
/// How many processes the scope watches.
std::size_t watched_by(Pid scope) { return process_info(scope, 10s)->monitors.size(); }

struct GroupsTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, GroupsTest, every_setting(), name_of_setting);

TEST_P(GroupsTest, Rule_13_1_WithoutAScopeCallsSayNoproc) {
  run([] {
    EXPECT_EQ(error_of(groups::join("g", self(), 1s)).kind, CallFailure::noproc);
    EXPECT_EQ(error_of(groups::leave("g", self(), 1s)).kind, CallFailure::noproc);
    EXPECT_EQ(error_of(groups::monitor("g", 1s)).kind, CallFailure::noproc);
    EXPECT_EQ(error_of(groups::monitor_scope(1s)).kind, CallFailure::noproc);
    EXPECT_TRUE(groups::members("g").empty());
    EXPECT_TRUE(groups::which_groups().empty());
    EXPECT_EQ(groups::start(5s, "").error().kind, StartFailure::bad_options);
    EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
  });
}

TEST_P(GroupsTest, Rule_13_1_AGroupIsThereWhileItHasMembers) {
  run([] {
    const Started scope = groups::start_link(5s);
    ASSERT_TRUE(scope);
    EXPECT_EQ(whereis(groups::default_scope), *scope);
    EXPECT_EQ(groups::start_link(5s).error(), (StartError{StartFailure::already_started, {}, *scope}));
    EXPECT_TRUE(groups::members("g").empty());
    ASSERT_TRUE(groups::join("g", self(), 1s));
    ASSERT_TRUE(groups::join("", self(), 1s)) << "any name will do";
    EXPECT_EQ(sorted(groups::which_groups()), (std::vector<std::string>{"", "g"}));
    EXPECT_EQ(sorted(groups::members("g")), std::vector<Pid>{self()});
    ASSERT_TRUE(groups::leave("g", self(), 1s));
    EXPECT_EQ(groups::which_groups(), std::vector<std::string>{""});
    EXPECT_TRUE(groups::members("g").empty());
    const auto watch = groups::monitor("watched only", 1s);
    EXPECT_EQ(groups::which_groups(), std::vector<std::string>{""});
    ASSERT_TRUE(groups::join("none at all", std::vector<Pid>{}, 1s));
    EXPECT_EQ(groups::which_groups(), std::vector<std::string>{""});
  });
}

TEST_P(GroupsTest, Rule_13_1_ScopesDoNotMeet) {
  run([] {
    ASSERT_TRUE(groups::start(5s, "one"));
    ASSERT_TRUE(groups::start(5s, "two"));
    ASSERT_TRUE(groups::join({"g", "one"}, self(), 1s));
    EXPECT_EQ(groups::members({"g", "one"}).size(), 1u);
    EXPECT_TRUE(groups::members({"g", "two"}).empty());
    EXPECT_TRUE(groups::members("g").empty());
    EXPECT_EQ(error_of(groups::leave({"g", "two"}, self(), 1s)).why, Reason("not_joined"));
    EXPECT_EQ(groups::which_groups("one"), std::vector<std::string>{"g"});
    EXPECT_TRUE(groups::which_groups("two").empty());
    end(*whereis("one"));
    EXPECT_TRUE(groups::which_groups("one").empty());
    EXPECT_EQ(error_of(groups::join({"g", "one"}, self(), 1s)).kind, CallFailure::noproc);
  });
}

TEST_P(GroupsTest, Rule_13_2_NJoinsTakeNLeaves) {
  run([] {
    ASSERT_TRUE(groups::start(5s));
    const Pid a = spawn(wait_forever), b = spawn(wait_forever);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(groups::join("g", a, 1s));
    ASSERT_TRUE(groups::join("g", std::vector<Pid>{b, a, b}, 1s));
    EXPECT_EQ(sorted(groups::members("g")), sorted({a, a, a, a, b, b}));
    ASSERT_TRUE(groups::leave("g", a, 1s));
    EXPECT_EQ(sorted(groups::members("g")), sorted({a, a, a, b, b}));
    ASSERT_TRUE(groups::leave("g", std::vector<Pid>{a, a, a, a, b}, 1s)) << "one of them was none any more";
    EXPECT_EQ(sorted(groups::members("g")), std::vector<Pid>{b});
    ASSERT_TRUE(groups::leave("g", std::vector<Pid>{a, b}, 1s)) << "one of them is a member";
    const CallError error = error_of(groups::leave("g", std::vector<Pid>{a, b}, 1s));
    EXPECT_EQ(error, (CallError{CallFailure::refused, Reason("not_joined")}));
    EXPECT_EQ(watched_by(*whereis(groups::default_scope)), 0u);
  });
}

TEST_P(GroupsTest, Rule_13_2_ADeathEndsEveryMembership) {
  run([] {
    const Pid scope = groups::start(5s).value();
    const Pid a = spawn(wait_forever), b = spawn(wait_forever);
    for (const char* group : {"g", "h", "g"}) {
      ASSERT_TRUE(groups::join(group, a, 1s));
      ASSERT_TRUE(groups::join(group, b, 1s));
    }
    end(a);
    until_size("g", 2);
    until_size("h", 1);
    EXPECT_EQ(sorted(groups::members("g")), sorted({b, b}));
    end(b);
    until_size("g", 0);
    until_size("h", 0);
    EXPECT_TRUE(groups::which_groups().empty());
    EXPECT_TRUE(is_alive(scope, 1s)) << "it is linked to none";
  });
}

TEST_P(GroupsTest, Rule_13_2_WhoHasEndedMayJoinAndIsCleanedUp) {
  run([] {
    const Pid scope = groups::start(5s).value();
    const Monitored gone = spawn_monitor([] {});
    await_down(gone);
    EXPECT_TRUE(groups::join("g", std::vector<Pid>{gone.pid, gone.pid, Pid{}}, 1s));
    until_size("g", 0);
    EXPECT_TRUE(groups::join("g", gone.pid, 1s));
    until_size("g", 0);
    EXPECT_EQ(watched_by(scope), 0u);
  });
}

TEST_P(GroupsTest, Rule_13_3_ReadingWaitsForNobody) {
  run([] {
    const Pid scope = groups::start(5s).value();
    const Pid a = spawn(wait_forever);
    ASSERT_TRUE(groups::join("g", std::vector<Pid>{a, self()}, 1s));
    ASSERT_TRUE(sys::suspend(scope, 1s));
    EXPECT_EQ(sorted(groups::members("g")), sorted({a, self()}));
    EXPECT_EQ(sorted(groups::local_members("g")), sorted({a, self()}));
    EXPECT_EQ(groups::which_groups(), std::vector<std::string>{"g"});
    EXPECT_EQ(error_of(groups::join("g", a, 10ms)).kind, CallFailure::timeout);
    ASSERT_TRUE(sys::resume(scope, 1s));
    until_size("g", 3);
  });
}

TEST_P(GroupsTest, Rule_13_3_APictureDoesNotChange) {
  run([] {
    ASSERT_TRUE(groups::start(5s));
    ASSERT_TRUE(groups::join("g", self(), 1s));
    const groups::Members before = groups::members("g");
    const groups::Members again = groups::members("g");
    EXPECT_EQ(before.begin(), again.begin()) << "nothing is copied while nothing changes";
    ASSERT_TRUE(groups::join("g", self(), 1s));
    EXPECT_EQ(before.size(), 1u);
    EXPECT_EQ(before[0], self());
    EXPECT_EQ(groups::members("g").size(), 2u);
    ASSERT_TRUE(groups::leave("g", std::vector<Pid>{self(), self()}, 1s));
    EXPECT_EQ(before.size(), 1u);
  });
}

TEST_P(GroupsTest, Rule_13_4_ASubscriberGetsAPictureAndThenEachChange) {
  run([] {
    ASSERT_TRUE(groups::start(5s));
    const Pid a = spawn(wait_forever), b = spawn(wait_forever);
    ASSERT_TRUE(groups::join("g", a, 1s));
    const auto watch = groups::monitor("g", 1s);
    ASSERT_TRUE(watch);
    EXPECT_EQ(sorted(watch->members), std::vector<Pid>{a});
    ASSERT_TRUE(groups::join("g", std::vector<Pid>{b, a}, 1s));
    ASSERT_TRUE(groups::join("other", b, 1s));
    ASSERT_TRUE(groups::leave("g", std::vector<Pid>{self(), b, a, b}, 1s));
    EXPECT_FALSE(groups::leave("g", b, 1s));
    ASSERT_TRUE(groups::join("g", a, 1s));
    end(a);
    expect_change(watch->ref, Kind::joined, "g", {b, a});
    expect_change(watch->ref, Kind::left, "g", {b, a});
    expect_change(watch->ref, Kind::joined, "g", {a});
    expect_change(watch->ref, Kind::left, "g", {a, a});
    ASSERT_TRUE(groups::join("g", self(), 1s));
    expect_change(watch->ref, Kind::joined, "g", {self()});
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_P(GroupsTest, Rule_13_4_ASubscriberToAScopeHearsOfAllGroups) {
  run([] {
    ASSERT_TRUE(groups::start(5s, "s"));
    const Pid a = spawn(wait_forever);
    ASSERT_TRUE(groups::join({"g", "s"}, a, 1s));
    ASSERT_TRUE(groups::join({"h", "s"}, std::vector<Pid>{a, self()}, 1s));
    const auto watch = groups::monitor_scope("s", 1s);
    ASSERT_TRUE(watch);
    EXPECT_EQ(watch->ref.scope, whereis("s"));
    ASSERT_EQ(watch->groups.size(), 2u);
    EXPECT_EQ(sorted(watch->groups.at("g")), std::vector<Pid>{a});
    EXPECT_EQ(sorted(watch->groups.at("h")), sorted({a, self()}));
    ASSERT_TRUE(groups::join({"new", "s"}, self(), 1s));
    ASSERT_TRUE(groups::leave({"g", "s"}, a, 1s));
    expect_change(watch->ref, Kind::joined, "new", {self()});
    expect_change(watch->ref, Kind::left, "g", {a});
    end(a);
    expect_change(watch->ref, Kind::left, "h", {a});
  });
}

TEST_P(GroupsTest, Rule_13_4_NoGapAndNothingTwice) {
  const int changers = options.scheduler == "threads" ? 4 : 16;
  run([changers] {
    ASSERT_TRUE(groups::start(5s));
    std::vector<Monitored> all;
    for (int i = 0; i < changers; ++i) {
      all.push_back(spawn_monitor([i] {
        for (int turn = 0; turn < 40; ++turn) {
          ASSERT_TRUE(groups::join("g", self(), forever));
          if ((turn + i) % 3 != 0) {
            ASSERT_TRUE(groups::leave("g", self(), forever));
          }
          if (i % 4 == 3 && turn == 20) return;  // its death is a change like the others
        }
        receive(forever, [](Go) {});
      }));
    }
    // Some subscribe in the middle; what they have seen and what is there must be the same in the end.
    struct Tally {
      groups::SubscriptionRef ref;
      std::map<Pid, int> joins;
    };
    std::vector<Tally> tallies;
    for (int i = 0; i < 20; ++i) {
      const auto watch = groups::monitor("g", forever);
      ASSERT_TRUE(watch);
      Tally& tally = tallies.emplace_back(Tally{watch->ref, {}});
      for (Pid pid : watch->members) ++tally.joins[pid];
      for (int turn = 0; turn < 5; ++turn) yield();
    }
    for (const Monitored& changer : all) send(changer.pid, Go{});
    for (const Monitored& changer : all) await_down(changer);
    until_size("g", 0);
    for (Tally& tally : tallies) {
      for (int left = 1; left != 0;) {
        left = receive(0s,
                       when([&](const groups::Change& change) { return change.ref == tally.ref; },
                            [&](groups::Change change) {
                              for (Pid pid : change.pids) {
                                tally.joins[pid] += change.kind == Kind::joined ? 1 : -1;
                                EXPECT_GE(tally.joins[pid], 0);
                              }
                              return 1;
                            }),
                       [](Timeout) { return 0; });
      }
      for (const auto& [pid, joins] : tally.joins) EXPECT_EQ(joins, 0) << to_string(pid);
    }
  });
}

TEST_P(GroupsTest, Rule_13_4_DemonitorTakesWhatIsQueued) {
  run([] {
    const Pid scope = groups::start(5s).value();
    const auto watch = groups::monitor("g", 1s), other = groups::monitor("g", 1s);
    ASSERT_TRUE(watch && other);
    send(self(), Filler{});
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(groups::join("g", self(), 1s));
    EXPECT_TRUE(groups::demonitor(watch->ref));
    EXPECT_FALSE(groups::demonitor(watch->ref));
    EXPECT_FALSE(groups::demonitor({}));
    const groups::SubscriptionRef ref = other->ref;
    await_down(spawn_monitor([ref] { EXPECT_FALSE(groups::demonitor(ref)) << "it is somebody else's"; }));
    ASSERT_TRUE(groups::join("g", self(), 1s));
    for (int i = 0; i < 4; ++i) expect_change(other->ref, Kind::joined, "g", {self()});
    receive(0s, [](Filler) {});
    EXPECT_TRUE(mailbox_empty());
    EXPECT_TRUE(groups::demonitor(other->ref));
    ASSERT_TRUE(groups::leave("g", std::vector<Pid>(4, self()), 1s));
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(watched_by(scope), 0u);
    EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
  });
}

TEST_P(GroupsTest, Rule_13_4_ASubscribersEndEndsItsSubscriptions) {
  run([] {
    const Pid scope = groups::start(5s).value();
    const Pid subscriber = spawn([] {
      EXPECT_TRUE(groups::monitor("g", 1s));
      EXPECT_TRUE(groups::monitor("g", 1s));
      EXPECT_TRUE(groups::monitor_scope(1s));
      EXPECT_TRUE(groups::join("g", self(), 1s));
      wait_forever();
    });
    until_size("g", 1);
    EXPECT_EQ(watched_by(scope), 1u) << "one monitor for all of it";
    end(subscriber);
    until_size("g", 0);
    EXPECT_EQ(watched_by(scope), 0u);
    EXPECT_TRUE(groups::join("g", self(), 1s));
  });
}

TEST_P(GroupsTest, ASubscriptionThatCameTooLateIsNone) {
  run([] {
    const Pid scope = groups::start(5s).value();
    ASSERT_TRUE(sys::suspend(scope, 1s));
    EXPECT_EQ(error_of(groups::monitor("g", 10ms)).kind, CallFailure::timeout);
    EXPECT_EQ(error_of(groups::monitor_scope(10ms)).kind, CallFailure::timeout);
    ASSERT_TRUE(sys::resume(scope, 1s));
    ASSERT_TRUE(groups::join("g", self(), 1s));
    EXPECT_TRUE(mailbox_empty());
    ASSERT_TRUE(groups::leave("g", self(), 1s));
    EXPECT_EQ(watched_by(scope), 0u);
    EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
  });
}

TEST_P(GroupsTest, Rule_13_5_AScopeThatStartsAnewKnowsNobody) {
  run([] {
    const Pid first = groups::start(5s).value();
    const auto watch = groups::monitor("g", 1s);
    ASSERT_TRUE(watch);
    const MonitorRef ref = monitor(watch->ref.scope);
    ASSERT_TRUE(groups::join("g", std::vector<Pid>{self(), self()}, 1s));
    const groups::Members before = groups::members("g");
    exit(first, reason::kill);
    EXPECT_EQ(await_down(ref), reason::killed);
    EXPECT_TRUE(groups::members("g").empty());
    EXPECT_TRUE(groups::which_groups().empty());
    EXPECT_EQ(before.size(), 2u);
    ASSERT_TRUE(groups::start(5s));
    EXPECT_TRUE(groups::members("g").empty());
    EXPECT_EQ(error_of(groups::leave("g", self(), 1s)).why, Reason("not_joined"));
    expect_change(watch->ref, Kind::joined, "g", {self(), self()});
    ASSERT_TRUE(groups::join("g", self(), 1s));
    EXPECT_TRUE(mailbox_empty()) << "who subscribed to the first one hears nothing of the second";
    EXPECT_EQ(groups::members("g").size(), 1u);
    EXPECT_TRUE(groups::demonitor(watch->ref));
  });
}

TEST_P(GroupsTest, Rule_14_1_ChangesComeThroughAFullMailbox) {
  run([] {
    ASSERT_TRUE(groups::start(5s));
    set_mailbox_bound(2);
    const auto watch = groups::monitor("g", 1s);
    ASSERT_TRUE(watch);
    while (send(self(), Filler{}) == Delivery::queued) {
    }
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(groups::join("g", self(), 1s));
    for (int i = 0; i < 10; ++i) expect_change(watch->ref, Kind::joined, "g", {self()});
    EXPECT_EQ(send(self(), Filler{}), Delivery::full) << "they took none of its places";
    EXPECT_EQ(flush(), 2u);
  });
}

TEST_P(GroupsTest, ManyThatJoinAndEndLeaveNothing) {
  const int rounds = options.scheduler == "threads" ? 60 : 400;
  run([rounds] {
    const Pid scope = groups::start(5s).value();
    const auto watch = groups::monitor_scope(1s);
    ASSERT_TRUE(watch);
    std::vector<Monitored> all;
    for (int i = 0; i < rounds; ++i) {
      all.push_back(spawn_monitor([i] {
        for (int turn = 0;; ++turn) {
          const std::string group = "g" + std::to_string((i + turn) % 7);
          if (!groups::join(group, self(), forever)) return;
          if (turn % 2 == 1) {
            EXPECT_TRUE(groups::leave(group, self(), forever));
          }
        }
      }));
      if (i % 8 == 7) yield();
      exit(all[static_cast<std::size_t>(i) / 2].pid, reason::kill);  // in the middle of whatever it does
    }
    for (const Monitored& one : all) exit(one.pid, reason::kill);
    for (const Monitored& one : all) await_down(one);
    for (int i = 0; i < 7; ++i) until_size("g" + std::to_string(i), 0);
    EXPECT_TRUE(groups::which_groups().empty());
    EXPECT_EQ(watched_by(scope), 1u) << "its subscriber";
    std::map<std::pair<std::string, Pid>, int> joins;
    for (int left = 1; left != 0;) {
      left = receive(
          0s,
          [&](groups::Change change) {
            for (Pid pid : change.pids) joins[{*change.group, pid}] += change.kind == Kind::joined ? 1 : -1;
            return 1;
          },
          [](Timeout) { return 0; });
    }
    for (const auto& [who, count] : joins) EXPECT_EQ(count, 0);
  });
}

TEST_P(GroupsTest, WhatManyWorkersJoinAndLeaveAddsUp) {
  const int workers = options.scheduler == "threads" ? 8 : 40;
  run([workers] {
    ASSERT_TRUE(groups::start(5s));
    std::vector<Monitored> all;
    std::atomic<int> done{0};
    for (int i = 0; i < workers; ++i) {
      all.push_back(spawn_monitor([i, &done] {
        for (int turn = 0; turn < 50; ++turn) {
          ASSERT_TRUE(groups::join("g", self(), forever));
          EXPECT_GE(groups::members("g").size(), 1u);
          if (turn >= i) {
            ASSERT_TRUE(groups::leave("g", self(), forever));
          }
        }
        ++done;
        receive(forever, [](Go) {});
      }));
    }
    // Who reads meanwhile sees whole lists.
    for (int i = 0; i < 200; ++i) {
      for (Pid pid : groups::members("g")) ASSERT_TRUE(std::ranges::count(all, pid, &Monitored::pid) == 1);
      yield();
    }
    while (done != workers) yield();
    std::size_t expected = 0;
    for (int i = 0; i < workers; ++i) expected += static_cast<std::size_t>(i);
    until_size("g", expected);
    std::map<Pid, int> joins;
    for (Pid pid : groups::members("g")) ++joins[pid];
    for (int i = 0; i < workers; ++i) EXPECT_EQ(joins[all[static_cast<std::size_t>(i)].pid], i);
    for (const Monitored& worker : all) send(worker.pid, Go{});
    for (const Monitored& worker : all) await_down(worker);
    until_size("g", 0);
  });
}

TEST_P(GroupsTest, AScopeThatIsKilledFailsTheCallsItOwes) {
  run([] {
    for (int round = 0; round < 30; ++round) {
      const Pid scope = groups::start(5s).value();
      std::vector<Monitored> callers;
      for (int i = 0; i < 6; ++i) {
        callers.push_back(spawn_monitor([] {
          for (;;) {
            if (!groups::join("g", self(), forever)) return;
            if (!groups::monitor("h", forever)) return;
            if (!groups::join("h", self(), forever)) return;
          }
        }));
      }
      for (int i = 0; i < round % 5; ++i) yield();
      end(scope);
      for (const Monitored& caller : callers) await_down(caller);
      EXPECT_TRUE(groups::which_groups().empty());
    }
  });
}

// Instrumented and unoptimised code takes ten times as long for each.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || EK_DEBUG
constexpr std::size_t kMembers = 5'000;
#else
constexpr std::size_t kMembers = 100'000;
#endif

TEST_P(GroupsTest, AHundredThousandMembers) {
  if (has_own_workers() || GetParam().clock == ClockKind::real) GTEST_SKIP() << "a crowd, once for each crew";
  run([] {
    const Pid scope = groups::start(5s).value();
    std::vector<Pid> pids;
    for (std::size_t i = 0; i < kMembers; ++i) pids.push_back(spawn_handler(Idler{}));
    for (Pid pid : pids) ASSERT_TRUE(groups::join("g", pid, forever));
    EXPECT_EQ(groups::members("g").size(), kMembers);
    for (std::size_t i = 0; i < kMembers; i += 2) ASSERT_TRUE(groups::leave("g", pids[i], forever));
    EXPECT_EQ(groups::members("g").size(), kMembers / 2);
    for (std::size_t i = 0; i < kMembers; ++i) ASSERT_EQ(bool(groups::leave("g", pids[i], forever)), i % 2 == 1);
    EXPECT_TRUE(groups::members("g").empty());
    EXPECT_EQ(watched_by(scope), 0u);

    ASSERT_TRUE(groups::join("g", std::vector<Pid>(pids), forever));
    const auto watch = groups::monitor("g", forever);
    EXPECT_EQ(watch->members.size(), kMembers);
    for (Pid pid : pids) exit(pid, reason::kill);
    until_size("g", 0);
    std::set<Pid> left;
    for (std::size_t i = 0; i < kMembers; ++i) left.insert(next_change(watch->ref).pids[0]);
    EXPECT_EQ(left.size(), kMembers);
  });
}

TEST_P(GroupsTest, OneMemberOfManyGroups) {
  run([] {
    constexpr int kGroups = 5'000;
    const Pid scope = groups::start(5s).value();
    const Pid a = spawn(wait_forever);
    for (int i = 0; i < kGroups; ++i) ASSERT_TRUE(groups::join(std::to_string(i), a, forever));
    EXPECT_EQ(groups::which_groups().size(), static_cast<std::size_t>(kGroups));
    EXPECT_EQ(watched_by(scope), 1u);
    end(a);
    until_size("0", 0);
    while (!groups::which_groups().empty()) sleep(1ms);
  });
}

}  // namespace
}  // namespace erlking::testing
