// Files: what they hold, what is refused, and that a wait on them ends.
#include "tests/support/net_fixture.h"

#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace erlking::testing {
namespace {

class FileTest : public NetTest {
 protected:
  void SetUp() override {
    std::string made = (std::filesystem::temp_directory_path() / "erlking-file-XXXXXX").string();
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    folder_ = made;
    NetTest::SetUp();
  }
  void TearDown() override {
    NetTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  std::string path(std::string_view name) const { return folder_ / name; }
  static std::string held(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::filesystem::path folder_;
};
INSTANTIATE_TEST_SUITE_P(Every, FileTest, every_place(), name_of_place);

File opened(const std::string& path, const OpenOptions& options) {
  auto file = File::open(path, options, 10s);
  EXPECT_TRUE(file) << file.error().to_string();
  return file ? *std::move(file) : File();
}

constexpr OpenOptions kNew{.write = true, .create = true};

TEST_P(FileTest, WhatIsWrittenIsRead) {
  run([this] {
    File file = opened(path("a"), kNew);
    ASSERT_TRUE(file.write_at(0, "hello world", 10s));
    ASSERT_TRUE(file.write_at(6, "there", 10s));
    char got[64];
    EXPECT_EQ(file.read_at(0, got, 10s), 11u) << "as much as there is";
    EXPECT_EQ(std::string_view(got, 11), "hello there");
    EXPECT_EQ(file.read_at(6, std::span(got, 3), 10s), 3u);
    EXPECT_EQ(std::string_view(got, 3), "the");
    EXPECT_EQ(file.read_at(11, got, 10s), 0u);
    EXPECT_EQ(file.read_at(1000, got, 10s), 0u);
    EXPECT_EQ(file.read_at(0, std::span<char>(), 10s), 0u);
    ASSERT_TRUE(file.sync(10s));
    ASSERT_TRUE(file.sync_data(10s));
  });
  EXPECT_EQ(held(path("a")), "hello there");
}

TEST_P(FileTest, LargeOnesToo) {
  std::string big(9'000'001, 'x');
  for (std::size_t i = 0; i < big.size(); i += 1000) big[i] = static_cast<char>('a' + i / 1000 % 26);
  run([&] {
    File file = opened(path("big"), kNew);
    ASSERT_TRUE(file.write_at(0, big, 30s));
    std::string got(big.size() + 10, ' ');
    ASSERT_EQ(file.read_at(0, got, 30s), big.size());
    got.resize(big.size());
    EXPECT_TRUE(got == big);
    const auto all = file::read_all(path("big"), big.size(), 30s);
    ASSERT_TRUE(all) << all.error().to_string();
    EXPECT_TRUE(*all == big);
    EXPECT_EQ(failure_of(file::read_all(path("big"), big.size() - 1, 30s)), IoFailure::too_large);
  });
}

// Not from memory: past the system's cache, where the file system lets us.
TEST_P(FileTest, FromTheDiskItself) {
  run([this] {
    { ASSERT_TRUE(opened(path("a"), kNew).write_at(0, std::string(16384, 'd'), 10s)); }
    auto file = File::open(path("a"), {.direct = true}, 10s);
    if (!file) {
      EXPECT_EQ(file.error(), IoFailure::invalid);
      return;
    }
    alignas(4096) static thread_local char got[4096];
    char* const memory = got;  // this thread's, for as long as nobody else uses it: the test waits for its end
    ASSERT_EQ(file->read_at(4096, std::span(memory, 4096), 10s), 4096u);
    EXPECT_EQ(std::string_view(memory, 4096), std::string(4096, 'd'));
  });
}

TEST_P(FileTest, ManyAtOnce) {
  const unsigned processes = static_cast<unsigned>(scaled(100));
  run([&] {
    { ASSERT_TRUE(opened(path("a"), kNew).write_at(0, std::string(64 * 4096, '.'), 10s)); }
    std::vector<Monitored> made;
    for (unsigned i = 0; i < processes; ++i) {
      made.push_back(spawn_monitor([this, i] {
        File file = opened(path("a"), {.write = true});
        const std::string mine(100, static_cast<char>('A' + i % 26));
        ASSERT_TRUE(file.write_at(i * 100ull, mine, 10s));
        std::string got(100, ' ');
        ASSERT_EQ(file.read_at(i * 100ull, got, 10s), 100u);
        EXPECT_EQ(got, mine);
        ASSERT_TRUE(file.sync_data(60s));
      }));
    }
    for (const Monitored& each : made) {
      receive(60s, when([&](const Down& down) { return down.ref == each.ref; },
                        [](const Down& down) { EXPECT_EQ(down.reason, reason::normal); }));
    }
  });
}

TEST_P(FileTest, AppendingGoesToTheEnd) {
  run([this] {
    { ASSERT_TRUE(opened(path("log"), kNew).write_at(0, "first.", 10s)); }
    File log = opened(path("log"), {.read = false, .append = true});
    ASSERT_TRUE(log.append("second.", 10s));
    ASSERT_TRUE(log.append("third.", 10s));
    EXPECT_EQ(failure_of(log.write_at(0, "x", 10s)), IoFailure::invalid);
    EXPECT_EQ(failure_of(opened(path("log"), {.write = true}).append("x", 10s)), IoFailure::invalid);
  });
  EXPECT_EQ(held(path("log")), "first.second.third.");
}

TEST_P(FileTest, OpensAsItIsTold) {
  run([this] {
    EXPECT_EQ(failure_of(File::open(path("a"), {}, 10s)), IoFailure::not_found);
    EXPECT_EQ(failure_of(File::open(path("no/a"), kNew, 10s)), IoFailure::not_found);
    { ASSERT_TRUE(opened(path("a"), kNew).write_at(0, "12345", 10s)); }
    EXPECT_EQ(failure_of(File::open(path("a"), {.write = true, .create = true, .exclusive = true}, 10s)),
              IoFailure::exists);
    File reader = opened(path("a"), {});
    EXPECT_EQ(failure_of(reader.write_at(0, "x", 10s)), IoFailure::closed);
    { opened(path("a"), {.write = true, .truncate = true}); }
    EXPECT_EQ(reader.status(10s)->size, 0u);
    { opened(path("b"), {.write = true, .create = true, .mode = 0600}); }
    EXPECT_EQ(file::status(path("b"), 10s)->permissions, 0600u);
    for (const OpenOptions& wrong :
         {OpenOptions{.read = false}, OpenOptions{.create = true}, OpenOptions{.truncate = true},
          OpenOptions{.write = true, .exclusive = true}, OpenOptions{.write = true, .append = true}}) {
      EXPECT_EQ(failure_of(File::open(path("c"), wrong, 10s)), IoFailure::invalid);
    }
    EXPECT_EQ(failure_of(File::open(std::string("a\0b", 3), {}, 10s)), IoFailure::invalid);
    EXPECT_EQ(failure_of(File::open(path(std::string(300, 'n')), {}, 10s)), IoFailure::too_large);
  });
}

TEST_P(FileTest, APipeIsNoFileAndDoesNotHang) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  run([this] {
    EXPECT_EQ(failure_of(File::open(path("pipe"), {}, 10s)), IoFailure::invalid);
    EXPECT_EQ(failure_of(File::open(path("pipe"), {.read = false, .write = true}, 10s)), IoFailure::invalid);
  });
}

TEST_P(FileTest, FilesByName) {
  run([this] {
    { ASSERT_TRUE(opened(path("a"), kNew).write_at(0, "12345", 10s)); }
    const auto status = file::status(path("a"), 10s);
    ASSERT_TRUE(status);
    EXPECT_EQ(status->type, FileType::regular);
    EXPECT_EQ(status->size, 5u);
    EXPECT_GT(status->modified_ns, 1'500'000'000'000'000'000);
    ASSERT_TRUE(file::make_directory(path("d"), 10s));
    EXPECT_EQ(failure_of(file::make_directory(path("d"), 10s)), IoFailure::exists);
    EXPECT_EQ(file::status(path("d"), 10s)->type, FileType::directory);
    { opened(path("d/z"), kNew); }
    { opened(path("d/y"), kNew); }
    EXPECT_EQ(file::list(path("d"), 10s), (std::vector<std::string>{"y", "z"}));
    ASSERT_TRUE(file::rename(path("a"), path("d/y"), 10s)) << "in the place of another";
    ASSERT_TRUE(file::sync_directory(path("d"), 10s));
    EXPECT_EQ(failure_of(file::status(path("a"), 10s)), IoFailure::not_found);
    EXPECT_EQ(file::read_all(path("d/y"), 100, 10s), "12345");
    EXPECT_EQ(failure_of(file::remove(path("a"), 10s)), IoFailure::not_found);
    ASSERT_TRUE(file::remove(path("d/y"), 10s));
    EXPECT_EQ(file::list(path("d"), 10s), (std::vector<std::string>{"z"}));
    EXPECT_EQ(failure_of(file::list(path("a"), 10s)), IoFailure::not_found);
    File file = opened(path("d/z"), {.write = true});
    ASSERT_TRUE(file.truncate(1000, 10s));
    EXPECT_EQ(file.status(10s)->size, 1000u);
  });
}

TEST_P(FileTest, AClosedOneSaysSo) {
  run([this] {
    File file = opened(path("a"), kNew);
    EXPECT_TRUE(file.is_open());
    file.close();
    file.close();
    char got[8];
    EXPECT_FALSE(file.is_open());
    EXPECT_EQ(failure_of(file.read_at(0, got, 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(file.write_at(0, "x", 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(file.append("x", 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(file.sync(10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(file.truncate(0, 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(file.status(10s)), IoFailure::closed);
  });
}

// The limit of a file's size stands for a full disk: a part is written, and that is told.
TEST_P(FileTest, WhatDoesNotFitIsTold) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{.rlim_cur = 100'000, .rlim_max = before.rlim_max};
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  run([this] {
    File file = opened(path("a"), kNew);
    const auto outcome = file.write_at(0, std::string(150'000, 'x'), 10s);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error(), IoFailure::too_large);
    EXPECT_EQ(outcome.error().transferred, 100'000u);
  });
  EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, old);
}

TEST_P(FileTest, AFullDiskIsTold) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  run([] {
    File file = opened("/dev/full", {.write = true});
    EXPECT_EQ(failure_of(file.write_at(0, "x", 10s)), IoFailure::no_space);
  });
}

TEST_P(FileTest, KilledAtAnyTimeNothingIsLeft) {
  const int rounds = static_cast<int>(scaled(60));
  run([&] {
    for (int i = 0; i < rounds; ++i) {
      const Monitored victim = spawn_monitor([this] {
        for (;;) {
          File file = opened(path("a"), kNew);
          static_cast<void>(file.write_at(0, std::string(100'000, 'x'), forever));
          static_cast<void>(file.sync_data(forever));
          char got[4096];
          static_cast<void>(file.read_at(0, got, forever));
        }
      });
      sleep(std::chrono::microseconds(i * 97));
      exit(victim.pid, reason::kill);
      EXPECT_EQ(await_down(victim), reason::killed);
    }
  });
}

}  // namespace
}  // namespace erlking::testing
