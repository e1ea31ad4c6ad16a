// Random trees of supervisors under random kills, from several processes at once, at any moment: during starts,
// restarts and ends. When it is quiet again the tree is whole, every process is in it or gone, and every name is its
// child's; its end goes in order and leaves nothing.
#include "tests/stress/stress.h"

#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

using Strings = std::vector<std::string>;

/// What all of one tree share.
struct Forest {
  std::mutex mutex;
  Strings names;                      // of all processes, in the order of their first start
  Strings ended;                      // by an orderly stop, in order
  std::atomic<bool> stopping{false};  // ends are noted
  std::atomic<bool> unlinks{false};   // children may do what they should not
  std::atomic<std::uint64_t> starts{0};
  std::shared_ptr<std::atomic<long>> alive = make_count();
  std::atomic<unsigned> trouble{0};  // one start in so many fails or takes a while; 0: none
  std::map<std::pair<std::string, Pid>, std::uint64_t> starts_of;  // of a leaf, under one life of its supervisor

  void end(const std::string& name) {
    if (!stopping) return;
    std::lock_guard lock(mutex);
    ended.push_back(name);
  }
};
using ForestPtr = std::shared_ptr<Forest>;

struct Poke {
  int what;
};
struct Hello {
  using Reply = std::string;
};

class Leaf : public Server {
 public:
  using Handles = Messages<Poke, Hello, Exit>;
  Leaf(ForestPtr forest, std::string name)
      : forest_(std::move(forest)), name_(std::move(name)), tracked_(forest_->alive), random_(random_of(self().id)) {
    ++forest_->starts;
    if (const auto info = process_info(self(), 10s)) {
      std::lock_guard lock(forest_->mutex);
      ++forest_->starts_of[{name_, info->parent}];
    }
    const unsigned trouble = forest_->trouble;
    if (trouble != 0 && random_.below(trouble) == 0) {
      if (random_.below(2) == 0) erlking::exit(Reason("no_luck"));
      sleep(100us);
    }
    trap_exit(random_.below(2) == 0 || forest_->trouble == 0);
  }
  void on(Poke& poke) {
    if (poke.what == 0) erlking::exit(Reason("poked"));
    if (poke.what == 1) throw std::runtime_error("poked");
    if (poke.what == 2 && forest_->unlinks) unlink_parent();
  }
  std::string on(Hello&) {
    trap_exit(true);
    return name_;
  }
  void on(Exit&) {}
  void terminate(const Reason&) {
    if (random_.below(8) == 0) sleep(50us);
    forest_->end(name_);
  }

 private:
  void unlink_parent() {
    const auto info = process_info(self(), 1s);
    if (info && info->parent) unlink(info->parent);
    erlking::exit(Reason("unlinked"));
  }

  ForestPtr forest_;
  std::string name_;
  Tracked tracked_;
  base::Random random_;
};

class SupervisorStressTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    options.workers = GetParam();
    StressTest::SetUp();
    base::set_log_level(base::Level::off);  // each death is told of
  }
  void TearDown() override {
    base::set_log_level(base::Level::info);
    StressTest::TearDown();
  }
};
INSTANTIATE_TEST_SUITE_P(Every, SupervisorStressTest, ::testing::Values(1u, 2u, 4u),
                         [](const auto& info) { return "Workers" + std::to_string(info.param); });

constexpr Intensity kPlenty{1'000'000, 1s};

ChildSpec leaf(const ForestPtr& forest, std::string name) {
  {
    std::lock_guard lock(forest->mutex);
    forest->names.push_back(name);
  }
  return child<Leaf>(name, {.shutdown = 10s, .spawn = {.name = name, .stack = kStressStack}}, forest, name);
}

SupervisorSpec tree(const ForestPtr& forest, base::Random& random, const std::string& name, int depth,
                    const Intensity& intensity) {
  constexpr Strategy strategies[] = {one_for_one, one_for_all, rest_for_one};
  SupervisorSpec spec{.strategy = strategies[random.below(3)], .intensity = intensity};
  const auto many = 1 + random.below(4);
  for (std::uint64_t i = 0; i < many; ++i) {
    const std::string id = name + "." + std::to_string(i);
    if (depth > 0 && random.below(2) == 0) {
      {
        std::lock_guard lock(forest->mutex);
        forest->names.push_back(id);
      }
      spec.children.push_back(supervisor(id, tree(forest, random, id, depth - 1, intensity),
                                         {.spawn = {.name = id, .stack = kStressStack}}));
    } else {
      spec.children.push_back(leaf(forest, id));
    }
  }
  return spec;
}

