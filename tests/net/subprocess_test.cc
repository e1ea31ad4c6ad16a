// Programs beside this one: what goes in and out of them, how they end, and that none is left when its owner is not.
#include "tests/support/net_fixture.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace erlking::testing {
namespace {

struct SubprocessTest : NetTest {
  void TearDown() override {
    NetTest::TearDown();
    siginfo_t left{};
    int any = 0;
    // One that was started too late for its bound is ended by a thread of its own.
    for (int i = 0; i < 500 && any == 0; ++i) {
      any = ::waitid(P_ALL, 0, &left, WEXITED | WNOHANG | WNOWAIT);
      if (any == 0) std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(any, -1) << "a program, or a zombie, is left: " << left.si_pid;
  }
};
INSTANTIATE_TEST_SUITE_P(Every, SubprocessTest, every_place(), name_of_place);

SubprocessOptions shell(std::string script) { return {.program = "sh", .arguments = {"-c", std::move(script)}}; }
Subprocess started(SubprocessOptions options) {
  auto made = Subprocess::spawn(std::move(options), 20s);
  EXPECT_TRUE(made) << made.error().to_string();
  return made ? *std::move(made) : Subprocess();
}

// Whether it neither runs nor is about to: what is left of one that nobody reaps counts as dead.
bool is_dead(pid_t id) {
  std::ifstream status("/proc/" + std::to_string(id) + "/stat");
  std::string text;
  if (!std::getline(status, text)) return true;
  const std::size_t at = text.rfind(')');
  return at == text.npos || text.substr(at + 2, 1) == "Z" || text.substr(at + 2, 1) == "X";
}
bool dies(pid_t id) {
  for (int i = 0; i < 1000; ++i) {
    if (is_dead(id)) return true;
    sleep(10ms);
  }
  return false;
}

// --- what goes in and out --------------------------------------------------------------------------------------------

TEST_P(SubprocessTest, WhatIsWrittenGoesThroughIt) {
  run([] {
    Subprocess sort = started({.program = "sort", .in = Stdio::pipe, .out = Stdio::pipe});
    ASSERT_TRUE(sort.in.write("b\nc\na\n", 10s));
    sort.in.close();
    EXPECT_EQ(sort.out.read_until("\n", 10, 20s), "a");
    EXPECT_EQ(sort.out.read_until("\n", 10, 20s), "b");
    EXPECT_EQ(sort.out.read_until("\n", 10, 20s), "c");
    char got[4];
    EXPECT_EQ(sort.out.read(got, 20s), 0u);
    EXPECT_FALSE(sort.error.is_open());
    EXPECT_EQ(sort.wait(20s), SubprocessEnd{});
    EXPECT_EQ(sort.wait(0s), SubprocessEnd{}) << "again";
    EXPECT_EQ(sort.id(), 0);
    EXPECT_EQ(failure_of(sort.kill(SIGTERM)), IoFailure::closed);
  });
}

TEST_P(SubprocessTest, ItRunsWhereAndWithWhatIsSaid) {
  run([] {
    SubprocessOptions options = shell("pwd; echo $EK_TOLD; echo $HOME; echo wrong >&2; cat");
    options.directory = "/usr";
    options.environment = {"EK_TOLD=something"};
    options.out = options.error = Stdio::pipe;
    Subprocess program = started(options);
    EXPECT_EQ(program.out.read_until("\n", 100, 20s), "/usr");
    EXPECT_EQ(program.out.read_until("\n", 100, 20s), "something");
    EXPECT_EQ(program.out.read_until("\n", 100, 20s), "");
    EXPECT_EQ(program.error.read_until("\n", 100, 20s), "wrong");
    EXPECT_TRUE(program.wait(20s)->is_normal()) << "its input is /dev/null";
  });
}

TEST_P(SubprocessTest, NoSignalIsBlockedOrIgnoredInIt) {
  run([] {
    SubprocessOptions options{.program = "grep", .arguments = {"-E", "^Sig(Blk|Ign)", "/proc/self/status"}};
    options.out = Stdio::pipe;
    Subprocess program = started(options);
    EXPECT_EQ(program.out.read_until("\n", 100, 20s), "SigBlk:\t0000000000000000");
    const std::string ignored = program.out.read_until("\n", 100, 20s).value_or("none");
    // Of the 31 that programs use: the C library has some of its own beyond.
    EXPECT_EQ(std::stoull(ignored.substr(ignored.find('\t') + 1), nullptr, 16) & 0x7fff'ffff, 0u) << ignored;
    EXPECT_TRUE(program.wait(20s));
  });
}

TEST_P(SubprocessTest, WhatCannotBeStartedSaysWhy) {
  run([] {
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "/no/such/program"}, 20s)), IoFailure::not_found);
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "no-such-program-at-all"}, 20s)), IoFailure::not_found);
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "true", .directory = "/no/such"}, 20s)), IoFailure::not_found);
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "/etc/passwd"}, 20s)), IoFailure::not_permitted);
    EXPECT_EQ(failure_of(Subprocess::spawn({}, 20s)), IoFailure::invalid);
    const auto late = Subprocess::spawn({.program = "sleep", .arguments = {"1000"}}, 0s);
    EXPECT_TRUE(late || late.error().kind == IoFailure::timed_out);  // the thread may have been quick
    Subprocess none;
    EXPECT_EQ(failure_of(none.wait(1s)), IoFailure::closed);
    EXPECT_EQ(failure_of(none.kill(SIGTERM)), IoFailure::closed);
    EXPECT_EQ(failure_of(none.terminate(1s)), IoFailure::closed);
  });
}

