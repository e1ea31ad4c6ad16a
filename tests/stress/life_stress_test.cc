// Births, deaths and everything that ends a wait, all at once: every monitor has one Down, every call one end, every
// destructor runs, no name and no process outlives its end, and nothing is left over.
#include "tests/stress/stress.h"

#include <array>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace erlking::testing {
namespace {

class LifeStressTest : public StressTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void SetUp() override {
    options.workers = GetParam();
    StressTest::SetUp();
  }
};
std::string name_of_workers(const ::testing::TestParamInfo<unsigned>& info) {
  return "Workers" + std::to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Every, LifeStressTest, ::testing::Values(1u, 2u, 4u), name_of_workers);

/// Pids that anybody reads and replaces.
class Board {
 public:
  explicit Board(std::size_t places) : pids_(places) {}
  std::size_t size() const noexcept { return pids_.size(); }
  Pid at(std::size_t i) const noexcept { return Pid{pids_[i].load()}; }
  Pid any(base::Random& random) const noexcept { return at(random.below(size())); }
  void put(std::size_t i, Pid pid) noexcept { pids_[i].store(pid.id); }

 private:
  std::vector<std::atomic<std::uint64_t>> pids_;
};

struct Noise {
  Tracked weight;
};

// --- links, monitors, exits ------------------------------------------------------------------------------------------

struct Storm {
  Board board{48};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> births{0};
  std::shared_ptr<std::atomic<long>> alive = make_count(), weights = make_count();
};
using StormPtr = std::shared_ptr<Storm>;

// Does anything to anybody until it is ended, or the storm is over.
void actor(const StormPtr& storm, const Tracked&, std::uint64_t number) {
  base::Random random = random_of(number);
  std::vector<MonitorRef> refs;
  trap_exit(random.below(4) == 0);
  while (!storm->over) {
    const Pid peer = storm->board.any(random);
    switch (random.below(16)) {
      case 0:
      case 1:
        link(peer);
        break;
      case 2:
        unlink(peer);
        break;
      case 3:
      case 4:
        refs.push_back(monitor(peer));
        break;
      case 5:
        if (!refs.empty()) {
          demonitor(refs.back(), random.below(2) == 0 ? Flush::yes : Flush::no);
          refs.pop_back();
        }
        break;
      case 6:
        exit(peer, reason::kill);
        break;
      case 7:
        exit(peer, Reason("storm", "a detail of some length, so that it is shared"));
        break;
      case 8:
        exit(peer, reason::normal);
        break;
      case 9:
        trap_exit(random.below(2) == 0);
        break;
      case 10:
        static_cast<void>(is_alive(peer, 100us));
        break;
      case 11:
        static_cast<void>(process_info(peer, 100us));
        break;
      case 12:
        if (random.below(8) == 0) throw std::runtime_error("storm");
        break;
      case 13:
        if (random.below(8) == 0) exit(Reason("own"));
        break;
      default:
        static_cast<void>(send(peer, Noise{Tracked(storm->weights)}));
        receive(
            std::chrono::microseconds(random.below(30)), [](Message) {}, [](Timeout) {});
    }
  }
}

Pid birth(const StormPtr& storm, std::size_t place) {
  const std::uint64_t number = 1'000 + storm->births.fetch_add(1);
  const Pid pid = spawn({.mailbox = 8, .stack = kStressStack}, actor, StormPtr(storm), Tracked(storm->alive),
                        std::uint64_t{number});
  storm->board.put(place, pid);
  return pid;
}

// Not on the board, so that nothing happens to it: keeps the board full of the living.
void refill(const StormPtr& storm, unsigned births) {
  while (storm->births < births) {
    for (std::size_t i = 0; i < storm->board.size(); ++i) {
      if (!storm->board.at(i) || !is_alive(storm->board.at(i), 1s)) birth(storm, i);
    }
    yield();
  }
  storm->over = true;
}

