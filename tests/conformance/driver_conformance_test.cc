// What every I/O driver owes whoever starts operations: each is done once, with what the system call says; a cancelled
// one is over before the canceller goes on; a wake ends a sleep; other threads may start and cancel.
#include "base/random.h"
#include "io/io.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <fcntl.h>
#include <memory>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace erlking::io {
namespace {

using base::Nanos;

constexpr Nanos kMilli = 1'000'000;

struct Waiter {
  std::atomic<unsigned> woken{0};
};
void count_wake(void* waiter) noexcept { static_cast<Waiter*>(waiter)->woken.fetch_add(1); }

// An operation with its waiter.
struct Job {
  Waiter waiter;
  Operation operation;

  explicit Job(Code code, int fd, void* data = nullptr, std::size_t size = 0, std::uint32_t flags = 0)
      : operation(code, fd, data, size, flags) {
    operation.wake = &count_wake;
    operation.waiter = &waiter;
  }
  bool done() const { return operation.done.load(); }
};

// Two connected ends.
struct Ends {
  int here = -1, there = -1;
  explicit Ends(bool non_blocking) {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (non_blocking ? SOCK_NONBLOCK : 0), 0, fds), 0);
    here = fds[0];
    there = fds[1];
  }
  ~Ends() {
    ::close(here);
    ::close(there);
  }
};

class DriverTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto choice = choose_driver(GetParam());
    ASSERT_TRUE(choice);
    if (choice->name != GetParam()) GTEST_SKIP() << choice->why;
    non_blocking_ = choice->non_blocking;
    driver_ = make_driver(GetParam(), {&rouse, this});
    ASSERT_NE(driver_, nullptr);
  }
  static void rouse(void* self) noexcept { static_cast<DriverTest*>(self)->driver_->wake(); }

  template <class Done>
  bool run_until(Done&& done) {
    for (const Nanos until = base::monotonic_now() + 20'000 * kMilli; !done();) {
      if (base::monotonic_now() > until) return false;
      driver_->poll();
      if (!done()) driver_->sleep(10 * kMilli);
    }
    return true;
  }
  // Starts it and runs until it is over.
  std::int32_t outcome(Job& job) {
    driver_->start(job.operation);
    EXPECT_TRUE(run_until([&] { return job.done(); }));
    EXPECT_EQ(job.waiter.woken, 1u);
    return job.operation.result;
  }
  std::int32_t cancelled(Job& job) {
    driver_->cancel(job.operation);
    EXPECT_TRUE(run_until([&] { return job.done() && job.operation.cancel_seen.load(); }));
    return job.operation.result;
  }

  std::unique_ptr<Driver> driver_;
  bool non_blocking_ = false;
};
INSTANTIATE_TEST_SUITE_P(Every, DriverTest, ::testing::Values("uring", "epoll"),
                         [](const auto& info) { return info.param; });

TEST_P(DriverTest, HasTheNameItIsAskedForBy) { EXPECT_EQ(driver_->name(), GetParam()); }

TEST_P(DriverTest, WhatIsThereIsReadAtOnce) {
  const Ends ends(non_blocking_);
  ASSERT_EQ(::write(ends.there, "abc", 3), 3);
  char got[8] = {};
  Job recv(Code::recv, ends.here, got, sizeof got);
  EXPECT_FALSE(driver_->is_active());
  EXPECT_EQ(outcome(recv), 3);
  EXPECT_EQ(std::string(got), "abc");
  EXPECT_FALSE(driver_->is_active());
}

TEST_P(DriverTest, WhatComesLaterIsWaitedFor) {
  const Ends ends(non_blocking_);
  char got[8] = {};
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  for (int i = 0; i < 5; ++i) {
    driver_->poll();
    driver_->sleep(kMilli);
  }
  EXPECT_FALSE(recv.done());
  EXPECT_TRUE(driver_->is_active());
  ASSERT_EQ(::write(ends.there, "late", 4), 4);
  EXPECT_TRUE(run_until([&] { return recv.done(); }));
  EXPECT_EQ(recv.operation.result, 4);
  EXPECT_EQ(recv.waiter.woken, 1u);
  ASSERT_EQ(::shutdown(ends.there, SHUT_WR), 0);
  Job end(Code::recv, ends.here, got, sizeof got);
  EXPECT_EQ(outcome(end), 0);
}

