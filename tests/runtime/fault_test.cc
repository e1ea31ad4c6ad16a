// Hardware faults: which become an exit reason, what the node is like afterwards, which end the program.
#include "tests/support/runtime_fixture.h"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstring>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

// What a fault gives up is lost: LeakSanitizer would tell of all of it.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace erlking::testing {

using ::testing::HasSubstr;

// The faults are made by code that no sanitizer watches: ThreadSanitizer would itself fault, in its own code.
#define EK_FAULTS __attribute__((noinline, no_sanitize("address", "thread", "undefined")))

/// An address the compiler knows nothing of.
template <class T>
T* address(std::uintptr_t at) {
  asm volatile("" : "+r"(at));
  return reinterpret_cast<T*>(at);
}

// With external linkage, so that backtraces have their names.
EK_FAULTS int read_at(std::uintptr_t at) { return *address<volatile int>(at); }
EK_FAULTS void write_at(std::uintptr_t at) { *address<volatile int>(at) = 1; }
EK_FAULTS int call_at(std::uintptr_t at) { return address<int()>(at)() + 1; }
EK_FAULTS int descend(int depth) {
  volatile char frame[500];
  frame[depth % 500] = static_cast<char>(depth);
  return depth == 0 ? 0 : descend(depth - 1) + frame[depth % 500];
}
EK_FAULTS int descend_in_small_steps(int depth) {
  volatile int here = depth;
  return depth == 0 ? 0 : descend_in_small_steps(depth - 1) + here;
}
EK_FAULTS int large_frame(int at) {  // leaps over a guard of one page, but for the probes of -fstack-clash-protection
  volatile char frame[600'000];
  frame[at] = 1;
  return frame[at];
}

enum class Kind { read_null, write_null, wild, beyond, call_null, call_data, deep, deep_small, large };
constexpr Kind kKinds[] = {Kind::read_null, Kind::write_null, Kind::wild,       Kind::beyond, Kind::call_null,
                           Kind::call_data, Kind::deep,       Kind::deep_small, Kind::large};
constexpr bool is_overflow(Kind kind) { return kind >= Kind::deep; }

int commit(Kind kind) {
  static int data = 0;
  switch (kind) {
    case Kind::read_null:
      return read_at(16);
    case Kind::write_null:
      write_at(0);
      return 0;
    case Kind::wild:
      return read_at(0x1234'5678'9000);
    case Kind::beyond:
      return read_at(0x6b6b'6b6b'6b6b'6b6b);
    case Kind::call_null:
      return call_at(0);
    case Kind::call_data:
      return call_at(reinterpret_cast<std::uintptr_t>(&data));
    case Kind::deep:
      return descend(1'000'000'000);
    case Kind::deep_small:
      return descend_in_small_steps(1'000'000'000);
    case Kind::large:
      return large_frame(7);
  }
  return 0;
}
std::string text_of(Kind kind) {
  constexpr const char* kTexts[] = {"ReadNull", "WriteNull", "Wild",      "Beyond", "CallNull",
                                    "CallData", "Deep",      "DeepSmall", "Large"};
  return kTexts[static_cast<int>(kind)];
}

void expect_reason(const Reason& why, Kind kind) {
  EXPECT_EQ(why.name(), is_overflow(kind) ? "stack_overflow" : "segv") << why.report();
  EXPECT_TRUE(why.is_fault());
  EXPECT_TRUE(why.is_abnormal());
  EXPECT_FALSE(why.is_exception());
  switch (kind) {
    case Kind::read_null:
      EXPECT_EQ(why.to_string(), "{segv, read of 0x10}");
      EXPECT_EQ(why.address(), 16u);
      break;
    case Kind::write_null:
      EXPECT_EQ(why.to_string(), "{segv, write of 0x0}");
      break;
    case Kind::wild:
      EXPECT_EQ(why.address(), 0x1234'5678'9000u);
      break;
    case Kind::call_null:
      EXPECT_EQ(why.to_string(), "{segv, call of 0x0}");
      break;
    case Kind::call_data:
      EXPECT_THAT(why.to_string(), HasSubstr("call of 0x"));
      break;
    default:
      break;
  }
  const char* const at = kind == Kind::read_null || kind == Kind::wild || kind == Kind::beyond ? "read_at"
                         : kind == Kind::write_null                                            ? "write_at"
                         : kind == Kind::call_null || kind == Kind::call_data                  ? "call_at"
                         : kind == Kind::large                                                 ? "large_frame"
                                                                                               : "descend";
  const std::vector<std::string> frames = why.frames();
  ASSERT_FALSE(frames.empty());
  EXPECT_THAT(frames.front(), HasSubstr(at)) << why.report();
  EXPECT_GE(frames.size(), 2u);
}

namespace {

class FaultTest : public RuntimeTest {
 protected:
  void SetUp() override {
    may_leak = true;
    options.stall_report = Duration::zero();  // a deep recursion takes its time
    RuntimeTest::SetUp();
  }
};
class FaultKindTest : public FaultTest, public ::testing::WithParamInterface<Kind> {};
INSTANTIATE_TEST_SUITE_P(Every, FaultKindTest, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return text_of(info.param); });

struct Break {
  Kind kind;
};
struct Token {};
struct Ask {
  using Reply = int;
};
struct AskToBreak {
  using Reply = int;
  Kind kind;
};

// --- what becomes of the process ------------------------------------------------------------------------------------

TEST_P(FaultKindTest, InAProcessIsItsExitReason) {
  expect_reason(outcome([kind = GetParam()] { commit(kind); }), GetParam());
  run([] {});
  EXPECT_EQ(rt().stats().faults, 1u);
}

TEST_P(FaultKindTest, IsReported) {
  static_cast<void>(outcome([kind = GetParam()] { commit(kind); }));
  const std::vector<Report> all = reports();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].component, "crash");
  EXPECT_THAT(all[0].text, HasSubstr(is_overflow(GetParam()) ? "{stack_overflow, stack of 512 KiB}" : "{segv, "));
  EXPECT_THAT(all[0].text, HasSubstr("\n    at "));
}

TEST_P(FaultKindTest, IsToldToLinksAndMonitors) {
  run([kind = GetParam()] {
    trap_exit(true);
    const Pid linked = spawn_link([kind] { commit(kind); });
    expect_reason(await_exit(linked), kind);
    expect_reason(await_down(spawn_monitor([kind] { commit(kind); })), kind);
    // Who does not trap goes along.
    const Reason why = await_down(spawn_monitor([kind] {
      spawn_link([kind] { commit(kind); });
      wait_forever();
    }));
    expect_reason(why, kind);
  });
}

struct Breaker {
  std::array<char, 100> large{};  // not in the control block
  std::string more = std::string(100, 'x');
  bool at_start = false;
  Kind kind = Kind::read_null;
  void started() {
    if (at_start) commit(kind);
  }
  void handle(Message message) {
    match(
        message, [](Break& with) { commit(with.kind); }, [](Ask&, From<Ask> from) { from.reply(7); },
        [](AskToBreak& with, From<AskToBreak> from) { from.reply(commit(with.kind)); });
  }
};

TEST_P(FaultKindTest, InAHandler) {
  run([kind = GetParam()] {
    for (int i = 0; i < 20; ++i) {
      const Monitored other = spawn_handler_monitor(Breaker{});
      const Monitored made = spawn_handler_monitor(Breaker{});
      EXPECT_EQ(call(other.pid, Ask{}, 5s), 7);
      send(made.pid, Break{kind});
      send(made.pid, Break{kind});
      expect_reason(await_down(made), kind);
      EXPECT_EQ(call(other.pid, Ask{}, 5s), 7);
      expect_reason(await_down(spawn_handler_monitor(Breaker{.at_start = true, .kind = kind})), kind);
      exit(other.pid, reason::kill);
      EXPECT_EQ(await_down(other), reason::killed);
    }
  });
}

TEST_P(FaultKindTest, InACall) {
  run([kind = GetParam()] {
    const Pid handler = spawn_handler(Breaker{});
    const auto answer = call(handler, AskToBreak{kind}, 5s);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, CallFailure::timeout);  // its From is lost with the stack
    // What was not yet taken is answered.
    const Pid next = spawn_handler(Breaker{});
    send(next, Break{kind});
    const auto second = call(next, Ask{}, 5s);
    ASSERT_FALSE(second);
    if (second.error().kind != CallFailure::noproc) {  // else it had ended before it was asked
      EXPECT_EQ(second.error().kind, CallFailure::died);
      expect_reason(second.error().why, kind);
    }
    // In the midst of a computation that another one waits for.
    const Reason why = await_down(spawn_monitor([kind] {
      static_cast<void>(await(async([kind] { return commit(kind); }), 5s));
      ADD_FAILURE() << "the link did not take its owner along";
    }));
    expect_reason(why, kind);
  });
}

class Clerk : public Server {
 public:
  using Handles = Messages<Break, Ask, AskToBreak>;
  Clerk() = default;
  explicit Clerk(Kind kind) { commit(kind); }
  void on(Break& with) { commit(with.kind); }
  int on(Ask&) { return 7; }
  int on(AskToBreak& with) { return commit(with.kind); }
  void terminate(const Reason&) { ADD_FAILURE() << "its object cannot be trusted any more"; }
};

TEST_P(FaultKindTest, InAServer) {
  run([kind = GetParam()] {
    trap_exit(true);
    const auto made = start_link<Clerk>(5s, {});
    ASSERT_TRUE(made);
    EXPECT_EQ(call(*made, Ask{}, 5s), 7);
    const auto answer = call(*made, AskToBreak{kind}, 5s);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, CallFailure::timeout);  // as above
    expect_reason(await_exit(*made), kind);
    const auto failed = erlking::start<Clerk>(5s, {}, kind);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().kind, StartFailure::failed);
    expect_reason(failed.error().why, kind);
  });
}

