#include "runtime/options.h"

#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

namespace erlking {

namespace {

// The one list of flags: what parse() reads and help() shows.
std::unique_ptr<CLI::App> flags(Options& options, long long& stop_ms) {
  auto app = std::make_unique<CLI::App>("Erlking options");
  app->set_help_flag();
  app->add_option("--ek-scheduler", options.scheduler,
                  "scheduler: steal, or threads: one for each process, at most 2000")
      ->envname("ERLKING_SCHEDULER")
      ->capture_default_str();
  app->add_option("--ek-heap", options.heap,
                  "message heap: owned; region: what a faulted process held comes back; boehm: traced, for gc_new")
      ->envname("ERLKING_HEAP")
      ->capture_default_str();
  app->add_option("--ek-io", options.io, "input and output: uring, or epoll, also where uring does not work")
      ->envname("ERLKING_IO")
      ->capture_default_str();
  app->add_option("--ek-spare-threads", options.spare_threads,
                  "most threads for blocking calls of files and the like, 1 to 1024; made when needed")
      ->envname("ERLKING_SPARE_THREADS")
      ->check(CLI::Range(1u, kMaxSpareThreads))
      ->capture_default_str();
  app->add_option("--ek-max-descriptors", options.max_descriptors,
                  "sockets, files, pipes and subprocesses open at once, 0 to 1000000000; 0: as the system allows")
      ->envname("ERLKING_MAX_DESCRIPTORS")
      ->check(CLI::Range(0u, kMaxDescriptors))
      ->capture_default_str();
  app->add_option("--ek-max-io-bytes", options.max_io_bytes,
                  "bytes that all connections together may have read ahead; 0: no bound but each one's")
      ->envname("ERLKING_MAX_IO_BYTES")
      ->capture_default_str();
  app->add_option("--ek-workers", options.workers, "worker threads of steal, 1 to 1024; 0: one per usable CPU")
      ->envname("ERLKING_WORKERS")
      ->check(CLI::Range(0u, 1024u))
      ->capture_default_str();
  app->add_flag("--ek-affinity", options.affinity, "bind each worker to a CPU")->envname("ERLKING_AFFINITY");
  app->add_option("--ek-max-processes", options.max_processes, "processes alive at once, 1 to 4000000")
      ->envname("ERLKING_MAX_PROCESSES")
      ->check(CLI::Range(1u, 4'000'000u))
      ->capture_default_str();
  app->add_option("--ek-max-timers", options.max_timers, "timers of one process at once, 1 to 1000000000")
      ->envname("ERLKING_MAX_TIMERS")
      ->check(CLI::Range(1u, 1'000'000'000u))
      ->capture_default_str();
  app->add_option("--ek-on-fault", options.on_fault, "a hardware fault of a process: contain, abort")
      ->envname("ERLKING_ON_FAULT")
      ->check(CLI::IsMember({"contain", "abort"}))
      ->capture_default_str();
  app->add_flag("--ek-call-cycles", options.call_cycles, "tell in the log of calls that wait for each other")
      ->envname("ERLKING_CALL_CYCLES");
  app->add_option("--ek-stop", stop_ms, "milliseconds the end may take, 0 to 3600000")
      ->envname("ERLKING_STOP")
      ->check(CLI::Range(0ll, 3'600'000ll))
      ->capture_default_str();
  app->add_option("--ek-report-format", options.report_format, "reports of crashes and the like: text, json")
      ->envname("ERLKING_REPORT_FORMAT")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app->add_option("--ek-report-file", options.report_file, "appends reports to this file; empty: to the log")
      ->envname("ERLKING_REPORT_FILE");
  app->add_option("--ek-reports-per-second", options.reports_per_second,
                  "reports of a kind in a second, 1 to 1000000; the others are counted")
      ->envname("ERLKING_REPORTS_PER_SECOND")
      ->check(CLI::Range(1u, kMaxReportsPerSecond))
      ->capture_default_str();
  app->add_option("--ek-inspect", options.inspect,
                  "path of a socket for `erlking tree` and `flight` to ask at; empty: none")
      ->envname("ERLKING_INSPECT");
  app->add_option("--ek-flight-recorder", options.flight_recorder,
                  "entries each worker keeps of its last events, 64 to 1048576; on: 4096; off or 0: none")
      ->envname("ERLKING_FLIGHT_RECORDER")
      ->transform([](const std::string& given) -> std::string {
        return given == "on" ? "4096" : given == "off" ? "0" : given;
      })
      ->check([](const std::string& given) -> std::string {
        std::uint32_t n = 0;
        const auto [end, wrong] = std::from_chars(given.data(), given.data() + given.size(), n);
        const bool fits = n == 0 || (n >= kMinFlightRecorder && n <= kMaxFlightRecorder);
        if (wrong == std::errc() && end == given.data() + given.size() && fits) return "";
        return "'" + given + "' is not on, off, 0, or a number from 64 to 1048576";
      })
      ->capture_default_str();
  return app;
}

constexpr std::string_view kPrefix = "--ek-";

}  // namespace

std::expected<Options, std::string> Options::parse(int& argc, char** argv) {
  Options options;
  long long stop_ms = std::chrono::duration_cast<std::chrono::milliseconds>(options.stop).count();
  const auto app = flags(options, stop_ms);
  std::vector<std::string> ours;
  std::vector<char*> theirs;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (i > 0 && argument == "--") {
      theirs.insert(theirs.end(), argv + i, argv + argc);
      break;
    }
    if (i == 0 || !argument.starts_with(kPrefix)) {
      theirs.push_back(argv[i]);
      continue;
    }
    ours.emplace_back(argument);
    const CLI::Option* const known = app->get_option_no_throw(std::string(argument.substr(0, argument.find('='))));
    const bool takes_next =
        known != nullptr && known->get_items_expected_max() > 0 && argument.find('=') == argument.npos;
    if (takes_next && i + 1 < argc) ours.emplace_back(argv[++i]);
  }
  try {
    std::vector<std::string> reversed(ours.rbegin(), ours.rend());  // as CLI11 wants a vector
    app->parse(reversed);
  } catch (const CLI::ParseError& e) {
    return std::unexpected(std::string(e.what()));
  }
  options.stop = std::chrono::milliseconds(stop_ms);
  for (std::size_t i = 0; i < theirs.size(); ++i) argv[i] = theirs[i];
  argc = static_cast<int>(theirs.size());
  argv[argc] = nullptr;
  return options;
}

Options Options::from(int& argc, char** argv) {
  auto parsed = parse(argc, argv);
  if (parsed) return std::move(*parsed);
  std::fprintf(stderr, "%s: %s (flags: --ek-…)\n", argc > 0 ? argv[0] : "erlking", parsed.error().c_str());
  std::exit(2);
}

std::string Options::help() {
  Options options;
  long long stop_ms = std::chrono::duration_cast<std::chrono::milliseconds>(options.stop).count();
  const auto app = flags(options, stop_ms);
  const CLI::Formatter format;
  const auto& shown = static_cast<const CLI::App&>(*app);
  return format.make_group("Options", false, shown.get_options());
}

}  // namespace erlking
