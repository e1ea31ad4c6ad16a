// Supervisors for tests: children that write what happens to them into a Trace, and a supervisor of such.
#pragma once

#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking::testing {

using Strings = std::vector<std::string>;
using State = ChildInfo::State;

/// What happened, in order; any thread adds.
class Trace {
 public:
  void add(std::string what) {
    std::lock_guard lock(mutex_);
    all_.push_back(std::move(what));
  }
  /// All since the last time.
  Strings take() {
    std::lock_guard lock(mutex_);
    return std::exchange(all_, {});
  }

 private:
  std::mutex mutex_;
  Strings all_;
};
using TracePtr = std::shared_ptr<Trace>;

struct Die {
  Reason why;
};
struct Unlink {
  Pid from;
};
struct Mute {};  // from now on shutdown is not heeded
struct Linger {  // … but takes so long
  Duration time;
};

/// How a child's starts go: one after the other, the last for ever.
struct Starts {
  enum class How { well, fails, ignores };
  std::mutex mutex;
  std::vector<How> next;
  int tried = 0;
  How take() {
    std::lock_guard lock(mutex);
    ++tried;
    if (next.empty()) return How::well;
    const How how = next.front();
    next.erase(next.begin());
    return how;
  }
  void set(std::vector<How> how) {
    std::lock_guard lock(mutex);
    next = std::move(how);
  }
  int tries() {
    std::lock_guard lock(mutex);
    return tried;
  }
};
using How = Starts::How;
using StartsPtr = std::shared_ptr<Starts>;

class Member : public Server {
 public:
  using Handles = Messages<Die, Unlink, Mute, Linger, Drain, Exit>;
  Member(TracePtr trace, std::string name, StartsPtr starts) : trace_(std::move(trace)), name_(std::move(name)) {
    trap_exit(true);
    if (starts != nullptr) {
      const How how = starts->take();
      if (how == How::fails) {
        trace_->add(name_ + " fails");
        erlking::exit(Reason("cannot"));
      }
      if (how == How::ignores) ignore_start();
    }
    trace_->add(name_ + " up");
  }
  void on(Die& die) {
    quiet_ = true;
    erlking::exit(die.why);
  }
  void on(Unlink& unlink) {
    erlking::unlink(unlink.from);
    quiet_ = true;
  }
  void on(Mute&) { linger_ = std::chrono::hours(1); }
  void on(Linger& linger) { linger_ = linger.time; }
  void on(Drain&) {
    trace_->add(name_ + " drained");
    quiet_ = true;
    stop();
  }
  void on(Exit&) {}
  void terminate(const Reason&) {
    if (linger_ > Duration(0)) sleep(linger_);
    if (!quiet_) trace_->add(name_ + " down");
  }

 private:
  TracePtr trace_;
  std::string name_;
  Duration linger_{};
  bool quiet_ = false;
};

class SupervisorTest : public RuntimeTest {
 protected:
  TracePtr trace = std::make_shared<Trace>();

  /// A child of this name; its process has it, too.
  ChildSpec member(std::string name, ChildOptions options = {}, StartsPtr starts = nullptr) {
    options.spawn.name = name;
    return child<Member>(name, std::move(options), trace, name, std::move(starts));
  }
  std::vector<ChildSpec> members(std::initializer_list<const char*> names, const ChildOptions& options = {}) {
    std::vector<ChildSpec> specs;
    for (const char* name : names) specs.push_back(member(name, options));
    return specs;
  }
  /// A supervisor of these, in the calling process, which traps exits.
  Pid supervise(SupervisorSpec spec) {
    trap_exit(true);
    const Started made = start_link(10s, std::move(spec));
    EXPECT_TRUE(made.has_value()) << to_string(made.error().kind) << ": " << made.error().why.to_string();
    trace->take();
    return made.value_or(Pid{});
  }
};

inline Pid pid_of(const char* name) { return whereis(name).value_or(Pid{}); }

/// Ends the process of that name by itself, and returns when it is gone and its supervisor has been told.
inline void die(const char* name, Reason why) {
  const MonitorRef ref = monitor(pid_of(name));
  send(Name{name}, Die{why});
  EXPECT_EQ(await_down(ref), why);
}
/// Returns when nothing restarts any more, or its supervisor is gone.
inline void settled(Pid supervisor) {
  for (;;) {
    const auto children = which_children(supervisor, 10s);
    if (!children) return;
    const auto restarts = [](const ChildInfo& child) { return child.state == State::restarting; };
    if (std::none_of(children->begin(), children->end(), restarts)) return;
    sleep(1ms);
  }
}
inline Strings ids_of(Pid supervisor) {
  Strings ids;
  const auto children = which_children(supervisor, 10s);
  EXPECT_TRUE(children.has_value());
  if (!children) return ids;
  for (const ChildInfo& child : *children) {
    const char* const state = child.state == State::running ? "" : child.state == State::restarting ? "~" : "-";
    ids.push_back(state + child.id);
  }
  return ids;
}
inline void end(Pid supervisor) {
  const MonitorRef ref = monitor(supervisor);
  exit(supervisor, reason::shutdown);  // as its parent
  EXPECT_EQ(await_down(ref), reason::shutdown);
}
ChildFailure failure(const auto& answer) {
  EXPECT_FALSE(answer.has_value());
  return answer ? ChildFailure::timeout : answer.error().kind;
}

}  // namespace erlking::testing