TEST_P(FaultKindTest, InADestructor) {
  struct AtEnd {
    Kind kind;
    ~AtEnd() { commit(kind); }
  };
  expect_reason(outcome([kind = GetParam()] { const AtEnd at_end{kind}; }), GetParam());
  expect_reason(outcome([kind = GetParam()] {
                  const AtEnd at_end{kind};
                  throw std::runtime_error("unwinds");
                }),
                GetParam());
  expect_reason(outcome([kind = GetParam()] {
                  const AtEnd at_end{kind};
                  exit(Reason("unwinds"));
                }),
                GetParam());
}

TEST_P(FaultKindTest, InACatchOfAnException) {
  options.workers = 1;
  for (int i = 0; i < 3; ++i) {
    expect_reason(outcome([kind = GetParam()] {
                    try {
                      throw std::runtime_error("outer");
                    } catch (const std::exception&) {
                      try {
                        throw 7;
                      } catch (int) {
                        commit(kind);
                      }
                    }
                  }),
                  GetParam());
    run([] {
      EXPECT_EQ(std::current_exception(), nullptr);
      EXPECT_EQ(std::uncaught_exceptions(), 0);
      try {
        throw std::runtime_error("after");
      } catch (const std::exception& e) {
        EXPECT_STREQ(e.what(), "after");
      }
    });
  }
  EXPECT_EQ(outcome([] { throw std::runtime_error("as ever"); }).what(), "as ever");
}