TEST_P(DriverTest, AThousandWaitAtOnceAndEachIsDoneOnce) {
  constexpr unsigned kMany = 1000;
  std::deque<Ends> ends;
  std::deque<Job> jobs;
  std::array<char, kMany> got{};
  for (unsigned i = 0; i < kMany; ++i) {
    ends.emplace_back(non_blocking_);
    jobs.emplace_back(Code::recv, ends.back().here, &got[i], 1u);
    driver_->start(jobs.back().operation);
  }
  driver_->poll();
  for (unsigned i = 0; i < kMany; ++i) {
    const char byte = static_cast<char>(i % 100);
    ASSERT_EQ(::write(ends[i].there, &byte, 1), 1);
  }
  EXPECT_TRUE(run_until([&] { return !driver_->is_active(); }));
  for (unsigned i = 0; i < kMany; ++i) {
    EXPECT_TRUE(jobs[i].done());
    EXPECT_EQ(jobs[i].waiter.woken, 1u);
    EXPECT_EQ(jobs[i].operation.result, 1);
    EXPECT_EQ(got[i], static_cast<char>(i % 100));
  }
}

TEST_P(DriverTest, OneDescriptorIsReadAndWrittenAtOnce) {
  const Ends ends(non_blocking_);
  std::vector<char> bytes(4 << 20, 'b');
  char got[4];
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  std::size_t sent = 0, came = 0;
  std::vector<char> sink(1 << 20);
  while (sent < bytes.size()) {
    Job send(Code::send, ends.here, bytes.data() + sent, bytes.size() - sent);
    driver_->start(send.operation);
    ASSERT_TRUE(run_until([&] {
      const ssize_t n = ::recv(ends.there, sink.data(), sink.size(), MSG_DONTWAIT);
      if (n > 0) came += static_cast<std::size_t>(n);
      return send.done();
    }));
    ASSERT_GT(send.operation.result, 0);
    sent += static_cast<std::size_t>(send.operation.result);
  }
  EXPECT_FALSE(recv.done());
  ASSERT_EQ(::write(ends.there, "back", 4), 4);
  EXPECT_TRUE(run_until([&] { return recv.done(); }));
  EXPECT_EQ(recv.operation.result, 4);
  EXPECT_LE(came, sent);
}

TEST_P(DriverTest, ConnectionsAreMadeAndTaken) {
  const int kind = SOCK_STREAM | SOCK_CLOEXEC | (non_blocking_ ? SOCK_NONBLOCK : 0);
  const int listener = ::socket(AF_INET, kind, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 8), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  Job accept(Code::accept, listener);
  driver_->start(accept.operation);
  driver_->poll();
  const int client = ::socket(AF_INET, kind, 0);
  Job connect(Code::connect, client, &address, sizeof address);
  EXPECT_EQ(outcome(connect), 0);
  ASSERT_TRUE(run_until([&] { return accept.done(); }));
  const int taken = accept.operation.result;
  ASSERT_GE(taken, 0);
  EXPECT_EQ(::fcntl(taken, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ((::fcntl(taken, F_GETFL) & O_NONBLOCK) != 0, non_blocking_);
  ::close(taken);
  ::close(client);
  ::close(listener);
  const int refused = ::socket(AF_INET, kind, 0);
  Job again(Code::connect, refused, &address, sizeof address);
  EXPECT_EQ(outcome(again), -ECONNREFUSED);
  ::close(refused);
}

TEST_P(DriverTest, PipesAreReadWrittenAndPolled) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC | (non_blocking_ ? O_NONBLOCK : 0)), 0);
  Job readable(Code::poll, fds[0], nullptr, 0, POLLIN);
  driver_->start(readable.operation);
  driver_->poll();
  EXPECT_FALSE(readable.done());
  char out[] = "pipe";
  Job write(Code::write, fds[1], out, 4);
  EXPECT_EQ(outcome(write), 4);
  ASSERT_TRUE(run_until([&] { return readable.done(); }));
  EXPECT_NE(readable.operation.result & POLLIN, 0);
  Job writable(Code::poll, fds[1], nullptr, 0, POLLOUT);
  EXPECT_NE(outcome(writable) & POLLOUT, 0);
  char got[8] = {};
  Job read(Code::read, fds[0], got, sizeof got);
  EXPECT_EQ(outcome(read), 4);
  Job waiting(Code::read, fds[0], got, sizeof got);
  driver_->start(waiting.operation);
  driver_->poll();
  ::close(fds[1]);
  ASSERT_TRUE(run_until([&] { return waiting.done(); }));
  EXPECT_EQ(waiting.operation.result, 0);
  ::close(fds[0]);
}

