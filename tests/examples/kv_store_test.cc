// A part's keys: found, scanned and dumped while the table grows and changes.
#include "examples/kv/commands.h"
#include "examples/kv/store.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace kv {
namespace {

Entry& put(Store& store, const std::string& key, const std::string& value) {
  Entry* entry = store.find(key, hash_of(key), 0);
  if (entry == nullptr) entry = &store.add(key, hash_of(key));
  store.touch(*entry);
  const std::size_t before = bytes_of(entry->value);
  entry->value = value;
  store.changed(*entry, before);
  return *entry;
}

TEST(StoreTest, EveryKeyIsFoundWhileItGrows) {
  Store store;
  for (int n = 0; n < 5000; ++n) {
    put(store, std::to_string(n), "v");
    for (int m = n; m >= 0; m -= 97) ASSERT_NE(store.find(std::to_string(m), hash_of(std::to_string(m)), 0), nullptr);
  }
  EXPECT_EQ(store.size(), 5000u);
  for (int n = 0; n < 5000; ++n) store.erase(*store.find(std::to_string(n), hash_of(std::to_string(n)), 0));
  EXPECT_EQ(store.size(), 0u);
  EXPECT_EQ(store.bytes(), 0u);
}

TEST(StoreTest, AScanSeesEveryKeyThatStays) {
  Store store;
  for (int n = 0; n < 300; ++n) put(store, "stay" + std::to_string(n), "v");
  std::set<std::string> seen;
  std::uint64_t cursor = 0;
  int added = 0;
  do {
    cursor = store.scan(cursor, [&](const Entry& entry) { seen.insert(entry.key); });
    for (int i = 0; i < 20 && added < 5000; ++i) put(store, "new" + std::to_string(added++), "v");
  } while (cursor != 0);
  for (int n = 0; n < 300; ++n) EXPECT_TRUE(seen.contains("stay" + std::to_string(n)));
}

TEST(StoreTest, ADumpIsOfTheMomentItBegan) {
  Store store;
  store.set_dump_writer(
      [](const Entry& entry, std::string& out) { out += entry.key + "=" + std::get<std::string>(entry.value) + ";"; });
  std::string wanted;
  std::map<std::string, std::string> then;
  for (int n = 0; n < 500; ++n) put(store, std::to_string(n), "old"), then[std::to_string(n)] = "old";
  store.begin_dump();
  std::string out;
  int step = 0;
  while (store.dump_some(out, 1)) {
    put(store, std::to_string(step * 7 % 500), "changed");
    put(store, "new" + std::to_string(step), "new");
    if (Entry* const gone = store.find(std::to_string(499 - step), hash_of(std::to_string(499 - step)), 0)) {
      store.erase(*gone);
    }
    if (++step == 100) store.clear();
  }
  std::map<std::string, std::string> dumped;
  for (std::size_t at = 0; at < out.size();) {
    const std::size_t equal = out.find('=', at), end = out.find(';', at);
    EXPECT_TRUE(dumped.emplace(out.substr(at, equal - at), out.substr(equal + 1, end - equal - 1)).second) << "twice";
    at = end + 1;
  }
  EXPECT_EQ(dumped, then);
}

TEST(StoreTest, WhatHasExpiredIsGoneAndTold) {
  Store store;
  std::set<std::string> told;
  store.on_expired = [&](std::string_view key) { told.emplace(key); };
  for (int n = 0; n < 100; ++n) store.set_expiry(put(store, std::to_string(n), "v"), 10 + n);
  EXPECT_EQ(store.with_expiry(), 100u);
  EXPECT_EQ(store.find("0", hash_of("0"), 10), nullptr);
  store.sweep(59, 100'000);
  EXPECT_EQ(store.size(), 50u);
  EXPECT_EQ(told.size(), 50u);
  EXPECT_NE(store.find("99", hash_of("99"), 108), nullptr);
}

TEST(StoreTest, WhatWritesAnEntryMakesItAgain) {
  Store store;
  Set& set = **std::get_if<std::unique_ptr<Set>>(&(store.add("s", hash_of("s")).value = std::make_unique<Set>()));
  for (int n = 0; n < 1000; ++n) set.add(std::to_string(n));
  std::string out;
  write_entry(*store.find("s", hash_of("s"), 0), out);
  EXPECT_NE(out.find("SADD"), out.npos);
  EXPECT_NE(out.find("$3\r\n999\r\n"), out.npos);
  for (int n = 0; n < 1000; n += 2) EXPECT_TRUE(set.remove(std::to_string(n)));
  EXPECT_EQ(set.size(), 500u);
  for (int n = 1; n < 1000; n += 2) EXPECT_TRUE(set.contains(std::to_string(n)));
  Ranking ranking;
  for (int n = 0; n < 100; ++n) ranking.put(std::to_string(n), 100 - n);
  EXPECT_FALSE(ranking.put("5", -1));
  EXPECT_EQ(ranking.order().begin()->second, "5");
  EXPECT_TRUE(ranking.remove("5"));
  EXPECT_EQ(ranking.order().begin()->second, "99");
}

}  // namespace
}  // namespace kv
