// Limits: how many descriptors a runtime may have open, and how many bytes of its connections may be read ahead. Both
// are counted as they are taken and given back; whoever has taken something shares in the Limits, which therefore may
// outlive the runtime, as a socket may.
#pragma once

#include "base/atomic.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace erlking::io {

class Limits {
 public:
  /// 0: no bound.
  Limits(std::uint64_t descriptors, std::uint64_t bytes) noexcept
      : max_descriptors_(descriptors != 0 ? descriptors : ~std::uint64_t{0}),
        max_bytes_(bytes != 0 ? bytes : ~std::uint64_t{0}) {}

  /// False: there would be more than the bound. Any thread, as all here.
  bool take_descriptor() noexcept { return take(descriptors_, 1, max_descriptors_); }
  void give_descriptor() noexcept { give(descriptors_, 1); }
  bool take_bytes(std::uint64_t n) noexcept { return take(bytes_, n, max_bytes_); }
  /// For what has been read and would be lost: over the bound, if need be.
  void take_bytes_anyhow(std::uint64_t n) noexcept { bytes_.fetch_add(n, base::relaxed); }
  void give_bytes(std::uint64_t n) noexcept { give(bytes_, n); }

  std::uint64_t descriptors() const noexcept { return descriptors_.load(base::relaxed); }
  std::uint64_t bytes() const noexcept { return bytes_.load(base::relaxed); }

 private:
  // Relaxed all through: these are counts, and nothing else is read by them.
  static bool take(std::atomic<std::uint64_t>& count, std::uint64_t n, std::uint64_t most) noexcept {
    std::uint64_t before = count.load(base::relaxed);
    do {
      if (before > most || n > most - before) return false;
    } while (!count.compare_exchange_weak(before, before + n, base::relaxed, base::relaxed));
    return true;
  }
  static void give(std::atomic<std::uint64_t>& count, std::uint64_t n) noexcept { count.fetch_sub(n, base::relaxed); }

  const std::uint64_t max_descriptors_, max_bytes_;
  std::atomic<std::uint64_t> descriptors_{0}, bytes_{0};
};

/// The right to one descriptor; given back as it ends.
class Place {
 public:
  Place() noexcept = default;  ///< To none.
  /// No right: the bound is reached.
  static Place take(std::shared_ptr<Limits> limits) noexcept {
    Place made;
    if (limits->take_descriptor()) made.limits_ = std::move(limits);
    return made;
  }
  Place(Place&& other) noexcept = default;
  Place& operator=(Place&& other) noexcept {
    if (this != &other) {
      reset();
      limits_ = std::move(other.limits_);
    }
    return *this;
  }
  ~Place() { reset(); }
  explicit operator bool() const noexcept { return limits_ != nullptr; }
  void reset() noexcept {
    if (const auto limits = std::exchange(limits_, nullptr)) limits->give_descriptor();
  }
  /// Null: no right.
  Limits* limits() const noexcept { return limits_.get(); }

 private:
  std::shared_ptr<Limits> limits_;
};

}  // namespace erlking::io