/// How many processes a settled tree has, itself among them; 0: it has not settled.
std::size_t settled_size(Pid supervisor) {
  const auto children = which_children(supervisor, 30s);
  if (!children) return 0;
  std::size_t size = 1;
  for (const ChildInfo& child : *children) {
    if (child.state != ChildInfo::State::running || whereis(child.id) != child.pid) return 0;
    const std::size_t more = child.type == ChildType::supervisor ? settled_size(child.pid) : 1;
    if (more == 0) return 0;
    size += more;
  }
  return size;
}

std::vector<Pid> pids_of(const Strings& names) {
  std::vector<Pid> pids;
  for (const std::string& name : names) pids.push_back(whereis(name).value_or(Pid{}));
  return pids;
}

/// The names of the leaves, if the tree has all it should have and each has answered, so that nothing done to it before
/// is still on its way; none otherwise. From then on leaves trap exits, so that their ends are seen.
Strings leaves_if_whole(Pid root, const Forest& forest) {
  const std::vector<Pid> before = pids_of(forest.names);
  Strings leaves;
  for (const std::string& name : forest.names) {
    const auto info = process_info(whereis(name).value_or(Pid{}), 10s);
    if (!info) return {};
    if (info->entry.find("Leaf") == std::string::npos) continue;
    if (call(Name{name}, Hello{}, 10s) != name) return {};
    leaves.push_back(name);
  }
  const bool whole = settled_size(root) == forest.names.size() + 1 && pids_of(forest.names) == before;
  return whole ? leaves : Strings{};
}

// Does something bad to somebody, again and again.
void vandal(const ForestPtr& forest, std::uint64_t number, unsigned times) {
  base::Random random = random_of(number);
  for (unsigned i = 0; i < times; ++i) {
    const std::string& name = forest->names[random.below(forest->names.size())];
    const auto victim = whereis(name);
    if (victim) {
      switch (random.below(6)) {
        case 0:
          exit(*victim, reason::kill);
          break;
        case 1:
          exit(*victim, Reason("vandalism"));
          break;
        case 2:
          exit(*victim, reason::shutdown);
          break;
        default:
          send(*victim, Poke{static_cast<int>(random.below(3))});
          break;
      }
    }
    if (random.below(3) == 0) yield();
    if (random.below(50) == 0) sleep(200us);
  }
}

void storm(const ForestPtr& forest, unsigned times) {
  std::vector<MonitorRef> vandals;
  for (std::uint64_t n = 0; n < 3; ++n)
    vandals.push_back(spawn_monitor({.stack = kStressStack}, vandal, forest, n, times).ref);
  for (const MonitorRef ref : vandals) {
    receive(2min,
            when([&](const Down& d) { return d.ref == ref; }, [](Down d) { EXPECT_EQ(d.reason, reason::normal); }),
            [](Timeout) { ADD_FAILURE() << "a vandal hangs"; });
  }
}

