// CallGraph: who waits in a call for whom, kept only if Options.call_cycles asks for it, to find calls that wait for
// each other: A for B, B for C, C for A, none of which will be answered before somebody's bound passes.
//
//   CG1  A process enters its wait before it looks for a cycle, so the last to close one finds all of it; of two that
//        close it at the same time both may.
//   CG2  A cycle is one only if a second reading finds the same waits, each known by its ticket's number: then all of
//        them were there at one time, between the two.
// Cost where it is off: one load and a branch in a call. Where it is on: two locks for each call, and one for each
// process along the chain, 64 at most.
#pragma once

#include "runtime/pid.h"

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace erlking {
struct System;
}

namespace erlking::detail {

/// Any thread.
class CallGraph {
 public:
  /// `caller` waits, by its ticket's `number`, for `target`. May throw std::bad_alloc and then has done nothing.
  void enter(Pid caller, std::uint64_t number, Pid target);
  /// It no longer waits.
  void leave(Pid caller) noexcept;
  /// The cycle that `caller` is in: it, whom it waits for, and so on, the last waiting for it; empty: there is none.
  std::vector<Pid> cycle_of(Pid caller) const;

 private:
  struct Wait {
    Pid target;
    std::uint64_t number;
    friend bool operator==(const Wait&, const Wait&) = default;
  };
  struct alignas(64) Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::uint64_t, Wait> waits;
  };
  Shard& shard(Pid pid) noexcept { return shards_[pid.id % shards_.size()]; }
  const Shard& shard(Pid pid) const noexcept { return shards_[pid.id % shards_.size()]; }
  std::optional<Wait> wait_of(Pid pid) const;

  std::array<Shard, 16> shards_;
};

/// One wait of a call in the graph, if there is a graph; a cycle it closes is reported.
class CallWatch {
 public:
  CallWatch(CallGraph* graph, System& system, Pid caller, std::uint64_t number, Pid target) noexcept
      : graph_(graph), caller_(caller) {
    if (graph_ != nullptr) [[unlikely]]
      enter(system, number, target);
  }
  ~CallWatch() {
    if (graph_ != nullptr) [[unlikely]]
      graph_->leave(caller_);
  }
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

 private:
  void enter(System& system, std::uint64_t number, Pid target) noexcept;

  CallGraph* const graph_;
  const Pid caller_;
};

}  // namespace erlking::detail
