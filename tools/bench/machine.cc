#include "tools/bench/machine.h"

#include "base/clock.h"
#include "sched/cpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

namespace erlking::bench {

namespace {

// Two ticks of /proc/stat and a bit: less is nothing but rounding.
constexpr std::int64_t kLeast = 25'000'000;

// What the signal handler has to undo; INT32_MIN: nothing.
constexpr int kNotRaised = INT32_MIN;
std::atomic<int> nice_before{kNotRaised};
std::array<std::atomic<pid_t>, 64> children;

std::int64_t busy_ns() {
  std::ifstream in("/proc/stat");
  std::string cpu;
  std::int64_t user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;
  if (!(in >> cpu >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal)) return 0;
  static const std::int64_t tick = 1'000'000'000 / ::sysconf(_SC_CLK_TCK);
  return (user + nice + system + irq + softirq + steal) * tick;
}

std::int64_t cpu_ns(clockid_t clock) {
  timespec t{};
  return ::clock_gettime(clock, &t) == 0 ? t.tv_sec * std::int64_t{1'000'000'000} + t.tv_nsec : 0;
}

// Async-signal-safe but for raise_autogroup's snprintf of an integer, which allocates nothing.
void undo_priority() noexcept {
  const int before = nice_before.exchange(kNotRaised);
  if (before != kNotRaised) sched::raise_autogroup(before);
}

void on_signal(int signal) {
  undo_priority();
  for (auto& child : children) {
    const pid_t pid = child.load();
    if (pid > 0) ::kill(pid, SIGKILL);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

std::vector<pid_t> threads_of(pid_t process) {
  std::vector<pid_t> threads;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", process), error)) {
    threads.push_back(static_cast<pid_t>(std::atoi(entry.path().filename().c_str())));
  }
  return threads;
}

// What follows `key` and `separator` in the first such line; empty: there is none.
std::string value_in(const char* file, std::string_view key, char separator) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t at = line.find_first_not_of(" \t\"", std::min(line.size(), line.find(separator)) + 1);
    return at == line.npos ? "" : line.substr(at, line.find('"', at) - at);
  }
  return "";
}

}  // namespace

std::vector<std::pair<std::string, std::string>> describe_machine() {
  const std::string flags = value_in("/proc/cpuinfo", "flags", ':');
  std::string system = value_in("/etc/os-release", "PRETTY_NAME", '=');
  utsname kernel{};
  if (::uname(&kernel) == 0) {
    system += fmt::format("{}{} {} {}", system.empty() ? "" : ", ", kernel.sysname, kernel.release, kernel.machine);
  }
  return {{"processor", value_in("/proc/cpuinfo", "model name", ':')},
          {"CPUs", fmt::format("{} usable of {}{}", sched::usable_cpus(), ::sysconf(_SC_NPROCESSORS_ONLN),
                               flags.find(" hypervisor") != flags.npos ? ", of a virtual machine" : "")},
          {"system", system},
#ifdef __clang__
          {"compiler", __VERSION__}};
#else
          {"compiler", "g++ " __VERSION__}};
#endif
}

Neighbours::Neighbours(std::span<const pid_t> children) : children_(children) {
  began_ = base::monotonic_now();
  others_ = others();
}

std::int64_t Neighbours::others() const {
  std::int64_t ours = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
  for (const pid_t child : children_) {
    clockid_t clock;
    if (::clock_getcpuclockid(child, &clock) == 0) ours += cpu_ns(clock);
  }
  rusage ended{};
  if (::getrusage(RUSAGE_CHILDREN, &ended) == 0) {  // and what has been waited for
    for (const timeval& time : {ended.ru_utime, ended.ru_stime}) {
      ours += std::int64_t{time.tv_sec} * 1'000'000'000 + std::int64_t{time.tv_usec} * 1'000;
    }
  }
  return busy_ns() - ours;
}

double Neighbours::cores() const {
  const std::int64_t used = others() - others_;
  const std::int64_t wall = base::monotonic_now() - began_;
  return used > kLeast && wall > 0 ? static_cast<double>(used) / static_cast<double>(wall) : 0;
}

CpuTime::CpuTime(pid_t process) noexcept : known_(::clock_getcpuclockid(process, &clock_) == 0) {
  if (known_) began_ = cpu_ns(clock_);
}

double CpuTime::ns() const noexcept {
  return known_ ? static_cast<double>(cpu_ns(clock_) - began_) : std::numeric_limits<double>::quiet_NaN();
}

double resident_bytes(pid_t process) {
  std::ifstream in(fmt::format("/proc/{}/status", process));
  double bytes = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmRSS:") || line.starts_with("VmPTE:"))
      bytes += 1024 * std::strtod(line.c_str() + 6, nullptr);
  }
  return bytes;
}

std::uint64_t raise_descriptors() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
}

RaisedPriority::RaisedPriority() {
  std::ifstream in("/proc/self/autogroup");  // "/autogroup-96 nice 0"
  std::string group, word;
  int level = 0;
  if (!(in >> group >> word >> level)) {
    report_ = "no scheduling groups per session here: priority left as it is";
  } else if (level < 0) {
    report_ = fmt::format("this session's scheduling group has nice {} already: left as it is", level);
  } else {
    nice_before.store(level);
    if (sched::raise_autogroup(-20)) {
      report_ = fmt::format("this session's scheduling group: nice {} → -20 until the end", level);
    } else {
      nice_before.store(kNotRaised);
      report_ = "not permitted to raise this session's scheduling group: neighbours count for more";
    }
  }
}

RaisedPriority::~RaisedPriority() { undo_priority(); }

Pinned::Pinned(pid_t process, int cpu) : process_(process) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(cpu, &only);
  for (const pid_t thread : threads_of(process)) {
    cpu_set_t& before = before_[thread];
    if (::sched_getaffinity(thread, sizeof before, &before) != 0 ||
        ::sched_setaffinity(thread, sizeof only, &only) != 0) {
      before_.erase(thread);
    }
  }
}

Pinned::~Pinned() {
  if (before_.empty()) return;
  for (const pid_t thread : threads_of(process_)) {
    const auto at = before_.find(thread);
    const cpu_set_t& cpus = at != before_.end() ? at->second : before_.begin()->second;
    ::sched_setaffinity(thread, sizeof cpus, &cpus);
  }
}

void clean_up_on_signals() {
  struct sigaction action {};
  action.sa_handler = &on_signal;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

bool kill_on_signals(pid_t child) noexcept {
  for (auto& place : children) {
    pid_t none = 0;
    if (place.compare_exchange_strong(none, child)) return true;
  }
  return false;
}

void forget_child(pid_t child) noexcept {
  for (auto& place : children) {
    pid_t expected = child;
    if (place.compare_exchange_strong(expected, 0)) return;
  }
}

}  // namespace erlking::bench
