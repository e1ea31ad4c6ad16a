// The machine a benchmark shares: what it is, how much of it others used during a run, and a greater share of it for
// the run.
#pragma once

#include <cstdint>
#include <map>
#include <sched.h>
#include <span>
#include <string>
#include <sys/types.h>
#include <time.h>
#include <utility>
#include <vector>

namespace erlking::bench {

/// What figures depend on, to stand beside them: the processor, how many CPUs may be used, the system, the compiler.
std::vector<std::pair<std::string, std::string>> describe_machine();

/// Watches the CPU time others use, from its construction on: all that /proc/stat calls busy or stolen, less what this
/// process and `children` used. Without a readable /proc it sees nobody.
class Neighbours {
 public:
  explicit Neighbours(std::span<const pid_t> children);
  /// How much others used since then, in cores: 0.5 is half of one. 0 for what is less than the ticks can tell.
  double cores() const;
  /// Above this a run is disturbed.
  static constexpr double kDisturbed = 0.25;

 private:
  std::int64_t others() const;  // ns of CPU, since boot

  std::span<const pid_t> children_;
  std::int64_t began_ = 0, others_ = 0;
};

/// The CPU time all threads of a process use from the construction on.
class CpuTime {
 public:
  explicit CpuTime(pid_t process) noexcept;
  /// So much, in ns; NaN: the system does not say.
  double ns() const noexcept;

 private:
  clockid_t clock_;
  bool known_;
  std::int64_t began_ = 0;
};

/// Resident memory of a process, its page tables included; what the kernel keeps for it, such as sockets, is not.
double resident_bytes(pid_t process);

/// How many descriptors this process, and those it starts from now on, may have: raised as far as it may be.
std::uint64_t raise_descriptors() noexcept;

/// While it lives, this session's scheduling group has nice level -20, where that is permitted: otherwise the kernel
/// divides the CPUs between sessions, however niced their processes are. One at a time; also undone by undo_all().
class RaisedPriority {
 public:
  RaisedPriority();
  ~RaisedPriority();
  RaisedPriority(const RaisedPriority&) = delete;
  RaisedPriority& operator=(const RaisedPriority&) = delete;

  /// One sentence on what was done, or was not permitted.
  const std::string& report() const noexcept { return report_; }

 private:
  std::string report_;
};

/// While it lives, all threads that `process` has, and those they start, run on `cpu` alone.
class Pinned {
 public:
  Pinned(pid_t process, int cpu);
  /// Gives each the CPUs it had; those that came meanwhile, the first one's.
  ~Pinned();
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  const pid_t process_;
  std::map<pid_t, cpu_set_t> before_;  // by thread
};

/// Has SIGINT, SIGTERM and SIGHUP undo the raised priority, kill the children registered below, then end the program as
/// they would.
void clean_up_on_signals();
/// Adds and removes a child to be killed by that. At most 64; false: no place.
bool kill_on_signals(pid_t child) noexcept;
void forget_child(pid_t child) noexcept;

}  // namespace erlking::bench
