// Which and how many CPUs this process may use: the affinity mask and the CPU quota of its cgroup and of every cgroup
// above it (version 1 and 2), since a runtime with more workers than its quota pays is stopped for most of each period.
// Read afresh at each call; any thread; for start-up, not for hot paths.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::sched {

/// What the cgroups allow.
struct CpuLimits {
  /// The least quota found, in CPUs (quota / period; 1.5 is possible); none: unlimited.
  std::optional<double> quota;
  /// The file it stands in.
  std::string source;

  /// The quota as a number of workers: rounded up, at least 1; none: unlimited.
  std::optional<unsigned> cpus() const noexcept;
};

/// Reads `proc_root`/self/cgroup and mountinfo, then the cgroup hierarchies where those say they are mounted, under
/// `sys_root`. What is missing or malformed is no limit. The parameters are for tests: real are "/proc" and "".
CpuLimits read_cpu_limits(std::string_view proc_root = "/proc", std::string_view sys_root = "");

/// The CPUs the calling thread may run on, ascending; empty only if the kernel will not say.
std::vector<int> allowed_cpus();

/// How many threads can run at a time: the allowed CPUs, or the quota if that is less; at least 1. Ask before pinning.
unsigned usable_cpus();

/// Binds the calling thread to `cpu`; false if it may not run there.
bool pin_thread(int cpu) noexcept;

/// Sets the nice level (-20 … 19) of the session's scheduling group, which decides its share against other sessions;
/// false if that is not permitted or there are no such groups. For benchmarks on a machine in use.
bool raise_autogroup(int nice) noexcept;

}  // namespace erlking::sched