TEST_P(FaultKindTest, InAGuardOfAReceiveThatHasWaited) {
  run([kind = GetParam()] {
    const Monitored made =
        spawn_monitor([kind] { receive(1h, when([kind](const Break&) { return commit(kind) == 1; }, [](Break) {})); });
    until_waiting(made.pid);
    send(made.pid, Break{kind});
    expect_reason(await_down(made), kind);
    sleep(2h);  // its timer is gone
  });
}

// --- what it had -----------------------------------------------------------------------------------------------------

TEST_P(FaultKindTest, ItsNameIsFreeWhenItsEndIsTold) {
  run([kind = GetParam()] {
    for (int i = 0; i < 10; ++i) {
      expect_reason(await_down(spawn_monitor({.name = "fragile"}, [kind] { commit(kind); })), kind);
      EXPECT_FALSE(whereis("fragile"));
    }
  });
}

TEST_P(FaultKindTest, WhoWaitsForRoomAndWhoCallsIsTold) {
  run([kind = GetParam()] {
    const Pid me = self();
    const Monitored made = spawn_monitor({.mailbox = 2}, [kind] {
      receive(forever, [](Token) {});
      commit(kind);
    });
    struct Sent {
      Delivery how;
    };
    struct Called {
      CallFailure how;
    };
    struct Junk {};
    EXPECT_EQ(send(made.pid, Junk{}), Delivery::queued);
    const Pid caller = spawn([to = made.pid, me] {
      const auto answer = call(to, Ask{}, forever);
      send(me, Called{answer ? CallFailure::full : answer.error().kind});
    });
    until_waiting(caller);
    const Pid sender = spawn([to = made.pid, me] { send(me, Sent{send(to, Junk{}, forever)}); });
    until_waiting(sender);
    send_after(1ms, made.pid, Token{});
    expect_reason(await_down(made), kind);
    receive(kLongEnough, [](Sent sent) { EXPECT_EQ(sent.how, Delivery::noproc); });
    receive(kLongEnough, [](Called called) { EXPECT_EQ(called.how, CallFailure::died); });
  });
}

