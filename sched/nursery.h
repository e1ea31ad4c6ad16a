// Nursery: the newborn tasks of a worker, newest first. What a process has just started runs before what it started
// earlier, on lines and stacks that are still warm, and a tree of processes is walked depth first: 20 live at a time
// where a line, first in first out, keeps a whole level of the tree alive. The oldest, the root of the largest part of
// such a tree, is what leaves when there is no room, and what a thief takes.
// The owner's, or a thief's who has claimed the worker's section (worker.h L1), but for size() and births(), which
// anyone reads as hints: relaxed, all of it. Three plain stores a birth, one a taking.
#pragma once

#include "base/atomic.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace erlking::sched {

class Task;

class Nursery {
 public:
  static constexpr std::uint32_t kPlaces = 32;

  bool empty() const noexcept { return size() == 0; }
  std::uint32_t size() const noexcept { return size_.load(base::relaxed); }
  /// Tasks ever put in, modulo 2^32.
  std::uint32_t births() const noexcept { return births_.load(base::relaxed); }

  /// Puts `task` in; the oldest, if that had to leave for it, else null.
  Task* put(Task& task) noexcept {
    births_.store(births() + 1, base::relaxed);
    Task* left = nullptr;
    if (size() == kPlaces) [[unlikely]]
      left = take_oldest();
    places_[(oldest_ + size()) % kPlaces] = &task;
    size_.store(size() + 1, base::relaxed);
    return left;
  }

  /// Not of an empty one.
  Task* take_newest() noexcept {
    size_.store(size() - 1, base::relaxed);
    return places_[(oldest_ + size()) % kPlaces];
  }
  Task* take_oldest() noexcept {
    size_.store(size() - 1, base::relaxed);
    return places_[oldest_++ % kPlaces];
  }

 private:
  std::atomic<std::uint32_t> births_{0}, size_{0};
  std::uint32_t oldest_ = 0;  // counts on; a place modulo kPlaces
  std::array<Task*, kPlaces> places_;
};

}  // namespace erlking::sched
