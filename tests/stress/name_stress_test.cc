// Names taken, given, freed and lost by deaths from many workers at once: SEMANTICS §6 holds at every moment.
#include "tests/stress/stress.h"

#include <array>

namespace erlking::testing {
namespace {

class NameStressTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    options.workers = GetParam();
    StressTest::SetUp();
  }
};
std::string name_of_workers(const ::testing::TestParamInfo<unsigned>& info) {
  return "Workers" + std::to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Every, NameStressTest, ::testing::Values(1u, 2u, 4u), name_of_workers);

constexpr std::size_t kNames = 5;
std::string name_of(std::size_t i) { return "name-" + std::to_string(i); }

/// Who believes to have each name.
using Owners = std::array<std::atomic<std::uint64_t>, kNames>;

/// A name that its process took itself; gives it back in the books before the registry can.
class Held {
 public:
  Held(Owners& owners, std::size_t name) : owners_(owners), name_(name) {
    EXPECT_EQ(owners_[name_].exchange(self().id), 0u) << "two processes have one name";
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() { owners_[name_] = 0; }

 private:
  Owners& owners_;
  const std::size_t name_;
};

// Takes names, keeps them a while, frees them or ends with them.
void take_names(Owners& owners, std::uint64_t number) {
  base::Random random = random_of(number);
  for (int turn = 0; turn < 20; ++turn) {
    const std::size_t i = random.below(kNames);
    const std::string name = name_of(i);
    if (!register_name(name, self())) {
      yield();
      continue;
    }
    Held held(owners, i);
    EXPECT_EQ(register_name(name_of((i + 1) % kNames), self()).error(), NameError::already_named);
    for (std::size_t n = random.below(4); n > 0; --n) {
      EXPECT_EQ(whereis(name), self()) << "a name was lost";
      yield();
    }
    if (random.below(3) == 0) return;  // the name goes with the process
    if (random.below(8) == 0) exit(Reason("with_a_name"));
    if (random.below(8) == 0) sleep(100us);  // perhaps it is killed there
    EXPECT_EQ(whereis(name), self()) << "a name was lost";
    owners[i] = 0;
    EXPECT_TRUE(unregister(name));
    // The name may be another's by now, and the books its own.
    return;
  }
}

TEST_P(NameStressTest, Rule_6_1_ANameHasOneOwnerAtATimeAndIsFreedBeforeAnybodyIsTold) {
  auto owners = std::make_shared<Owners>();
  const unsigned lives = scaled(20'000);
  run_to_the_end([owners, lives] {
    std::vector<Monitored> alive;
    base::Random random = random_of(1);
    for (unsigned n = 0; n < lives || !alive.empty();) {
      while (n < lives && alive.size() < 16) {
        alive.push_back(spawn_monitor({.stack = kStressStack}, [owners, n] { take_names(*owners, 100 + n); }));
        ++n;
      }
      if (random.below(4) == 0) exit(alive[random.below(alive.size())].pid, reason::kill);
      receive(10s, [&](Down down) {
        for (std::size_t i = 0; i < kNames; ++i)
          ASSERT_NE(whereis(name_of(i)), down.pid) << "a name outlived its process";
        std::erase_if(alive, [&](const Monitored& m) { return m.ref == down.ref; });
      });
    }
    for (std::size_t i = 0; i < kNames; ++i) {
      EXPECT_EQ(whereis(name_of(i)), std::nullopt);
      EXPECT_TRUE(register_name(name_of(i), self())) << "it is free";
      EXPECT_TRUE(unregister(name_of(i)));
    }
  });
}

// Names and unnames anybody, the dying included.
void meddle(const std::vector<std::atomic<std::uint64_t>>& board, std::atomic<bool>& over, std::uint64_t number) {
  base::Random random = random_of(number);
  while (!over) {
    const Pid someone{board[random.below(board.size())].load()};
    const std::string name = name_of(random.below(kNames));
    switch (random.below(4)) {
      case 0:
        unregister(name);
        break;
      case 1:
        if (const auto pid = whereis(name)) exit(*pid, reason::kill);
        break;
      default:
        if (someone) static_cast<void>(register_name(name, someone));
    }
    if (random.below(8) == 0) yield();
  }
}

TEST_P(NameStressTest, Rule_6_2_NamesGivenAndTakenByAnybodyNeverOutliveTheirProcess) {
  auto board = std::make_shared<std::vector<std::atomic<std::uint64_t>>>(8);
  auto over = std::make_shared<std::atomic<bool>>(false);
  const unsigned lives = scaled(20'000);
  run_to_the_end([board, over, lives] {
    std::vector<Monitored> meddlers;
    for (std::uint64_t i = 0; i < 4; ++i) {
      meddlers.push_back(spawn_monitor({.stack = kStressStack}, [board, over, i] { meddle(*board, *over, i); }));
    }
    base::Random random = random_of(77);
    unsigned named_births = 0;
    for (unsigned n = 0; n < lives; ++n) {
      const SpawnOptions options{.name = random.below(3) == 0 ? name_of(random.below(kNames)) : "",
                                 .stack = kStressStack};
      const auto made = try_spawn(options, [&random, n] {
        if (n % 3 == 0) yield();
      });
      if (!made) {
        ASSERT_EQ(made.error(), SpawnError::name_taken);
        continue;
      }
      named_births += options.name.empty() ? 0 : 1;
      (*board)[n % board->size()] = made->id;
      const MonitorRef ref = monitor(*made);
      await_down(ref);
      for (std::size_t i = 0; i < kNames; ++i) ASSERT_NE(whereis(name_of(i)), *made) << "a name outlived its process";
    }
    *over = true;
    for (const Monitored& m : meddlers) EXPECT_EQ(await_down(m), reason::normal);
    EXPECT_GT(named_births, 0u);
    for (std::size_t i = 0; i < kNames; ++i) {
      EXPECT_EQ(whereis(name_of(i)), std::nullopt);
      EXPECT_TRUE(register_name(name_of(i), self())) << "it is free";
      EXPECT_TRUE(unregister(name_of(i)));
    }
  });
}

TEST_P(NameStressTest, Rule_6_3_WhoIsNotAliveKeepsNoName) {
  const unsigned lives = scaled(20'000);
  run_to_the_end([lives] {
    for (unsigned n = 0; n < lives; ++n) {
      const Pid p = spawn({.stack = kStressStack}, [] {});
      while (register_name("brief", p)) unregister("brief");  // until it is gone, perhaps naming it as it dies
      ASSERT_FALSE(is_alive(p, 10s));
      ASSERT_TRUE(register_name("brief", self()));
      ASSERT_TRUE(unregister("brief"));
      const Pid q = spawn({.stack = kStressStack}, [] {});
      static_cast<void>(register_name("brief", q));
      while (is_alive(q, 10s)) {
      }
      ASSERT_FALSE(unregister("brief")) << "the name of the dead is free";
      ASSERT_TRUE(register_name("brief", self()));
      ASSERT_TRUE(unregister("brief"));
    }
  });
}

}  // namespace
}  // namespace erlking::testing