TEST_F(FaultTest, AMutexHeldStaysLocked) {
  static std::mutex mutex;
  expect_reason(outcome([] {
                  const std::lock_guard lock(mutex);
                  commit(Kind::read_null);
                }),
                Kind::read_null);
  bool taken = false;
  std::thread([&] { taken = mutex.try_lock(); }).join();
  EXPECT_FALSE(taken);
}

TEST_F(FaultTest, DestructorsOfItsFramesDoNotRunAndAHandlersStateIsLeft) {
  static std::atomic<int> ended;
  struct Counted {
    bool moved = false;
    Counted() = default;
    Counted(Counted&& other) noexcept { other.moved = true; }
    ~Counted() { ended += moved ? 0 : 1; }
  };
  struct Holder {
    Counted counted;
    void handle(Message) { commit(Kind::write_null); }
  };
  ended = 0;
  run([] {
    expect_reason(await_down(spawn_monitor([] {
                    const Counted here;
                    commit(Kind::read_null);
                  })),
                  Kind::read_null);
    const Monitored made = spawn_handler_monitor(Holder{});
    send(made.pid, Break{});
    expect_reason(await_down(made), Kind::write_null);
  });
  EXPECT_EQ(ended, 0);
}

TEST_F(FaultTest, LeavesTheFloatingPointRegistersEmpty) {
  options.workers = 1;
  for (int i = 0; i < 4; ++i) {
    static_cast<void>(outcome([] {
      asm volatile("fld1; fld1; fld1; fld1; fld1; fld1; fld1");
      commit(Kind::read_null);
    }));
  }
  run([] {
    volatile long double third = 1.0L;
    third = third / 3;
    EXPECT_FALSE(std::isnan(third));
    EXPECT_GT(third, 0.3L);
  });
}

TEST_F(FaultTest, ABusErrorIsOneToo) {
  run([] {
    const Reason why = await_down(spawn_monitor([] {
      const int file = memfd_create("short", 0);
      void* const memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file, 0);  // nothing of it in the file
      read_at(reinterpret_cast<std::uintptr_t>(memory));
    }));
    EXPECT_EQ(why.name(), "bus");
    EXPECT_TRUE(why.is_fault());
  });
}

// --- many ------------------------------------------------------------------------------------------------------------

class FaultMatrixTest : public RuntimeMatrixTest {
 protected:
  void SetUp() override {
    may_leak = true;
    options.reports_per_second = 1;
    RuntimeMatrixTest::SetUp();
  }
  // Of each kind: in one setting so many as a program is to bear, in the others some.
  int times() const {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 20;
#else
    return GetParam().workers == 2 && GetParam().clock == ClockKind::real ? 1'000 : 100;
#endif
  }
};
INSTANTIATE_TEST_SUITE_P(Every, FaultMatrixTest, every_setting(), name_of_setting);

