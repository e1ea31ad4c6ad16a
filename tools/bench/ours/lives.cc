// Programs whose processes live and end.
#include "tools/bench/machine.h"
#include "tools/bench/ours/program.h"

#include <atomic>
#include <ctime>
#include <string>
#include <unistd.h>

namespace erlking::bench {

namespace {

constexpr unsigned kSpawnBatch = 1'000, kMonitors = 100'000;

struct BatchRan {};

struct Counted {
  std::uint64_t processes;
};

// Counts the processes below it, itself included; who could not be made counts for none.
void tree_node(unsigned depth, int worker, Pid parent) {
  std::uint64_t processes = 1;
  if (depth > 1) {
    unsigned children = 0;
    for (int k = 0; k < 2; ++k) children += try_spawn({.worker = worker}, tree_node, depth - 1, worker, self()) ? 1 : 0;
    while (children-- > 0) processes += receive(kPatience, [](Counted below) { return below.processes; });
  }
  send(parent, Counted{processes});
}

void grow_trees(std::uint64_t trees, unsigned depth, int worker) {
  const std::uint64_t nodes = (std::uint64_t{1} << depth) - 1;
  for (std::uint64_t k = 0; k < trees; ++k) {
    spawn({.worker = worker}, tree_node, depth, worker, self());
    if (receive(kPatience, [](Counted all) { return all.processes; }) != nodes) exit(reason::system_limit);
  }
}

struct AreYouThere {
  using Reply = bool;
};

void until_stopped() {
  for (bool on = true; on;) {
    receive(
        forever, [](AreYouThere&, From<AreYouThere> from) { from.reply(true); }, [&](Stop) { on = false; });
  }
}

// A session's state of 40 bytes.
struct Session : Server {
  using Handles = Messages<Stop>;
  void on(Stop) { stop(); }
  std::string name;
  std::uint64_t seen = 0;
};
static_assert(sizeof(Session) == 40);

struct AllThere {};  // they all wait, or have all ended

double cpu_ns() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e9 + static_cast<double>(used.tv_nsec);
}

struct AtRest {
  double bytes_each, percent_cpu;
};
// Of idle processes that are all there, for so long.
AtRest watch_rest(const IdleRun& run, Duration rest) {
  const double bytes = resident_bytes() - run.bytes_before, cpu = cpu_ns();
  sleep(rest);
  return {bytes / static_cast<double>(run.pids.size()), 100 * (cpu_ns() - cpu) / static_cast<double>(rest.count())};
}

}  // namespace

double resident_bytes() { return resident_bytes(::getpid()); }

// As the peers do it: each child counts itself on one atomic, and who completes the batch sends the one message.
Outcome spawning(std::uint64_t n) {
  std::atomic<std::uint64_t> left{0};
  const Pid me = self();
  Watch watch;
  watch.start();
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t batch = std::min<std::uint64_t>(kSpawnBatch, n - done);
    left.store(batch, std::memory_order_relaxed);
    for (std::uint64_t k = 0; k < batch; ++k) {
      spawn([me, left = &left] {
        if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) send(me, BatchRan{});
      });
    }
    receive(kLimit, [](BatchRan) {});
    done += batch;
  }
  watch.stop();
  return {{{"ns_per_spawn", watch.ns_per(n)}}, "natural"};
}

Outcome spawn_monitoring(std::uint64_t n) {
  Watch watch;
  watch.start();
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t batch = std::min<std::uint64_t>(kSpawnBatch, n - done);
    for (std::uint64_t k = 0; k < batch; ++k) spawn_monitor([] {});
    for (std::uint64_t k = 0; k < batch; ++k) receive(kLimit, [](Down) {});
    done += batch;
  }
  watch.stop();
  return {{{"ns_per_spawn", watch.ns_per(n)}}, "natural"};
}

// As many trees, one after the other, as n processes make.
Outcome fork_join(std::uint64_t n, unsigned depth) {
  const std::uint64_t nodes = (std::uint64_t{1} << depth) - 1, trees = std::max<std::uint64_t>(1, n / nodes);
  Watch watch;
  watch.start();
  grow_trees(trees, depth, -1);
  watch.stop();
  return {{{"ns_per_process", watch.ns_per(trees * nodes)}}, "natural"};
}