// Monitors whom it finds on the board; keeps exact books.
void observe(const StormPtr& storm, std::uint64_t number) {
  base::Random random = random_of(number);
  std::unordered_map<MonitorRef, Pid> owed;
  std::uint64_t downs = 0;
  const auto take = [&](Down& down) {
    const auto it = owed.find(down.ref);
    ASSERT_NE(it, owed.end()) << "a Down nobody is owed: doubled, or after demonitor";
    EXPECT_EQ(it->second, down.pid);
    owed.erase(it);
    ++downs;
  };
  while (!storm->over) {
    const Pid peer = storm->board.any(random);
    if (!peer) {
      yield();
      continue;
    }
    const MonitorRef ref = monitor(peer);
    owed.emplace(ref, peer);
    if (random.below(4) == 0) {
      if (random.below(2) == 0) yield();
      const bool active = demonitor(ref, Flush::yes);
      owed.erase(ref);  // flushed, or none will come
      static_cast<void>(active);
    }
    while (receive(
        0s,
        [&](Down& down) {
          take(down);
          return true;
        },
        [](Timeout) { return false; })) {
    }
    if (owed.size() > 500) receive(5s, [&](Down& down) { take(down); });
  }
  while (!owed.empty() && !::testing::Test::HasFailure()) {
    receive(
        20s, [&](Down& down) { take(down); }, [&](Timeout) { ADD_FAILURE() << owed.size() << " Downs never came"; });
  }
  EXPECT_TRUE(mailbox_empty());
  EXPECT_GT(downs, 0u);
}

