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

constexpr double kWarmUp = 0.1;        // of a run's operations
constexpr unsigned kRepeats = 3;       // of a disturbed run
constexpr double kSeriousScale = 0.1;  // below it figures are not worth a neighbour's trouble

// One case on one contender: what is run once a round.
struct Job {
  Case which;
  Contender contender;
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
  using Key = std::pair<Contender, unsigned>;  // and its number of workers

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
      }
    }
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
    std::vector<Contender> contenders;
    contenders.push_back(Contender::erlking);
    for (const Contender peer : options_.peers) contenders.push_back(peer);
    board_.scheduler = options_.runtime.scheduler;
    board_.heap = options_.runtime.heap;
    board_.contenders = contenders;
    for (const Workload* const workload : options_.workloads) {
      bool any = false;
      for (const unsigned workers : options_.workers) {
        if (workload->two_workers && workers < 2) continue;
        any = true;
        for (const Case& which : cases_of(*workload, workers)) {
          for (const Contender contender : contenders) jobs_.push_back({which, contender});
        }
      }
      if (!any) fmt::print(stderr, "erlking bench: {} needs two workers: left out\n", workload->name);
    }
  }

  bool run_rounds() {
    Progress progress(jobs_.size() * (options_.runs + 1));
    const bool with_futex = std::ranges::any_of(jobs_, [](const Job& job) { return job.which.workload->is_latency(); });
    std::vector<FloorFigures> floors;
    for (unsigned round = 0; round <= options_.runs; ++round) {
      const bool warm_up = round == 0;
      for (Job& job : jobs_) {
        progress.step(fmt::format("{}, {}, {} worker{}, {}", title(job.which), to_string(job.contender),
                                  job.which.workers, job.which.workers == 1 ? "" : "s",
                                  warm_up ? "warm-up" : fmt::format("run {} of {}", round, options_.runs)));
        if (job.dropped) continue;
        if (!measure(job, warm_up, progress)) return false;
      }
      if (!warm_up) floors.push_back(floors_once(with_futex));
    }
    board_.floors = medians(floors);
    return true;
  }

  // Runs `once`, which answers an optional, until no neighbour disturbs it, or it has been repeated often enough: then
  // the least disturbed attempt is kept, and `disturbed` says so. Empty: `once` gave nothing.
  template <class Once>
  auto undisturbed(Once once, bool& disturbed) -> decltype(once()) {
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
      if (least <= Neighbours::kDisturbed || attempt == kRepeats || repeated_ >= most_repeats()) break;
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
    const auto outcome = undisturbed([&] { return run_once(job, 1, progress); }, disturbed);
    if (!outcome) return job.dropped;
    for (const Figure& figure : outcome->figures) {
      Row::Cell& cell = board_.row(job.which, figure.metric).cells[static_cast<std::size_t>(job.contender)];
      cell.samples.push_back(figure.ns);
      if (!figure.curve.empty()) cell.curves.push_back(figure.curve);
      ++cell.placements[outcome->placement];
      cell.disturbed += disturbed ? 1 : 0;
    }
    return true;
  }

  FloorFigures floors_once(bool with_futex) {
    bool disturbed = false;
    const auto measured = [&] { return std::optional(measure_floors(std::min(1.0, options_.scale), with_futex)); };
    const FloorFigures floors = *undisturbed(measured, disturbed);
    board_.floors_disturbed = board_.floors_disturbed || disturbed;
    return floors;
  }

  // On a machine that is never quiet the bench takes at most twice its time.
  std::size_t most_repeats() const { return jobs_.size() * options_.runs; }

  // Nothing: it failed, which has been said, or the contender cannot do it, and the job is dropped.
  std::optional<Outcome> run_once(Job& job, double share, Progress& progress) {
    const std::uint64_t n = operations(job.which, job.contender, options_.scale * share);
    const base::Nanos limit = static_cast<base::Nanos>(60e9 * std::max(1.0, options_.scale));
    Result result = job.contender == Contender::erlking
                        ? run_ours(runtime(job.which.workers), job.which, n, Duration(limit))
                        : peers_.at({job.contender, job.which.workers})->run(job.which, n, limit);
    if (result) return std::move(*result);
    job.dropped = result.error().unsupported;
    if (!job.dropped) {
      progress.clear();
      fmt::print(stderr, "erlking bench: {}, {}, workers {}: {}\n", title(job.which), to_string(job.contender),
                 job.which.workers, result.error().why);
    }
    return std::nullopt;
  }

  // Like the peers it is started once, and sleeps while others run.
  Runtime& runtime(unsigned workers) {
    std::unique_ptr<Runtime>& runtime = runtimes_[workers];
    if (runtime == nullptr) {
      Options options = options_.runtime;
      options.workers = workers;
      runtime = std::make_unique<Runtime>(std::move(options));
    }
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
    return {fmt::format("median (min..max) of {} runs in turns; ratio: the peer's median / ours", options_.runs),
            std::move(repeats)};
  }

  bool write_page() const {
    PageFacts facts{options_.command, {}, notes()};
    facts.versions[Contender::erlking] = fmt::format("{}, {}, {}", EK_VERSION, board_.scheduler, board_.heap);
    for (const auto& [key, peer] : peers_)
      facts.versions[key.first] = peer->version() + (peer->has_jit() ? ", JIT" : "");
    const std::string why = write_html(options_.html, board_, facts);
    return why.empty() || complain(why);
  }

  const BenchOptions& options_;
  std::map<Key, std::unique_ptr<Peer>> peers_;
  std::vector<pid_t> pids_;
  std::map<unsigned, std::unique_ptr<Runtime>> runtimes_;
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