// --- how it ends -----------------------------------------------------------------------------------------------------

TEST_P(SubprocessTest, ItsEndIsAReason) {
  run([] {
    EXPECT_EQ(started({.program = "true"}).wait(20s)->reason(), reason::normal);
    EXPECT_EQ(started(shell("exit 3")).wait(20s)->reason(), Reason("exit_status", "3"));
    EXPECT_EQ(started(shell("kill -SEGV $$")).wait(20s)->reason(), Reason("signal", "SIGSEGV"));
  });
}

TEST_P(SubprocessTest, AWaitEndsWithItsBoundAndItRunsOn) {
  run([] {
    Subprocess program = started({.program = "sleep", .arguments = {"1000"}});
    EXPECT_EQ(failure_of(program.wait(0s)), IoFailure::timed_out);
    EXPECT_EQ(failure_of(program.wait(10ms)), IoFailure::timed_out);
    EXPECT_FALSE(is_dead(program.id()));
    const int first = select(10ms, on_readable(program, [] { return 1; }), [](Timeout) { return 2; });
    EXPECT_EQ(first, 2);
    ASSERT_TRUE(program.kill(SIGINT));
    EXPECT_EQ(select(20s, on_readable(program, [] { return 1; }), [](Timeout) { return 2; }), 1);
    EXPECT_EQ(program.wait(20s), (SubprocessEnd{.signal = SIGINT}));
  });
}

TEST_P(SubprocessTest, OneThatDoesNotHearIsKilledAfterItsGrace) {
  run([] {
    SubprocessOptions deaf = shell("trap '' TERM; echo ready; while :; do sleep 1000; done");
    deaf.out = Stdio::pipe;
    Subprocess program = started(deaf);
    EXPECT_EQ(program.out.read_until("\n", 100, 20s), "ready");
    EXPECT_EQ(program.terminate(20ms), (SubprocessEnd{.signal = SIGKILL}));

    SubprocessOptions polite = shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done");
    polite.out = Stdio::pipe;
    Subprocess other = started(polite);
    EXPECT_EQ(other.out.read_until("\n", 100, 20s), "ready");
    EXPECT_EQ(other.terminate(20s), (SubprocessEnd{.status = 5}));
    EXPECT_EQ(other.terminate(20s), (SubprocessEnd{.status = 5})) << "again";

    Subprocess stopped = started({.program = "sleep", .arguments = {"1000"}});
    ASSERT_TRUE(stopped.kill(SIGSTOP));
    EXPECT_EQ(stopped.terminate(20s), (SubprocessEnd{.signal = SIGTERM}));
  });
}

TEST_P(SubprocessTest, WithItsEndWhatItLeftRunningIsKilled) {
  run([] {
    SubprocessOptions options = shell("sleep 1000 & echo $!");
    options.out = Stdio::pipe;
    Subprocess program = started(options);
    const pid_t left = std::stoi(program.out.read_until("\n", 100, 20s).value_or("0"));
    ASSERT_GT(left, 0);
    EXPECT_TRUE(program.wait(20s)->is_normal());
    EXPECT_TRUE(dies(left));
  });
}

// --- its owner -------------------------------------------------------------------------------------------------------

struct Ids {
  pid_t program, child;
};

TEST_P(SubprocessTest, WhenItsOwnerEndsItAndItsChildrenDie) {
  run([] {
    for (int round = 0; round < 4; ++round) {
      const Monitored owner = spawn_monitor([to = self(), round] {
        SubprocessOptions options = shell("trap '' TERM HUP INT; sleep 1000 & echo $!; wait");
        options.out = Stdio::pipe;
        Subprocess program = started(options);
        const pid_t child = std::stoi(program.out.read_until("\n", 100, 20s).value_or("0"));
        send(to, Ids{program.id(), child});
        if (round == 0) static_cast<void>(program.wait(forever));
        if (round == 1) receive(forever, [](Timeout) {});
        if (round == 2) throw std::runtime_error("crashed");
      });
      const Ids ids = receive(
          20s, [](Ids s) { return s; }, [](Timeout) { return Ids{}; });
      ASSERT_GT(ids.child, 0);
      if (round < 2) exit(owner.pid, reason::kill);
      const Reason why = await_down(owner);
      EXPECT_EQ(why.name(), round < 2 ? "killed" : round == 2 ? "exception" : "normal");
      EXPECT_TRUE(is_dead(ids.program));
      EXPECT_TRUE(dies(ids.child));
    }
  });
}

