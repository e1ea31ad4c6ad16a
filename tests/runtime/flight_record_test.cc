// The flight recorder: what it keeps of a run, in which order, as values, text and JSON; and what an abort tells.
#include "runtime/flight_record.h"

#include "base/assert.h"
#include "tests/support/crew.h"
#include "tests/support/runtime_fixture.h"

#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdlib>
#include <string>
#include <unistd.h>

namespace erlking::testing {
namespace {

struct Greeting {
  int n;
};
struct Ask {
  using Reply = int;
};

class FlightRecordTest : public RuntimeTest {
 protected:
  FlightRecordTest() { options.flight_recorder = 4'096; }

  using Events = std::vector<FlightEvent>;
  Events events(std::size_t most = 100'000) { return rt().flight_record(most).events; }
  /// Of what `who` did.
  static Events by(Pid who, const Events& all) {
    Events some;
    for (const FlightEvent& event : all) {
      if (event.process == who) some.push_back(event);
    }
    return some;
  }
  static const FlightEvent* find(const Events& all, Happening what, Pid process, Pid other) {
    for (const FlightEvent& event : all) {
      if (event.what == what && event.process == process && event.other == other) return &event;
    }
    return nullptr;
  }
};

TEST_F(FlightRecordTest, TellsALifeInOrder) {
  options.workers = 1;
  Pid parent, child;
  run([&] {
    parent = self();
    child = spawn([] {
      receive(forever, [](const Greeting&) {});
      throw std::runtime_error("lost");
    });
    send(child, Greeting{7});
    sleep(1s);
  });
  const Events all = events();
  const FlightEvent* const spawned = find(all, Happening::spawn, parent, child);
  ASSERT_NE(spawned, nullptr);
  EXPECT_NE(spawned->name.find("lambda"), std::string::npos) << spawned->name;
  const FlightEvent* const sent = find(all, Happening::send, parent, child);
  ASSERT_NE(sent, nullptr);
  EXPECT_NE(sent->name.find("Greeting"), std::string::npos) << sent->name;
  EXPECT_LE(spawned->at, sent->at);
  std::vector<Happening> life;
  std::string why;
  for (const FlightEvent& event : by(child, all)) {
    life.push_back(event.what);
    if (event.what == Happening::exit) why = event.name;
  }
  ASSERT_GE(life.size(), 3u);
  EXPECT_EQ(life.front(), Happening::begin);
  EXPECT_EQ(life.back(), Happening::exit);
  EXPECT_NE(std::ranges::find(life, Happening::receive), life.end());
  EXPECT_EQ(why, std::string("std::runtime_error").substr(0, 21));
  EXPECT_TRUE(std::ranges::is_sorted(all, {}, &FlightEvent::at));
}

TEST_F(FlightRecordTest, TellsOfCallsTimersRefusalsAndKills) {
  Pid asker, server, full, killed;
  run([&] {
    asker = self();
    server = spawn([] { receive(forever, [](Ask&, From<Ask> from) { from.reply(1); }); });
    EXPECT_EQ(call(server, Ask{}, 10s), 1);
    full = spawn({.mailbox = 1}, wait_forever);
    while (send(full, Greeting{1}) == Delivery::queued) {
    }
    killed = spawn(wait_forever);
    exit(killed, reason::kill);
    sleep(1s);
    exit(full, reason::kill);
    sleep(1s);
  });
  const Events all = events();
  EXPECT_NE(find(all, Happening::reply, server, asker), nullptr);
  EXPECT_NE(find(all, Happening::refused, asker, full), nullptr);
  EXPECT_NE(std::ranges::find(all, Happening::timer, &FlightEvent::what), all.end());
  EXPECT_NE(std::ranges::find(all, Happening::killed, &FlightEvent::what), all.end());
}

TEST_F(FlightRecordTest, TheLatestAreTold) {
  options.flight_recorder = 32'768;  // with a thread for each process an eighth of that
  run([] {
    const Pid sink = spawn(wait_forever);
    for (int i = 0; i < 500; ++i) send(sink, Greeting{i});
    exit(sink, reason::kill);
  });
  const Events all = events(), few = events(10);
  ASSERT_EQ(few.size(), 10u);
  EXPECT_GE(all.size(), 500u);
  EXPECT_GE(few.front().at, all[all.size() - 20].at);
}

TEST_F(FlightRecordTest, OffNothingIsKept) {
  options.flight_recorder = 0;
  run([] { send(self(), Greeting{1}); });
  EXPECT_TRUE(events().empty());
}

TEST_F(FlightRecordTest, MayBeReadWhileTheyRun) {
  options.clock = ClockKind::real;
  std::atomic<bool> over{false};
  const auto pid = rt().spawn([&] {
    const Pid echo = spawn_link([] {
      for (;;) receive(forever, [](Ask&, From<Ask> from) { from.reply(2); });
    });
    while (!over) static_cast<void>(call(echo, Ask{}, 10s));
    exit(echo, reason::kill);
  });
  ASSERT_TRUE(pid.has_value());
  std::size_t seen = 0;
  for (int i = 0; i < 200 || (seen == 0 && i < 100'000); ++i) {
    for (const FlightEvent& event : events()) seen += event.what == Happening::reply ? 1 : 0;
  }
  over = true;
  EXPECT_GT(seen, 0u);
  EXPECT_TRUE(rt().wait(*pid, 30s).has_value());
}

TEST_F(FlightRecordTest, ASizeOutOfItsRangeIsRefused) {
  for (const std::uint32_t size : {63u, kMaxFlightRecorder + 1}) {
    options.flight_recorder = size;
    EXPECT_THROW(Runtime runtime(options), std::invalid_argument);
  }
}

TEST_F(FlightRecordTest, TheFlagTakesOnOffAndANumber) {
  const auto parsed = [](std::string flag) {
    std::string name = "program";
    char* argv[] = {name.data(), flag.data(), nullptr};
    int argc = 2;
    return Options::parse(argc, argv);
  };
  EXPECT_EQ(parsed("--ek-flight-recorder=on")->flight_recorder, 4'096u);
  EXPECT_EQ(parsed("--ek-flight-recorder=off")->flight_recorder, 0u);
  EXPECT_EQ(parsed("--ek-flight-recorder=64")->flight_recorder, 64u);
  for (const char* wrong : {"--ek-flight-recorder=63", "--ek-flight-recorder=x", "--ek-flight-recorder=-1"}) {
    EXPECT_FALSE(parsed(wrong).has_value()) << wrong;
  }
  EXPECT_NE(Options::help().find("--ek-flight-recorder"), std::string::npos);
}

TEST_F(FlightRecordTest, AsTextAndAsJson) {
  run([] {
    const Pid sink = spawn({.name = "sink"}, wait_forever);
    send(sink, Greeting{1});
    exit(sink, reason::kill);
  });
  const FlightRecord record = rt().flight_record(1'000);
  const std::string text = to_text(record);
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(text, '\n')), record.events.size() + 1);
  EXPECT_NE(text.find("send"), std::string::npos) << text;
  EXPECT_NE(text.find("Greeting"), std::string::npos) << text;
  const auto json = nlohmann::json::parse(to_json(record));
  ASSERT_EQ(json["events"].size(), record.events.size());
  for (const auto& event : json["events"]) EXPECT_GE(event["ago_ns"], 0);
}

TEST_F(FlightRecordTest, ANameThatIsNoTextIsShownWithoutHarm) {
  FlightRecord record;
  FlightEvent& event = record.events.emplace_back();
  event.name = "\x1b\xff\n";
  event.value = -1;
  const std::string text = to_text(record);
  EXPECT_EQ(std::ranges::count(text, '\x1b'), 0) << text;
  EXPECT_TRUE(nlohmann::json::accept(to_json(record)));
}

// What a program says on stderr when it ends so.
class FlightAbortTest : public FlightRecordTest {
 protected:
  FlightAbortTest() {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    options.clock = ClockKind::real;
  }
  template <class End>
  void end_in_a_process(End&& end) {
    base::set_log_sink(nullptr);
    run([&] {
      const Pid sink = spawn(wait_forever);
      send(sink, Greeting{1});
      end();
    });
  }
};

TEST_F(FlightAbortTest, AFailedCheckTellsTheLastEvents) {
  EXPECT_DEATH(end_in_a_process([] { EK_CHECK(1 + 1 == 3); }), "1 \\+ 1 == 3(.|\n)*flight recorder(.|\n)*Greeting");
}

TEST_F(FlightAbortTest, SoDoesAbort) {
  EXPECT_DEATH(end_in_a_process([] { std::abort(); }), "flight recorder(.|\n)*Greeting");
}

TEST_F(FlightAbortTest, AFaultThatIsNotContainedTellsThem) {
  options.on_fault = "abort";
  static volatile std::uintptr_t nowhere = 16;
  EXPECT_DEATH(end_in_a_process([] { *reinterpret_cast<volatile int*>(nowhere) = 1; }),
               "not contained(.|\n)*flight recorder(.|\n)*Greeting");
}

TEST_F(FlightAbortTest, OffAnAbortTellsNone) {
  options.flight_recorder = 0;
  EXPECT_EXIT(
      {
        std::string told;
        int ends[2];
        ASSERT_EQ(::pipe(ends), 0);
        end_in_a_process([&] { tell_all_flights(ends[1]); });
        ::close(ends[1]);
        char byte = 0;
        std::exit(::read(ends[0], &byte, 1) == 0 ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace erlking::testing
