#include "tools/bench/bench.h"

#include "base/clock.h"
#include "tools/bench/floors.h"
#include "tools/bench/html.h"
#include "tools/bench/machine.h"
#include "tools/bench/ours.h"
#include "tools/bench/peer.h"
#include "tools/bench/report.h"
#include <erlking/erlking.h>

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <unistd.h>

namespace erlking::bench {

namespace {

constexpr double kWarmUp = 0.1;   // of a run's operations
constexpr unsigned kRepeats = 3;  // of a disturbed run
// With `threads` a hop is a futex wake: so many times fewer operations, that a run takes about as long.
constexpr std::uint64_t kThreadsAreSlower = 100, kAtLeast = 1'000;
constexpr double kSeriousScale = 0.1;  // below it figures are not worth a neighbour's trouble

// One case on one contender: what is run once a round.
struct Job {
  Case which;
  Column column;
  bool dropped = false;  // it cannot do this one
};

// A bar on stderr, if that is a terminal.
class Progress {
 public:
  explicit Progress(std::size_t steps) : steps_(steps), shown_(::isatty(STDERR_FILENO) == 1) {}
  ~Progress() { clear(); }

  void step(std::string_view doing) {
    if (!shown_) return;
    constexpr std::size_t kWidth = 30;
    const std::size_t full = std::min(kWidth, kWidth * done_ / std::max<std::size_t>(1, steps_));
    fmt::print(stderr, "\r\x1b[K[{}{}] {:3} %  {}", std::string(full, '#'), std::string(kWidth - full, ' '),
               std::min<std::size_t>(100, 100 * done_ / std::max<std::size_t>(1, steps_)), doing);
    std::fflush(stderr);
    ++done_;
  }
  void clear() {
    if (shown_) fmt::print(stderr, "\r\x1b[K");
  }

 private:
  std::size_t steps_, done_ = 0;
  bool shown_;
};

class Bench {
 public:
  explicit Bench(const BenchOptions& options) : options_(options) {}

  int run() {
    // Before any thread of ours: peers are forked.
    if (!start_peers()) return 2;
    plan();
    std::optional<RaisedPriority> priority;
    if (options_.scale >= kSeriousScale) {
      priority.emplace();
      fmt::print(stderr, "erlking bench: {}\n", priority->report());
    }
    if (!run_rounds()) return 1;
    priority.reset();
    report();
    return options_.html.empty() || write_page() ? 0 : 1;
  }

 private:
  using Key = std::pair<Contender, unsigned>;        // and its number of workers
  using FreshKey = std::pair<const Workload*, Key>;  // of a peer for one workload that is run once

  bool start_peers() {
    if (options_.peers.empty()) return true;
    const auto cache = peer_cache();
    if (!cache) return complain(cache.error());
    for (const Contender which : options_.peers) {
      for (const unsigned workers : options_.workers) {
        auto peer = Peer::start(which, workers, options_.peers_dir, *cache);
        if (!peer) return complain(peer.error());
        if (workers == options_.workers.front()) announce(which, **peer);
        pids_.push_back((*peer)->pid());
        peers_.emplace(Key{which, workers}, std::move(*peer));
        for (const Workload* const workload : options_.workloads) {
          if (workload->once && !start_fresh(which, workers, *workload, *cache)) return false;
        }
      }
    }
    return true;
  }

  // Another peer, which has done nothing before.
  bool start_fresh(Contender which, unsigned workers, const Workload& workload, const std::filesystem::path& cache) {
    const std::uint64_t n = operations(Case{&workload, workers}, which, options_.scale);
    if (n == 0) return true;
    auto peer = Peer::start(which, workers, options_.peers_dir, cache, n);
    if (!peer) return complain(peer.error());
    pids_.push_back((*peer)->pid());
    fresh_.emplace(FreshKey{&workload, Key{which, workers}}, std::move(*peer));
    return true;
  }

  static void announce(Contender which, const Peer& peer) {
    if (which == Contender::beam) {
      fmt::print(stderr, "erlking bench: beam is {}, JIT {}\n", peer.version(),
                 peer.has_jit() ? "yes" : "NO: these ratios flatter us");
    } else {
      fmt::print(stderr, "erlking bench: {} is {}\n", to_string(which), peer.version());
    }
  }

  static bool complain(std::string_view why) {
    fmt::print(stderr, "erlking bench: {}\n", why);
    return false;
  }