TEST_P(FaultMatrixTest, ASupervisorRestartsTheChildEachTime) {
  run([times = times()] {
    trap_exit(true);
    const int all = times * static_cast<int>(std::size(kKinds));
    const auto supervisor =
        start_link(10s, {.intensity = {all + 1, 1h},
                         .children = {child("fragile", {},
                                            [] {
                                              static_cast<void>(register_name("fragile", self()));
                                              receive(forever, [](Break& with) { commit(with.kind); });
                                            }),
                                      child("sound", {}, [] {
                                        static_cast<void>(register_name("sound", self()));
                                        idle_forever();
                                      })}});
    ASSERT_TRUE(supervisor);
    const auto named = [](const char* name) {
      for (;;) {
        if (const auto pid = whereis(name)) return *pid;
        sleep(1ms);
      }
    };
    const Pid sound = named("sound");
    for (int i = 0; i < times; ++i) {
      for (const Kind kind : kKinds) {
        const Pid fragile = named("fragile");
        const MonitorRef ref = monitor(fragile);
        send(fragile, Break{kind});
        const Reason why = await_down(ref);
        ASSERT_EQ(why.name(), is_overflow(kind) ? "stack_overflow" : "segv") << why.report();
      }
    }
    EXPECT_EQ(named("sound"), sound);
    EXPECT_TRUE(is_alive(*supervisor, 10s));
  });
  EXPECT_EQ(rt().stats().faults, static_cast<std::uint64_t>(times()) * std::size(kKinds));
}

TEST_P(FaultMatrixTest, ManyAtOnceBesideOthersThatWork) {
  run([times = times()] {
    const Pid counter = spawn_handler(Breaker{});
    std::vector<Monitored> made;
    for (int i = 0; i < times; ++i) {
      const Kind kind = kKinds[static_cast<std::size_t>(i) % std::size(kKinds)];
      made.push_back(spawn_monitor([counter, kind] {
        for (int turn = 0; turn < 5; ++turn) {
          if (call(counter, Ask{}, kLongEnough) != 7) exit(Reason("wrong"));
        }
        commit(kind);
      }));
      made.push_back(spawn_handler_monitor({.mailbox = 4}, Breaker{}));
      send(made.back().pid, Break{kind});
    }
    for (const Monitored& one : made) {
      const Reason why = await_down(one);
      EXPECT_TRUE(why.is_fault()) << why.report();
    }
    EXPECT_EQ(call(counter, Ask{}, kLongEnough), 7);
  });
}

// --- what is not contained -------------------------------------------------------------------------------------------

struct FaultDeathTest : FaultTest {
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    FaultTest::SetUp();
    base::set_log_sink(nullptr);
  }
  template <class F>
  void in_process(F body) {
    options.clock = ClockKind::real;
    Runtime(options).run(body);
  }
};

TEST_F(FaultDeathTest, UnderAnUncontained) {
  EXPECT_DEATH(in_process([] {
                 const Uncontained here;
                 { const Uncontained nested; }
                 commit(Kind::read_null);
               }),
               "SIGSEGV \\(read of 0x10\\) in process <.*> of .*not contained: under an Uncontained(.|\n)*read_at");
  EXPECT_DEATH(in_process([] { uncontained([] { commit(Kind::deep); }); }), "overflow of the stack.*under an Uncont");
  expect_reason(outcome([] {
                  EXPECT_EQ(uncontained([] { return 7; }), 7);
                  commit(Kind::read_null);
                }),
                Kind::read_null);
}

TEST_F(FaultDeathTest, AsTheOptionSays) {
  options.on_fault = "abort";
  EXPECT_DEATH(in_process([] { commit(Kind::write_null); }), "write of 0x0.*not contained: Options.on_fault is abort");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EXIT(in_process([] { commit(Kind::deep); }), ::testing::KilledBySignal(SIGSEGV), "overflow of the stack");
#endif
}

TEST_F(FaultDeathTest, InLibcAndInTheRuntime) {
  EXPECT_DEATH(in_process([] {
                 void* (*volatile copy)(void*, const void*, std::size_t) = &std::memcpy;
                 char from[64] = {};
                 copy(address<void>(16), from, sizeof(from));
               }),
               "write of 0x[0-9a-f]*\\) in process.*in a system library's code");
  EXPECT_DEATH(in_process([] { detail::drop_item(address<Item>(0x10)); }), "it is in the runtime's code");
}