TEST_P(SupervisorStressTest, ATreeIsWholeAgainAfterAStormAndEndsInOrder) {
  const unsigned rounds = scaled(20);
  run_to_the_end([&] {
    trap_exit(true);
    for (unsigned round = 0; round < rounds; ++round) {
      base::Random random = random_of(1'000 + round);
      const auto forest = std::make_shared<Forest>();
      const SupervisorSpec spec = tree(forest, random, "r" + std::to_string(round), 2, kPlenty);
      const Started root = start_link(30s, {.stack = kStressStack}, spec);
      ASSERT_TRUE(root.has_value()) << root.error().why.to_string();
      forest->trouble = 20;
      storm(forest, scaled(400));
      forest->trouble = 0;
      const auto until = now() + 60s;
      Strings leaves;
      while (leaves.empty() && now() < until) {
        leaves = leaves_if_whole(*root, *forest);
        if (leaves.empty()) sleep(1ms);
      }
      ASSERT_FALSE(leaves.empty()) << "the tree is not whole again";
      while (forest->alive->load() > static_cast<long>(leaves.size()) && now() < until) sleep(1ms);
      EXPECT_EQ(forest->alive->load(), static_cast<long>(leaves.size())) << "an orphan lives";
      forest->stopping = true;
      const MonitorRef ref = monitor(*root);
      exit(*root, reason::shutdown);
      receive(60s,
              when([&](const Down& d) { return d.ref == ref; }, [](Down d) { EXPECT_EQ(d.reason, reason::shutdown); }),
              [](Timeout) { ADD_FAILURE() << "the tree does not end"; });
      receive(
          0s, [](Exit) {}, [](Timeout) {});
      EXPECT_EQ(forest->alive->load(), 0);
      std::reverse(leaves.begin(), leaves.end());
      EXPECT_EQ(forest->ended, leaves);
      for (const std::string& name : forest->names) EXPECT_FALSE(whereis(name).has_value()) << name;
    }
  });
}

TEST_P(SupervisorStressTest, SmallTreesThatGiveUpAreStartedAnewFromAbove) {
  run_to_the_end([&] {
    trap_exit(true);
    base::Random random = random_of(7);
    const auto forest = std::make_shared<Forest>();
    SupervisorSpec root{.intensity = kPlenty};
    for (int i = 0; i < 3; ++i) {
      const std::string id = "s" + std::to_string(i);
      forest->names.push_back(id);
      root.children.push_back(supervisor(id, tree(forest, random, id, 1, {3, 10ms}), {.spawn = {.name = id}}));
    }
    const Started made = start_link(30s, {.stack = kStressStack}, root);
    ASSERT_TRUE(made.has_value());
    storm(forest, scaled(1'000));
    const auto until = now() + 60s;
    bool whole = false;
    while (!(whole = !leaves_if_whole(*made, *forest).empty()) && now() < until) sleep(1ms);
    EXPECT_TRUE(whole) << "the tree is not whole again";
    EXPECT_GT(forest->starts, forest->names.size());
    exit(*made, reason::shutdown);
    receive(
        60s, [](Exit) {}, [](Timeout) { ADD_FAILURE() << "the tree does not end"; });
    EXPECT_EQ(forest->alive->load(), 0);
  });
}

// How often the leaves of a settled tree have been started anew, as their supervisors count; each count is checked.
std::uint64_t counted_restarts(Pid supervisor, Forest& forest) {
  std::uint64_t sum = 0;
  const auto children = which_children(supervisor, 30s);
  for (const ChildInfo& child : *children) {
    if (child.type == ChildType::supervisor) {
      sum += counted_restarts(child.pid, forest);
      continue;
    }
    std::lock_guard lock(forest.mutex);
    EXPECT_EQ(child.restarts + 1, (forest.starts_of[{child.id, supervisor}])) << child.id;
    sum += child.restarts;
  }
  return sum;
}

// Leaves end by messages, which they take once they have started: so each start is one that its supervisor has seen.
TEST_P(SupervisorStressTest, ARestartIsCountedForEachTimeALeafIsStartedAnew) {
  run_to_the_end([&] {
    trap_exit(true);
    base::Random random = random_of(11);
    std::uint64_t restarts = 0;
    for (unsigned round = 0; round < 6; ++round) {
      const auto forest = std::make_shared<Forest>();
      const SupervisorSpec spec = tree(forest, random, "c" + std::to_string(round), 3, kPlenty);
      const Started root = start_link(30s, {.stack = kStressStack}, spec);
      ASSERT_TRUE(root.has_value());
      const auto until = now() + 60s;
      for (unsigned poked = 0; poked < scaled(400) && now() < until;) {
        const auto victim = whereis(forest->names[random.below(forest->names.size())]);
        const auto info = process_info(victim.value_or(Pid{}), 10s);
        if (!info) {  // it is being started
          yield();
        } else if (info->entry.find("Leaf") != std::string::npos) {
          send(*victim, Poke{static_cast<int>(random.below(2))});
          ++poked;
        } else if (random.below(50) == 0) {
          exit(*victim, reason::kill);
        }
        if (random.below(3) == 0) yield();
      }
      Strings leaves;
      while ((leaves = leaves_if_whole(*root, *forest)).empty() && now() < until) sleep(1ms);
      ASSERT_FALSE(leaves.empty()) << "the tree is not whole again";
      restarts += counted_restarts(*root, *forest);
      exit(*root, reason::shutdown);
      receive(
          60s, [](Exit) {}, [](Timeout) { ADD_FAILURE() << "the tree does not end"; });
    }
    EXPECT_GT(restarts, 0u);
  });
}

// The root goes while everything is being killed and started.
TEST_P(SupervisorStressTest, AnEndAmidAStormLeavesNobody) {
  const unsigned rounds = scaled(40);
  run_to_the_end([&] {
    trap_exit(true);
    for (unsigned round = 0; round < rounds; ++round) {
      base::Random random = random_of(2'000 + round);
      const auto forest = std::make_shared<Forest>();
      const Started root =
          start_link(30s, {.stack = kStressStack}, tree(forest, random, "e" + std::to_string(round), 2, kPlenty));
      ASSERT_TRUE(root.has_value());
      forest->trouble = 10;
      forest->unlinks = true;
      const Monitored one = spawn_monitor({.stack = kStressStack}, vandal, forest, 3'000 + round, scaled(300));
      const Monitored two = spawn_monitor({.stack = kStressStack}, vandal, forest, 4'000 + round, scaled(300));
      sleep(Duration(random.below(2'000'000)));
      const bool killed = round % 2 == 1;
      exit(*root, killed ? reason::kill : reason::shutdown);
      receive(60s, when([&](const Exit& exit) { return exit.from == *root; }, [](Exit) {}),
              [](Timeout) { ADD_FAILURE() << "the root does not end"; });
      for (const MonitorRef ref : {one.ref, two.ref}) {
        receive(60s, when([&](const Down& d) { return d.ref == ref; }, [](Down) {}),
                [](Timeout) { ADD_FAILURE() << "a vandal hangs"; });
      }
      const auto until = now() + 30s;
      while (forest->alive->load() != 0 && now() < until) sleep(1ms);
      EXPECT_EQ(forest->alive->load(), 0) << "somebody outlived the tree";
    }
  });
}

// Instances come and go from several sides; none is lost, none is counted twice.
TEST_P(SupervisorStressTest, InstancesAreConserved) {
  run_to_the_end([&] {
    trap_exit(true);
    const auto forest = std::make_shared<Forest>();
    const Started pool =
        start_link(30s, {.stack = kStressStack},
                   {.strategy = simple_one_for_one,
                    .intensity = kPlenty,
                    .children = {child<Leaf>("leaf", {.restart = temporary, .spawn = {.stack = kStressStack}}, forest,
                                             each<std::string>)}});
    ASSERT_TRUE(pool.has_value());
    std::atomic<std::uint64_t> begun{0}, ended{0};
    std::vector<MonitorRef> clients;
    for (std::uint64_t n = 0; n < 4; ++n) {
      clients.push_back(spawn_monitor({.stack = kStressStack}, [&, n, pool = *pool] {
                          base::Random random = random_of(n);
                          std::vector<Pid> mine;
                          for (unsigned i = 0; i < scaled(1'000); ++i) {
                            if (mine.empty() || random.below(2) == 0) {
                              const auto made = start_child(30s, pool, std::string("x"));
                              ASSERT_TRUE(made.has_value());
                              mine.push_back(*made);
                              ++begun;
                            } else {
                              const Pid pid = mine.back();
                              mine.pop_back();
                              ++ended;
                              if (random.below(2) == 0) {
                                exit(pid, reason::kill);
                              } else {
                                EXPECT_TRUE(terminate_child(pool, pid, 30s).has_value());
                              }
                            }
                          }
                        }).ref);
    }
    for (const MonitorRef ref : clients) {
      receive(2min,
              when([&](const Down& d) { return d.ref == ref; }, [](Down d) { EXPECT_EQ(d.reason, reason::normal); }),
              [](Timeout) { ADD_FAILURE() << "a client hangs"; });
    }
    const auto until = now() + 60s;
    while (count_children(*pool, 10s)->active != begun - ended && now() < until) sleep(1ms);
    EXPECT_EQ(count_children(*pool, 10s)->specs, begun - ended);
    EXPECT_EQ(forest->alive->load(), static_cast<long>(begun - ended));
    exit(*pool, reason::shutdown);
    receive(
        60s, [](Exit) {}, [](Timeout) { ADD_FAILURE() << "the pool does not end"; });
    EXPECT_EQ(forest->alive->load(), 0);
  });
}

}  // namespace
}  // namespace erlking::testing
