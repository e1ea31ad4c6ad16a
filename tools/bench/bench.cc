#include "tools/bench/bench.h"

#include "base/clock.h"
#include "sched/sched.h"
#include "tools/bench/bare_echo.h"
#include "tools/bench/floors.h"
#include "tools/bench/html.h"
#include "tools/bench/load.h"
#include "tools/bench/machine.h"
#include "tools/bench/ours.h"
#include "tools/bench/peer.h"
#include "tools/bench/read_file.h"
#include "tools/bench/report.h"
#include "tools/bench/store.h"
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
#include <thread>
#include <unistd.h>

namespace erlking::bench {

namespace {

constexpr double kWarmUp = 0.1;   // of a run's operations
constexpr unsigned kRepeats = 3;  // of a disturbed run
// With `threads` a hop is a futex wake: so many times fewer operations, that a run takes about as long.
constexpr std::uint64_t kThreadsAreSlower = 100, kAtLeast = 1'000;
constexpr double kFloorRequests = 80'000, kFloorReads = 400'000;
constexpr std::uint64_t kOtherDescriptors = 200;
constexpr Duration kConnectionsRest = std::chrono::seconds(2);
constexpr base::Nanos kFloorLimit = 60'000'000'000;
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
    if (!start_io()) return 1;  // first: these would hold on to what they inherit of the peers
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

