#include "tools/bench/ours.h"

#include "tools/bench/ours/program.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <utility>

namespace erlking::bench {

namespace {

using Program = Outcome (*)(const Case& which, std::uint64_t n);

struct Entry {
  std::string_view workload;
  Program program;
};

constexpr Entry kPrograms[] = {
    {"latency", [](const Case& which, std::uint64_t n) { return latency(which, n); }},
    {"pingpong", [](const Case&, std::uint64_t n) { return pingpong(n, false); }},
    {"pingpong-apart", [](const Case&, std::uint64_t n) { return pingpong(n, true); }},
    {"pingpong-plain", [](const Case&, std::uint64_t n) { return pingpong_plain(n); }},
    {"ring-1", [](const Case&, std::uint64_t n) { return ring(n, 1); }},
    {"ring-100", [](const Case&, std::uint64_t n) { return ring(n, 100); }},
    {"fanin", [](const Case&, std::uint64_t n) { return fanin(n, false); }},
    {"fanin-apart", [](const Case&, std::uint64_t n) { return fanin(n, true); }},
    {"big", [](const Case&, std::uint64_t n) { return big(n); }},
    {"spawn", [](const Case&, std::uint64_t n) { return spawning(n); }},
    {"spawn-monitor", [](const Case&, std::uint64_t n) { return spawn_monitoring(n); }},
    {"fork-join-1k", [](const Case&, std::uint64_t n) { return fork_join(n, 10); }},
    {"fork-join-64k", [](const Case&, std::uint64_t n) { return fork_join(n, 16); }},
    {"fork-join-apart", [](const Case&, std::uint64_t n) { return fork_join_apart(n, 9); }},
    {"monitors", [](const Case&, std::uint64_t n) { return monitors(n); }},
    {"restart", [](const Case&, std::uint64_t n) { return restarting(n); }},
    {"sup-start", [](const Case&, std::uint64_t n) { return supervised_start(n); }},
    {"sup-simple-100k", [](const Case&, std::uint64_t n) { return instances(n); }},
    {"pg-join", [](const Case&, std::uint64_t n) { return group_joining(n); }},
    {"call", [](const Case&, std::uint64_t n) { return calling(n, false); }},
    {"call-apart", [](const Case&, std::uint64_t n) { return calling(n, true); }},
    {"call-50", [](const Case&, std::uint64_t n) { return call_pairs(n); }},
    {"server-call", [](const Case&, std::uint64_t n) { return server_calling(n); }},
    {"selective", [](const Case&, std::uint64_t n) { return selective(n); }},
    {"compute-1us", [](const Case&, std::uint64_t n) { return compute(n, 1us); }},
    {"compute-5us", [](const Case&, std::uint64_t n) { return compute(n, 5us); }},
    {"compute-100us", [](const Case&, std::uint64_t n) { return compute(n, 100us); }},
    {"behind", [](const Case& which, std::uint64_t n) { return behind(which, n); }},
    {"sleepers", [](const Case& which, std::uint64_t n) { return sleeping(which, n, 0); }},
    {"hogs", [](const Case& which, std::uint64_t n) { return sleeping(which, n, 2); }},
    {"timers", [](const Case&, std::uint64_t n) { return timers(n); }},
    {"timer-accuracy", [](const Case& which, std::uint64_t n) { return timer_accuracy(which, n, 0ms); }},
    {"timer-accuracy-spread", [](const Case& which, std::uint64_t n) { return timer_accuracy(which, n, 10ms); }},
};

// Runs `program` as a process, the first of `runtime` on worker 0 if it must be there.
Result run_in(Runtime& runtime, bool on_first, Duration limit, std::move_only_function<Outcome()> program) {
  struct Answer {
    Outcome outcome;
    std::atomic<bool> given{false};
  };
  const auto answer = std::make_shared<Answer>();  // a run given up on may still write it
  const auto root = runtime.spawn({.worker = on_first ? 0 : -1}, [answer, program = std::move(program)]() mutable {
    answer->outcome = program();
    answer->given.store(true, std::memory_order_release);  // feeds the acquire below
  });
  if (!root) return std::unexpected(Failure{fmt::format("no process could be made: {}", to_string(root.error()))});
  const std::optional<Reason> why = runtime.wait(*root, limit);
  if (answer->given.load(std::memory_order_acquire)) return std::move(answer->outcome);
  if (why) {
    return std::unexpected(Failure{"the measuring process ended: " + why->to_string(), *why == reason::system_limit});
  }
  runtime.exit(*root, reason::kill);
  return std::unexpected(
      Failure{fmt::format("not done within {} s", std::chrono::duration_cast<std::chrono::seconds>(limit).count())});
}

}  // namespace

Result run_ours(Runtime& runtime, const Case& which, std::uint64_t n, Duration limit) {
  for (const Entry& entry : kPrograms) {
    if (entry.workload != which.workload->name) continue;
    return run_in(runtime, which.workload->place == Place::apart, limit,
                  [program = entry.program, which, n] { return program(which, n); });
  }
  return std::unexpected(Failure{"unsupported", true});
}

Result run_file_read(Runtime& runtime, const Case& which, std::uint64_t n, const std::string& path, std::uint64_t bytes,
                     Duration limit) {
  const bool direct = which.workload->name == "file-read-direct";
  return run_in(runtime, false, limit, [=] { return file_reading(n, path, bytes, direct); });
}

Result run_idle(const Case& which, Options options, std::uint64_t n, Duration rest, Duration limit) {
  constexpr std::uint64_t kMore = 1'024;  // than the idle ones
  options.max_processes = static_cast<std::uint32_t>(std::max<std::uint64_t>(options.max_processes, n + kMore));
  IdleRun run(n);
  Runtime runtime(std::move(options));
  const std::string_view name = which.workload->name;
  const auto program = name == "idle" ? &idle : name == "idle-handlers" ? &idle_handlers : &idle_servers;
  return run_in(runtime, false, limit, [&run, rest, program] { return program(run, rest); });
}

}  // namespace erlking::bench
