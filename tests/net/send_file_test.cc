// Files sent by the system alone.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace erlking::testing {
namespace {

struct SendFileTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, SendFileTest, every_place(), name_of_place);

struct Pair {
  Socket here, there;
};
Pair connected() {
  auto listener = tcp::listen({});
  auto here = tcp::connect("127.0.0.1", listener->local()->port, 20s);
  auto there = listener->accept(20s);
  EXPECT_TRUE(here && there);
  return {*std::move(here), *std::move(there)};
}

// A file with known bytes, gone with the test; `cold`: not in memory, where the file system knows how.
class Bytes {
 public:
  explicit Bytes(std::size_t size, bool cold = false) {
    char path[] = "/tmp/ek-send-file-test-XXXXXX";
    const int fd = ::mkstemp(path);
    text.resize(size);
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i / 7 % 26);
    EXPECT_EQ(::write(fd, text.data(), size), static_cast<ssize_t>(size));
    if (cold) {
      ::fdatasync(fd);
      ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    ::close(fd);
    auto made = File::open(path, {}, 20s);
    EXPECT_TRUE(made);
    file = *std::move(made);
    ::unlink(path);
  }
  File file;
  std::string text;
};

TEST_P(SendFileTest, APartOfAFileArrives) {
  run([] {
    auto [here, there] = connected();
    Bytes bytes(10'000);
    ASSERT_TRUE(here.write("head", 20s));
    ASSERT_TRUE(here.send_file(bytes.file, 100, 5'000, 20s));
    ASSERT_TRUE(here.write("tail", 20s));
    ASSERT_TRUE(here.send_file(bytes.file, 0, 0, 0s));
    std::string got(5'008, ' ');
    ASSERT_TRUE(there.read_exactly(std::span(got.data(), got.size()), 20s));
    EXPECT_TRUE(got == "head" + bytes.text.substr(100, 5'000) + "tail");
    const auto past = here.send_file(bytes.file, 9'000, 5'000, 20s);
    EXPECT_EQ(failure_of(past), IoFailure::end_of_stream);
    EXPECT_EQ(past.error().transferred, 1'000u);
  });
}

TEST_P(SendFileTest, MoreThanTheSystemBuffersAndFromTheDisk) {
  run([] {
    auto [here, there] = connected();
    Bytes bytes(6 << 20, true);
    const Monitored writer =
        spawn_monitor([&here = here, &bytes] { EXPECT_TRUE(here.send_file(bytes.file, 0, bytes.text.size(), 60s)); });
    std::string got(bytes.text.size(), ' ');
    ASSERT_TRUE(there.read_exactly(std::span(got.data(), got.size()), 60s));
    EXPECT_TRUE(got == bytes.text);
    EXPECT_EQ(await_down(writer), reason::normal);
  });
}

TEST_P(SendFileTest, OneThatDoesNotAllGoInTimeSaysHowMuchWentAndTheSocketIsAsBefore) {
  run([] {
    auto [here, there] = connected();
    Bytes bytes(24 << 20);
    const int before = ::fcntl(here.fd(), F_GETFL);
    const auto sent = here.send_file(bytes.file, 0, bytes.text.size(), 50ms);
    EXPECT_EQ(failure_of(sent), IoFailure::timed_out);
    EXPECT_EQ(::fcntl(here.fd(), F_GETFL), before);
    char got[8];
    EXPECT_EQ(failure_of(here.read(got, 5ms)), IoFailure::timed_out);
    here.close();
    std::vector<char> some(64 * 1024);
    std::size_t came = 0;
    for (auto n = there.read(some, 20s); n && *n > 0; n = there.read(some, 20s)) came += *n;
    EXPECT_EQ(came, sent.error().transferred);
  });
}

TEST_P(SendFileTest, MisuseAndAPeerThatIsGoneAreTold) {
  run([] {
    auto [here, there] = connected();
    Bytes bytes(1 << 20);
    File none;
    EXPECT_EQ(failure_of(here.send_file(none, 0, 1, 1s)), IoFailure::closed);
    Socket never;
    EXPECT_EQ(failure_of(never.send_file(bytes.file, 0, 1, 1s)), IoFailure::closed);
    there.close();
    IoFailure last = IoFailure::failed;
    for (int i = 0; i < 100; ++i) {  // until the system has heard of it
      const auto sent = here.send_file(bytes.file, 0, bytes.text.size(), 20s);
      if (sent) continue;
      last = sent.error().kind;
      break;
    }
    EXPECT_EQ(last, IoFailure::reset);
  });
}

TEST_P(SendFileTest, AProcessKilledInItEndsAndItsSocketCloses) {
  run([] {
    Bytes bytes(24 << 20);
    for (unsigned round = 0; round < std::max(2u, scaled(10)); ++round) {
      auto [here, there] = connected();
      const Monitored writer = spawn_monitor([here = std::move(here), &bytes]() mutable {
        static_cast<void>(here.send_file(bytes.file, 0, bytes.text.size(), forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(writer.pid);
      exit(writer.pid, reason::kill);
      EXPECT_EQ(await_down(writer), reason::killed);
      std::vector<char> some(64 * 1024);
      auto n = there.read(some, 20s);
      while (n && *n > 0) n = there.read(some, 20s);
      EXPECT_EQ(n, 0u);
    }
  });
}

}  // namespace
}  // namespace erlking::testing
