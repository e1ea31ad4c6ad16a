// Programs whose processes are a supervisor's children, or members of a group.
#include "base/log.h"
#include "tools/bench/ours/program.h"

#include <utility>
#include <vector>

namespace erlking::bench {

namespace {

constexpr std::uint64_t kChildren = 10'000;
// So many restarts by each supervisor: OTP's looks through all of the last second at each.
constexpr std::uint64_t kRestarts = 100;
constexpr std::uint64_t kMembers = 1'000;

class Worker : public Server {
 public:
  using Handles = Messages<Stop>;
  void on(Stop) { stop(); }
};

struct Announce {};
struct Up {
  Pid pid;
};

// Tells when its start is complete: if it were killed before, that would be a failed start.
class Mortal : public Server {
 public:
  using Handles = Messages<Announce>;
  explicit Mortal(Pid owner) : owner_(owner) { continue_with(Announce{}); }
  void on(Announce) { send(owner_, Up{self()}); }

 private:
  Pid owner_;
};

Pid await_up() {
  return receive(kLimit, [](Up up) { return up.pid; });
}

// A report of each death is not what is measured; nor do the peers make them.
class Quiet {
 public:
  Quiet() { base::set_log_level(base::Level::off); }
  ~Quiet() { base::set_log_level(level_); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;

 private:
  base::Level level_ = base::log_level();
};

Pid start_supervisor(Supervisor::Spec spec) {
  const Started made = start_link(kPatience, std::move(spec));
  if (!made) exit(made.error().kind == StartFailure::failed ? made.error().why : reason::system_limit);
  return *made;
}

// Ends its children in order, then itself.
void end_supervisor(Pid supervisor) {
  if (!sys::stop(supervisor, reason::normal, kPatience)) exit(Reason("not_ended"));
}

}  // namespace

Outcome restarting(std::uint64_t n) {
  const Quiet quiet;
  Watch watch;
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min(kRestarts, n - done);
    const Pid supervisor =
        start_supervisor({.intensity = {kRestarts, 1s}, .children = {child<Mortal>("mortal", {}, self())}});
    Pid pid = await_up();
    watch.start();
    for (std::uint64_t k = 0; k < count; ++k) {
      exit(pid, reason::kill);
      pid = await_up();
    }
    watch.stop();
    end_supervisor(supervisor);
    done += count;
  }
  return {{{"ns_per_restart", watch.ns_per(n)}}, "natural"};
}

Outcome supervised_start(std::uint64_t n) {
  Watch watch;
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min(kChildren, n - done);
    Supervisor::Spec spec;
    for (std::uint64_t k = 0; k < count; ++k) spec.children.push_back(child<Worker>(fmt::format("worker {}", k), {}));
    watch.start();
    end_supervisor(start_supervisor(std::move(spec)));
    watch.stop();
    done += count;
  }
  return {{{"ns_per_child", watch.ns_per(n)}}, "natural"};
}

Outcome instances(std::uint64_t n) {
  const Pid supervisor =
      start_supervisor({.strategy = simple_one_for_one, .children = {child<Worker>("worker", {.restart = temporary})}});
  Watch watch;
  watch.start();
  for (std::uint64_t k = 0; k < n; ++k) {
    if (!start_child(kLimit, supervisor)) exit(reason::system_limit);
  }
  end_supervisor(supervisor);
  watch.stop();
  return {{{"ns_per_child", watch.ns_per(n)}}, "natural"};
}

Outcome group_joining(std::uint64_t n) {
  const Started scope = groups::start_link(kLimit, "bench");
  if (!scope) exit(reason::system_limit);
  const groups::Group group("members", "bench");
  std::vector<Pid> members;
  for (std::uint64_t k = 0; k < std::min(n, kMembers); ++k) {
    members.push_back(spawn_link([] { receive(forever, [](Stop) {}); }));
  }
  Watch watch;
  watch.start();
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min<std::uint64_t>(members.size(), n - done);
    for (std::uint64_t k = 0; k < count; ++k) {
      if (!groups::join(group, members[k], kLimit)) exit(Reason("not_joined"));
    }
    for (std::uint64_t k = count; k-- != 0;) {  // OTP's list has the last first
      if (!groups::leave(group, members[k], kLimit)) exit(Reason("not_left"));
    }
    done += count;
  }
  watch.stop();
  for (const Pid member : members) send(member, Stop{});
  if (!sys::stop(*scope, reason::normal, kPatience)) exit(Reason("not_ended"));
  return {{{"ns_per_join", watch.ns_per(n)}}, "natural"};
}

}  // namespace erlking::bench
