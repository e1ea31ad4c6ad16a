// The bounds of a runtime on descriptors and on what is read ahead: each opening fails cleanly at them, and gives back
// what it has taken.
#include "tests/support/net_fixture.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace erlking::testing {
namespace {

class LimitsTest : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    options.max_descriptors = 4;
    options.max_io_bytes = 10'000;
  }
};
INSTANTIATE_TEST_SUITE_P(Every, LimitsTest, every_place(), name_of_place);

// How many pipes there is room for: two descriptors each.
std::size_t pipes_left() {
  std::vector<PipeEnds> made;
  while (auto ends = Pipe::make()) made.push_back(*std::move(ends));
  return made.size();
}

TEST_P(LimitsTest, WhatOpensOneFailsAtTheBoundAndWorksBelowIt) {
  run([] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    const std::uint16_t port = listener->local()->port;
    std::optional<PipeEnds> pipe = *Pipe::make();
    auto last = tcp::connect("127.0.0.1", port, 10s);
    ASSERT_TRUE(last);
    const auto refused = tcp::connect("127.0.0.1", port, 10s);
    EXPECT_EQ(failure_of(refused), IoFailure::limit);
    EXPECT_NE(refused.error().to_string().find("--ek-max-descriptors"), std::string::npos);
    EXPECT_EQ(failure_of(tcp::listen({})), IoFailure::limit);
    EXPECT_EQ(failure_of(Udp::bind()), IoFailure::limit);
    EXPECT_EQ(failure_of(Pipe::make()), IoFailure::limit);
    EXPECT_EQ(failure_of(File::open("/dev/null", {}, 10s)), IoFailure::limit);
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "true"}, 10s)), IoFailure::limit);
    EXPECT_EQ(failure_of(listener->accept(10ms)), IoFailure::limit);
    last->close();
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "false", .out = Stdio::pipe}, 10s)), IoFailure::limit)
        << "one for it, and one for the pipe";
    EXPECT_TRUE(File::open("/dev/null", {}, 10s)) << "and closed at once";
    EXPECT_TRUE(Udp::bind());
    auto program = Subprocess::spawn({.program = "true"}, 30s);
    ASSERT_TRUE(program);
    EXPECT_TRUE(program->wait(30s));
    EXPECT_EQ(failure_of(Pipe::make()), IoFailure::limit) << "two, and there is room for one";
    pipe.reset();
    EXPECT_EQ(pipes_left(), 1u);
  });
}

TEST_P(LimitsTest, AConnectionStaysInLineUntilThereIsRoom) {
  run([] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    std::optional<PipeEnds> pipe = *Pipe::make();
    auto here = tcp::connect("127.0.0.1", listener->local()->port, 10s);
    ASSERT_TRUE(here && here->write("hello", 10s));
    EXPECT_EQ(failure_of(listener->accept(10s)), IoFailure::limit);
    pipe.reset();
    auto there = listener->accept(10s);
    ASSERT_TRUE(there);
    char got[5];
    EXPECT_TRUE(there->read_exactly(got, 10s));
  });
}

TEST_P(LimitsTest, FailuresAndEndsGiveBackWhatTheyTook) {
  run([] {
    EXPECT_EQ(failure_of(tcp::connect("127.0.0.1", 1, 10s)), IoFailure::refused);
    EXPECT_EQ(failure_of(File::open("/nowhere/at/all", {}, 10s)), IoFailure::not_found);
    EXPECT_EQ(failure_of(Socket::adopt(-1)), IoFailure::closed);
    EXPECT_EQ(failure_of(Subprocess::spawn({.program = "/nowhere/at/all"}, 30s)), IoFailure::not_found);
    auto listener = tcp::listen({});
    EXPECT_EQ(failure_of(listener->accept(5ms)), IoFailure::timed_out);
    const Monitored waiting = spawn_monitor([&] { static_cast<void>(listener->accept(forever)); });
    sleep(5ms);
    exit(waiting.pid, reason::kill);
    static_cast<void>(await_down(waiting));
    listener->close();
    EXPECT_EQ(pipes_left(), 2u);
  });
}

TEST_P(LimitsTest, ASocketMayOutliveItsRuntime) {
  std::optional<Socket> kept;
  run([&] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    auto here = tcp::connect("127.0.0.1", listener->local()->port, 10s);
    auto there = listener->accept(10s);
    ASSERT_TRUE(here && there && there->write("line\nrest", 10s));
    EXPECT_EQ(here->read_until("\n", 100, 10s), "line");
    kept = *std::move(here);
  });
  EXPECT_TRUE(rt().stop());
  kept.reset();
}

TEST_P(LimitsTest, ReadingAheadStopsAtTheBoundAndNothingIsLost) {
  run([] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    auto here = tcp::connect("127.0.0.1", listener->local()->port, 10s);
    auto there = listener->accept(10s);
    ASSERT_TRUE(here && there);
    // All of it is there before it is read.
    ASSERT_TRUE(here->write(std::string(9'000, 'x') + "\nnext\n", 10s));
    const auto line = there->read_until("\n", 1 << 20, 10s);
    EXPECT_EQ(failure_of(line), IoFailure::limit);
    EXPECT_EQ(line.error().transferred, there->buffered());
    EXPECT_GT(there->buffered(), 0u);
    std::string all(9'000, ' ');
    ASSERT_TRUE(there->read_exactly(std::span(all.data(), all.size()), 10s));
    EXPECT_TRUE(all == std::string(9'000, 'x'));
    EXPECT_EQ(there->read_until("\n", 100, 10s), "");
    EXPECT_EQ(there->read_until("\n", 100, 10s), "next");
    // What it had is given back: as much again fits.
    ASSERT_TRUE(here->write(std::string(3'000, 'y') + "\n", 10s));
    EXPECT_EQ(there->read_until("\n", 1 << 20, 10s)->size(), 3'000u);
  });
}

}  // namespace
}  // namespace erlking::testing