  // What input and output need beside the contenders; children, as the peers are.
  bool start_io() {
    const auto any = [this](bool (Workload::*of)() const noexcept) {
      return std::ranges::any_of(options_.workloads, [of](const Workload* each) { return (each->*of)(); });
    };
    if (any(&Workload::reads_files)) {
      auto file = ReadFile::make();
      if (!file) return complain(file.error());
      file_ = std::move(*file);
    }
    if (!any(&Workload::uses_sockets)) return true;
    descriptors_ = raise_descriptors();
    auto load = Load::start();
    if (!load) return complain(load.error());
    auto bare = BareEcho::start();
    if (!bare) return complain(bare.error());
    load_ = std::move(*load);
    bare_ = std::move(*bare);
    pids_.push_back(load_->pid());
    pids_.push_back(bare_->pid());
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
    // Those with the first driver go first: they are all there is of a workload that uses none.
    for (const std::string& io : options_.io) {
      for (const std::string& heap : options_.heaps) {
        for (const std::string& scheduler : options_.schedulers) board_.variants.push_back({scheduler, io, heap});
      }
    }
    for (std::size_t i = 0; i < board_.variants.size(); ++i) board_.columns.push_back({Contender::erlking, i});
    for (const Contender peer : options_.peers) board_.columns.push_back({peer});
    for (const Workload* const workload : options_.workloads) {
      bool any = false;
      for (const unsigned workers : options_.workers) {
        if (workload->needs_two() && workers < 2) continue;
        any = true;
        for (const Case& which : cases_of(*workload, workers)) {
          for (const Column& column : board_.columns) {
            const bool first_io = column.variant < options_.schedulers.size() * options_.heaps.size();
            if (first_io || workload->uses_io()) jobs_.push_back({which, column});
          }
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
        .sleep = any([](const Workload& workload) { return workload.name.starts_with("timer-accuracy"); }),
        .memory = any([](const Workload& workload) { return workload.name.starts_with("idle"); }),
        .barrier = any([](const Workload& workload) { return workload.name == "behind"; })};
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
      if (outcome->heap) {
        if (!cell.heap) cell.heap.emplace();
        cell.heap->collections += outcome->heap->collections;
        cell.heap->pause_max = std::max(cell.heap->pause_max, outcome->heap->pause_max);
        cell.heap->bytes = std::max(cell.heap->bytes, outcome->heap->bytes);
      }
      cell.disturbed += disturbed ? 1 : 0;
    }
    return true;
  }

  FloorFigures floors_once(FloorsWanted wanted) {
    bool disturbed = false;
    const auto measured = [&] { return std::optional(measure_floors(std::min(1.0, options_.scale), wanted)); };
    FloorFigures floors = *undisturbed(measured, kRepeats, disturbed);
    if (echoes()) echo_floors(floors);
    if (file_ != nullptr) {
      const std::vector<int> cpus = sched::allowed_cpus();
      const auto n = static_cast<std::uint64_t>(kFloorReads * std::min(1.0, options_.scale));
      floors[static_cast<std::size_t>(Floor::fio_read)] = file_->fio(n, cpus.empty() ? 0 : cpus[0]);
    }
    for (const Workload* const workload : options_.workloads) {
      if (workload->is_store()) ask_redis(*workload);
    }
    board_.floors_disturbed = board_.floors_disturbed || disturbed;
    return floors;
  }

  // `n` requests to a server of `process`. With one worker the server has a CPU and the load another; else they share
  // what there is.
  Result echo(const Case& which, pid_t process, std::uint16_t port, std::uint64_t n, base::Nanos limit) {
    const std::vector<int> cpus = sched::allowed_cpus();
    if (cpus.size() < 2) return std::unexpected(Failure{"needs a second CPU, for the load", true});
    std::optional<Pinned> server, load;
    if (which.workers == 1) {
      server.emplace(process, cpus[0]);
      load.emplace(load_->pid(), cpus[1]);
    }
    const CpuTime used(process);
    auto echoed = load_->echo(port, n, limit);
    if (!echoed) return std::unexpected(Failure{echoed.error()});
    const double cpu = used.ns();
    std::sort(echoed->times.begin(), echoed->times.end());
    return Outcome{{{"ns_per_request", echoed->ns_per_request},
                    {"p50", percentile(echoed->times, 500)},
                    {"p99", percentile(echoed->times, 990)},
                    {"ns_cpu_each", cpu / static_cast<double>(echoed->times.size())}},
                   which.workers == 1 ? "apart" : "together"};
  }

  // A server of `process` with so many connections, or as many as there may be descriptors, that rest.
  Result idle_connections(pid_t process, std::uint16_t port, std::uint64_t n, base::Nanos limit) {
    if (descriptors_ < n + kOtherDescriptors) {
      if (descriptors_ <= kOtherDescriptors) return std::unexpected(Failure{"too few descriptors allowed", true});
      n = descriptors_ - kOtherDescriptors;
      fmt::print(stderr, "erlking bench: idle-connections: {} of them, for the limit of descriptors is {}\n", n,
                 descriptors_);
    }
    const double before = resident_bytes(process);
    if (const auto opened = load_->open(port, static_cast<std::uint32_t>(n), limit); !opened) {
      return std::unexpected(Failure{opened.error()});
    }
    const CpuTime used(process);
    std::this_thread::sleep_for(kConnectionsRest);
    const double cpu = 100 * used.ns() / static_cast<double>(base::to_nanos(kConnectionsRest));
    const double bytes = (resident_bytes(process) - before) / static_cast<double>(n);
    load_->close();
    return Outcome{{{"bytes_each", bytes}, {"percent_cpu", cpu}}, "natural"};
  }

  // The quickest of what the peer can be made to do.
  Result best_echo(const Case& which, Contender contender, Peer& peer, std::uint64_t n, base::Nanos limit) {
    const std::vector<std::string_view> kinds = echo_kinds(contender);
    Result best = std::unexpected(Failure{"unsupported", true});
    for (const std::string_view kind : kinds) {
      const auto port = peer.serve(kind, limit);
      if (!port) return std::unexpected(port.error());
      Result result = echo(which, peer.pid(), *port, n / kinds.size(), limit);
      if (const auto stopped = peer.stop_serving(limit); !stopped) return std::unexpected(stopped.error());
      if (!result) return result;
      result->placement += fmt::format(": {}", kind);
      if (!best || result->figures[0].value < best->figures[0].value) best = std::move(result);
    }
    return best;
  }

  // Asks `server` for `n` requests, as the workload says.
  static Result ask(const Workload& workload, std::expected<std::unique_ptr<Store>, Failure> server, std::uint64_t n,
                    base::Nanos limit) {
    if (!server) return std::unexpected(std::move(server.error()));
    return (*server)->run(n, workload.pipeline(), limit);
  }

  // Without redis-server there is nothing to compare with.
  void ask_redis(const Workload& workload) {
    const std::uint64_t n = operations({&workload}, Contender::erlking, options_.scale);
    const Result result = ask(workload, Store::redis(workload.syncs()), n, kFloorLimit);
    if (!result) return;
    for (const Figure& figure : result->figures) {
      board_.redis[{workload.name, figure.metric}].push_back(figure.value);
    }
  }

  bool echoes() const {
    return std::ranges::any_of(options_.workloads, [](const Workload* each) { return each->name == "tcp-echo"; });
  }

  void echo_floors(FloorFigures& floors) {
    const auto set = [&](unsigned workers, Floor each, Floor p99) {
      const std::uint64_t n = static_cast<std::uint64_t>(kFloorRequests * std::min(1.0, options_.scale));
      const Result result = echo({nullptr, workers}, bare_->pid(), bare_->port(), n, kFloorLimit);
      if (!result) return;
      floors[static_cast<std::size_t>(each)] = result->figures[0].value;
      floors[static_cast<std::size_t>(p99)] = result->figures[2].value;
    };
    if (std::ranges::any_of(options_.workers, [](unsigned n) { return n == 1; })) {
      set(1, Floor::echo_apart, Floor::echo_apart_p99);
    }
    if (std::ranges::any_of(options_.workers, [](unsigned n) { return n > 1; })) {
      set(2, Floor::echo_together, Floor::echo_together_p99);
    }
  }

  // On a machine that is never quiet the bench takes at most twice its time.
  std::size_t most_repeats() const { return jobs_.size() * options_.runs; }

  // Nothing: it failed, which has been said, or the contender cannot do it, and the job is dropped.
  std::optional<Outcome> run_once(Job& job, double share, Progress& progress) {
    std::uint64_t n = operations(job.which, job.column.contender, options_.scale * share);
    if (job.column.contender == Contender::erlking && variant(job).scheduler == "threads" &&
        !job.which.workload->uses_io() && !job.which.workload->is_latency()) {
      n = std::max(n / kThreadsAreSlower, std::min(n, kAtLeast));
    }
    const base::Nanos limit = static_cast<base::Nanos>(60e9 * std::max(1.0, options_.scale));
    Result result = job.column.contender == Contender::erlking ? run_ours_noting_heap(job, n, Duration(limit))
                                                               : run_peer(job, n, limit);
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

  const Variant& variant(const Job& job) const { return board_.variants[job.column.variant]; }

  Result run_ours_noting_heap(const Job& job, std::uint64_t n, Duration limit) {
    const Workload& workload = *job.which.workload;
    if (workload.once || workload.is_store()) return run_ours(job, n, limit);  // in a runtime or program of its own
    gc_forget_pauses();
    const auto before = runtime(job).stats().heap.collections;
    Result result = run_ours(job, n, limit);
    if (!result) return result;
    const gc::HeapStats heap = runtime(job).stats().heap;
    result->heap = HeapUse{heap.collections - before, heap.pause_max, heap.bytes_reserved + heap.large_bytes};
    return result;
  }

  Result run_ours(const Job& job, std::uint64_t n, Duration limit) {
    if (job.which.workload->name == "tcp-echo") {
      const auto server = EchoServer::start(runtime(job));
      if (!server) return std::unexpected(Failure{server.error()});
      return echo(job.which, ::getpid(), (*server)->port(), n, base::to_nanos(limit));
    }
    if (job.which.workload->name == "idle-connections") {
      Runtime own(options_for(job));
      const auto server = EchoServer::start(own);
      if (!server) return std::unexpected(Failure{server.error()});
      return idle_connections(::getpid(), (*server)->port(), n, base::to_nanos(limit));
    }
    if (job.which.workload->is_store()) {
      const Variant& with = variant(job);
      const std::vector<std::string> flags = {"--ek-scheduler=" + with.scheduler, "--ek-io=" + with.io,
                                              "--ek-heap=" + with.heap,
                                              fmt::format("--ek-workers={}", job.which.workers)};
      const bool own_workers = with.scheduler == "threads";  // each process has one, and there is nothing to say
      auto server =
          Store::kv(own_workers ? std::vector(flags.begin(), flags.end() - 1) : flags, job.which.workload->syncs());
      return ask(*job.which.workload, std::move(server), n, base::to_nanos(limit));
    }
    if (job.which.workload->reads_files()) {
      return run_file_read(runtime(job), job.which, n, file_->path(), ReadFile::kBytes, limit);
    }
    if (job.which.workload->once) return run_idle(job.which, options_for(job), n, rest_of(n), limit);
    return bench::run_ours(runtime(job), job.which, n, limit);
  }

  Result run_peer(const Job& job, std::uint64_t n, base::Nanos limit) {
    if (n == 0) return std::unexpected(Failure{"unsupported", true});
    const Key key{job.column.contender, job.which.workers};
    const auto& peer = job.which.workload->once ? fresh_.at({job.which.workload, key}) : peers_.at(key);
    if (job.which.workload->name == "idle-connections") {
      const auto port = peer->serve(echo_kinds(key.first).front(), limit);
      if (!port) return std::unexpected(port.error());
      return idle_connections(peer->pid(), *port, n, limit);
    }
    if (job.which.workload->name == "tcp-echo") return best_echo(job.which, job.column.contender, *peer, n, limit);
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
    options.scheduler = variant(job).scheduler;
    options.io = variant(job).io;
    options.heap = variant(job).heap;
    options.workers = job.which.workers;
    return options;
  }

  // Like the peers it is started once, and sleeps while others run.
  Runtime& runtime(const Job& job) {
    std::unique_ptr<Runtime>& runtime = runtimes_[{job.column.variant, job.which.workers}];
    if (runtime == nullptr) runtime = std::make_unique<Runtime>(options_for(job));
    return *runtime;
  }

  void report() {
    std::FILE* const out = options_.csv ? stderr : stdout;
    print_table(out, board_);
    fmt::print(out, "\n");
    print_heaps(out, board_);
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
                        board_.variants.size() > 1 ? " with " + board_.name_of(board_.variants[0]) : ""),
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
  std::unique_ptr<ReadFile> file_;  // where a workload wants it
  std::uint64_t descriptors_ = 0;
  std::unique_ptr<Load> load_;  // both only where a workload wants them
  std::unique_ptr<BareEcho> bare_;
  std::vector<pid_t> pids_;
  std::map<std::pair<std::size_t, unsigned>, std::unique_ptr<Runtime>> runtimes_;  // by variant and workers
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
