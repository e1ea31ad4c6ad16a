// The machine alone: what nothing built on it can beat, measured in the same run as everything else. Nanoseconds.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>
#include <vector>

namespace erlking::bench {

enum class Floor : std::size_t {
  line,      ///< one shared cache line handed from one CPU to another, one way
  cas,       ///< load and compare-exchange on a line nobody else wants
  change,    ///< a stack switch
  block,     ///< a 64-byte block allocated and freed on one thread
  sum,       ///< change + block + 2 cas: what a hop on one worker cannot do without
  futex_1k,  ///< FUTEX_WAKE to a thread asleep on another CPU, 1,000 a second: intended wake to running, p50
  futex_1k_p99,
  futex_10k,  ///< the same, 10,000 a second
  futex_10k_p99,
  sleep,  ///< clock_nanosleep of 10 ms: how late it ends, p50
  sleep_p99,
  echo_apart,  ///< bare one-thread epoll echo server as in tcp-echo with one worker, a request
  echo_apart_p99,
  echo_together,  ///< the same, as in tcp-echo with more
  echo_together_p99,
  fio_read,  ///< fio's io_uring engine: a read of file-read, on one CPU
  touch,     ///< a page of 4 KiB of fresh memory, written to for the first time
  miss,      ///< a line at random among as many as an idle workload has processes, 256 bytes apart, each after the last
  barrier,   ///< a membarrier while another thread of the program computes on another CPU, p50
};
inline constexpr std::size_t kFloors = 19;
std::string_view describe(Floor floor) noexcept;

/// One round's figures; NaN where this machine has but one CPU to offer, or it was not asked for.
using FloorFigures = std::array<double, kFloors>;

/// Which floors are measured besides those that every run has.
struct FloorsWanted {
  bool futex = false, sleep = false, memory = false, barrier = false;
};

/// Measures them for about 0.1 s × scale; 0.3 s × scale more for the futex, as much for the sleep, about 1 s × scale
/// for the memory, of which it takes 256 MiB × scale, 0.1 s × scale for the barrier. Starts threads of its own and pins
/// them to the first two CPUs allowed.
FloorFigures measure_floors(double scale, FloorsWanted wanted);

/// The median of each over the rounds, NaN left out.
FloorFigures medians(const std::vector<FloorFigures>& rounds);

}  // namespace erlking::bench