Outcome fork_join_apart(std::uint64_t n, unsigned depth) {
  const std::uint64_t nodes = (std::uint64_t{1} << depth) - 1, trees = std::max<std::uint64_t>(1, n / 2 / nodes);
  Watch watch;
  watch.start();
  for (const int worker : {0, 1}) {
    spawn_link({.worker = worker}, [=, to = self()] {
      grow_trees(trees, depth, worker);
      send(to, Counted{trees * nodes});
    });
  }
  for (int k = 0; k < 2; ++k) {
    if (receive(kPatience, [](Counted all) { return all.processes; }) == 0) exit(reason::system_limit);
  }
  watch.stop();
  return {{{"ns_per_process", watch.ns_per(2 * trees * nodes)}}, "apart"};
}

Outcome monitors(std::uint64_t n) {
  Watch watch;
  for (std::uint64_t done = 0; done < n;) {
    const std::uint64_t count = std::min<std::uint64_t>(kMonitors, n - done);
    const Pid target = spawn_link(until_stopped);
    for (std::uint64_t k = 0; k < count; ++k) monitor(target);
    if (!call(target, AreYouThere{}, kPatience)) exit(Reason("no_answer"));  // it has seen every monitor
    watch.start();
    send(target, Stop{});
    for (std::uint64_t k = 0; k < count; ++k) receive(kLimit, [](Down) {});
    watch.stop();
    done += count;
  }
  return {{{"ns_per_down", watch.ns_per(n)}}, "natural"};
}

Outcome idle(IdleRun& run, Duration rest) {
  const Pid root = self();
  const std::uint64_t n = run.pids.size();
  run.left.store(n, std::memory_order_relaxed);
  Watch watch;
  watch.start();
  for (Pid& pid : run.pids) {
    pid = spawn([root, left = &run.left] {
      const auto count = [&] {
        if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) send(root, AllThere{});
      };
      count();
      receive(forever, [](Stop) {});
      count();
    });
  }
  receive(kPatience, [](AllThere) {});
  watch.stop();
  const AtRest at_rest = watch_rest(run, rest);
  run.left.store(n, std::memory_order_relaxed);
  for (const Pid pid : run.pids) send(pid, Stop{});
  receive(kPatience, [](AllThere) {});
  return {{{"bytes_each", at_rest.bytes_each}, {"ns_per_spawn", watch.ns_per(n)}, {"percent_cpu", at_rest.percent_cpu}},
          "natural"};
}

Outcome idle_handlers(IdleRun& run, Duration rest) {
  struct Woken {};
  struct Sleeper {
    std::atomic<std::uint64_t>* left;
    Pid root;
    void handle(Message message) {
      match(
          message,
          [&](Woken) {
            if (left->fetch_sub(1, std::memory_order_acq_rel) == 1) send(root, AllThere{});
          },
          [](Stop) { exit(reason::normal); });
    }
  };
  const std::uint64_t n = run.pids.size();
  Watch made;
  made.start();
  for (Pid& pid : run.pids) pid = spawn_handler(Sleeper{&run.left, self()});
  made.stop();
  const AtRest at_rest = watch_rest(run, rest);
  run.left.store(n, std::memory_order_relaxed);
  std::uint64_t random = 1;
  Watch woken;
  woken.start();
  for (std::uint64_t k = 0; k < n; ++k) {
    random = random * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    send(run.pids[(random >> 33) % n], Woken{}, kLimit);
  }
  receive(kPatience, [](AllThere) {});
  woken.stop();
  for (const Pid pid : run.pids) send(pid, Stop{}, kLimit);
  return {{{"bytes_each", at_rest.bytes_each},
           {"ns_per_spawn", made.ns_per(n)},
           {"ns_per_wake", woken.ns_per(n)},
           {"percent_cpu", at_rest.percent_cpu}},
          "natural"};
}

Outcome idle_servers(IdleRun& run, Duration rest) {
  Watch made;
  made.start();
  for (Pid& pid : run.pids) {
    const Started session = start<Session>(kLimit, {});
    if (!session) exit(reason::system_limit);
    pid = *session;
  }
  made.stop();
  const AtRest at_rest = watch_rest(run, rest);
  for (const Pid pid : run.pids) send(pid, Stop{}, kLimit);
  return {{{"bytes_each", at_rest.bytes_each},
           {"ns_per_start", made.ns_per(run.pids.size())},
           {"percent_cpu", at_rest.percent_cpu}},
          "natural"};
}

}  // namespace erlking::bench
