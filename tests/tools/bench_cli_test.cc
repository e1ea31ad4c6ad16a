// What the erlking executable promises to those who call it from a shell or a script. No times are asserted. The
// environment variable EK_ERLKING names the executable.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

constexpr std::string_view kHeader =
    "workload,system,scheduler,io,heap,workers,placement,metric,unit,median,min,max,runs,collections,pause_max,"
    "heap_bytes";
// Ours can run.
const std::vector<std::string> kWorkloads = {"latency",
                                             "pingpong",
                                             "pingpong-apart",
                                             "pingpong-plain",
                                             "ring-1",
                                             "ring-100",
                                             "fanin",
                                             "fanin-apart",
                                             "big",
                                             "spawn",
                                             "spawn-monitor",
                                             "fork-join-1k",
                                             "fork-join-64k",
                                             "fork-join-apart",
                                             "monitors",
                                             "restart",
                                             "sup-start",
                                             "sup-simple-100k",
                                             "pg-join",
                                             "call",
                                             "call-apart",
                                             "call-50",
                                             "server-call",
                                             "selective",
                                             "compute-1us",
                                             "compute-5us",
                                             "compute-100us",
                                             "behind",
                                             "sleepers",
                                             "hogs",
                                             "timers",
                                             "timer-accuracy",
                                             "timer-accuracy-spread",
                                             "tcp-echo",
                                             "file-read",
                                             "file-read-direct",
                                             "kv",
                                             "kv-16",
                                             "kv-always",
                                             "idle",
                                             "idle-handlers",
                                             "idle-servers",
                                             "idle-connections"};
// Measured only if named, and once.
const std::set<std::string> kOnce = {"idle", "idle-handlers", "idle-servers", "idle-connections"};
// Nothing to measure with one worker.
const std::set<std::string> kNeedTwo = {"latency",    "pingpong-apart", "fanin-apart", "fork-join-apart",
                                        "call-apart", "behind",         "sleepers",    "hogs"};
const std::vector<std::string> kSmall = {"--scale", "0.01", "--runs", "1"};

using Words = std::vector<std::string>;

struct Ended {
  int status = -1;  // exit status, or -1: by a signal
  std::string out, err;
};

// A program being run, its output collected as it comes.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    const char* const path = std::getenv("EK_ERLKING");
    arguments.insert(arguments.begin(), path == nullptr ? "EK_ERLKING is not set" : path);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int out[2], err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      ::dup2(err[1], STDERR_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(err[1]);
    ends_[0] = out[0];
    ends_[1] = err[0];
  }

  // Reads until either output contains `text`; false: it ended without.
  bool until(std::string_view text) {
    while (out_.find(text) == out_.npos && err_.find(text) == err_.npos) {
      if (!read_some()) return false;
    }
    return true;
  }

  void signal(int number) const { ::kill(pid_, number); }

  Ended wait() {
    while (read_some()) {
    }
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, out_, err_};
  }

 private:
  bool read_some() {
    pollfd both[2] = {{ends_[0], POLLIN, 0}, {ends_[1], POLLIN, 0}};
    if (::poll(both, 2, -1) < 0) return false;
    for (int i = 0; i < 2; ++i) {
      if (both[i].revents == 0) continue;
      char bytes[4096];
      const ssize_t n = ::read(ends_[i], bytes, sizeof bytes);
      if (n > 0) {
        (i == 0 ? out_ : err_).append(bytes, static_cast<std::size_t>(n));
      } else {
        ::close(ends_[i]);
        ends_[i] = -1;  // poll passes it over
      }
    }
    return ends_[0] >= 0 || ends_[1] >= 0;
  }

  pid_t pid_ = -1;
  int ends_[2];
  std::string out_, err_;
};

Ended run(std::vector<std::string> arguments) { return Program(std::move(arguments)).wait(); }

std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(part);
  return parts;
}

using CsvRow = std::map<std::string, std::string>;

// The rows after the header, by column; fails the test on whatever is no such CSV.
std::vector<CsvRow> csv(const std::string& text) {
  const std::vector<std::string> lines = split(text, '\n');
  EXPECT_FALSE(lines.empty());
  if (lines.empty()) return {};
  EXPECT_EQ(lines[0], kHeader);
  EXPECT_TRUE(text.ends_with('\n'));
  const std::vector<std::string> columns = split(std::string(kHeader), ',');
  std::vector<CsvRow> rows;
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::vector<std::string> fields = split(lines[i], ',');
    EXPECT_EQ(fields.size(), columns.size()) << lines[i];
    if (fields.size() != columns.size()) return rows;
    CsvRow row;
    for (std::size_t k = 0; k < columns.size(); ++k) row[columns[k]] = fields[k];
    rows.push_back(row);
  }
  return rows;
}

