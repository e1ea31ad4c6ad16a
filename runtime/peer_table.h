// PeerTable: a process's links, or its monitors, or those who monitor it: key → record. Most processes have none or a
// few: a flat array, searched backwards; beyond 16 an index beside it, so that a hundred thousand cost no more each: a
// few steps, counted in debug builds. Its process only. Adding may throw std::bad_alloc and then changes nothing.
#pragma once

#include "runtime/peer_index.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace erlking::detail {

#if defined(EK_DEBUG)
using UsualStepCount = StepCount;
#else
using UsualStepCount = NoStepCount;
#endif

template <class Record, class Steps = UsualStepCount>
class PeerTable {
 public:
  PeerTable() = default;
  PeerTable(const PeerTable&) = delete;  // the index counts its steps here
  PeerTable& operator=(const PeerTable&) = delete;

  struct Entry {
    explicit Entry(std::uint64_t given) noexcept : key(given) {}
    std::uint64_t key;
    Record record{};
  };

  Record* find(std::uint64_t key) noexcept {
    const std::size_t at = position(key);
    return at == kNone ? nullptr : &entries_[at].record;
  }

  /// A fresh record; `key` must not be in it. The reference holds until the next change.
  Record& add(std::uint64_t key) {
    if (entries_.size() == entries_.capacity()) {
      entries_.reserve(entries_.size() * 2 + 2);
      steps_.add(entries_.size());
    }
    if (index_ != nullptr) {
      index_->add(key, entries_.size());
    } else if (entries_.size() >= kFlat) {
      auto index = std::make_unique<Index>(steps_);
      for (std::size_t i = 0; i < entries_.size(); ++i) index->add(entries_[i].key, i);
      index->add(key, entries_.size());
      index_ = std::move(index);
    }
    return entries_.emplace_back(key).record;
  }

  /// True and the record in *out (if not null) if it was there.
  bool remove(std::uint64_t key, Record* out = nullptr) noexcept {
    const std::size_t at = position(key);
    if (at == kNone) return false;
    if (out != nullptr) *out = std::move(entries_[at].record);
    if (index_ != nullptr) index_->remove(key);
    if (at + 1 != entries_.size()) {
      entries_[at] = std::move(entries_.back());
      if (index_ != nullptr) index_->move(entries_[at].key, at);
    }
    entries_.pop_back();
    return true;
  }

  const Steps& steps() const noexcept { return steps_; }
  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  auto begin() noexcept { return entries_.begin(); }
  auto end() noexcept { return entries_.end(); }
  /// Moves all entries out, in the order they were added, but for those moved up by removals.
  std::vector<Entry> take_all() noexcept {
    index_.reset();
    steps_.add(entries_.size());
    return std::exchange(entries_, {});
  }

 private:
  using Index = PeerIndex<Steps>;
  static constexpr std::size_t kFlat = 16, kNone = Index::kNone;

  std::size_t position(std::uint64_t key) const noexcept {
    if (index_ != nullptr) return index_->find(key);
    for (std::size_t i = entries_.size(); i-- > 0;) {
      steps_.add(1);
      if (entries_[i].key == key) return i;
    }
    return kNone;
  }

  std::vector<Entry> entries_;
  std::unique_ptr<Index> index_;
  [[no_unique_address]] mutable Steps steps_;
};

}  // namespace erlking::detail
