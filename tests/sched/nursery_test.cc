// Where a worker keeps what was born last.
#include "sched/nursery.h"

#include "sched/task.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <random>

namespace erlking::sched {
namespace {

using Tasks = std::array<Task, 2 * Nursery::kPlaces>;

TEST(NurseryTest, GivesTheNewestAndTheOldest) {
  Nursery nursery;
  Tasks tasks;
  EXPECT_TRUE(nursery.empty());
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(nursery.put(tasks[i]), nullptr);
  EXPECT_EQ(nursery.size(), 3u);
  EXPECT_EQ(nursery.take_newest(), &tasks[2]);
  EXPECT_EQ(nursery.take_oldest(), &tasks[0]);
  EXPECT_EQ(nursery.take_newest(), &tasks[1]);
  EXPECT_TRUE(nursery.empty());
  EXPECT_EQ(nursery.births(), 3u);
}

TEST(NurseryTest, TheOldestLeavesAFullOne) {
  Nursery nursery;
  Tasks tasks;
  for (unsigned i = 0; i < tasks.size(); ++i) {
    EXPECT_EQ(nursery.put(tasks[i]), i < Nursery::kPlaces ? nullptr : &tasks[i - Nursery::kPlaces]);
  }
  EXPECT_EQ(nursery.size(), Nursery::kPlaces);
  for (unsigned i = Nursery::kPlaces; i < tasks.size(); ++i) EXPECT_EQ(nursery.take_oldest(), &tasks[i]);
  EXPECT_TRUE(nursery.empty());
}

TEST(NurseryTest, IsADequeHoweverItIsUsed) {
  Nursery nursery;
  Tasks tasks;
  std::deque<Task*> model;
  std::mt19937 random(7);
  for (unsigned step = 0; step < 100'000; ++step) {
    const unsigned choice = random() % 5;
    if (choice < 3) {
      Task& task = tasks[random() % tasks.size()];
      Task* left = nullptr;
      if (model.size() == Nursery::kPlaces) {
        left = model.front();
        model.pop_front();
      }
      model.push_back(&task);
      ASSERT_EQ(nursery.put(task), left);
    } else if (!model.empty()) {
      Task* const expected = choice == 3 ? model.back() : model.front();
      choice == 3 ? model.pop_back() : model.pop_front();
      ASSERT_EQ(choice == 3 ? nursery.take_newest() : nursery.take_oldest(), expected);
    }
    ASSERT_EQ(nursery.size(), model.size());
  }
}

}  // namespace
}  // namespace erlking::sched
