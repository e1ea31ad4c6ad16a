#include "base/intrusive.h"

#include "base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>
#include <vector>

namespace erlking::base {
namespace {

struct Base {
  virtual ~Base() = default;
  ListLink base_link;
};
struct Item : Base {
  explicit Item(int v = 0) : value(v) {}
  std::string padding = "so that the link is not at the front";
  ListLink link;
  int value;
  Item* next = nullptr;
};
using Items = List<Item, &Item::link>;
using Bases = List<Base, &Base::base_link>;
using Fifo = Queue<Item, &Item::next>;

std::vector<int> values(Items& list) {
  std::vector<int> result;
  for (Item& item : list) result.push_back(item.value);
  return result;
}

TEST(ListTest, KeepsItsOrder) {
  Item a(1), b(2), c(3);
  Items list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.front(), nullptr);
  EXPECT_EQ(list.pop_front(), nullptr);
  EXPECT_EQ(list.pop_back(), nullptr);
  list.push_back(b);
  list.push_back(c);
  list.push_front(a);
  EXPECT_EQ(values(list), (std::vector{1, 2, 3}));
  EXPECT_EQ(list.size(), 3u);
  EXPECT_EQ(list.front(), &a);
  EXPECT_EQ(list.back(), &c);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_FALSE(a.link.is_linked());
  EXPECT_EQ(list.pop_back(), &c);
  EXPECT_EQ(list.pop_back(), &b);
  EXPECT_TRUE(list.empty());
}

TEST(ListTest, AnElementLeavesFromTheMiddleAndOnlyOnce) {
  Item a(1), b(2), c(3);
  Items list;
  for (Item* item : {&a, &b, &c}) list.push_back(*item);
  list.remove(b);
  EXPECT_EQ(values(list), (std::vector{1, 3}));
  list.remove(b);
  b.link.unlink();
  EXPECT_EQ(values(list), (std::vector{1, 3}));
}

TEST(ListTest, AnElementMayBeInOneListPerLink) {
  Item a(1);
  Items items;
  Bases bases;
  items.push_back(a);
  bases.push_back(a);
  EXPECT_EQ(items.front(), &a);
  EXPECT_EQ(bases.front(), static_cast<Base*>(&a));
  items.remove(a);
  EXPECT_TRUE(a.base_link.is_linked());
}

TEST(ListTest, AppendMovesEverything) {
  Item a(1), b(2), c(3), d(4);
  Items one, two, none;
  one.push_back(a);
  one.push_back(b);
  two.push_back(c);
  two.push_back(d);
  one.append(two);
  one.append(none);
  EXPECT_TRUE(two.empty());
  EXPECT_EQ(values(one), (std::vector{1, 2, 3, 4}));
  none.append(one);
  EXPECT_EQ(values(none), (std::vector{1, 2, 3, 4}));
}

TEST(ListTest, ADyingListLetsGo) {
  Item a(1);
  {
    Items list;
    list.push_back(a);
  }
  EXPECT_FALSE(a.link.is_linked());
  const Item copy(a);
  EXPECT_FALSE(copy.link.is_linked());
}

TEST(QueueTest, FirstInFirstOut) {
  Item a(1), b(2), c(3);
  Fifo queue;
  EXPECT_EQ(queue.pop_front(), nullptr);
  queue.push_back(b);
  queue.push_back(c);
  queue.push_front(a);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.front(), &a);
  for (Item* item : {&a, &b, &c}) EXPECT_EQ(queue.pop_front(), item);
  EXPECT_TRUE(queue.empty());
}

TEST(QueueTest, TakeGivesAChain) {
  Item a(1), b(2);
  Fifo queue;
  queue.push_back(a);
  queue.push_back(b);
  EXPECT_EQ(queue.take(), &a);
  EXPECT_EQ(a.next, &b);
  EXPECT_EQ(b.next, nullptr);
  EXPECT_TRUE(queue.empty());
}

TEST(QueueTest, BehavesAsADequeUnderRandomUse) {
  std::vector<Item> items(50);
  std::vector<Item*> free;
  for (Item& item : items) free.push_back(&item);
  Fifo one, two;
  std::deque<Item*> model_one, model_two;
  Random random(7);
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t what = random.below(9);
    Fifo& queue = what & 1 ? one : two;
    std::deque<Item*>& model = what & 1 ? model_one : model_two;
    if (what < 4 && !free.empty()) {
      queue.push_back(*free.back());
      model.push_back(free.back());
      free.pop_back();
    } else if (what < 8) {
      Item* const item = queue.pop_front();
      ASSERT_EQ(item, model.empty() ? nullptr : model.front());
      if (item != nullptr) {
        model.pop_front();
        free.push_back(item);
      }
    } else {
      one.append(two);
      model_one.insert(model_one.end(), model_two.begin(), model_two.end());
      model_two.clear();
    }
    ASSERT_EQ(one.size(), model_one.size());
    ASSERT_EQ(two.size(), model_two.size());
  }
}

}  // namespace
}  // namespace erlking::base
