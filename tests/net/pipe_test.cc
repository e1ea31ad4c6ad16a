// Pipes: what they carry, how waits on them end, and standard input and the like.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace erlking::testing {
namespace {

struct PipeTest : NetTest {};
INSTANTIATE_TEST_SUITE_P(Every, PipeTest, every_place(), name_of_place);

PipeEnds made() {
  auto ends = Pipe::make();
  EXPECT_TRUE(ends) << ends.error().to_string();
  return *std::move(ends);
}

TEST_P(PipeTest, WhatIsWrittenIsReadAndTheEndIsZero) {
  run([] {
    auto [reader, writer] = made();
    char got[64];
    ASSERT_TRUE(writer.write("one\ntwo\nxyz", 10s));
    EXPECT_EQ(reader.read_until("\n", 10, 10s), "one");
    EXPECT_EQ(reader.buffered(), 7u);
    EXPECT_EQ(reader.read_until("\n", 10, 10s), "two");
    ASSERT_TRUE(reader.read_exactly(std::span(got, 2), 10s));
    EXPECT_EQ(reader.read(got, 10s), 1u);
    writer.close();
    EXPECT_EQ(reader.read(got, 10s), 0u);
    EXPECT_EQ(failure_of(reader.read_exactly(std::span(got, 1), 10s)), IoFailure::end_of_stream);
    EXPECT_EQ(failure_of(writer.write("x", 10s)), IoFailure::closed);
  });
}

TEST_P(PipeTest, MoreThanItHoldsGoesThroughWhileItIsRead) {
  constexpr std::size_t kBytes = 4 << 20;
  run([] {
    auto [reader, writer] = made();
    const Monitored other = spawn_monitor([writer = std::move(writer)]() mutable {
      std::string bytes(kBytes, 'x');
      for (std::size_t i = 0; i < bytes.size(); i += 1000) bytes[i] = static_cast<char>(i / 1000 % 251);
      EXPECT_TRUE(writer.write(bytes, 60s));
    });
    std::vector<char> got(kBytes);
    ASSERT_TRUE(reader.read_exactly(got, 60s));
    for (std::size_t i = 0; i < kBytes; i += 1000) ASSERT_EQ(got[i], static_cast<char>(i / 1000 % 251)) << i;
    EXPECT_EQ(reader.read(got, 10s), 0u);
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_P(PipeTest, WaitsEndWithTheirBoundAndNothingIsLost) {
  run([] {
    auto [reader, writer] = made();
    char got[8];
    EXPECT_EQ(failure_of(reader.read(got, 5ms)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(reader.read(got, 0s)), IoFailure::timed_out);
    ASSERT_TRUE(writer.write("abc", 10s));
    EXPECT_EQ(failure_of(reader.read_exactly(std::span(got, 5), 10ms)), IoFailure::timed_out);
    ASSERT_TRUE(writer.write("de", 10s));
    ASSERT_TRUE(reader.read_exactly(std::span(got, 5), 10s));
    EXPECT_EQ(std::string_view(got, 5), "abcde");

    const std::string bytes(1 << 20, 'z');
    const auto written = writer.write(bytes, 20ms);
    EXPECT_EQ(failure_of(written), IoFailure::timed_out);
    writer.close();
    std::size_t came = 0;
    char some[4096];
    for (auto n = reader.read(some, 10s); n && *n > 0; n = reader.read(some, 10s)) came += *n;
    EXPECT_EQ(came, written.error().transferred);
  });
}

TEST_P(PipeTest, WhereNobodyReadsIsAResetAndTheWrongEndIsInvalid) {
  run([] {
    auto [reader, writer] = made();
    char got[8];
    EXPECT_EQ(failure_of(reader.write("x", 10s)), IoFailure::invalid);
    EXPECT_EQ(failure_of(writer.read(got, 10s)), IoFailure::invalid);
    reader.close();
    EXPECT_EQ(failure_of(writer.write("x", 10s)), IoFailure::reset);  // and no SIGPIPE
    Pipe none;
    EXPECT_EQ(failure_of(none.read(got, 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(none.write("x", 10s)), IoFailure::closed);
    EXPECT_EQ(failure_of(Pipe::adopt(-1)), IoFailure::closed);
  });
}

TEST_P(PipeTest, AProcessKilledInEachWaitEndsAndItsEndCloses) {
  run([] {
    for (unsigned round = 0; round < std::max(2u, scaled(20)); ++round) {
      auto [reader, writer] = made();
      const Monitored waiting = spawn_monitor([reader = std::move(reader)]() mutable {
        char got[8];
        static_cast<void>(reader.read(got, forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(waiting.pid);
      exit(waiting.pid, reason::kill);
      EXPECT_EQ(await_down(waiting), reason::killed);
      EXPECT_EQ(failure_of(writer.write("x", 10s)), IoFailure::reset);

      auto [from, to] = made();
      const Monitored full = spawn_monitor([to = std::move(to)]() mutable {
        static_cast<void>(to.write(std::string(1 << 20, 'w'), forever));
        ADD_FAILURE() << "it went on";
      });
      if (round % 2 == 0) until_waiting(full.pid);
      exit(full.pid, reason::kill);
      EXPECT_EQ(await_down(full), reason::killed);
      char some[4096];
      auto n = from.read(some, 10s);
      while (n && *n > 0) n = from.read(some, 10s);
      EXPECT_EQ(n, 0u);
    }
  });
}

TEST_P(PipeTest, AnEndMovesToAnotherProcessInAMessage) {
  run([] {
    auto [reader, writer] = made();
    const Monitored other = spawn_monitor([] {
      receive(
          10s, [](Pipe end) { EXPECT_TRUE(end.write("from there", 10s)); },
          [](Timeout) { ADD_FAILURE() << "no pipe came"; });
    });
    EXPECT_EQ(send(other.pid, std::move(writer)), Delivery::queued);
    char got[16];
    EXPECT_EQ(reader.read(got, 10s), 10u);
    EXPECT_EQ(reader.read(got, 10s), 0u);
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

TEST_P(PipeTest, WhatIsAdoptedStaysAsItIsForThoseWhoShareIt) {
  run([] {
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    const int shared = ::dup(fds[0]);  // as another program has it
    auto reader = Pipe::adopt(fds[0]);
    ASSERT_TRUE(reader) << reader.error().to_string();
    EXPECT_EQ(reader->fd(), fds[0]);
    EXPECT_EQ(::fcntl(fds[0], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(::fcntl(shared, F_GETFL) & O_NONBLOCK, 0);
    char got[8];
    EXPECT_EQ(failure_of(reader->read(got, 5ms)), IoFailure::timed_out);
    ASSERT_EQ(::write(fds[1], "abc", 3), 3);
    EXPECT_EQ(reader->read(got, 10s), 3u);
    ::close(shared);
    auto writer = Pipe::adopt(fds[1]);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->write("d", 10s));
    EXPECT_EQ(reader->read(got, 10s), 1u);
  });
}

TEST_P(PipeTest, TerminalsAndFilesAreReadInOrderToo) {
  run([] {
    const int master = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(master, 0);
    ASSERT_EQ(::grantpt(master) | ::unlockpt(master), 0);
    char name[64];
    ASSERT_EQ(::ptsname_r(master, name, sizeof name), 0);
    auto terminal = Pipe::adopt(::open(name, O_RDWR | O_NOCTTY));
    ASSERT_TRUE(terminal) << terminal.error().to_string();
    EXPECT_EQ(failure_of(terminal->read_until("\n", 100, 5ms)), IoFailure::timed_out);
    ASSERT_EQ(::write(master, "typed\n", 6), 6);
    EXPECT_EQ(terminal->read_until("\n", 100, 10s), "typed");
    terminal->close();
    ::close(master);

    auto null = Pipe::adopt(::open("/dev/null", O_RDWR));
    ASSERT_TRUE(null);
    char got[8];
    EXPECT_EQ(null->read(got, 10s), 0u);
    EXPECT_TRUE(null->write("gone", 10s));

    char path[] = "/tmp/ek-pipe-test-XXXXXX";
    const int file = ::mkstemp(path);
    ASSERT_GE(file, 0);
    ::unlink(path);
    ASSERT_EQ(::write(file, "first\nsecond\n", 13), 13);
    ASSERT_EQ(::lseek(file, 0, SEEK_SET), 0);
    auto redirected = Pipe::adopt(file);
    ASSERT_TRUE(redirected);
    EXPECT_EQ(redirected->read_until("\n", 100, 10s), "first");
    EXPECT_EQ(redirected->read_until("\n", 100, 10s), "second");
    EXPECT_EQ(redirected->read(got, 10s), 0u);
  });
}

}  // namespace
}  // namespace erlking::testing
