// The erlking executable: subcommands bench, demo, tree, memory and flight. Every misuse is one line on stderr and exit
// status 2.
#include "gc/gc.h"
#include "io/io.h"
#include "runtime/options.h"
#include "sched/sched.h"
#include "tools/ask.h"
#include "tools/bench/bench.h"
#include "tools/bench/html.h"
#include "tools/demo.h"
#include "tools/tree.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace erlking;

constexpr unsigned kMaxWorkers = 1024;  // a runtime's
constexpr std::array<std::string_view, 5> kCommands = {"bench", "demo", "tree", "memory", "flight"};
constexpr const char* kSocketHelp = "the socket that the program was told to make; none: ERLKING_INSPECT";

// What the user got wrong.
struct Misuse {
  std::string what;
};

int misuse(std::string what) {
  what = what.substr(0, what.find('\n'));
  fmt::print(stderr, "erlking: {} (see erlking --help)\n", what);
  return 2;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> items;
  for (std::size_t at = 0; at <= list.size();) {
    const std::size_t comma = std::min(list.find(',', at), list.size());
    items.push_back(list.substr(at, comma - at));
    at = comma + 1;
  }
  return items;
}

template <class Names>
std::string joined(const Names& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

template <class T>
void add_once(std::vector<T>& values, T value) {
  if (std::ranges::find(values, value) == values.end()) values.push_back(value);
}

std::string workload_list() {
  std::string text;
  for (const bench::Workload& workload : bench::workloads())
    text += fmt::format("  {:<21} {}\n", workload.name, workload.what);
  return text;
}

// Where the peers' sources lie: as installed, seen from the executable, or in the checkout it was built from.
std::string default_peers_dir() {
  std::error_code error;
  const auto executable = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto installed = (executable.parent_path() / EK_DATA_FOLDER "/perf/peers").lexically_normal();
  return std::filesystem::is_directory(installed, error) ? installed.string() : EK_SOURCE_ROOT "/perf/peers";
}

// As given on the command line.
struct BenchArguments {
  std::vector<std::string> workloads;
  std::optional<std::string> html;
  std::string scheduler, io, heap, workers, peers, peers_dir = default_peers_dir();
  unsigned runs = 5;
  double scale = 1;
  bool csv = false, list = false;
};

void add_bench(CLI::App& app, BenchArguments& given) {
  CLI::App& bench = *app.add_subcommand("bench", "Measures Erlking, and others beside it in the same run");
  bench.add_option("workload", given.workloads, "what to measure; none: all, which is all but those named idle…")
      ->option_text("WORKLOAD…|all");
  bench
      .add_option("--scheduler", given.scheduler,
                  "our schedulers, side by side: " + joined(sched::policy_names()) + "; or all of them")
      ->option_text("LIST|all");
  bench
      .add_option("--io", given.io,
                  "our drivers of input and output, side by side: " + joined(io::driver_names()) + "; or all of them")
      ->option_text("LIST|all");
  bench
      .add_option("--heap", given.heap,
                  "our message heaps, side by side: " + joined(gc::collector_names()) + "; or all of them")
      ->option_text("LIST|all");
  bench.add_option("--workers", given.workers, "numbers of workers, such as 1,2; default 1 and, with a second CPU, 2")
      ->option_text("LIST");
  bench.add_option("--runs", given.runs, "runs that count, 1 to 100; default 5")
      ->option_text("N")
      ->check(CLI::Range(1u, 100u));
  bench.add_option("--scale", given.scale, "times the operations of a run, 0.01 to 100; default 1")
      ->option_text("X")
      ->check(CLI::Range(0.01, 100.0));
  bench.add_option("--vs", given.peers, "peers to measure beside us: beam, go")->option_text("LIST");
  bench.add_option("--peers-dir", given.peers_dir, "where the peers' sources lie")->option_text("DIR");
  bench.add_flag("--csv", given.csv, "CSV, alone, on stdout; everything else on stderr");
  bench.add_option("--html", given.html, "also writes a page with plots there, for a browser; it needs no network")
      ->option_text("FILE");
  bench.add_flag("--list", given.list, "lists workloads, schedulers, drivers, heaps and peers, and ends");
  bench.footer(
      "Workloads:\n" + workload_list() +
      "\nEvery figure goes through the public interface, with bounds, timeouts and statistics on. Systems and\n"
      "workloads take turns; a run during which others used more than a quarter of a core is repeated.\n"
      "Those named idle… are measured only if asked for, and once: they take longer and more memory than all others.");
}

void add_tree(CLI::App& app, tools::TreeArguments& given) {
  CLI::App& tree = *app.add_subcommand("tree", "Shows the supervision tree of a running program");
  tree.add_option("path", given.path, kSocketHelp)->option_text("PATH");
  CLI::Option* const json = tree.add_flag("--json", given.json, "as JSON");
  tree.add_option("--svg", given.svg, "writes a picture there instead; needs Graphviz's dot")
      ->option_text("FILE")
      ->excludes(json);
  tree.add_option("--children", given.children, "of each supervisor, at most; the others are counted; default 100")
      ->option_text("N")
      ->check(CLI::Range(0u, 100'000u));
  tree.add_option("--timeout", given.timeout_ms, "milliseconds the program may look for, 1 to 60000; default 1000")
      ->option_text("MS")
      ->check(CLI::Range(1u, 60'000u));
  tree.footer(
      "The program must have been started with --ek-inspect=PATH, or ERLKING_INSPECT=PATH, or Options.inspect.\n"
      "Who does not answer in time is shown as such; the program goes on meanwhile.");
}

// What is asked at the same socket and printed as it comes.
struct Asked {
  std::string path;
  bool json = false;
  unsigned count;
  unsigned timeout_ms = 1000;
  CLI::App* command = nullptr;

  int run(std::string_view word) const {
    const std::string name = command->get_name();
    if (path.empty()) return misuse(name + ": whose? Name the program's socket, or set ERLKING_INSPECT");
    std::string line = fmt::format("{}{} {} {}", name, json ? " json" : "", word, count);
    if (name == "memory") line += fmt::format(" timeout {}", timeout_ms);
    return tools::print_answer({.command = name, .path = path, .line = line + '\n', .timeout_ms = timeout_ms});
  }
};

void add_memory(CLI::App& app, Asked& given) {
  given.command = app.add_subcommand("memory", "Shows for which processes of a running program the most bytes wait");
  given.command->add_option("path", given.path, kSocketHelp)->option_text("PATH");
  given.command->add_flag("--json", given.json, "as JSON");
  given.command->add_option("--processes", given.count, "how many are shown, 1 to 1000; default 10")
      ->option_text("N")
      ->check(CLI::Range(1u, 1'000u));
  given.command
      ->add_option("--timeout", given.timeout_ms, "milliseconds the program may look for, 1 to 60000; default 1000")
      ->option_text("MS")
      ->check(CLI::Range(1u, 60'000u));
}

void add_flight(CLI::App& app, Asked& given) {
  given.command = app.add_subcommand("flight", "Shows what the workers of a running program did last");
  given.command->add_option("path", given.path, kSocketHelp)->option_text("PATH");
  given.command->add_flag("--json", given.json, "as JSON");
  given.command->add_option("--events", given.count, "how many are shown, 1 to 100000; default 100")
      ->option_text("N")
      ->check(CLI::Range(1u, 100'000u));
  given.command->footer(
      "The program must keep them: --ek-flight-recorder=on. Nobody is asked, so it answers when all workers are "
      "stuck.");
}

void print_list() {
  fmt::print("workloads:\n{}schedulers: {}\nio: {}\nheaps: {}\npeers: beam, go\n", workload_list(),
             joined(sched::policy_names()), joined(io::driver_names()), joined(gc::collector_names()));
}

bench::BenchOptions bench_options(const BenchArguments& given, const Options& base) {
  bench::BenchOptions options;
  options.runtime = base;
  options.runs = given.runs;
  options.scale = given.scale;
  options.csv = given.csv;
  options.peers_dir = given.peers_dir;
  if (!std::isfinite(given.scale)) throw Misuse{"--scale must be 0.01 to 100"};

  const auto known = bench::workloads();
  std::vector<bool> wanted(known.size());
  for (const std::string& name : given.workloads.empty() ? std::vector<std::string>{"all"} : given.workloads) {
    const bench::Workload* const workload = bench::find_workload(name);
    if (workload != nullptr) {
      wanted[static_cast<std::size_t>(workload - known.data())] = true;
    } else if (name == "all") {
      for (std::size_t i = 0; i < known.size(); ++i) wanted[i] = wanted[i] || !known[i].once;
    } else {
      std::vector<std::string_view> names;
      for (const bench::Workload& each : known) names.push_back(each.name);
      throw Misuse{fmt::format("unknown workload '{}'; there are: {}, all", name, joined(names))};
    }
  }
  for (std::size_t i = 0; i < known.size(); ++i) {
    if (wanted[i]) options.workloads.push_back(&known[i]);
  }

  const auto require = [](const std::string& name, const std::vector<std::string_view>& names, std::string_view what) {
    if (std::ranges::find(names, name) == names.end()) {
      throw Misuse{fmt::format("unknown {} '{}'; there is: {}", what, name, joined(names))};
    }
  };
  const auto some_of = [&](const std::vector<std::string_view>& names, const std::string& wanted,
                           const std::string& otherwise, std::string_view what) {
    if (wanted == "all") return std::vector<std::string>(names.begin(), names.end());
    std::vector<std::string> chosen;
    for (std::string& name : split(wanted.empty() ? otherwise : wanted)) {
      require(name, names, what);
      add_once(chosen, std::move(name));
    }
    return chosen;
  };
  options.schedulers = some_of(sched::policy_names(), given.scheduler, base.scheduler, "scheduler");
  options.io = some_of(io::driver_names(), given.io, base.io, "driver");
  options.heaps = some_of(gc::collector_names(), given.heap, base.heap, "heap");

  if (!given.workers.empty()) {
    for (const std::string& item : split(given.workers)) {
      unsigned n = 0;
      const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), n);
      if (error != std::errc{} || end != item.data() + item.size() || n < 1 || n > kMaxWorkers) {
        throw Misuse{fmt::format("--workers: '{}' is no number from 1 to {}", item, kMaxWorkers)};
      }
      add_once(options.workers, n);
    }
  } else if (base.workers != 0) {
    options.workers = {base.workers};
  } else {
    options.workers = {1};
    if (sched::usable_cpus() > 1) options.workers.push_back(2);
  }

  if (!given.peers.empty()) {
    for (const std::string& item : split(given.peers)) {
      if (item == "beam") {
        add_once(options.peers, bench::Contender::beam);
      } else if (item == "go") {
        add_once(options.peers, bench::Contender::go);
      } else {
        throw Misuse{fmt::format("--vs: unknown peer '{}'; there are: beam, go", item)};
      }
    }
  }
  if (given.html) {
    if (const std::string why = bench::why_no_html(*given.html); !why.empty()) throw Misuse{why};
    options.html = *given.html;
  }
  return options;
}

// As one would type it.
std::string command_line(int argc, char** argv) {
  std::string text = "erlking";
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const bool plain = !word.empty() && std::ranges::all_of(word, [](unsigned char c) {
      return std::isalnum(c) || std::string_view("-_=,./:+@%").find(static_cast<char>(c)) != std::string_view::npos;
    });
    text += ' ';
    if (plain) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

int run(int argc, char** argv) {
  const std::string command = command_line(argc, argv);
  // It computes on on purpose: not to be reported unless somebody asks.
  if (std::find(argv, argv + argc, std::string_view("bench")) != argv + argc) ::setenv("ERLKING_STALL_REPORT", "0", 0);
  auto base = Options::parse(argc, argv);  // removes --ek-…
  if (!base) return misuse(base.error());

  CLI::App app("Erlking: Erlang-style processes for C++. The tools that come with it.", "erlking");
  app.set_version_flag("--version", std::string("erlking ") + EK_VERSION);
  app.require_subcommand(1);
  app.footer("erlking COMMAND --help tells more.\n\nFlags for the runtime, taken by every command:\n" +
             Options::help());
  if (argc > 1 && argv[1][0] != '-' && std::ranges::find(kCommands, std::string_view(argv[1])) == kCommands.end()) {
    return misuse(fmt::format("unknown command '{}'; there are: {}", argv[1], joined(kCommands)));
  }
  BenchArguments arguments;
  add_bench(app, arguments);
  bool once = false;
  app.add_subcommand("demo", "Shows a process crash and its watcher start another; until Ctrl-C")
      ->add_flag("--once", once, "one crash and restart, about three seconds");
  tools::TreeArguments tree;
  tree.path = base->inspect;
  add_tree(app, tree);
  Asked memory{.path = base->inspect, .count = 10}, flight{.path = base->inspect, .count = 100};
  add_memory(app, memory);
  add_flight(app, flight);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    return misuse(e.what());
  }

  if (app.got_subcommand("tree")) {
    if (tree.path.empty()) return misuse("tree: whose? Name the program's socket, or set ERLKING_INSPECT");
    return tools::run_tree(tree);
  }
  if (app.got_subcommand("memory")) return memory.run("processes");
  if (app.got_subcommand("flight")) return flight.run("events");
  if (!app.got_subcommand("bench")) return tools::run_demo(*base, once);
  if (arguments.list) {
    print_list();
    return 0;
  }
  try {
    bench::BenchOptions options = bench_options(arguments, *base);
    options.command = command;
    return bench::run_bench(options);
  } catch (const Misuse& e) {
    return misuse(e.what);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int status = run(argc, argv);
  if (std::fflush(stdout) == 0) return status;
  std::perror("erlking: stdout");
  return 1;
}