TEST_P(LifeStressTest, InAStormEveryMonitorHasOneDownAndNothingIsLeft) {
  base::set_log_level(base::Level::off);  // the crashes are meant
  auto storm = std::make_shared<Storm>();
  run_to_the_end([storm] {
    std::vector<Monitored> observers;
    for (unsigned i = 0; i < 3; ++i) {
      observers.push_back(
          spawn_monitor({.mailbox = 100'000, .stack = kStressStack}, observe, StormPtr(storm), std::uint64_t{i + 10}));
    }
    const auto refilling = spawn_monitor({.stack = kStressStack}, refill, StormPtr(storm), scaled(6'000));
    for (const Monitored& made : observers) {
      EXPECT_EQ(
          receive(60s,
                  when([&](const Down& down) { return down.ref == made.ref; }, [](Down& down) { return down.reason; }),
                  [](Timeout) { return Reason("hangs"); }),
          reason::normal);
    }
    await_down(refilling);
  });
  EXPECT_EQ(*storm->alive, 0) << "closures that were not destroyed";
  EXPECT_EQ(*storm->weights, 0) << "messages that were not destroyed";
  base::set_log_level(base::Level::info);
}

// Links and unlinks from both ends at once converge: once it is quiet both ends agree (SEMANTICS 3.8).
TEST_P(LifeStressTest, LinksMadeAndBrokenFromBothEndsConverge) {
  run_to_the_end([] {
    for (unsigned round = 0; round < scaled(300); ++round) {
      std::atomic<unsigned> quiet{0};
      const auto body = [round, &quiet](unsigned me) {
        trap_exit(true);
        base::Random random = random_of(round * 2 + me);
        const Pid peer = receive(5s, [](Pid pid) { return pid; });
        for (unsigned i = 0; i < 40; ++i) {
          random.below(2) == 0 ? link(peer) : unlink(peer);
          if (random.below(8) == 0) yield();
        }
        ++quiet;
        idle_forever();
      };
      const Monitored a = spawn_monitor({.stack = kStressStack}, body, 0u);
      const Monitored b = spawn_monitor({.stack = kStressStack}, body, 1u);
      send(a.pid, Pid(b.pid));
      send(b.pid, Pid(a.pid));
      while (quiet < 2) yield();
      // Neither links or unlinks any more; asked twice, each answers after what the other has sent it and answered.
      std::expected<ProcessInfo, CallError> of_a = process_info(a.pid, 5s), of_b = process_info(b.pid, 5s);
      for (int again = 0; again < 3; ++again) {
        of_a = process_info(a.pid, 5s);
        of_b = process_info(b.pid, 5s);
      }
      ASSERT_TRUE(of_a && of_b);
      ASSERT_EQ(of_a->links.size(), of_b->links.size()) << "one end is linked, the other is not";
      ASSERT_LE(of_a->links.size(), 1u);
      exit(a.pid, reason::kill);
      exit(b.pid, reason::kill);
      await_down(a);
      await_down(b);
    }
  });
}

// --- killed while it waits -------------------------------------------------------------------------------------------

struct Ask {
  std::uint64_t client = 0, n = 0;
  struct Reply {
    std::uint64_t client, n;
  };
};

struct Lot {  // what the victims use
  Pid full;   // a full mailbox, nobody takes from it
  Pid mute;   // takes requests, never answers
};

constexpr unsigned kWaits = 13;
void wait_in_way(unsigned way, const Lot& lot) {
  struct Never {};
  switch (way) {
    case 0:
      return receive(forever, [](Never) {});
    case 1:
      return receive(1h, [](Never) {});
    case 2:  // something to skip, time and again
      for (;;) {
        send(self(), 1);
        receive(
            50us, [](Never) {}, [](Timeout) {});
        if (self_process().mailbox.size() > 100) flush();
      }
    case 3:
      return sleep(1h);
    case 4:
      return sleep(forever);
    case 5:
      return static_cast<void>(call(lot.mute, Ask{}, forever));
    case 6:
      return static_cast<void>(call(lot.mute, Ask{}, 1h));
    case 7:
      return static_cast<void>(send(lot.full, Never{}, forever));
    case 8:
      return static_cast<void>(send(lot.full, Never{}, 1h));
    case 9:
      return static_cast<void>(call(lot.full, Ask{}, 1h));  // waits for room
    case 10:
      for (;;) yield();
    case 11:
      try {
        throw 1;
      } catch (int) {
        receive(1h, [](Never) {});
      }
      return;
    default: {
      struct Waits {
        Pid to;
        ~Waits() {
          DeferKill defer;
          static_cast<void>(send(to, 1, 300us));  // a wait in a destructor, which ends by itself
        }
      } waits{lot.full};
      receive(1h, [](Never) {});
    }
  }
}

TEST_P(LifeStressTest, KilledInEveryKindOfWaitEachUnwindsAndTellsOnce) {
  auto alive = make_count();
  run_to_the_end([alive] {
    base::Random random = random_of(0);
    Lot lot;
    lot.full = spawn({.mailbox = 1, .stack = kStressStack}, wait_forever);
    lot.mute = spawn({.mailbox = 500'000, .stack = kStressStack}, wait_forever);
    ASSERT_EQ(send(lot.full, 0), Delivery::queued);
    const unsigned victims = scaled(200);
    for (unsigned way = 0; way < kWaits; ++way) {
      std::unordered_set<MonitorRef> owed;
      std::vector<Pid> pids;
      for (unsigned i = 0; i < victims; ++i) {
        const Monitored made = spawn_monitor(
            {.stack = kStressStack},
            [way, lot](const Tracked&, const std::shared_ptr<std::atomic<long>>& count) {
              Tracked on_the_stack(count);
              wait_in_way(way, lot);
            },
            Tracked(alive), std::shared_ptr(alive));
        owed.insert(made.ref);
        pids.push_back(made.pid);
        if (random.below(4) == 0) yield();
      }
      // Killed from here and from another process, so that two kills meet.
      const Monitored killer = spawn_monitor({.stack = kStressStack}, [pids] {
        for (Pid pid : pids) exit(pid, reason::kill);
      });
      for (auto it = pids.rbegin(); it != pids.rend(); ++it) {
        if (random.below(2) == 0) exit(*it, reason::kill);
        if (random.below(16) == 0) yield();
      }
      await_down(killer);
      while (!owed.empty()) {
        receive(
            20s,
            [&](Down& down) {
              ASSERT_EQ(owed.erase(down.ref), 1u) << "way " << way;
              ASSERT_EQ(down.reason, reason::killed) << "way " << way;
            },
            [&](Timeout) { FAIL() << owed.size() << " of way " << way << " do not die"; });
        ASSERT_FALSE(::testing::Test::HasFatalFailure());
      }
      ASSERT_TRUE(mailbox_empty());
      ASSERT_EQ(*alive, 0) << "way " << way;
    }
    exit(lot.full, reason::kill);
    exit(lot.mute, reason::kill);
  });
}

// --- calls -----------------------------------------------------------------------------------------------------------

struct Callers {
  Board servers{6};
  std::atomic<unsigned> left{0};
  std::atomic<std::uint64_t> answered{0}, timed_out{0}, died{0}, noproc{0}, full{0};
};

void serve_badly(std::uint64_t number) {
  base::Random random = random_of(number);
  std::vector<std::pair<Ask, From<Ask>>> kept;
  const auto answer = [](const Ask& ask, From<Ask>& from) { from.reply({ask.client, ask.n}); };
  for (unsigned life = 20 + static_cast<unsigned>(random.below(200)); life > 0; --life) {
    receive(
        20ms,
        [&](Ask& ask, From<Ask> from) {
          switch (random.below(10)) {
            case 0:
              return;  // dropped: died, normal
            case 1:
              kept.emplace_back(ask, std::move(from));
              return;  // later, perhaps too late, perhaps never
            case 2:
              spawn(
                  {.stack = kStressStack},
                  [ask](From<Ask> passed) {
                    passed.reply({ask.client, ask.n});
                  },
                  std::move(from));
              return;
            case 3:
              compute(random.below(40'000));
              return answer(ask, from);  // about when the caller gives up
            case 4:
              sleep(std::chrono::microseconds(random.below(60)));
              return answer(ask, from);
            default:
              answer(ask, from);
          }
        },
        [](Timeout) {});
    if (kept.size() > 3) {
      answer(kept.front().first, kept.front().second);
      kept.erase(kept.begin());
    }
  }
  if (random.below(2) == 0) exit(Reason("server_gone"));
}

void call_on(const std::shared_ptr<Callers>& shared, std::uint64_t me, unsigned calls) {
  base::Random random = random_of(me);
  for (std::uint64_t n = 1; n <= calls; ++n) {
    const Pid server = shared->servers.any(random);
    const auto bound = random.below(3) == 0 ? Bound(forever) : Bound(std::chrono::microseconds(random.below(120)));
    const auto value = call(server, Ask{me, n}, bound);
    if (value) {
      ASSERT_EQ(value->client, me) << "another's reply";
      ASSERT_EQ(value->n, n) << "the reply of another call";
      ++shared->answered;
      continue;
    }
    switch (value.error().kind) {
      case CallFailure::timeout:
        ++shared->timed_out;
        break;
      case CallFailure::died:
        ++shared->died;
        break;
      case CallFailure::noproc:
        ++shared->noproc;
        break;
      case CallFailure::full:
        ++shared->full;
        break;
      default:
        FAIL() << to_string(value.error().kind);
    }
    ASSERT_FALSE(bound.is_forever() &&
                 (value.error().kind == CallFailure::timeout || value.error().kind == CallFailure::full));
  }
  ASSERT_TRUE(mailbox_empty()) << "a reply came into the mailbox";
}

TEST_P(LifeStressTest, EveryCallEndsAndNoReplyReachesAnotherCall) {
  auto shared = std::make_shared<Callers>();
  constexpr unsigned kCallers = 10;
  shared->left = kCallers;
  run_to_the_end([shared] {
    const unsigned calls = scaled(3'000);
    std::unordered_map<MonitorRef, std::size_t> servers;
    std::uint64_t births = 0;
    base::Random random = random_of(0);
    const auto start_server = [&](std::size_t place) {
      const auto bound = static_cast<std::uint32_t>(1 + random.below(8));
      const Monitored made = spawn_monitor({.mailbox = bound, .stack = kStressStack}, serve_badly, 100 + births++);
      shared->servers.put(place, made.pid);
      servers.emplace(made.ref, place);
    };
    for (std::size_t i = 0; i < shared->servers.size(); ++i) start_server(i);
    std::unordered_set<MonitorRef> callers;
    for (unsigned i = 0; i < kCallers; ++i) {
      callers.insert(spawn_monitor({.stack = kStressStack}, call_on, std::shared_ptr(shared), std::uint64_t{i + 1},
                                   unsigned{calls})
                         .ref);
    }
    while (!callers.empty()) {
      receive(
          300us,
          [&](Down& down) {
            if (callers.erase(down.ref) != 0) return;
            const auto it = servers.find(down.ref);
            ASSERT_NE(it, servers.end());
            const std::size_t place = it->second;
            servers.erase(it);
            start_server(place);
          },
          [&](Timeout) {
            if (random.below(4) == 0) exit(shared->servers.any(random), reason::kill);
          });
    }
    for (std::size_t i = 0; i < shared->servers.size(); ++i) exit(shared->servers.at(i), reason::kill);
  });
  EXPECT_EQ(shared->answered + shared->timed_out + shared->died + shared->noproc + shared->full,
            std::uint64_t{kCallers} * scaled(3'000));
  EXPECT_GT(shared->answered, 0u);
  EXPECT_GT(shared->timed_out, 0u);
  EXPECT_GT(shared->died, 0u);
}

// --- sends that wait -------------------------------------------------------------------------------------------------

TEST_P(LifeStressTest, WaitingSendsEndWhenTheReceiverDiesOrTheSenderIsKilled) {
  auto weights = make_count();
  run_to_the_end([weights] {
    base::Random random = random_of(0);
    for (unsigned round = 0; round < scaled(150); ++round) {
      const std::uint64_t takes = random.below(30);
      const Monitored receiver =
          spawn_monitor({.mailbox = static_cast<std::uint32_t>(1 + random.below(3)), .stack = kStressStack}, [takes] {
            for (std::uint64_t i = 0; i < takes; ++i) receive(5s, [](Noise) {});
            if (takes % 2 == 0) exit(Reason("enough"));
          });
      std::vector<Monitored> senders;
      for (unsigned i = 0; i < 10; ++i) {
        senders.push_back(spawn_monitor({.stack = kStressStack}, [to = receiver.pid, weights, seed = random.next()] {
          base::Random own(seed);
          for (;;) {
            Noise noise{Tracked(weights)};
            const bool endless = own.below(2) == 0;
            const Delivery delivery = endless ? send(to, std::move(noise), forever)
                                              : send(to, std::move(noise), std::chrono::microseconds(own.below(80)));
            ASSERT_EQ(static_cast<bool>(noise.weight), delivery != Delivery::queued)
                << "kept or handed over, never both";
            if (delivery == Delivery::noproc) return;
            ASSERT_FALSE(endless && delivery == Delivery::full);
          }
        }));
      }
      for (const Monitored& sender : senders) {
        if (random.below(3) == 0) exit(sender.pid, reason::kill);
        if (random.below(4) == 0) sleep(std::chrono::microseconds(random.below(50)));
      }
      // The receiver may be left without enough senders.
      if (receive(20ms, when([&](const Down& down) { return down.ref == receiver.ref; }, [](Down) { return false; }),
                  [](Timeout) { return true; })) {
        exit(receiver.pid, reason::kill);
        receive(10s, when([&](const Down& down) { return down.ref == receiver.ref; }, [](Down) {}));
      }
      for (const Monitored& sender : senders) {
        const Reason why = await_down(sender);
        ASSERT_TRUE(why == reason::normal || why == reason::killed) << why.report();
      }
      ASSERT_EQ(*weights, 0) << "round " << round;
    }
  });
}

// --- names -----------------------------------------------------------------------------------------------------------

TEST_P(LifeStressTest, NoNameOutlivesItsProcess) {
  static constexpr std::array<std::string_view, 6> kNames = {"ash", "birch", "cedar", "elder", "hazel", "yew"};
  auto storm = std::make_shared<Storm>();
  run_to_the_end([storm] {
    const auto holder = [storm](std::uint64_t number) {
      base::Random random = random_of(number);
      for (;;) {
        const std::string_view name = kNames[random.below(kNames.size())];
        switch (random.below(6)) {
          case 0:
          case 1:
            static_cast<void>(register_name(name, self()));
            break;
          case 2:
            static_cast<void>(register_name(name, storm->board.any(random)));
            break;  // perhaps just dying
          case 3:
            unregister(name);
            break;
          case 4:
            send(Name{name}, 1);
            break;
          default:
            if (const auto pid = whereis(name); pid && random.below(4) == 0) exit(*pid, reason::kill);
        }
        if (random.below(64) == 0) return;
        if (random.below(8) == 0) yield();
        receive(
            0s, [](int) {}, [](Timeout) {});
      }
    };
    std::uint64_t births = 0;
    base::Random random = random_of(0);
    std::unordered_map<MonitorRef, std::size_t> places;
    const auto start = [&](std::size_t place) {
      SpawnOptions how{.mailbox = 4, .stack = kStressStack};
      Monitored made{};
      if (random.below(4) == 0) {  // born with a name, if it is free
        how.name = std::string(kNames[random.below(kNames.size())]);
        auto named = try_spawn(how, holder, 100 + births);
        if (named) made = {*named, monitor(*named)};
        how.name.clear();
      }
      if (!made.pid) made = spawn_monitor(how, holder, 100 + births);
      ++births;
      storm->board.put(place, made.pid);
      places.emplace(made.ref, place);
    };
    for (std::size_t i = 0; i < 16; ++i) start(i);
    const std::uint64_t wanted = scaled(6'000);
    while (!places.empty()) {
      receive(
          20s,
          [&](Down& down) {
            for (std::string_view name : kNames) ASSERT_NE(whereis(name), down.pid) << name << " outlived its process";
            EXPECT_FALSE(is_alive(down.pid, 1s));
            const auto it = places.find(down.ref);
            ASSERT_NE(it, places.end());
            const std::size_t place = it->second;
            places.erase(it);
            if (births < wanted) start(place);
          },
          [&](Timeout) { FAIL() << "a process is stuck"; });
      ASSERT_FALSE(::testing::Test::HasFatalFailure());
      if (random.below(4) == 0) exit(storm->board.any(random), reason::kill);
    }
    for (std::string_view name : kNames) {
      EXPECT_FALSE(whereis(name).has_value()) << name;
      EXPECT_TRUE(register_name(name, self()).has_value()) << name << " is free but cannot be taken";
      EXPECT_TRUE(unregister(name));
    }
  });
}

// --- time ------------------------------------------------------------------------------------------------------------

struct Late {
  std::uint64_t n;
};

// Receives with bounds about as long as the messages take.
void race_the_clock(std::uint64_t messages, const std::shared_ptr<std::atomic<unsigned>>& timeouts) {
  base::Random random = random_of(messages);
  std::uint64_t last = 0;
  while (last < messages) {
    const auto bound = std::chrono::microseconds(random.below(100));
    const auto began = now();
    receive(
        bound,
        [&](Late late) {
          ASSERT_EQ(late.n, last + 1) << "lost, doubled or reordered";
          last = late.n;
        },
        [&](Timeout) {
          ASSERT_GE(now() - began, bound) << "a bound that passed early";
          ++*timeouts;
        });
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
  }
}

void send_now_and_then(Pid to, std::uint64_t messages) {
  base::Random random = random_of(to.id);
  for (std::uint64_t n = 1; n <= messages; ++n) {
    const auto pause = std::chrono::microseconds(random.below(100));
    const auto began = now();
    sleep(pause);
    ASSERT_GE(now() - began, pause);
    ASSERT_EQ(send(to, Late{n}, forever), Delivery::queued);
  }
}

class TimerStressTest : public RuntimeMatrixTest {
 protected:
  void TearDown() override {
    RuntimeMatrixTest::TearDown();
    say_seed_on_failure();
  }
};
INSTANTIATE_TEST_SUITE_P(Every, TimerStressTest, every_setting(), name_of_setting);

TEST_P(TimerStressTest, ABoundAndAMessageThatMeetLoseNeither) {
  auto timeouts = std::make_shared<std::atomic<unsigned>>(0);
  const std::uint64_t messages = scaled(options.clock == ClockKind::manual ? 100 : 600);
  std::vector<Pid> pids;
  for (unsigned i = 0; i < 12; ++i) {
    const auto receiver = rt().spawn({.mailbox = 4, .stack = kStressStack}, race_the_clock, std::uint64_t{messages},
                                     std::shared_ptr(timeouts));
    ASSERT_TRUE(receiver.has_value());
    ASSERT_TRUE(
        rt().spawn({.stack = kStressStack}, send_now_and_then, Pid(*receiver), std::uint64_t{messages}).has_value());
  }
  const auto until = std::chrono::steady_clock::now() + 60s;
  base::Random random = random_of(0);
  while (rt().processes() != 0 && std::chrono::steady_clock::now() < until) {
    if (options.clock == ClockKind::manual) {
      rt().advance(std::chrono::microseconds(1 + random.below(400)));
    } else {
      std::this_thread::sleep_for(200us);
    }
  }
  EXPECT_EQ(rt().processes(), 0u);
  EXPECT_GT(*timeouts, 0u);
}

// run_until_idle() must not take a message on its way between two workers for rest.
TEST_P(TimerStressTest, IdleMeansThatNothingIsUnderWayBetweenWorkers) {
  if (options.workers < 2) GTEST_SKIP() << "needs two workers";
  struct Ball {
    unsigned hops;
  };
  const auto player = [] {
    const Pid other = receive(5s, [](Pid pid) { return pid; });
    for (;;) {
      const unsigned hops = receive(forever, [](Ball ball) { return ball.hops; });
      send(other, Ball{hops == 0 ? 0 : hops - 1});
      if (hops <= 1) return;
    }
  };
  for (unsigned round = 0; round < scaled(60); ++round) {
    const auto a = rt().spawn({.stack = kStressStack, .worker = 0}, player);
    const auto b = rt().spawn({.stack = kStressStack, .worker = 1}, player);
    ASSERT_TRUE(a && b);
    ASSERT_EQ(rt().send(*a, Pid(*b)), Delivery::queued);
    ASSERT_EQ(rt().send(*b, Pid(*a)), Delivery::queued);
    ASSERT_EQ(rt().send(*a, Ball{500}), Delivery::queued);
    ASSERT_TRUE(rt().run_until_idle(20s));
    ASSERT_EQ(rt().processes(), 0u) << "round " << round << ": it said idle while the ball was in the air";
  }
}

// --- moving about ----------------------------------------------------------------------------------------------------

TEST_F(StressTest, ProcessesThatMoveBetweenFourWorkersKeepTheirMessagesTimersAndHandlers) {
  options.workers = 4;
  struct Parcel {
    unsigned hops;
    Tracked weight;
  };
  auto weights = make_count();
  auto arrived = std::make_shared<std::atomic<unsigned>>(0);
  constexpr unsigned kProcesses = 64;
  const unsigned hops = scaled(2'000);
  auto board = std::make_shared<Board>(kProcesses);
  run_to_the_end([=] {
    std::vector<Monitored> made;
    for (unsigned i = 0; i < kProcesses; ++i) {
      made.push_back(spawn_monitor({.stack = kStressStack}, [=] {
        base::Random random = random_of(i);
        while (*arrived < kProcesses) {
          const std::uint64_t dice = random.below(16);
          if (dice == 0) compute(random.below(100'000));  // long enough to be stolen from
          if (dice == 1) yield();
          try {
            throw i;  // a handler is open across the wait
          } catch (unsigned mine) {
            receive(
                std::chrono::microseconds(200 + random.below(200)),
                [&](Parcel parcel) {
                  if (parcel.hops == 0) {
                    ++*arrived;
                  } else {
                    const Pid next = board->any(random);
                    ASSERT_EQ(send(next, Parcel{parcel.hops - 1, std::move(parcel.weight)}), Delivery::queued);
                  }
                },
                [](Timeout) {});
            ASSERT_EQ(mine, i) << "another process's exception";
          }
        }
      }));
      board->put(i, made.back().pid);
    }
    for (unsigned i = 0; i < kProcesses; ++i) send(board->at(i), Parcel{hops, Tracked(weights)});
    for (const Monitored& each : made) {
      EXPECT_EQ(
          receive(60s,
                  when([&](const Down& down) { return down.ref == each.ref; }, [](Down& down) { return down.reason; }),
                  [](Timeout) { return Reason("hangs"); }),
          reason::normal);
    }
  });
  EXPECT_EQ(*arrived, kProcesses);
  EXPECT_EQ(*weights, 0);
  RecordProperty("steals", static_cast<int>(rt().stats().steals));
}

// --- whole runtimes --------------------------------------------------------------------------------------------------

TEST(RuntimeLifeStressTest, TwoHundredRuntimesEndWhileTheyAreBusy) {
  base::set_log_level(base::Level::off);
  base::Random random = random_of(0);
  auto weights = make_count();
  for (unsigned round = 0; round < std::max(40u, scaled(200)); ++round) {
    Options options;
    options.workers = 1 + static_cast<unsigned>(random.below(4));
    Runtime rt(options);
    auto storm = std::make_shared<Storm>();
    for (unsigned i = 0; i < 12; ++i) {
      const auto busy = [storm, i, weights] {
        base::Random own = random_of(i);
        trap_exit(false);
        for (;;) {
          const Pid child = spawn({.mailbox = 4, .stack = kStressStack}, [] {
            receive(
                1s, [](Message) {}, [](Timeout) {});
          });
          storm->board.put(own.below(storm->board.size()), child);
          send(storm->board.any(own), Noise{Tracked(weights)});
          monitor(storm->board.any(own));
          receive(
              std::chrono::microseconds(own.below(50)), [](Message) {}, [](Timeout) {});
        }
      };
      static_cast<void>(rt.spawn({.stack = kStressStack}, busy));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(3'000)));
    ASSERT_TRUE(rt.stop()) << "round " << round;
    ASSERT_EQ(rt.processes(), 0u);
    const gc::HeapStats heap = rt.stats().heap;
    ASSERT_EQ(heap.blocks_live, 0u) << "round " << round;
    ASSERT_EQ(heap.large_blocks, 0u);
    ASSERT_EQ(*weights, 0) << "round " << round;
  }
  base::set_log_level(base::Level::info);
  say_seed_on_failure();
}

}  // namespace
}  // namespace erlking::testing
