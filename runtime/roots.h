// ProcessRoots: what the processes of a runtime hold, for a heap that traces (gc/roots.h): their stacks, and the states
// of handlers. Messages are none: they say of themselves that they are alive.
#pragma once

#include "gc/gc.h"

namespace erlking {

struct System;

namespace detail {

class ProcessRoots final : public gc::Roots {
 public:
  explicit ProcessRoots(System& system) noexcept : system_(system) {}
  ProcessRoots(const ProcessRoots&) = delete;
  ProcessRoots& operator=(const ProcessRoots&) = delete;

  /// While all other threads are stopped.
  void visit(gc::RootVisitor& visitor) noexcept override;

 private:
  System& system_;
};

}  // namespace detail
}  // namespace erlking