  void plan() {
    board_.schedulers = options_.schedulers;
    board_.heap = options_.runtime.heap;
    for (std::size_t i = 0; i < options_.schedulers.size(); ++i) board_.columns.push_back({Contender::erlking, i});
    for (const Contender peer : options_.peers) board_.columns.push_back({peer});
    for (const Workload* const workload : options_.workloads) {
      bool any = false;
      for (const unsigned workers : options_.workers) {
        if (workload->needs_two() && workers < 2) continue;
        any = true;
        for (const Case& which : cases_of(*workload, workers)) {
          for (const Column& column : board_.columns) jobs_.push_back({which, column});
        }
      }
      if (!any) fmt::print(stderr, "erlking bench: {} needs two workers: left out\n", workload->name);
    }
  }

  bool run_rounds() {
    Progress progress(jobs_.size() * (options_.runs + 1));
    const auto any = [&](auto of) {
      return std::ranges::any_of(jobs_, [of](const Job& job) { return of(*job.which.workload); });
    };
    const FloorsWanted wanted{
        .futex = any([](const Workload& workload) { return workload.is_latency(); }),
        .sleep = any([](const Workload& workload) { return workload.name.starts_with("timer-accuracy"); })};
    std::vector<FloorFigures> floors;
    for (unsigned round = 0; round <= options_.runs; ++round) {
      const bool warm_up = round == 0;
      for (Job& job : jobs_) {
        progress.step(fmt::format("{}, {}, {} worker{}, {}", title(job.which), board_.name_of(job.column),
                                  job.which.workers, job.which.workers == 1 ? "" : "s",
                                  warm_up ? "warm-up" : fmt::format("run {} of {}", round, options_.runs)));
        if (job.dropped || (job.which.workload->once && round != 1)) continue;
        if (!measure(job, warm_up, progress)) return false;
      }
      if (!warm_up) floors.push_back(floors_once(wanted));
    }
    board_.floors = medians(floors);
    return true;
  }

  // Runs `once`, which answers an optional, until no neighbour disturbs it, or it has been repeated often enough: then
  // the least disturbed attempt is kept, and `disturbed` says so. Empty: `once` gave nothing.
  template <class Once>
  auto undisturbed(Once once, unsigned repeats, bool& disturbed) -> decltype(once()) {
    decltype(once()) best;
    double least = std::numeric_limits<double>::infinity();
    for (unsigned attempt = 0;; ++attempt) {
      const Neighbours neighbours(pids_);
      auto result = once();
      const double others = neighbours.cores();
      if (!result) return std::nullopt;
      if (others < least) {
        least = others;
        best = std::move(result);
      }
      if (least <= Neighbours::kDisturbed || attempt == repeats || repeated_ >= most_repeats()) break;
      ++repeated_;
    }
    disturbed = least > Neighbours::kDisturbed;
    ++accepted_;
    accepted_disturbed_ += disturbed ? 1 : 0;
    return best;
  }

  // False: it failed, and has been said.
  bool measure(Job& job, bool warm_up, Progress& progress) {
    if (warm_up) return run_once(job, kWarmUp, progress).has_value() || job.dropped;
    bool disturbed = false;
    const auto outcome =
        undisturbed([&] { return run_once(job, 1, progress); }, job.which.workload->once ? 0 : kRepeats, disturbed);
    if (job.which.workload->once) end_fresh(job);
    if (!outcome) return job.dropped;
    for (const Figure& figure : outcome->figures) {
      Row::Cell& cell = board_.row(job.which, figure.metric).of(job.column);
      cell.samples.push_back(figure.value);
      if (!figure.curve.empty()) cell.curves.push_back(figure.curve);
      ++cell.placements[outcome->placement];
      cell.disturbed += disturbed ? 1 : 0;
    }
    return true;
  }

  FloorFigures floors_once(FloorsWanted wanted) {
    bool disturbed = false;
    const auto measured = [&] { return std::optional(measure_floors(std::min(1.0, options_.scale), wanted)); };
    const FloorFigures floors = *undisturbed(measured, kRepeats, disturbed);
    board_.floors_disturbed = board_.floors_disturbed || disturbed;
    return floors;
  }

  // On a machine that is never quiet the bench takes at most twice its time.
  std::size_t most_repeats() const { return jobs_.size() * options_.runs; }

