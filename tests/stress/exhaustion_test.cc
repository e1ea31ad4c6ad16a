// Memory that runs out under every operation there is: the message heap's block by block, the system's allocation by
// allocation. Each ends as its header says, leaves nothing half done, and works again once there is memory.
#include "tests/stress/stress.h"

#include <array>
#include <cstdlib>
#include <functional>
#include <new>
#include <pthread.h>
#include <set>
#include <thread>

namespace {

// Of the thread named, the allocation that makes the countdown zero fails.
std::atomic<pthread_t> fail_thread{};
std::atomic<int> fail_after{0};

void* allocate(std::size_t bytes, std::size_t alignment) noexcept {
  if (fail_after.load() > 0 && fail_thread.load() == pthread_self() && fail_after.fetch_sub(1) == 1) return nullptr;
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  return alignment <= alignof(std::max_align_t) ? std::malloc(bytes) : std::aligned_alloc(alignment, rounded);
}
void* allocate_or_throw(std::size_t bytes, std::size_t alignment) {
  void* const memory = allocate(bytes, alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate_or_throw(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace erlking::testing {
namespace {

struct Brick {
  std::uint64_t number;
};
struct Ask {
  std::uint64_t number;
  using Reply = std::uint64_t;
};

// Handlers, with a state in the process itself and elsewhere.
struct Waits {
  void handle(Message) {}
};
struct Large {
  bool ends = false;
  std::array<std::byte, 4000> more{};
  void started() {
    if (ends) exit(reason::normal);
  }
  void handle(Message) {}
};

// Whom an operation is tried on: fresh for each try.
struct Others {
  Pid peer;    // waits; traps exits; linked to and monitored by the one who tries, if it is told to be so
  Pid server;  // answers
  Pid full;    // its mailbox is
  Pid dead;
  MonitorRef ref;  // on peer
};

struct Operation {
  const char* name;
  bool tied;                                      // begins linked to peer and monitoring it
  std::set<std::string> allowed;                  // how it may end; ok is always allowed
  std::function<std::string(const Others&)> run;  // what it says: "ok", or an error's name
};

std::string word(Delivery delivery) {
  return delivery == Delivery::queued ? "ok" : delivery == Delivery::full ? "full" : "noproc";
}

constexpr const char* kDetail = "of some length, so that it takes an allocation of its own";

const std::vector<Operation>& operations() {
  static const std::string limit = "system_limit", bad_alloc = "bad_alloc", no_memory = "no_memory";
  static const std::vector<Operation> all = {
      {"send", false, {bad_alloc}, [](const Others& o) { return word(send(o.peer, Brick{1})); }},
      {"send_waiting",
       false,
       {bad_alloc, limit},
       [](const Others& o) { return word(send(o.full, Brick{1}, 1ms)) == "full" ? "ok" : "not full"; }},
      {"call",
       false,
       {no_memory, limit},
       [](const Others& o) -> std::string {
         const auto reply = call(o.server, Ask{4}, 5s);
         return !reply ? std::string(to_string(reply.error().kind)) : *reply == 5 ? "ok" : "wrong reply";
       }},
      {"call_waiting",
       false,
       {no_memory, limit},
       [](const Others& o) -> std::string {
         const auto reply = call(o.full, Ask{4}, 1ms);
         return reply                                     ? "reply"
                : reply.error().kind == CallFailure::full ? "ok"
                                                          : std::string(to_string(reply.error().kind));
       }},
      {"send_request",
       false,
       {bad_alloc, limit},
       [](const Others& o) -> std::string {
         const auto reply = receive_response(send_request(o.server, Ask{4}), 5s);
         return !reply ? std::string(to_string(reply.error().kind)) : *reply == 5 ? "ok" : "wrong reply";
       }},
      {"send_request_refused",
       false,
       {bad_alloc},
       [](const Others& o) -> std::string {
         const auto reply = receive_response(send_request(o.full, Ask{4}), 0s);
         return !reply && reply.error().kind == CallFailure::full ? "ok" : "not full";
       }},
      {"multi_call",
       false,
       {bad_alloc, limit, no_memory},
       [](const Others& o) -> std::string {
         const auto all = multi_call(std::vector{o.server, o.server}, Ask{4}, 5s);
         return all.replies.size() + all.bad.size() != 2 ? "lost one"
                : all.bad.empty()                        ? "ok"
                                                         : std::string(to_string(all.bad.front().second.kind));
       }},
      {"async",
       false,
       {limit},
       [](const Others&) -> std::string {
         const auto result = await(async([] { return 5; }), 5s);
         return !result ? std::string(to_string(result.error().kind)) : *result == 5 ? "ok" : "wrong result";
       }},
      {"parallel_map",
       false,
       {bad_alloc, limit, no_memory, "refused", "died"},
       [](const Others&) -> std::string {
         const auto results = parallel_map(
             std::array{1, 2}, [](int n) { return n; }, {.at_once = 1}, 5s);
         for (const auto& result : results) {
           if (!result) return std::string(to_string(result.error().kind));
         }
         return results.size() == 2 && results[1] == 2 ? "ok" : "wrong results";
       }},
      {"link", false, {limit}, [](const Others& o) { return link(o.peer), "ok"; }},
      {"link_again", true, {limit}, [](const Others& o) { return unlink(o.peer), link(o.peer), "ok"; }},
      {"link_dead", false, {limit, "noproc"}, [](const Others& o) { return link(o.dead), "lives"; }},
      {"link_dead_trapping",
       false,
       {limit},
       [](const Others& o) {
         trap_exit(true);
         link(o.dead);
         return receive(forever,
                        [&](Exit& e) { return e.from == o.dead && e.reason == reason::noproc ? "ok" : "wrong"; });
       }},
      {"unlink", true, {limit}, [](const Others& o) { return unlink(o.peer), "ok"; }},
      {"monitor", false, {limit}, [](const Others& o) { return monitor(o.peer), "ok"; }},
      {"monitor_dead",
       false,
       {limit},
       [](const Others& o) {
         const MonitorRef ref = monitor(o.dead);
         return receive(forever, [&](Down& d) { return d.ref == ref && d.reason == reason::noproc ? "ok" : "wrong"; });
       }},
      {"monitor_name", false, {limit}, [](const Others&) { return monitor(Name{"peer"}), "ok"; }},
      {"demonitor", true, {}, [](const Others& o) { return demonitor(o.ref) ? "ok" : "inactive"; }},
      {"exit", false, {limit, bad_alloc}, [](const Others& o) { return exit(o.peer, Reason("why", kDetail)), "ok"; }},
      {"spawn", false, {limit}, [](const Others&) { return spawn([] {}), "ok"; }},
      {"spawn_link", false, {limit}, [](const Others&) { return spawn_link({.name = "child"}, [] {}), "ok"; }},
      {"spawn_monitor", false, {limit}, [](const Others&) { return spawn_monitor({.name = "child"}, [] {}), "ok"; }},
      {"try_spawn",
       false,
       {limit},
       [](const Others&) -> std::string {
         const auto made = try_spawn({.name = "child"}, [] {});
         return made ? "ok" : std::string(to_string(made.error()));
       }},
      {"try_spawn_bounded",
       false,
       {limit},
       [](const Others&) -> std::string {
         const auto made = try_spawn({.name = "child", .max_memory = 1'000'000}, [] {});
         return made ? "ok" : std::string(to_string(made.error()));
       }},
      {"spawn_handler_link", false, {limit}, [](const Others&) { return spawn_handler_link(Waits{}), "ok"; }},
      {"spawn_handler_link_large", false, {limit}, [](const Others&) { return spawn_handler_link(Large{}), "ok"; }},
      {"spawn_handler_monitor",
       false,
       {limit},
       [](const Others&) { return spawn_handler_monitor({.name = "child"}, Large{.ends = true}), "ok"; }},
      {"try_spawn_handler",
       false,
       {limit},
       [](const Others&) -> std::string {
         const auto made = try_spawn_handler({.name = "child"}, Large{.ends = true});
         return made ? "ok" : std::string(to_string(made.error()));
       }},
      {"is_alive", false, {}, [](const Others& o) { return is_alive(o.peer, 5s) ? "ok" : "dead"; }},
      {"process_info",
       false,
       {no_memory, limit},
       [](const Others& o) -> std::string {
         const auto info = process_info(o.peer, 5s);
         return info ? "ok" : std::string(to_string(info.error().kind));
       }},
      {"process_info_own",
       true,
       {no_memory},
       [](const Others&) -> std::string {
         const auto info = process_info(self(), 5s);
         return info ? "ok" : std::string(to_string(info.error().kind));
       }},
      {"receive",
       false,
       {limit},
       [](const Others&) {
         return receive(
             1ms, [](Brick) { return "brick"; }, [](Timeout) { return "ok"; });
       }},
      {"sleep", false, {limit}, [](const Others&) { return sleep(1ms), "ok"; }},
      {"register_name",
       false,
       {bad_alloc},
       [](const Others& o) { return register_name("server", o.server).has_value() ? "ok" : "taken"; }},
      {"whereis", false, {}, [](const Others& o) { return whereis("peer") == o.peer ? "ok" : "nobody"; }},
      {"unregister", false, {}, [](const Others&) { return unregister("peer") ? "ok" : "free"; }},
      {"send_name", false, {bad_alloc}, [](const Others&) { return word(send(Name{"peer"}, Brick{1})); }},
      {"rest",
       false,
       {},
       [](const Others&) { return trap_exit(true), yield(), flush(), set_mailbox_bound(7) ? "ok" : "refused"; }},
      {"throw",
       false,
       {"exception: std::runtime_error: x", limit, bad_alloc},
       [](const Others&) -> std::string { throw std::runtime_error("x"); }},
      {"exit_own",
       false,
       {"{why, " + std::string(kDetail) + "}", bad_alloc},
       [](const Others&) -> std::string { exit(Reason("why", kDetail)); }},
      {"throw_holding_a_request",  // whose destructor must say why
       false,
       {"exception: std::runtime_error: x", limit, bad_alloc},
       [](const Others&) -> std::string {
         From<Ask> from(erlking::detail::ReplyTo{&self_process(), 0});
         throw std::runtime_error("x");
       }},
  };
  return all;
}

bool holds(const std::vector<Pid>& pids, Pid pid) { return std::ranges::find(pids, pid) != pids.end(); }

class ScarceTest : public RuntimeTest {
 protected:
  ScarceTest() {
    options.workers = 1;  // one heap, one thread
    options.clock = ClockKind::real;
    options.max_heap_bytes = 512 * 1024;
  }

  void SetUp() override {
    RuntimeTest::SetUp();
    base::set_log_level(base::Level::off);
  }
  void TearDown() override {
    RuntimeTest::TearDown();
    base::set_log_level(base::Level::info);
  }
};

class ExhaustionTest : public ScarceTest, public ::testing::WithParamInterface<std::size_t> {
 protected:
  static const Operation& operation() { return operations()[GetParam()]; }

  // Runs the operation in a process of its own, memory made scarce by `scarce` just before and plentiful by `plenty`
  // just after. How it ended; checks that nothing is half done. A process.
  template <class Scarce, class Plenty>
  static std::string attempt(Scarce&& scarce, Plenty&& plenty) {
    Others others;
    others.peer = spawn({.name = "peer"}, [] {
      trap_exit(true);
      idle_forever();
    });
    others.server = spawn([] {
      for (;;) receive(forever, [](Ask& ask, From<Ask> from) { from.reply(ask.number + 1); });
    });
    others.full = spawn({.mailbox = 1}, wait_forever);
    EXPECT_EQ(send(others.full, Brick{0}), Delivery::queued);
    const Monitored gone = spawn_monitor([] {});
    others.dead = gone.pid;
    await_down(gone);

    std::atomic<bool> ready{false}, go{false}, over{false};
    std::string ended;
    const Monitored tries = spawn_monitor({.stack = 512 * 1024}, [&] {
      if (operation().tied) {
        link(others.peer);
        others.ref = monitor(others.peer);
        static_cast<void>(is_alive(others.peer, 5s));  // it has both
      }
      ready = true;
      while (!go) yield();
      struct AtEnd {
        std::string& ended;
        std::atomic<bool>& over;
        ~AtEnd() {
          if (over) return;
          if (std::uncaught_exceptions() != 0 && ended.empty()) ended = "left";
          over = true;
        }
      } at_end{ended, over};
      std::string said;
      try {
        said = operation().run(others);
      } catch (const std::bad_alloc&) {
        said = "bad_alloc";
      }
      ended = std::move(said);
      over = true;
      idle_forever();
    });
    while (!ready) yield();
    scarce();
    go = true;
    while (!over) yield();
    plenty();  // only now: the bottom catch allocates, too
    let_others_run();

    if (ended == "left") ended = await_down(tries).to_string();
    const auto of_peer = process_info(others.peer, 5s);
    EXPECT_TRUE(of_peer.has_value() || operation().name == std::string("exit"));
    if (const auto info = process_info(tries.pid, 5s); info && of_peer) {
      EXPECT_EQ(holds(info->links, others.peer), holds(of_peer->links, tries.pid)) << "a link of one side only";
      for (const auto& [ref, target] : info->monitors) {
        if (target != others.peer) continue;
        EXPECT_TRUE(std::ranges::any_of(of_peer->monitored_by, [ref = ref](const auto& by) { return by.first == ref; }))
            << "a monitor nobody will answer";
      }
    } else if (of_peer) {
      EXPECT_FALSE(holds(of_peer->links, tries.pid)) << "linked to the dead";
    }
    EXPECT_FALSE(whereis("child")) << "a name of nobody";
    for (const Pid pid : {tries.pid, others.peer, others.server, others.full}) {
      const MonitorRef ref = monitor(pid);
      exit(pid, reason::kill);
      await_down(ref);
    }
    receive(
        0s, [](Down&) {}, [](Timeout) {});  // tries' own, if it is still here
    return ended;
  }

  static void expect_allowed(const std::string& ended, const std::string& when) {
    EXPECT_TRUE(ended == "ok" || operation().allowed.contains(ended))
        << operation().name << " ended with '" << ended << "' " << when;
  }
};

TEST_P(ExhaustionTest, OfTheMessageHeapEndsAsDocumented) {
  run([] {
    set_mailbox_bound(500'000);
    std::string ended;
    for (int left = 0; left <= 6; ++left) {
      ended = attempt(
          [left] {
            try {
              for (;;) send(self(), Brick{0});
            } catch (const std::bad_alloc&) {
            }
            for (int i = 0; i < left; ++i) receive(0s, [](Brick) {});
          },
          [] {
            int bricks = 0;
            while (receive(
                0s, [](Brick) { return true; }, [](Timeout) { return false; }))
              ++bricks;
            EXPECT_GT(bricks, 1'000);
          });
      expect_allowed(ended, "with " + std::to_string(left) + " blocks left");
    }
    if (!operation().allowed.contains(ended)) {
      EXPECT_EQ(ended, "ok") << "with enough left";
    }
  });
}

TEST_P(ExhaustionTest, OfTheSystemsMemoryEndsAsDocumented) {
  run([] {
    int unmet = 0;
    for (int nth = 1; unmet <= 0; ++nth) {  // until it makes fewer than that
      const std::string ended = attempt(
          [nth] {
            fail_thread = pthread_self();
            fail_after = nth;
          },
          [&] { unmet = fail_after.exchange(0); });
      expect_allowed(ended, "without allocation " + std::to_string(nth));
    }
  });
}

class OutsideExhaustionTest : public ScarceTest {
 protected:
  // Fills the message heap, to the last block of the threads' own part of it.
  void fill(Pid hoarder) {
    try {
      for (;;) rt().send(hoarder, Brick{0});
    } catch (const std::bad_alloc&) {
    }
  }
  Pid spawn_hoarder() { return rt().spawn({.mailbox = 500'000}, wait_forever).value(); }
};

// A runtime could not be stopped, nor destroyed without std::terminate, while messages held all its memory.
TEST_F(OutsideExhaustionTest, StopEndsProcessesThatHoldAllTheMemory) {
  options.workers = 2;
  std::atomic<unsigned> ended{0};
  constexpr unsigned kIdle = 1'000;
  for (unsigned i = 0; i < kIdle; ++i) {
    ASSERT_TRUE(rt().spawn([&ended] {
      struct AtEnd {
        std::atomic<unsigned>& ended;
        ~AtEnd() { ++ended; }
      } at_end{ended};
      idle_forever();
    }));
  }
  ASSERT_TRUE(rt().run_until_idle());
  fill(spawn_hoarder());
  EXPECT_TRUE(rt().stop());
  EXPECT_EQ(ended, kIdle);
}

TEST_F(OutsideExhaustionTest, StopEndsProcessesThatTakeWhateverMemoryThereIs) {
  options.workers = 2;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(rt().spawn({.mailbox = 500'000}, [] {
      trap_exit(true);
      for (;;) {
        try {
          send(self(), Brick{0});
        } catch (const std::bad_alloc&) {
          yield();
        }
        if (!receive(
                0s, [](Exit&) { return false; }, [](Timeout) { return true; }))
          return;
      }
    }));
  }
  fill(spawn_hoarder());
  EXPECT_TRUE(rt().stop());
}

TEST_F(OutsideExhaustionTest, AThreadsOperationsEndAsDocumented) {
  const Pid server = rt().spawn([] {
                           for (;;) receive(forever, [](Ask& ask, From<Ask> from) { from.reply(ask.number + 1); });
                         })
                         .value();
  const Pid hoarder = spawn_hoarder();
  ASSERT_TRUE(rt().run_until_idle());
  fill(hoarder);
  EXPECT_THROW(rt().send(server, Brick{0}), std::bad_alloc);
  const auto reply = rt().call(server, Ask{1}, 5s);
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().kind, CallFailure::no_memory);
  EXPECT_THROW(rt().exit(server, reason::kill), std::bad_alloc);
  EXPECT_THROW(rt().wait(server, 1ms), std::bad_alloc);
  const auto waited = rt().spawn_wait(1ms, {.name = "child"}, wait_forever);
  ASSERT_FALSE(waited.has_value());
  EXPECT_EQ(waited.error(), SpawnError::system_limit);
  EXPECT_EQ(rt().whereis("child"), std::nullopt);
  EXPECT_TRUE(rt().spawn([] {}).has_value()) << "needs no message heap";
  ASSERT_TRUE(rt().run_until_idle());
  EXPECT_EQ(rt().processes(), 2u);
}

// It threw std::bad_alloc instead of saying that its bound had passed.
TEST_F(OutsideExhaustionTest, AWaitThatIsGivenUpNeedsNoMemory) {
  options.clock = ClockKind::manual;
  const Pid waited_for = rt().spawn(wait_forever).value();
  const Pid hoarder = spawn_hoarder();
  ASSERT_TRUE(rt().run_until_idle());
  const auto live = rt().stats().heap.blocks_live;
  std::optional<Reason> why = Reason("not_run");
  std::thread waiting([&] { why = rt().wait(waited_for, 1s); });
  while (rt().stats().heap.blocks_live == live) std::this_thread::yield();  // its monitor
  ASSERT_TRUE(rt().run_until_idle());
  fill(hoarder);
  ASSERT_TRUE(rt().advance(2s));
  waiting.join();
  EXPECT_EQ(why, std::nullopt);
}

// Many workers find the last place at once: it is given once.
TEST_F(OutsideExhaustionTest, NoMoreProcessesLiveThanAllowedHoweverManySpawnAtOnce) {
  constexpr unsigned kMost = 400, kSpawners = 8;
  options.workers = 4;
  options.max_processes = kMost;
  std::atomic<unsigned> alive{kSpawners}, most{0}, refused{0}, over{0};
  std::atomic<bool> all_here{false};  // no spawner takes another's place, and all of them are alive when counted
  for (unsigned n = 0; n < kSpawners; ++n) {
    ASSERT_TRUE(rt().spawn([&all_here, &alive, &most, &refused, &over] {
      while (!all_here) sleep(100us);
      for (unsigned i = 0; i < scaled(2'000); ++i) {
        const auto made = try_spawn({.stack = kStressStack}, [&alive] {
          ++alive;
          for (unsigned turn = 0; turn < 40; ++turn) yield();
          --alive;
        });
        unsigned now = alive, before = most;
        while (now > before && !most.compare_exchange_weak(before, now)) {
        }
        if (!made) {
          EXPECT_EQ(made.error(), SpawnError::system_limit);
          ++refused;
          yield();
        }
      }
      --alive;
      ++over;
    }));
  }
  all_here = true;
  ASSERT_TRUE(drive([&] { return rt().processes() == 0; }));
  EXPECT_EQ(over, kSpawners);
  EXPECT_GT(refused, 0u) << "the limit was never met";
  EXPECT_LE(most, kMost);
  EXPECT_GT(most, kMost / 2);
}

INSTANTIATE_TEST_SUITE_P(Every, ExhaustionTest, ::testing::Range<std::size_t>(0, operations().size()),
                         [](const auto& info) { return std::string(operations()[info.param].name); });

}  // namespace
}  // namespace erlking::testing
