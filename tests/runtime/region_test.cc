// Regions: what is back after a process has ended without destructors, and that nothing is given back twice.
#include "net/erlking.h"
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <memory_resource>
#include <optional>
#include <unistd.h>

// What a fault gives up is lost where it was malloc's: LeakSanitizer would tell of all of it.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

namespace erlking::testing {

// No sanitizer watches these, as in fault_test.cc.
#define EK_FAULTS __attribute__((noinline, no_sanitize("address", "thread", "undefined")))
EK_FAULTS int touch_null() {
  std::uintptr_t nowhere = 16;
  asm volatile("" : "+r"(nowhere));
  return *reinterpret_cast<volatile int*>(nowhere);
}
EK_FAULTS int go_down(int depth) {
  volatile char frame[500];
  frame[depth % 500] = static_cast<char>(depth);
  return depth == 0 ? 0 : go_down(depth - 1) + frame[depth % 500];
}

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kFaults = 100;
#else
constexpr int kFaults = 1'000;
#endif

/// How a process ends.
enum class End { normal, exit, killed, null, overflow };
constexpr End kEnds[] = {End::normal, End::exit, End::killed, End::null, End::overflow};
constexpr bool is_fault(End end) { return end >= End::null; }
std::string text_of(End end) {
  constexpr const char* kTexts[] = {"Normal", "Exit", "Killed", "Null", "Overflow"};
  return kTexts[static_cast<int>(end)];
}
void end(End how) {
  switch (how) {
    case End::normal:
      return;
    case End::exit:
      exit(Reason("as_asked"));
    case End::killed:
      exit(self(), reason::kill);
      yield();
      return;
    case End::null:
      touch_null();
      return;
    case End::overflow:
      go_down(1'000'000'000);
      return;
  }
}

struct Note {
  int n = 0;
};
struct Page {
  std::array<char, 3'000> text{};
};
struct Vast {
  std::array<char, 100'000> text{};
};
struct Go {};

/// Says when it goes.
struct Value {
  explicit Value(std::atomic<int>& alive) : alive_(&alive) { ++*alive_; }
  Value(Value&& other) noexcept : alive_(other.alive_) { ++*alive_; }
  ~Value() { --*alive_; }
  std::atomic<int>* alive_;
};
using Shared = Ref<const Value>;
struct Parcel {
  int before = 1;
  Shared ref;
  std::optional<Shared> perhaps = {};
};

/// The heaps that keep regions, of those there are.
std::vector<std::string_view> heaps() {
  auto names = gc::collector_names();
  std::erase(names, "owned");
  return names;
}

class RegionBase : public RuntimeTest {
 protected:
  void SetUp() override {
    options.clock = ClockKind::real;
    RuntimeTest::SetUp();
  }
  /// In use, of messages, states and process_memory(), once all have ended.
  std::size_t in_use() {
    EXPECT_TRUE(rt().stop());
    const gc::HeapStats heap = rt().stats().heap;
    return heap.bytes_live + heap.large_bytes;
  }
  std::atomic<int> alive{0};
};
class RegionTest : public RegionBase, public ::testing::WithParamInterface<std::string_view> {
 protected:
  void SetUp() override {
    options.heap = GetParam();
    RegionBase::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Every, RegionTest, ::testing::ValuesIn(heaps()),
                         [](const auto& info) { return std::string(info.param); });

class RegionEndTest : public RegionBase, public ::testing::WithParamInterface<std::tuple<std::string_view, End>> {
 protected:
  void SetUp() override {
    options.heap = std::get<0>(GetParam());
    RegionBase::SetUp();
  }
  static End how() { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Every, RegionEndTest,
                         ::testing::Combine(::testing::ValuesIn(heaps()), ::testing::ValuesIn(kEnds)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)) + text_of(std::get<1>(info.param));
                         });

/// `owned`, which keeps none.
class NoRegionTest : public RegionBase {};

/// A child that does `body` and must end as `how` says.
template <class F>
void life(End how, F body) {
  const Reason why = await_down(spawn_monitor({.mailbox = 1000, .stack = 2 * 1024 * 1024}, std::move(body)));
  constexpr const char* kNames[] = {"normal", "as_asked", "killed", "segv", "stack_overflow"};
  EXPECT_EQ(why.name(), kNames[static_cast<int>(how)]) << why.report();
}
template <class T>
void tell_self(T message) {
  ASSERT_EQ(send(self(), std::move(message)), Delivery::queued);
}
Message take() {
  return receive(0s, [](Message message) { return message; });
}

TEST_P(RegionEndTest, MessagesHeldAreFreed) {
  run([how = how()] {
    life(how, [how] {
      for (int i = 0; i < 100; ++i) tell_self(Note{i});
      for (int i = 0; i < 20; ++i) tell_self(Page{});
      tell_self(Vast{});
      std::vector<Message> held;  // its own memory is malloc's
      for (int i = 0; i < 121; ++i) held.push_back(take());
      EXPECT_EQ(held[7].get<Note>()->n, 7);
      tell_self(Page{});  // and one waits
      end(how);
    });
  });
  EXPECT_EQ(in_use(), 0u);
  EXPECT_EQ(rt().stats().reclaimed_bytes != 0, is_fault(how()));
}

TEST_P(RegionEndTest, TheMessageOfAClauseIsFreed) {
  run([how = how()] {
    life(how, [how] {
      tell_self(Page{});
      receive(0s, [how](Page& page) {
        page.text[0] = 1;
        end(how);
      });
    });
  });
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionEndTest, ProcessMemoryIsGivenBackOnEveryHeap) {
  for (const std::string_view heap : gc::collector_names()) {
    if (heap == "boehm") continue;  // it says the same only once it has collected
    SCOPED_TRACE(heap);
    options.heap = heap;
    Runtime runtime(options);
    EXPECT_EQ(runtime
                  .spawn_wait(
                      60s, {},
                      [how = how()] {
                        life(how, [how] {
                          std::pmr::vector<std::pmr::string> all(process_memory());
                          for (int i = 0; i < 1'000; ++i)
                            all.emplace_back(std::string(static_cast<std::size_t>(i), 'x'));
                          all.erase(all.begin(), all.begin() + 500);
                          void* const aligned = process_memory()->allocate(100, 1024);
                          EXPECT_EQ(reinterpret_cast<std::uintptr_t>(aligned) % 1024, 0u);
                          process_memory()->deallocate(aligned, 100, 1024);
                          EXPECT_EQ(reinterpret_cast<std::uintptr_t>(process_memory()->allocate(10'000, 256)) % 256, 0u)
                              << "kept";
                          EXPECT_EQ(std::string_view(all.front()), std::string(500, 'x'));
                          end(how);
                        });
                      })
                  .value(),
              reason::normal);
    EXPECT_TRUE(runtime.stop());
    const gc::HeapStats stats = runtime.stats().heap;
    EXPECT_EQ(stats.blocks_live, 0u);
    EXPECT_EQ(stats.large_blocks, 0u);
  }
}

TEST_P(RegionEndTest, RefsAreDroppedOnce) {
  run([this, how = how()] {
    const Shared kept = share(Value(alive));
    const Shared captured = kept;
    life(how, [this, how, kept, captured = std::move(captured)] {
      std::array<Shared, 5> on_stack{kept, kept, Shared(), kept, kept};
      std::swap(on_stack[0], on_stack[2]);
      on_stack[4] = share(Value(alive));
      on_stack[1] = std::move(on_stack[3]);
      const Shared& again = on_stack[1];
      on_stack[1] = again;
      auto* const in_memory = new (process_memory()->allocate(sizeof(std::pmr::vector<Shared>)))
          std::pmr::vector<Shared>(process_memory());  // never destroyed
      for (int i = 0; i < 2'000; ++i) in_memory->push_back(kept);
      in_memory->resize(1'500);
      in_memory->erase(in_memory->begin());
      tell_self(Parcel{.ref = kept, .perhaps = kept});
      tell_self(Parcel{.ref = kept});
      tell_self(Parcel{.ref = kept, .perhaps = kept});
      const Message held = take();
      Message changed = take();
      changed.get<Parcel>()->ref.reset();
      EXPECT_GT(kept.use_count(), 1'500u);
      end(how);
    });
    EXPECT_EQ(kept.use_count(), 2u) << "kept and captured";
  });
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionEndTest, RefsPassedOnSurvive) {
  run([this, how = how()] {
    const Pid parent = self();
    life(how, [this, how, parent] {
      const Shared one = share(Value(alive));
      std::vector<Shared> many(10, one);  // malloc's: moves as a whole
      send(parent, Parcel{.ref = one, .perhaps = one});
      send(parent, std::move(many));
      tell_self(Parcel{.ref = one});
      EXPECT_EQ(send(parent, take()), Delivery::queued);  // as it is
      Shared last = one;
      send(parent, Parcel{.ref = std::move(last)});
      const Monitored other = spawn_monitor([one] { receive(10s, [](Go) {}); });  // its own
      send(parent, Pid(other.pid));
      end(how);
    });
    const auto two = receive(10s, [](Parcel parcel) { return parcel; });
    EXPECT_EQ(receive(10s, [](std::vector<Shared> all) { return all.size(); }), 10u);
    for (int i = 0; i < 2; ++i) receive(10s, [&](Parcel& parcel) { EXPECT_EQ(parcel.ref, two.ref); });
    EXPECT_EQ(alive, 1);
    EXPECT_EQ(two.ref.use_count(), 3u) << "the other's, and two";
    const MonitorRef other = receive(10s, [](Pid pid) {
      const MonitorRef ref = monitor(pid);
      send(pid, Go{});
      return ref;
    });
    await_down(other);
    EXPECT_EQ(two.ref.use_count(), 2u);
  });
  EXPECT_EQ(alive, 0);
}

struct Keeper {
  explicit Keeper(Shared shared) : ref(std::move(shared)) {}
  Shared ref;
  std::array<char, 500> large{};
  std::optional<Message> held = {};
  void handle(Message message) {
    if (!held) {
      held = std::move(message);
      std::pmr::string text(std::string(10'000, 'x'), process_memory());
      return;
    }
    if (auto* const how = message.get<End>()) end(*how);
    exit(reason::normal);
  }
};

TEST_P(RegionEndTest, AHandlersStateIsFreed) {
  run([this, how = how()] {
    const Shared kept = share(Value(alive));
    for (int i = 0; i < 10; ++i) {
      const Monitored made = spawn_handler_monitor(Keeper(kept));
      send(made.pid, Parcel{.ref = kept});
      send(made.pid, End(how));
      await_down(made);
    }
    EXPECT_EQ(kept.use_count(), 1u);
  });
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionEndTest, DescriptorsAreClosed) {
  run([how = how()] {
    std::array<int, 5> fds{};
    life(how, [how, &fds] {
      PipeEnds ends = *Pipe::make();
      Pipe moved = std::move(ends.reader);
      std::optional<File> file = *File::open("/dev/null", {}, 10s);
      Listener listener = *tcp::listen({});
      auto* const in_memory = new (process_memory()->allocate(sizeof(Pipe))) Pipe(std::move(ends.writer));
      fds = {moved.fd(), in_memory->fd(), file->fd(), listener.fd(), ::open("/dev/null", O_RDONLY)};
      life(how, [listener = std::move(listener), how] { end(how); });
      listener = *tcp::listen({});
      end(how);
      in_memory->close();
    });
    for (int i = 0; i < 4; ++i) EXPECT_EQ(::fcntl(fds[i], F_GETFD), -1) << i;
    EXPECT_EQ(::close(fds[4]), 0) << "what nobody owns is left alone";
  });
}

TEST_P(RegionTest, ADescriptorPassedOnStaysOpen) {
  run([] {
    const Pid parent = self();
    life(End::null, [parent] {
      PipeEnds ends = *Pipe::make();
      send(parent, std::move(ends.reader));
      EXPECT_TRUE(ends.writer.write("all of it", 10s));
      touch_null();
    });
    Pipe reader = receive(10s, [](Pipe pipe) { return pipe; });
    std::array<char, 100> text;
    EXPECT_EQ(reader.read(text, 10s).value(), 9u);
    EXPECT_EQ(reader.read(text, 10s).value(), 0u) << "the writer is closed";
  });
}

TEST_P(RegionTest, EveryDescriptorTakenIsGivenBackToTheBound) {
  options.max_descriptors = 4;
  run([] {
    for (int i = 0; i < 20; ++i) {
      life(End::null, [] {
        const auto ends = Pipe::make();
        EXPECT_TRUE(ends);
        touch_null();
      });
    }
  });
}

TEST_P(RegionTest, AMessagePassedOnIsItsReceivers) {
  run([] {
    const Pid parent = self();
    for (int i = 0; i < 50; ++i) {
      const Monitored relay = spawn_monitor({.mailbox = 200}, [parent, i] {
        for (int n = 0; n < 100; ++n) {
          Message message = receive(10s, [](Message any) { return any; });
          send(parent, std::move(message));
          if (n == i) touch_null();  // in the middle of it
        }
      });
      for (int n = 0; n < 100; ++n) send(relay.pid, Page{});
      await_down(relay);
      for (int n = 0; n <= i; ++n) receive(0s, [](Page& page) { EXPECT_EQ(page.text[2'999], 0); });
      EXPECT_TRUE(mailbox_empty());
    }
  });
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionTest, AProcessThatIsKilledAsItPassesMessagesOnFreesEachOnce) {
  run([this] {
    const Shared kept = share(Value(alive));
    const Monitored sink = spawn_monitor({.mailbox = 10'000}, [] {
      for (bool more = true; more;)
        receive(
            60s, [](Parcel& parcel) { EXPECT_EQ(parcel.before, 1); }, [&](Go) { more = false; });
    });
    for (int i = 0; i < 200; ++i) {
      const Monitored relay = spawn_monitor([to = sink.pid] {
        for (;;) {
          Message held = receive(60s, [](Message any) { return any; });
          Message passed = receive(60s, [](Message any) { return any; });
          send(to, std::move(passed));
        }
      });
      for (int n = 0; n < 40; ++n) send(relay.pid, Parcel{.ref = kept, .perhaps = kept});
      for (int n = 0; n < i % 40; ++n) yield();
      exit(relay.pid, reason::kill);
      EXPECT_EQ(await_down(relay), reason::killed);
    }
    send(sink.pid, Go{});
    EXPECT_EQ(await_down(sink), reason::normal);
    EXPECT_EQ(kept.use_count(), 1u);
  });
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionTest, ARefThatAnotherProcessHasChangedIsNotDropped) {
  run([this] {
    const Shared kept = share(Value(alive));
    life(End::null, [this, kept] {
      Shared mine = share(Value(alive));
      await_down(spawn_monitor([&mine, kept] { mine = kept; }));
      EXPECT_EQ(alive, 1);
      touch_null();
    });
    EXPECT_EQ(kept.use_count(), 2u) << "lost, since the table says another";
  });
  EXPECT_EQ(alive, 1);
}

TEST_P(RegionTest, AMessageRefusedIsStillHeld) {
  run([this] {
    const Shared kept = share(Value(alive));
    life(End::null, [kept] {
      const Pid full = spawn({.mailbox = 1}, [] { wait_forever(); });
      send(full, Note{});
      tell_self(Parcel{.ref = kept});
      Message message = take();
      EXPECT_EQ(send(full, std::move(message)), Delivery::full);
      EXPECT_EQ(message.get<Parcel>()->ref, kept);
      exit(full, reason::kill);
      touch_null();
    });
    EXPECT_EQ(kept.use_count(), 1u);
  });
  EXPECT_EQ(in_use(), 0u);
}

TEST_P(RegionTest, AMessageRefusedAndThenDroppedIsFreedByWhoHasIt) {
  run([] {
    life(End::normal, [] {
      const Pid full = spawn({.mailbox = 1}, [] { wait_forever(); });
      send(full, Note{});
      tell_self(Page{});
      tell_self(Note{});
      Message refused = take();
      EXPECT_EQ(send(full, std::move(refused)), Delivery::full);
      const Message later = take();  // so that it is not the latest
      refused = {};
      exit(full, reason::kill);
    });
  });
  EXPECT_EQ(in_use(), 0u);
  EXPECT_EQ(rt().stats().reclaimed_bytes, 0u) << "left to the end of somebody's region";
}

TEST_P(RegionTest, AMessageHandedOverInAClosureGoesBackToItsOwner) {
  run([this] {
    const Shared kept = share(Value(alive));
    life(End::normal, [kept] {
      for (int i = 0; i < 300; ++i) {
        tell_self(Page{});
        const Monitored worker = spawn_monitor([message = take()] { EXPECT_TRUE(message); });
        await_down(worker);
      }
      const std::size_t before = kept.use_count();
      for (int i = 0; i < 100; ++i) {  // its Refs go with it
        tell_self(Parcel{.ref = kept, .perhaps = kept});
        await_down(spawn_monitor([message = take(), i]() mutable {
          if (i % 2 == 0) const Shared taken = std::move(message.get<Parcel>()->ref);
          if (i % 4 == 0) message = {};
        }));
      }
      EXPECT_EQ(kept.use_count(), before);
      tell_self(Note{});
      take();
      const Pid me = self();
      const Monitored other = spawn_monitor([me, message = (tell_self(Note{}), take())]() mutable {
        EXPECT_THROW(send(me, std::move(message)), std::logic_error);
        EXPECT_TRUE(message);
      });
      EXPECT_EQ(await_down(other), reason::normal);
    });
  });
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(in_use(), 0u);
  EXPECT_EQ(rt().stats().reclaimed_bytes, 0u);
}

TEST_P(RegionTest, ManyHeldMessagesAreFreedInAnyOrder) {
  run([] {
    life(End::null, [] {
      std::vector<Message> held;
      for (int n = 0; n < 70'000; ++n) {  // more than a place in Item::signal can tell
        tell_self(Note{n});
        held.push_back(take());
      }
      for (std::size_t i = 0; i < held.size(); i += 1'000) held[i] = {};
      for (std::size_t i = held.size() - 1; i > 69'000; --i) held[i] = {};
      held.resize(65'000);
      for (std::size_t i = 0; i < held.size(); ++i) {
        if (held[i]) {
          EXPECT_EQ(held[i].get<Note>()->n, static_cast<int>(i));
        }
      }
      touch_null();
    });
  });
  EXPECT_EQ(in_use(), 0u);
}

// What the heap is for: many faults of a supervised child, and as much memory in use as before.
struct Faults {
  std::size_t before = 0, after = 0;
  std::uint64_t values = 0, reclaimed = 0, faults = 0;
};
Faults many_faults(Options options, std::string_view heap) {
  options.heap = heap;
  options.report_hook = [](const erlking::Report&) {};
  Runtime runtime(options);
  Faults seen;
  std::atomic<int> alive{0}, left{0};
  const auto used = [&] {  // the last signals may still be on their way
    std::size_t last = 0;
    for (int same = 0; same != 5;) {
      EXPECT_TRUE(runtime.run_until_idle());
      std::this_thread::sleep_for(5ms);
      const gc::HeapStats stats = runtime.stats().heap;
      const std::size_t now = stats.bytes_live + stats.large_bytes;
      same = now == std::exchange(last, now) ? same + 1 : 0;
    }
    return last;
  };
  const auto faulty = [&alive, &left] {
    if (left-- <= 0) return wait_forever();
    std::pmr::vector<char> data(64 * 1024 + 1, 'x', process_memory());
    std::array<Shared, 10> refs;
    for (Shared& ref : refs) ref = share(Value(alive));
    std::vector<Message> held;
    for (int i = 0; i < 100; ++i) {
      tell_self(Page{});
      held.push_back(take());
    }
    touch_null();
  };
  const auto round = [&](int times) {
    left = times;
    const auto ended = runtime.spawn_wait(120s, {}, [&] {
      trap_exit(true);
      const Started root =
          start_link(10s, SupervisorSpec{.intensity = {2 * kFaults, 1h}, .children = {child("faulty", {}, faulty)}});
      ASSERT_TRUE(root);
      while (left >= 0) sleep(1ms);
      exit(*root, reason::shutdown);
      await_exit(*root);
    });
    EXPECT_EQ(ended.value(), reason::normal);
  };
  round(10);  // what is made once
  seen.before = used();
  const int values = alive;
  const std::uint64_t reclaimed = runtime.stats().reclaimed_bytes;
  round(kFaults);
  seen.after = used();
  seen.values = static_cast<std::uint64_t>(alive - values);
  seen.reclaimed = runtime.stats().reclaimed_bytes - reclaimed;
  seen.faults = runtime.stats().faults;
  return seen;
}

TEST_P(RegionTest, AfterAThousandFaultsAllMemoryIsBack) {
  const Faults seen = many_faults(options, GetParam());
  EXPECT_EQ(seen.faults, kFaults + 10u);
  EXPECT_LE(seen.after, seen.before + seen.before / 20 + 1024) << seen.before;
  EXPECT_EQ(seen.values, 0u);
  EXPECT_GE(seen.reclaimed, kFaults * (64u * 1024 + 100 * sizeof(Page)));
}

TEST_F(NoRegionTest, OnAnotherHeapMessagesAndRefsOfFaultsAreLost) {
  const Faults seen = many_faults(options, "owned");
  EXPECT_EQ(seen.faults, kFaults + 10u);
  const std::size_t lost = seen.after - seen.before;
  constexpr std::size_t kEach = 100 * gc::class_size(gc::size_class(sizeof(Page) + 32));
  EXPECT_EQ(lost, kFaults * kEach) << "the messages that were held, and nothing else";
  EXPECT_EQ(seen.values, kFaults * 10u);
  EXPECT_GE(seen.reclaimed, kFaults * 64u * 1024) << "process_memory() is given back on every heap";
}

struct Drop {
  std::size_t left;
};
// Holds the first pages it gets, and 100,000 bytes of its own.
Monitored keeper() {
  return spawn_monitor([] {
    std::pmr::vector<char> own(100'000, 'x', process_memory());
    std::vector<Message> held;
    for (;;) {
      receive(
          60s, [&](Drop drop) { held.resize(drop.left); }, [](Go) { exit(reason::normal); },
          when([](const Message& any) { return any.type_name().ends_with("Page"); },
               [&](Message page) { held.push_back(std::move(page)); }));
    }
  });
}

void expect_held_is_told() {
  const Monitored one = keeper();
  const auto held = [&] { return process_info(one.pid, 10s)->held_bytes; };
  for (int i = 0; i < 10; ++i) send(one.pid, Page{});
  while (process_info(one.pid, 10s)->received != 10) yield();
  EXPECT_GE(held(), 130'000u);
  EXPECT_LT(held(), 160'000u);
  send(one.pid, Drop{2});
  send(one.pid, Note{});  // it waits: of who has nothing waiting nobody is asked
  while (process_info(one.pid, 10s)->received != 11) yield();
  EXPECT_GE(held(), 106'000u);
  EXPECT_LT(held(), 128'000u);
  const MemoryHolders found = memory_holders(10s);
  EXPECT_TRUE(std::ranges::any_of(found.holders, [&](const MemoryHolder& holder) {
    return holder.pid == one.pid && holder.held_bytes == held();
  })) << to_text(found);
  send(one.pid, Go{});
  await_down(one);
}

TEST_P(RegionTest, WhatAProcessHoldsIsTold) { run(expect_held_is_told); }

// RG7: of who has a bound or process_memory() the others count, too.
TEST_F(NoRegionTest, OnAnotherHeapToo) { run(expect_held_is_told); }

TEST_F(NoRegionTest, OnAnotherHeapNothingIsCountedTwiceOrForEver) {
  run([] {
    struct Ask {};
    struct Swap {
      Message* from;
      Pid back;
    };
    const auto held = [](Pid pid) { return process_info(pid, 10s)->held_bytes; };
    const Pid sink = spawn([] {
      for (;;)
        receive(
            60s, [](Page) {},
            [](Swap swap) {
              Message(std::move(*swap.from));
              send(swap.back, Go{});
            });
    });
    for (const std::size_t bound : {std::size_t{0}, std::size_t{1} << 20}) {
      const Monitored one = spawn_monitor({.max_memory = bound}, [sink] {
        std::vector<Message> all;
        for (;;) {
          receive(
              60s,
              [&](Go) {  // to another process, as it is
                send(sink, std::move(all.back()));
                all.pop_back();
              },
              [&](Ask) {  // which another process destroys
                send(sink, Swap{&all.back(), self()});
                receive(60s, [](Go) {});
                all.pop_back();
              },
              [&](Drop) { exit(reason::normal); },  //
              [&](Message any) { all.push_back(std::move(any)); });
        }
      });
      const std::size_t page = bound == 0 ? 0 : sizeof(Page) + 32;
      for (int i = 0; i < 3; ++i) send(one.pid, Page{});
      while (process_info(one.pid, 10s)->received != 3) yield();
      EXPECT_GE(held(one.pid), 3 * page);
      EXPECT_LE(held(one.pid), 4 * page);
      send(one.pid, Go{});
      while (process_info(one.pid, 10s)->received != 4) yield();
      EXPECT_GE(held(one.pid), 2 * page);
      EXPECT_LE(held(one.pid), 3 * page);
      send(one.pid, Ask{});
      while (held(one.pid) >= 2 * page && page != 0) yield();
      EXPECT_GE(held(one.pid), page);
      send(one.pid, Drop{0});
      await_down(one);
    }
    // The next tenants of its slot begin at nothing.
    for (int i = 0; i < 2000; ++i) {
      const Monitored next =
          spawn_monitor({.max_memory = 1 << 20}, [] { EXPECT_EQ(process_info(self(), 10s)->held_bytes, 0u); });
      await_down(next);
    }
    exit(sink, reason::kill);
  });
}

TEST_F(NoRegionTest, OutsideAProcessThereIsNoProcessMemory) {
  rt();
  EXPECT_THROW(process_memory(), std::logic_error);
}

}  // namespace
}  // namespace erlking::testing