  // Nothing: it failed, which has been said, or the contender cannot do it, and the job is dropped.
  std::optional<Outcome> run_once(Job& job, double share, Progress& progress) {
    std::uint64_t n = operations(job.which, job.column.contender, options_.scale * share);
    if (job.column.contender == Contender::erlking && options_.schedulers[job.column.scheduler] == "threads" &&
        !job.which.workload->is_latency()) {
      n = std::max(n / kThreadsAreSlower, std::min(n, kAtLeast));
    }
    const base::Nanos limit = static_cast<base::Nanos>(60e9 * std::max(1.0, options_.scale));
    Result result =
        job.column.contender == Contender::erlking ? run_ours(job, n, Duration(limit)) : run_peer(job, n, limit);
    if (result) return std::move(*result);
    job.dropped = result.error().unsupported;
    // Of a peer it is known what it cannot do; of ours it depends on the scheduler and the memory.
    if (!job.dropped || job.column.contender == Contender::erlking) {
      progress.clear();
      fmt::print(stderr, "erlking bench: {}, {}, workers {}: {}{}\n", title(job.which), board_.name_of(job.column),
                 job.which.workers, job.dropped ? "left out: " : "", result.error().why);
    }
    return std::nullopt;
  }

  Result run_ours(const Job& job, std::uint64_t n, Duration limit) {
    if (job.which.workload->once) return run_idle(job.which, options_for(job), n, rest_of(n), limit);
    return bench::run_ours(runtime(job), job.which, n, limit);
  }

  Result run_peer(const Job& job, std::uint64_t n, base::Nanos limit) {
    if (n == 0) return std::unexpected(Failure{"unsupported", true});
    const Key key{job.column.contender, job.which.workers};
    const auto& peer = job.which.workload->once ? fresh_.at({job.which.workload, key}) : peers_.at(key);
    return peer->run(job.which, n, limit);
  }

  // Its memory is wanted by the next. Not before the run has been judged: what it used is no neighbour's.
  void end_fresh(const Job& job) {
    const auto at = fresh_.find({job.which.workload, {job.column.contender, job.which.workers}});
    if (at == fresh_.end()) return;
    std::erase(pids_, at->second->pid());
    fresh_.erase(at);
  }

  Options options_for(const Job& job) const {
    Options options = options_.runtime;
    options.scheduler = options_.schedulers[job.column.scheduler];
    options.workers = job.which.workers;
    return options;
  }

  // Like the peers it is started once, and sleeps while others run.
  Runtime& runtime(const Job& job) {
    std::unique_ptr<Runtime>& runtime = runtimes_[{job.column.scheduler, job.which.workers}];
    if (runtime == nullptr) runtime = std::make_unique<Runtime>(options_for(job));
    return *runtime;
  }

  void report() {
    std::FILE* const out = options_.csv ? stderr : stdout;
    print_table(out, board_);
    fmt::print(out, "\n");
    print_floors(out, board_);
    fmt::print(out, "\n");
    for (const std::string& note : notes()) fmt::print(out, "{}\n", note);
    if (options_.csv) print_csv(stdout, board_);
  }

  std::vector<std::string> notes() const {
    std::string repeats = fmt::format("{} of {} runs repeated because others used more than a quarter of a core",
                                      repeated_, accepted_ + repeated_);
    if (accepted_disturbed_ != 0) {
      repeats += fmt::format("; {} accepted though disturbed, marked *", accepted_disturbed_);
    }
    return {fmt::format("median (min..max) of {} runs in turns; ratio: the other's median / ours{}", options_.runs,
                        board_.schedulers.size() > 1 ? " with " + board_.schedulers[0] : ""),
            std::move(repeats)};
  }

  bool write_page() const {
    PageFacts facts{options_.command, {}, notes()};
    facts.versions[Contender::erlking] = EK_VERSION;
    for (const auto& [key, peer] : peers_)
      facts.versions[key.first] = peer->version() + (peer->has_jit() ? ", JIT" : "");
    const std::string why = write_html(options_.html, board_, facts);
    return why.empty() || complain(why);
  }

  const BenchOptions& options_;
  std::map<Key, std::unique_ptr<Peer>> peers_;
  std::map<FreshKey, std::unique_ptr<Peer>> fresh_;
  std::vector<pid_t> pids_;
  std::map<std::pair<std::size_t, unsigned>, std::unique_ptr<Runtime>> runtimes_;  // by scheduler and workers
  std::vector<Job> jobs_;
  Board board_;
  std::size_t repeated_ = 0, accepted_ = 0, accepted_disturbed_ = 0;
};

}  // namespace

int run_bench(const BenchOptions& options) {
  clean_up_on_signals();
  ::signal(SIGPIPE, SIG_IGN);  // a peer that ends is told by write()
  try {
    return Bench(options).run();
  } catch (const std::invalid_argument& e) {  // Runtime's options
    fmt::print(stderr, "{}\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    fmt::print(stderr, "erlking bench: {}\n", e.what());
    return 1;
  }
}

}  // namespace erlking::bench