TEST_F(FaultDeathTest, WithSomethingHalfDone) {
  struct Trap {
    Trap() = default;
    Trap(Trap&&) noexcept { commit(Kind::read_null); }
    Trap& operator=(Trap&&) noexcept { return *this; }
    void operator()() {}
  };
  struct Plain {
    using Reply = Trap;
  };
  EXPECT_DEATH(in_process([] { spawn(Trap{}); }), "what a spawn or a reply moves");
  EXPECT_DEATH(in_process([] {
                 call(spawn_handler(std::invoke([] {
                        struct Answers {
                          void handle(Message message) {
                            match(message, [](Plain&, From<Plain> from) { from.reply(Trap{}); });
                          }
                        };
                        return Answers{};
                      })),
                      Plain{}, 5s);
               }),
               "what a spawn or a reply moves");
  // A message that nobody has received is destroyed as its process is put away.
  struct Mine {
    bool armed = true;
    Mine() = default;
    Mine(Mine&& other) noexcept { other.armed = false; }
    ~Mine() {
      if (armed) commit(Kind::read_null);
    }
  };
  EXPECT_DEATH(in_process([] {
                 const Monitored made = spawn_monitor([] { wait_forever(); });
                 send(made.pid, Mine{});
                 exit(made.pid, reason::kill);
                 await_down(made);
               }),
               "the process was being put away");
}

TEST_F(FaultDeathTest, OnAThreadThatIsNoWorkerGoesToWhoeverWasThereBefore) {
  EXPECT_EXIT(
      {
        std::signal(SIGSEGV, [](int) { _exit(7); });
        Runtime runtime(options);
        std::thread([] { commit(Kind::read_null); }).join();
      },
      ::testing::ExitedWithCode(7), "");
}

TEST_F(FaultDeathTest, ASignalThatSomebodySentIsNoFault) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_EXIT(in_process([] { std::raise(SIGSEGV); }), ::testing::KilledBySignal(SIGSEGV), "");
#endif
}

TEST_F(FaultTest, TheHandlersAreAsBeforeWhenTheLastRuntimeHasEnded) {
  const auto now = [] {
    struct sigaction action {};
    sigaction(SIGSEGV, nullptr, &action);
    return action.sa_sigaction;
  };
  const auto before = now();
  {
    Runtime one(options);
    EXPECT_NE(now(), before);
    const auto ours = now();
    { Runtime two(options); }
    EXPECT_EQ(now(), ours);
  }
  EXPECT_EQ(now(), before);
}

#if !defined(__SANITIZE_ADDRESS__)  // whose own handler is there before
TEST_F(FaultTest, AHandlerThatCameLaterStaysAndIsNotCalledInACircle) {
  const auto handler = [] {
    struct sigaction action {};
    sigaction(SIGSEGV, nullptr, &action);
    return action;
  };
  const struct sigaction before = handler();
  struct sigaction theirs {};
  {
    Runtime runtime(options);
    theirs = handler();
    theirs.sa_sigaction = [](int, siginfo_t*, void*) {};
    sigaction(SIGSEGV, &theirs, nullptr);
  }
  EXPECT_EQ(handler().sa_sigaction, theirs.sa_sigaction);
  {
    Runtime runtime(options);
    EXPECT_EQ(handler().sa_sigaction, theirs.sa_sigaction);
    sigaction(SIGSEGV, &before, nullptr);
  }
  { Runtime runtime(options); }
  EXPECT_EQ(handler().sa_sigaction, before.sa_sigaction);
}
#endif

TEST_F(FaultTest, TheOptionIsReadAndChecked) {
  const auto parse = [](std::string word) {
    std::string program = "program";
    char* argv[] = {program.data(), word.data(), nullptr};
    int argc = 2;
    return Options::parse(argc, argv);
  };
  EXPECT_EQ(Options().on_fault, "contain");
  EXPECT_EQ(parse("--ek-on-fault=abort")->on_fault, "abort");
  EXPECT_FALSE(parse("--ek-on-fault=ignore"));
  setenv("ERLKING_ON_FAULT", "abort", 1);
  EXPECT_EQ(parse("other")->on_fault, "abort");
  unsetenv("ERLKING_ON_FAULT");
  EXPECT_NE(Options::help().find("--ek-on-fault"), std::string::npos);
  options.on_fault = "hope";
  EXPECT_THAT([&] { Runtime runtime(options); },
              ::testing::ThrowsMessage<std::invalid_argument>(HasSubstr("on_fault must be contain or abort")));
}

}  // namespace
}  // namespace erlking::testing