TEST_P(SubprocessTest, OneThatIsSentToNobodyDies) {
  run([] {
    const Monitored deaf = spawn_monitor([] { receive(forever, [](Ids) {}); });
    Subprocess program = started({.program = "sleep", .arguments = {"1000"}});
    const pid_t id = program.id();
    EXPECT_EQ(send(deaf.pid, std::move(program)), Delivery::queued);
    EXPECT_EQ(program.id(), 0);
    EXPECT_FALSE(is_dead(id));
    exit(deaf.pid, reason::kill);
    EXPECT_EQ(await_down(deaf), reason::killed);
    EXPECT_TRUE(dies(id));
  });
}

TEST_P(SubprocessTest, ManyAtOnceAreKilledWithTheRuntime) {
  auto running = std::make_shared<std::atomic<int>>(0);
  ASSERT_TRUE(rt().spawn([running] {
    for (int i = 0; i < 10; ++i) {
      spawn([running, i] {
        Subprocess program = started({.program = "sleep", .arguments = {"1000"}});
        running->fetch_add(1);
        if (i % 2 == 0) static_cast<void>(program.wait(forever));
        wait_forever();
      });
    }
    wait_forever();
  }));
  ASSERT_TRUE(drive([&] { return running->load() == 10; }));
  EXPECT_TRUE(rt().stop());
}

// --- a process that is a program -------------------------------------------------------------------------------------

TEST_P(SubprocessTest, AProcessThatIsAProgramEndsAsItDoes) {
  run([] {
    const auto ended = [](SubprocessOptions options) { return await_down(spawn_monitor(run_subprocess, options)); };
    EXPECT_EQ(ended({.program = "true"}), reason::normal);
    EXPECT_EQ(ended(shell("exit 7")), Reason("exit_status", "7"));
    EXPECT_EQ(ended(shell("kill -KILL $$")), Reason("signal", "SIGKILL"));
    EXPECT_EQ(ended({.program = "no-such-program-at-all"}).name(), "not_found");
    EXPECT_EQ(ended({.program = "cat", .in = Stdio::pipe}).name(), "bad_options");
  });
}

TEST_P(SubprocessTest, AnExitSignalEndsItInOrder) {
  run([] {
    char path[] = "/tmp/ek-subprocess-test-XXXXXX";
    ::close(::mkstemp(path));
    const std::string file = path;
    const auto text = [&] {
      std::ifstream in(file);
      std::string line;
      std::getline(in, line);
      return line;
    };
    const Monitored program = spawn_monitor(
        run_subprocess,
        shell("trap 'echo term >" + file + "; exit 0' TERM; echo up >" + file + "; while :; do sleep 0.01; done"));
    for (int i = 0; i < 2000 && text() != "up"; ++i) sleep(10ms);
    exit(program.pid, reason::normal);
    EXPECT_TRUE(is_alive(program.pid, 10s));
    exit(program.pid, reason::shutdown);
    EXPECT_EQ(await_down(program), reason::shutdown);
    EXPECT_EQ(text(), "term");
    ::unlink(path);
  });
}

TEST_P(SubprocessTest, ASupervisorStartsItAnewWhenItFails) {
  run([] {
    char path[] = "/tmp/ek-subprocess-test-XXXXXX";
    ::close(::mkstemp(path));
    const std::string file = path;
    const auto starts = [&] {
      std::ifstream in(file);
      return std::count(std::istreambuf_iterator<char>(in), {}, '\n');
    };
    trap_exit(true);
    const auto root = start_link(
        20s, Supervisor::Spec{.intensity = {10, 60s},
                              .children = {subprocess("failing", {.restart = transient},
                                                      shell("echo x >>" + file + "; [ $(wc -l <" + file + ") = 3 ]")),
                                           subprocess("steady", {}, {.program = "sleep", .arguments = {"1000"}})}});
    ASSERT_TRUE(root);
    for (int i = 0; i < 2000 && starts() < 3; ++i) sleep(10ms);
    sleep(50ms);
    EXPECT_EQ(starts(), 3) << "the third has ended well";
    exit(*root, reason::shutdown);
    EXPECT_EQ(await_exit(*root), reason::shutdown);
    ::unlink(path);
  });
}

}  // namespace
}  // namespace erlking::testing