TEST_P(DriverTest, WhatCannotBeDoneSaysWhy) {
  char got[8];
  Job nowhere(Code::recv, 1'000'000, got, sizeof got);
  EXPECT_EQ(outcome(nowhere), -EBADF);
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  Job no_socket(Code::recv, fds[0], got, sizeof got);
  EXPECT_EQ(outcome(no_socket), -ENOTSOCK);
  ::close(fds[0]);
  ::close(fds[1]);
  Ends ends(non_blocking_);
  ::close(std::exchange(ends.there, -1));
  Job broken(Code::send, ends.here, got, sizeof got);
  EXPECT_EQ(outcome(broken), -EPIPE);
}

// --- cancelling ------------------------------------------------------------------------------------------------------

TEST_P(DriverTest, ACancelledOneIsOverAndWritesNoMore) {
  const Ends ends(non_blocking_);
  char got[8] = "before";
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  driver_->poll();
  EXPECT_EQ(cancelled(recv), -ECANCELED);
  EXPECT_FALSE(driver_->is_active());
  ASSERT_EQ(::write(ends.there, "after", 5), 5);
  driver_->poll();
  driver_->sleep(kMilli);
  EXPECT_EQ(std::string(got), "before");
  Job next(Code::recv, ends.here, got, sizeof got);
  EXPECT_EQ(outcome(next), 5);
}

TEST_P(DriverTest, OneThatIsCancelledBeforeItBeganEndsToo) {
  const Ends ends(non_blocking_);
  char got[8];
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  EXPECT_EQ(cancelled(recv), -ECANCELED);
}

TEST_P(DriverTest, ACancellationThatComesTooLateChangesNothing) {
  const Ends ends(non_blocking_);
  ASSERT_EQ(::write(ends.there, "x", 1), 1);
  char got[8];
  Job recv(Code::recv, ends.here, got, sizeof got);
  EXPECT_EQ(outcome(recv), 1);
  driver_->cancel(recv.operation);
  EXPECT_TRUE(driver_->is_active()) << "else nobody sees the request";
  EXPECT_TRUE(run_until([&] { return recv.operation.cancel_seen.load(); }));
  EXPECT_EQ(recv.operation.result, 1);
  EXPECT_FALSE(driver_->is_active());
}

TEST_P(DriverTest, OfManyThatAreCancelledAsTheyEndNoByteIsLost) {
  constexpr unsigned kRounds = 2000;
  const Ends ends(non_blocking_);
  base::Random random(base::entropy_seed());
  unsigned wrote = 0, came = 0, cancels = 0;
  for (unsigned i = 0; i < kRounds; ++i) {
    char byte = 0;
    Job recv(Code::recv, ends.here, &byte, 1);
    driver_->start(recv.operation);
    if (random.below(2) == 0) driver_->poll();
    if (random.below(2) == 0) {
      ASSERT_EQ(::write(ends.there, "b", 1), 1);
      ++wrote;
    }
    if (random.below(3) == 0) driver_->poll();
    const std::int32_t result = cancelled(recv);
    ASSERT_TRUE(result == 1 || result == -ECANCELED) << result;
    (result == 1 ? came : cancels) += 1;
  }
  char rest[kRounds];
  const ssize_t left = ::recv(ends.here, rest, sizeof rest, MSG_DONTWAIT);
  EXPECT_EQ(came + static_cast<unsigned>(std::max<ssize_t>(left, 0)), wrote);
  EXPECT_EQ(came + cancels, kRounds);
}

// --- sleeping --------------------------------------------------------------------------------------------------------

TEST_P(DriverTest, AWakeEndsTheSleepOrTheNextOne) {
  const Ends ends(non_blocking_);
  char got[8];
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  driver_->poll();
  for (int i = 0; i < 20; ++i) {
    driver_->wake();
    driver_->sleep(base::kForever);
  }
  std::thread other([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    driver_->wake();
  });
  driver_->sleep(base::kForever);
  other.join();
  EXPECT_EQ(cancelled(recv), -ECANCELED);
}

