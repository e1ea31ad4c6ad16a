// Holdings: the table of the objects in one process's own memory that count or own something (region.h RG4), by where
// they are: a Ref, a descriptor. And what the process is just making: a message, another process.
// Open addressing, linear probing; adding and taking are a few nanoseconds. The process's alone.
#pragma once

#include "gc/gc.h"
#include "runtime/message.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace erlking {

class Process;

namespace detail {

class Holdings {
 public:
  /// An object, and how its share is given back.
  struct Entry {
    const void* at = nullptr;
    void* what = nullptr;
    gc::GiveBack give_back = nullptr;
    std::uintptr_t extra = 0;
    /// Of a Ref, whose place may be looked at.
    bool is_unchanged() const noexcept {
      void* now;
      std::memcpy(&now, at, sizeof now);
      return now == what;
    }
  };

  Holdings() noexcept = default;
  ~Holdings() { std::free(entries_); }
  Holdings(const Holdings&) = delete;
  Holdings& operator=(const Holdings&) = delete;

  /// Adds it, or changes what is known of the object there. Without memory: no.
  void put(const Entry& entry) noexcept {
    if (size_ + 1 > capacity_ - capacity_ / 4 && !grow()) return;
    std::uint32_t i = place_of(entry.at);
    if (entries_[i].at == nullptr) ++size_;
    entries_[i] = entry;
  }
  /// False: it was not there.
  bool take(const void* at) noexcept {
    if (size_ == 0) return false;
    std::uint32_t hole = place_of(at);
    if (entries_[hole].at == nullptr) return false;
    --size_;
    // Those behind move up, so that none is cut off from where its search begins.
    for (std::uint32_t i = hole;;) {
      i = (i + 1) & (capacity_ - 1);
      if (entries_[i].at == nullptr) break;
      const std::uint32_t home = home_of(entries_[i].at);
      if (((i - home) & (capacity_ - 1)) < ((i - hole) & (capacity_ - 1))) continue;
      entries_[hole] = entries_[i];
      hole = i;
    }
    entries_[hole] = {};
    return true;
  }
  /// A Ref that is no longer what the table says is nobody's to drop; is_there(entry): whether it may be looked at.
  template <class IsThere>
  void forget_changed(IsThere&& is_there) noexcept {
    for (std::uint32_t i = 0; i != capacity_; ++i) {
      Entry& entry = entries_[i];
      if (entry.at == nullptr || entry.give_back != &gc::detail::drop_counted) continue;
      if (!is_there(std::as_const(entry)) || !entry.is_unchanged())
        entry.give_back = [](void*, std::uintptr_t) noexcept {};
    }
  }
  /// Calls f(entry) for each, in no order.
  template <class F>
  void for_each(F&& f) const {
    for (std::uint32_t i = 0; i != capacity_; ++i) {
      if (entries_[i].at != nullptr) f(entries_[i]);
    }
  }

  // The message being made, and the Refs in it so far; null: none is.
  static constexpr std::uint32_t kPending = 16;
  Item* body = nullptr;
  std::uint32_t pending_size = 0;
  const void* pending[kPending];

  // The process being born, and where its closure or state will be; null: none is.
  Process* newborn = nullptr;
  const std::byte *newborn_low = nullptr, *newborn_high = nullptr;

 private:
  std::uint32_t home_of(const void* at) const noexcept {
    const std::uint64_t hash = (reinterpret_cast<std::uintptr_t>(at) >> 3) * 0x9e3779b97f4a7c15u;
    return static_cast<std::uint32_t>(hash >> 32) & (capacity_ - 1);
  }
  // Where it is, or would be.
  std::uint32_t place_of(const void* at) const noexcept {
    std::uint32_t i = home_of(at);
    while (entries_[i].at != nullptr && entries_[i].at != at) i = (i + 1) & (capacity_ - 1);
    return i;
  }
  bool grow() noexcept {
    const std::uint32_t wanted = capacity_ == 0 ? 8 : 2 * capacity_;
    auto* const larger = static_cast<Entry*>(std::calloc(wanted, sizeof(Entry)));
    if (larger == nullptr) return size_ + 1 < capacity_;
    Entry* const old = std::exchange(entries_, larger);
    const std::uint32_t old_capacity = std::exchange(capacity_, wanted);
    for (std::uint32_t i = 0; i != old_capacity; ++i) {
      if (old[i].at != nullptr) entries_[place_of(old[i].at)] = old[i];
    }
    std::free(old);
    return true;
  }

  Entry* entries_ = nullptr;
  std::uint32_t size_ = 0, capacity_ = 0;  // a power of two, or 0
};

/// After a fault, before its stack is overwritten: forgets what another process or a wild write has changed unseen.
/// For the signal handler: takes no lock, allocates nothing.
void check_holdings(Process& process) noexcept;

}  // namespace detail
}  // namespace erlking
