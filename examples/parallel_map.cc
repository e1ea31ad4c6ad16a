// A map over many items, each in a process of its own. What goes wrong with one stays with it: an item whose process
// crashes, or is stopped because it takes too long, has the exit reason in place of a value; the others have theirs.
#include <erlking/erlking.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <expected>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

using namespace erlking;
using namespace std::chrono_literals;

struct MapLimit {
  std::size_t processes = 16;  ///< alive at once, 1 or more
  Duration each = 10s;         ///< what an item may take; its process is then killed
};

/// f(item) for each of `items`, in their order: the value, or why there is none. An item that took too long has reason
/// `timeout`. To be called by a process, which waits; if that is killed meanwhile, all its work is. `f` is copied into
/// each process. A computation that never comes to a safe point (SEMANTICS 14.7) cannot be killed: it is left behind,
/// and counts as late too.
template <class Item, class F>
requires std::invocable<F&, Item>
auto parallel_map(std::vector<Item> items, F f, MapLimit limit)
    -> std::vector<std::expected<std::invoke_result_t<F&, Item>, Reason>> {
  using Value = std::invoke_result_t<F&, Item>;
  struct Done {
    Pid worker;
    Value value;
  };
  struct Job {
    MonitorRef ref;
    std::size_t item;
    Clock::time_point until;
    bool killed = false;
  };
  struct Jobs {
    std::unordered_map<Pid, Job> by_pid = {};
    ~Jobs() {  // left over if this process is itself on its way out
      for (const auto& [pid, job] : by_pid) exit(pid, reason::kill);
    }
  } jobs;
  auto& running = jobs.by_pid;

  std::vector<std::expected<Value, Reason>> outcomes;
  outcomes.reserve(items.size());
  for (std::size_t started = 0; started < items.size() || !running.empty();) {
    while (started < items.size() && running.size() < limit.processes) {
      const Monitored worker =
          spawn_monitor([f, item = std::move(items[started]), each = limit.each, to = self()]() mutable {
            if (send(to, Done{self(), f(std::move(item))}, each) != Delivery::queued)
              exit(Reason("no_room_for_result"));
          });
      running.emplace(worker.pid, Job{worker.ref, started++, now() + limit.each});
      outcomes.emplace_back(std::unexpect, "no_result");
    }

    // A result comes before its process's Down: SEMANTICS 1.3. Other messages of the caller's stay where they are.
    const auto late = std::ranges::min_element(running, {}, [](const auto& entry) { return entry.second.until; });
    receive(late->second.until,
            when([&](const Done& done) { return running.contains(done.worker); },
                 [&](Done&& done) { outcomes[running.at(done.worker).item] = std::move(done.value); }),
            when([&](const Down& down) { return running.contains(down.pid) && running.at(down.pid).ref == down.ref; },
                 [&](const Down& down) {
                   const Job job = running.extract(down.pid).mapped();
                   auto& outcome = outcomes[job.item];
                   if (!outcome) outcome = std::unexpected(job.killed ? reason::timeout : down.reason);
                 }),
            [&](Timeout) {
              Job& job = late->second;
              if (!job.killed) {
                exit(late->first, reason::kill);
                job.killed = true;
                job.until = now() + 1s;  // for its Down, which says that it is gone
              } else {
                demonitor(job.ref, Flush::yes);
                if (!outcomes[job.item]) outcomes[job.item] = std::unexpected(reason::timeout);
                running.erase(late);
              }
            });
  }
  return outcomes;
}

// How many steps of 3n+1 lead from n to 1. It does not look whether they do: from 0 they never will.
int collatz_steps(std::int64_t n) {
  if (n < 0) throw std::domain_error("negative");
  int steps = 0;
  for (; n != 1; ++steps) {
    n = n % 2 == 0 ? n / 2 : 3 * n + 1;
    if (steps % 1000 == 999) yield();  // a safe point: here others have their turn, and a kill acts
  }
  return steps;
}

constexpr std::int64_t kMost = 1'000'000'000;  // from there up, 3n+1 might not fit

int main(int argc, char** argv) {
  const Options options = Options::from(argc, argv);  // takes its own flags, --ek-…, out of argv
  std::vector<std::int64_t> numbers;
  for (int i = 1; i < argc; ++i) {
    const char* const last = argv[i] + std::strlen(argv[i]);
    const auto [end, error] = std::from_chars(argv[i], last, numbers.emplace_back());
    if (error == std::errc() && end == last && numbers.back() <= kMost) continue;
    const bool help = std::strcmp(argv[i], "--help") == 0;
    std::fprintf(
        help ? stdout : stderr,
        "usage: parallel_map [NUMBER…]\nCounts the steps of 3n+1 from each NUMBER, up to 1000000000, to 1; all "
        "at once, 2 s each.\nLeft out: 27 -1 97 0 1, of which one crashes and one never ends.\n%s",
        Options::help().c_str());
    return help ? 0 : 2;
  }
  if (numbers.empty()) numbers = {27, -1, 97, 0, 1};

  bool all = true;
  const int status = Runtime(options).run([&] {
    const auto outcomes = parallel_map(numbers, collatz_steps, {.processes = 8, .each = 2s});
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const auto& outcome = outcomes[i];
      std::printf("%lld: %s\n", static_cast<long long>(numbers[i]),
                  outcome ? (std::to_string(*outcome) + " steps").c_str() : outcome.error().to_string().c_str());
      all = all && outcome.has_value();
    }
  });
  return status != 0 || !all ? 1 : 0;
}