double number(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  EXPECT_TRUE(!text.empty() && *end == '\0') << "no number: '" << text << "'";
  return value;
}

bool on_path(const std::string& program) {
  const char* const path = std::getenv("PATH");
  const auto folders = split(path == nullptr ? "" : path, ':');
  return std::ranges::any_of(folders,
                             [&](const auto& folder) { return ::access((folder + "/" + program).c_str(), X_OK) == 0; });
}

class EveryWorkload : public testing::TestWithParam<std::string> {};

// What the bench leaves out here, saying so.
bool is_left_out(const std::string& workload) { return workload.starts_with("kv") && !on_path("redis-benchmark"); }

TEST_P(EveryWorkload, RunsSmallAndStdoutIsCsvAlone) {
  if (is_left_out(GetParam())) GTEST_SKIP() << "no redis-benchmark here";
  const Ended ended = run(std::vector<std::string>{"bench", GetParam(), "--csv", "--workers", "1,2"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  const auto rows = csv(ended.out);
  EXPECT_FALSE(rows.empty());
  std::set<std::string> workers;
  for (const CsvRow& row : rows) {
    EXPECT_EQ(row.at("workload"), GetParam());
    EXPECT_EQ(row.at("system"), "erlking");
    EXPECT_EQ(row.at("scheduler"), "steal");
    EXPECT_EQ(row.at("heap"), "owned");
    const std::string& metric = row.at("metric");
    EXPECT_EQ(row.at("unit"), metric.starts_with("bytes") ? "bytes" : metric.starts_with("percent") ? "percent" : "ns");
    EXPECT_EQ(row.at("runs"), "1");
    EXPECT_FALSE(row.at("placement").empty());
    EXPECT_LE(number(row.at("min")), number(row.at("median")));
    EXPECT_LE(number(row.at("median")), number(row.at("max")));
    EXPECT_TRUE(number(row.at("max")) > 0 || metric == "percent_cpu") << metric;
    workers.insert(row.at("workers"));
  }
  EXPECT_EQ(workers, kNeedTwo.contains(GetParam()) ? std::set<std::string>({"2"}) : std::set<std::string>({"1", "2"}));
}

INSTANTIATE_TEST_SUITE_P(BenchCli, EveryWorkload, testing::ValuesIn(kWorkloads), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(BenchCli, LatencyHasFourFiguresForEachRateAndMode) {
  const Ended ended = run(std::vector<std::string>{"bench", "latency", "--csv", "--workers", "2"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::set<std::string> metrics, expected;
  for (const CsvRow& row : csv(ended.out)) metrics.insert(row.at("metric"));
  for (const char* const figure : {"p50", "p99", "p99.9", "max"}) {
    for (const char* const rate : {"1k", "10k", "100k", "1M"}) {
      for (const char* const mode : {"parked", "busy"}) expected.insert(std::string(figure) + "@" + rate + "/" + mode);
    }
  }
  EXPECT_EQ(metrics, expected);
}

TEST(BenchCli, WhatIsLateHasFourFigures) {
  const Ended ended =
      run(Words{"bench", "behind", "sleepers", "hogs", "timer-accuracy", "--csv", "--workers", "2"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::map<std::string, std::set<std::string>> metrics;
  for (const CsvRow& row : csv(ended.out)) metrics[row.at("workload")].insert(row.at("metric"));
  const std::set<std::string> late = {"p50", "p99", "p99.9", "max"};
  EXPECT_EQ(metrics["behind"], late);
  EXPECT_EQ(metrics["sleepers"], late);
  EXPECT_EQ(metrics["hogs"], late);
  EXPECT_EQ(metrics["timer-accuracy"], late);
#if !defined(__SANITIZE_THREAD__)  // which knows nothing of membarriers: there fences are symmetric
  EXPECT_NE(ended.err.find("floor: membarrier while another CPU computes"), std::string::npos) << ended.err;
#endif
}

std::set<std::string> metrics_of(const std::string& workload) {
  const Ended ended = run(Words{"bench", workload, "--csv", "--workers", "2"} + kSmall);
  EXPECT_EQ(ended.status, 0) << ended.err;
  std::set<std::string> metrics;
  for (const CsvRow& row : csv(ended.out)) metrics.insert(row.at("metric"));
  return metrics;
}

TEST(BenchCli, EchoHasFourFiguresOnEachDriverAndAFloor) {
  const Words words = {"bench", "tcp-echo", "--io", "all", "--workers", "1,2"};
  const Ended ended = run(words + Words{"--csv"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::map<std::string, std::set<std::string>> metrics;
  for (const CsvRow& row : csv(ended.out)) metrics[row.at("io") + row.at("placement")].insert(row.at("metric"));
  const std::set<std::string> all = {"ns_per_request", "p50", "p99", "ns_cpu_each"};
  for (const char* const io : {"uring", "epoll"}) {
    for (const char* const placement : {"apart", "together"}) EXPECT_EQ(metrics[std::string(io) + placement], all);
  }
  EXPECT_EQ(metrics.size(), 4u);
  EXPECT_NE(ended.err.find("floor: bare epoll echo, a core each"), std::string::npos) << ended.err;
  EXPECT_NE(ended.err.find("floor: bare epoll echo, on the load's cores"), std::string::npos) << ended.err;
}

TEST(BenchCli, TheStoreHasAFigureForEachCommandBesideThoseOfRedis) {
  if (!on_path("redis-benchmark") || !on_path("redis-server")) GTEST_SKIP() << "no Redis here";
  const Ended ended = run(Words{"bench", "kv-always", "--workers", "1"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  for (const char* const command : {"set", "get", "incr", "lpush", "lpop", "hset"}) {
    EXPECT_NE(ended.out.find(std::string("\nkv-always ns_per_") + command), std::string::npos) << ended.out;
    EXPECT_NE(ended.out.find(std::string("redis-server, kv-always, ns_per_") + command), std::string::npos)
        << ended.out;
  }
}

TEST(BenchCli, IdleHasThreeFigures) {
  EXPECT_EQ(metrics_of("idle"), std::set<std::string>({"bytes_each", "ns_per_spawn", "percent_cpu"}));
  EXPECT_EQ(metrics_of("idle-servers"), std::set<std::string>({"bytes_each", "ns_per_start", "percent_cpu"}));
}

TEST(BenchCli, IdleHandlersHaveOneMore) {
  EXPECT_EQ(metrics_of("idle-handlers"),
            std::set<std::string>({"bytes_each", "ns_per_spawn", "ns_per_wake", "percent_cpu"}));
}

// The runs of a workload that is run once are so however many are asked for.
TEST(BenchCli, IdleIsRunOnceAndOnlyIfNamed) {
  const Words small = {"--csv", "--workers", "1", "--scale", "0.01", "--runs", "2"};
  const Ended named = run(Words{"bench", "idle", "spawn"} + small);
  ASSERT_EQ(named.status, 0) << named.err;
  std::map<std::string, std::string> runs;
  for (const CsvRow& row : csv(named.out)) runs[row.at("workload")] = row.at("runs");
  EXPECT_EQ(runs, (std::map<std::string, std::string>{{"idle", "1"}, {"spawn", "2"}}));
  for (const char* const floor : {"floor: first write to a page", "floor: random read"}) {
    EXPECT_NE(named.err.find(floor), std::string::npos) << named.err;
  }
  for (const Words& words : {Words{"bench"}, Words{"bench", "all"}}) {
    const Ended all = run(words + Words{"--csv", "--workers", "1"} + kSmall);
    ASSERT_EQ(all.status, 0) << all.err;
    std::set<std::string> workloads;
    for (const CsvRow& row : csv(all.out)) workloads.insert(row.at("workload"));
    for (const std::string& name : kWorkloads) {
      const bool expected = !kOnce.contains(name) && !kNeedTwo.contains(name) && !is_left_out(name);
      EXPECT_EQ(workloads.contains(name), expected) << name;
    }
  }
}

TEST(BenchCli, EverySchedulerHasItsRowsSideBySide) {
  std::set<std::string> known;
  const std::string list = run({"bench", "--list"}).out;
  const std::size_t at = list.find("schedulers: ");
  ASSERT_NE(at, std::string::npos) << list;
  for (std::string name : split(list.substr(at + 12, list.find('\n', at) - at - 12), ',')) {
    known.insert(name.starts_with(' ') ? name.substr(1) : name);
  }
  EXPECT_TRUE(known.contains("steal"));
  const Ended ended = run(Words{"bench", "call", "--scheduler", "all", "--csv", "--workers", "1"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::multiset<std::string> shown;
  for (const CsvRow& row : csv(ended.out)) shown.insert(row.at("scheduler"));
  EXPECT_EQ(shown, std::multiset<std::string>(known.begin(), known.end()));
  for (const std::string& name : known) {
    const Ended one = run(Words{"bench", "call", "--scheduler", name + "," + name, "--csv", "--workers", "1"} + kSmall);
    ASSERT_EQ(one.status, 0) << one.err;
    const auto rows = csv(one.out);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].at("scheduler"), name);
  }
}

TEST(BenchCli, EveryHeapHasItsRowsSideBySide) {
  const Ended list = run({"bench", "--list"});
  const bool traced = list.out.find("boehm") != std::string::npos;
  const Ended ended =
      run(Words{"bench", "pingpong", "--heap", "all", "--csv", "--workers", "1", "--scale", "0.2", "--runs", "1"});
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::map<std::string, CsvRow> rows;
  for (const CsvRow& row : csv(ended.out)) rows[row.at("heap")] = row;
  ASSERT_EQ(rows.size(), traced ? 3u : 2u);
  for (const char* heap : {"owned", "region"}) {
    EXPECT_EQ(rows.at(heap).at("collections"), "0");
    EXPECT_GT(number(rows.at(heap).at("heap_bytes")), 0);
  }
  const double times = number(rows.at("region").at("median")) / number(rows.at("owned").at("median"));
  const std::size_t said = ended.err.find("region, here ");
  ASSERT_NE(said, std::string::npos) << ended.err;
  EXPECT_NEAR(std::strtod(ended.err.c_str() + said + 13, nullptr), times, 0.02);
  EXPECT_EQ(ended.err.find("boehm, here") != std::string::npos, traced) << "when to choose which";
  if (!traced) return;
  EXPECT_GT(number(rows.at("boehm").at("collections")), 0);
  EXPECT_GT(number(rows.at("boehm").at("pause_max")), 0);
  EXPECT_NE(ended.err.find("longest pause"), std::string::npos);
}

TEST(BenchCli, ATableGoesToStdoutWithoutCsv) {
  const Ended ended = run(std::vector<std::string>{"bench", "pingpong", "call", "--workers", "1"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  for (const char* const text : {"pingpong", "call", "floor:", "stack switch", "runs repeated"}) {
    EXPECT_NE(ended.out.find(text), std::string::npos) << text;
  }
}

TEST(BenchCli, WhatNeedsTwoWorkersIsLeftOutWithANoteWhenThereIsOne) {
  const Ended ended = run(std::vector<std::string>{"bench", "call-apart", "--csv", "--workers", "1"} + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  EXPECT_TRUE(csv(ended.out).empty());
  EXPECT_NE(ended.err.find("call-apart needs two workers"), std::string::npos) << ended.err;
}

TEST(BenchCli, BeamRunsBesideUs) {
  if (!on_path("erl") || !on_path("erlc")) GTEST_SKIP() << "no Erlang here";
  const Ended ended = run(std::vector<std::string>{"bench", "pingpong", "fanin-apart", "latency", "--csv", "--workers",
                                                   "2", "--vs", "beam"} +
                          kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::map<std::string, std::set<std::string>> systems;
  for (const CsvRow& row : csv(ended.out)) systems[row.at("workload") + row.at("metric")].insert(row.at("system"));
  EXPECT_EQ(systems.size(), 2u + 32u);
  for (const auto& [row, names] : systems) EXPECT_EQ(names, std::set<std::string>({"erlking", "beam"})) << row;
  EXPECT_NE(ended.err.find("JIT"), std::string::npos) << ended.err;
}

// What one of them cannot do is no failure, and has no row of its.
void expect_rows_beside(const std::string& peer, const std::set<std::string>& cannot) {
  const Words all = {"bench", "all",  "idle", "idle-handlers", "idle-servers", "idle-connections", "--csv", "--workers",
                     "2",     "--vs", peer};
  const Ended ended = run(all + kSmall);
  ASSERT_EQ(ended.status, 0) << ended.err;
  std::set<std::string> ran;
  for (const CsvRow& row : csv(ended.out)) {
    if (row.at("system") == peer) ran.insert(row.at("workload"));
  }
  for (const std::string& name : kWorkloads) EXPECT_NE(ran.contains(name), cannot.contains(name)) << name;
}

TEST(BenchCli, BeamDoesWhatItCan) {
  if (!on_path("erl") || !on_path("erlc")) GTEST_SKIP() << "no Erlang here";
  expect_rows_beside("beam", {"pingpong-plain", "fork-join-apart", "idle-handlers", "file-read", "file-read-direct",
                              "kv", "kv-16", "kv-always"});
}

TEST(BenchCli, GoDoesWhatItCan) {
  if (!on_path("go")) GTEST_SKIP() << "no Go here";
  expect_rows_beside("go", {"pingpong-plain", "fork-join-apart", "fanin-apart", "monitors", "restart", "sup-start",
                            "sup-simple-100k", "pg-join", "selective", "idle-handlers", "idle-servers", "file-read",
                            "file-read-direct", "kv", "kv-16", "kv-always"});
}

TEST(BenchCli, AnInterruptedBenchEndsBySignalAndTakesItsPeersAlong) {
  if (!on_path("erl") || !on_path("erlc")) GTEST_SKIP() << "no Erlang here";
  Program bench(
      {"bench", "call", "spawn", "--workers", "1", "--vs", "beam", "--scale", "0.09", "--runs", "100", "--csv"});
  ASSERT_TRUE(bench.until("JIT"));  // it has started
  bench.signal(SIGINT);
  const Ended ended = bench.wait();  // a peer that survived would hold stderr open: this would not return
  EXPECT_EQ(ended.status, -1) << ended.err;
  EXPECT_EQ(ended.out, "");
}

class Misuse : public testing::TestWithParam<std::vector<std::string>> {};

TEST_P(Misuse, IsOneLineOnStderrAndStatusTwo) {
  const Ended ended = run(GetParam());
  EXPECT_EQ(ended.status, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_EQ(std::count(ended.err.begin(), ended.err.end(), '\n'), 1) << ended.err;
  EXPECT_TRUE(ended.err.ends_with('\n') && ended.err.starts_with("erlking")) << ended.err;
}

INSTANTIATE_TEST_SUITE_P(
    BenchCli, Misuse,
    testing::Values(Words{}, Words{"nonsense"}, Words{"--nonsense"}, Words{"bench", "nonsense"},
                    Words{"bench", "--nonsense"}, Words{"bench", "pingpong", "nonsense"},
                    Words{"bench", "--scheduler", "nonsense"}, Words{"bench", "--scheduler", "steal,nonsense"},
                    Words{"bench", "--scheduler", "steal,"}, Words{"bench", "--io", "nonsense"},
                    Words{"bench", "--io", "uring,"}, Words{"bench", "--heap", "nonsense"}, Words{"bench", "--heap"},
                    Words{"bench", "--vs", "nonsense"}, Words{"bench", "--vs", "beam", "--peers-dir", "/nonexistent"},
                    Words{"bench", "--runs", "0"}, Words{"bench", "--runs", "101"}, Words{"bench", "--runs", "many"},
                    Words{"bench", "--scale", "0.001"}, Words{"bench", "--scale", "101"},
                    Words{"bench", "--scale", "nan"}, Words{"bench", "--workers", "0"},
                    Words{"bench", "--workers", "1,"}, Words{"bench", "--workers", "1025"},
                    Words{"bench", "--workers", "-1"}, Words{"demo", "nonsense"}, Words{"demo", "--nonsense"},
                    Words{"demo", "--ek-workers=1025"}, Words{"demo", "--ek-nonsense"},
                    Words{"demo", "--ek-scheduler=nonsense", "--once"}));

TEST(BenchCli, HelpAndListNameEveryWorkload) {
  for (const char* const flag : {"--help", "--list"}) {
    const Ended ended = run({"bench", flag});
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(ended.err, "");
    for (const std::string& workload : kWorkloads) {
      EXPECT_NE(ended.out.find("\n  " + workload + " "), std::string::npos) << flag << " lacks " << workload;
    }
  }
}

TEST(ErlkingCli, VersionAndHelpGoToStdout) {
  const Ended version = run({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_TRUE(version.out.starts_with("erlking ")) << version.out;
  const Ended help = run({"--help"});
  EXPECT_EQ(help.status, 0);
  for (const char* const text : {"bench", "demo", "--ek-workers"})
    EXPECT_NE(help.out.find(text), std::string::npos) << text;
}

TEST(DemoCli, OnceItShowsACrashAndARestartAndEnds) {
  const Ended ended = run({"demo", "--once"});
  EXPECT_EQ(ended.status, 0) << ended.err;
  const std::size_t started = ended.out.find("started 'divider'"), down = ended.out.find("went down: exception");
  const std::size_t restarted = ended.out.find("restarted 'divider'"), answered = ended.out.rfind(" = ");
  ASSERT_NE(restarted, std::string::npos) << ended.out;
  EXPECT_LT(started, down);
  EXPECT_LT(down, restarted);
  EXPECT_LT(restarted, answered) << "no answer after the restart:\n" << ended.out;
}

TEST(DemoCli, ASignalEndsItCleanly) {
  for (const int number : {SIGINT, SIGTERM}) {
    Program demo({"demo"});
    ASSERT_TRUE(demo.until("customer"));
    demo.signal(number);
    const Ended ended = demo.wait();
    EXPECT_EQ(ended.status, 0) << ended.err;
    EXPECT_NE(ended.out.find("all processes have ended"), std::string::npos) << ended.out;
  }
}

}  // namespace