TEST_P(DriverTest, ASleepEndsWithItsTimeAndNotBefore) {
  const Ends ends(non_blocking_);
  char got[8];
  Job recv(Code::recv, ends.here, got, sizeof got);
  driver_->start(recv.operation);
  driver_->poll();
  Nanos longest = 0;
  for (int i = 0; i < 5 && longest < 20 * kMilli; ++i) {  // the system may end one early, for a signal
    const Nanos began = base::monotonic_now();
    driver_->sleep(20 * kMilli);
    longest = std::max(longest, base::monotonic_now() - began);
  }
  EXPECT_GE(longest, 20 * kMilli);
  EXPECT_EQ(cancelled(recv), -ECANCELED);
}

// --- files -----------------------------------------------------------------------------------------------------------

TEST_P(DriverTest, FilesAreWrittenSyncedAndReadAtTheirPlaces) {
  if (!driver_->does_files()) GTEST_SKIP() << "spare threads do it";
  const int fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  std::string text = "hello world";
  Job write(Code::write_at, fd, text.data(), text.size());
  write.operation.offset = 100;
  EXPECT_EQ(outcome(write), 11);
  Job sync(Code::sync, fd), sync_data(Code::sync_data, fd);
  EXPECT_EQ(outcome(sync), 0);
  EXPECT_EQ(outcome(sync_data), 0);
  char got[64] = "";
  Job read(Code::read_at, fd, got, sizeof got);
  read.operation.offset = 106;
  EXPECT_EQ(outcome(read), 5);
  EXPECT_EQ(std::string_view(got, 5), "world");
  ::close(fd);
  Job late(Code::sync, fd);
  EXPECT_EQ(outcome(late), -EBADF);
}

TEST_P(DriverTest, WhatIsInMemoryIsReadWithoutAWait) {
  const int fd = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::write(fd, "hello world", 11), 11);
  char got[64] = "";
  Job read(Code::read_at, fd, got, sizeof got);
  read.operation.offset = 6;
  const bool at_once = driver_->attempt(read.operation);  // false: the file system cannot tell
  if (at_once) {
    EXPECT_EQ(read.operation.result, 5);
    EXPECT_EQ(std::string_view(got, 5), "world");
  }
  EXPECT_EQ(read.waiter.woken, 0u);
  EXPECT_FALSE(read.done());
  Job write(Code::write_at, fd, got, 5);
  EXPECT_FALSE(driver_->attempt(write.operation));
  ::close(fd);
}

// --- other threads ---------------------------------------------------------------------------------------------------

TEST_P(DriverTest, AServiceServesManyThreads) {
  constexpr unsigned kThreads = 4, kRounds = 200;
  Waiter waiter;  // outlives the operations (O3)
  const auto service = Service::make(GetParam());
  ASSERT_NE(service, nullptr);
  std::vector<std::thread> threads;
  std::atomic<unsigned> came{0}, cancels{0};
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const Ends ends(non_blocking_);
      for (unsigned i = 0; i < kRounds; ++i) {
        char byte = 0;
        Job recv(Code::recv, ends.here, &byte, 1);
        recv.operation.waiter = &waiter;
        if (service->driver().attempt(recv.operation)) {
          came += recv.operation.result == 1;  // of an earlier round, which was cancelled
          continue;
        }
        service->driver().post(recv.operation);
        if ((i + t) % 3 != 0) {
          ASSERT_EQ(::write(ends.there, "b", 1), 1);
        }
        const bool give_up = (i + t) % 3 != 1;
        if (give_up) service->driver().cancel(recv.operation);
        const Nanos until = base::monotonic_now() + 20'000 * kMilli;
        while (!recv.done() || (give_up && !recv.operation.cancel_seen.load())) {
          ASSERT_LT(base::monotonic_now(), until);
          std::this_thread::yield();
        }
        ASSERT_TRUE(recv.operation.result == 1 || (give_up && recv.operation.result == -ECANCELED));
        (recv.operation.result == 1 ? came : cancels) += 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(came + cancels, kThreads * kRounds);
}

}  // namespace
}  // namespace erlking::io
