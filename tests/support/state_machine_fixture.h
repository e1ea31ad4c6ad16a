// State machines for tests: a Probe, which does with each event what it is told to and logs it, and some small ones.
#pragma once

#include "tests/support/runtime_fixture.h"

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace erlking::testing {

class Probe;
using Reaction = std::function<void(Probe&)>;
/// What a Probe does with an event, by "event@state"; "enter@state" as it enters one, "init" in its constructor.
using Reactions = std::map<std::string, Reaction>;

struct Note {
  std::string name;
};
struct Question {
  std::string name;
  using Reply = std::string;
};
struct Now {
  std::string name;
  using Reply = std::string;
};
struct Log {
  using Reply = std::vector<std::string>;
};
struct Trap {
  using Reply = bool;
};
struct Unknown {};
struct UnknownRequest {
  using Reply = int;
};
struct Terminated {
  Reason why;
};

/// Logs every event with the state it is handled in, and does what its reactions say.
class Probe : public StateMachine<Probe, std::string> {
 public:
  using Handles = Messages<Note, Question, Now, Log, Trap, Exit>;
  static constexpr std::uint32_t kEventsMax = 8;

  using StateMachine::cancel_state_timeout;
  using StateMachine::cancel_timeout;
  using StateMachine::event_timeout;
  using StateMachine::next_event;
  using StateMachine::next_state;
  using StateMachine::postpone;
  using StateMachine::repeat_state;
  using StateMachine::state_timeout;
  using StateMachine::stop;
  using StateMachine::timeout;
  using StateMachine::update_state_timeout;
  using StateMachine::update_timeout;

  Probe(Pid watcher, Reactions reactions)
      : StateMachine("a"), watcher_(watcher), reactions_(std::make_shared<Reactions>(std::move(reactions))) {
    react("init");
  }

  void enter(const std::string& old) {
    log_.push_back("enter " + old + ">" + state());
    react("enter@" + state());
  }
  void on(Note& note) { event(note.name); }
  void on(Question& question, From<Question> from) {
    from_ = std::move(from);
    event(question.name);
    if (from_) kept_.push_back(std::move(from_));
  }
  std::string on(Now& now) {
    event(now.name);
    return state();
  }
  std::vector<std::string> on(Log&) { return std::exchange(log_, {}); }
  bool on(Trap&) { return trap_exit(true); }
  void on(Exit& exit) { log_.push_back("exit " + exit.reason.to_string()); }
  void terminate(const Reason& why) {
    react("terminate");
    send(watcher_, Terminated{why});
  }

  /// The request at hand.
  From<Question>& from() { return from_; }
  void answer_kept() {
    for (From<Question>& from : kept_) from.reply("kept");
    kept_.clear();
  }

 private:
  void event(const std::string& name) {
    log_.push_back(name + "@" + state());
    react(name + "@" + state());
  }
  void react(const std::string& key) {
    if (const auto found = reactions_->find(key); found != reactions_->end()) found->second(*this);
  }

  Pid watcher_;
  std::shared_ptr<Reactions> reactions_;
  std::vector<std::string> log_;
  From<Question> from_;
  std::vector<From<Question>> kept_;
};

/// Says what Probes cannot: one that can be copied, with a state of alternatives.
struct Idle {
  friend bool operator==(Idle, Idle) = default;
};
struct Busy {
  int job = 0;
  friend bool operator==(Busy, Busy) = default;
};
struct Begin {
  int job = 0;
};
struct Finish {};
class Worker : public StateMachine<Worker, std::variant<Idle, Busy>> {
 public:
  using Handles = Messages<Begin, Finish>;
  Worker() : StateMachine(Idle{}) { next_state(Busy{1}); }
  void on(Begin begin) { next_state(Busy{begin.job}); }
  void on(const Finish&) { next_state(Idle{}); }
  void enter(const std::variant<Idle, Busy>&) {
    ++entered;
    if (state() == std::variant<Idle, Busy>(Busy{1})) timeout("finish", 100ms, Finish{});
  }
  int entered = 0;
};

/// As large as one may be in a block of 64 bytes.
class Small : public StateMachine<Small, int> {
 public:
  using Handles = Messages<Begin, Finish>;
  Small() : StateMachine(0) {}
  void on(Begin begin) {
    if (state() == 0) postpone();
    next_state(begin.job);
    timeout("finish", 0s, Finish{});
  }
  void on(const Finish&) { ++finished[1]; }

 private:
  long finished[2] = {};
};

/// Postpones what it does not know.
class Postponer : public StateMachine<Postponer, int> {
 public:
  using Handles = Messages<Begin>;
  explicit Postponer(std::shared_ptr<std::vector<std::string>> seen) : StateMachine(0), seen_(std::move(seen)) {}
  void on(Begin& begin) { next_state(begin.job); }
  void on_other(Message message) {
    if (state() == -1) {
      postpone();
    } else if (state() == 0) {
      postpone(std::move(message));
    } else {
      seen_->emplace_back(message.type_name());
    }
  }

 private:
  std::shared_ptr<std::vector<std::string>> seen_;
};

using Names = std::vector<std::string>;

struct StateMachineTest : RuntimeTest {
  static Monitored begin(Reactions reactions) {
    return start_monitor<Probe>(5s, {}, self(), std::move(reactions)).value();
  }
  static Names log_of(const Monitored& probe) { return call(probe.pid, Log{}, 5s).value_or(Names{"no log"}); }
  /// What a Probe with these reactions logs of these notes, which all lie in its mailbox before it handles any.
  static Names log_of(Reactions reactions, const Names& notes) {
    const Monitored probe = begin(std::move(reactions));
    EXPECT_TRUE(sys::suspend(probe.pid, 5s));
    for (const std::string& name : notes) EXPECT_EQ(send(probe.pid, Note{name}), Delivery::queued);
    EXPECT_TRUE(sys::resume(probe.pid, 5s));
    sleep(2s);
    Names log = log_of(probe);
    EXPECT_TRUE(sys::stop(probe.pid, reason::normal, 5s));
    EXPECT_EQ(log.front(), "enter a>a");
    log.erase(log.begin());
    return log;
  }
  /// How a Probe with these reactions ends when it is sent `name`.
  static Reason end_of(Reactions reactions, const std::string& name = "go") {
    const Monitored probe = begin(std::move(reactions));
    send(probe.pid, Note{name});
    return await_down(probe);
  }
};

inline Reaction to(const char* state) {
  return [state](Probe& p) { p.next_state(state); };
}
inline void postpone(Probe& p) { p.postpone(); }
inline void postpone_request(Probe& p) { p.postpone(std::move(p.from())); }

}  // namespace erlking::testing
