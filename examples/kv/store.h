// Store: one part of the keys, with what they hold and when they expire. Of one process.
//
//   S1  A chain of entries per bucket, twice as many buckets when there are as many entries; then each operation moves
//       a few buckets, so that none waits for all of them. Buckets that have moved are behind moved_.
//   S2  scan() visits buckets in the order of their reversed index. So what is there from its beginning to its end is
//       visited, however the table grows meanwhile; perhaps twice.
//   S3  While it is dumped, an entry is written out as it was when the dump began: dump_some() does so in passing, and
//       touch(), before a change, for the entry that is about to change. An entry whose `dumped` is this dump's number
//       has been written, or is younger than the dump.
#pragma once

#include "examples/kv/value.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

/// A key and what it holds.
struct Entry {
  Entry* next = nullptr;
  std::uint64_t hash = 0;
  std::int64_t expires = kNever;  ///< milliseconds since the epoch
  std::uint32_t dumped = 0;       ///< S3
  std::string key;
  Value value;

  static constexpr std::int64_t kNever = INT64_MAX;
};

/// See the head of this file. `now` is milliseconds since the epoch.
class Store {
 public:
  Store();
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// The entry of a key; null: none. One that has expired is erased, and on_expired called.
  Entry* find(std::string_view key, std::uint64_t hash, std::int64_t now);
  /// Adds one, empty, for a key that is not there.
  Entry& add(std::string_view key, std::uint64_t hash);
  /// Before a change of an entry that was found (S3).
  void touch(Entry& entry) {
    if (dumping_ && entry.dumped != dump_) dump(entry);
  }
  /// Its value has changed from holding `before` bytes.
  void changed(const Entry& entry, std::size_t before) noexcept { bytes_ += bytes_of(entry.value) - before; }
  void set_expiry(Entry& entry, std::int64_t when) noexcept;
  void erase(Entry& entry);
  void clear();
  /// Takes over an entry of another store.
  void adopt(std::unique_ptr<Entry> entry);
  /// Gives all its entries away.
  void drain(const std::function<void(std::unique_ptr<Entry>)>& to);

  std::size_t size() const noexcept { return size_; }
  std::size_t bytes() const noexcept { return bytes_; }           ///< An estimate of the memory it takes.
  std::size_t with_expiry() const noexcept { return expiring_; }  ///< Entries that will expire.
  /// Called with the key of each entry that has expired, as it is erased.
  std::function<void(std::string_view key)> on_expired;

  /// Visits the entries of one bucket, or of the two it has been split into, after a cursor; the next cursor, 0: that
  /// was the last (S2). The entries must not be changed.
  std::uint64_t scan(std::uint64_t cursor, const std::function<void(Entry&)>& visit) const;
  /// Erases what has expired in some buckets, fewer than `most`, going round.
  void sweep(std::int64_t now, std::size_t most);

  /// Begins a dump; one under way is given up (S3).
  void begin_dump();
  void end_dump() noexcept;  ///< Gives it up.
  /// Goes on with it, until `out`, which takes it (Commands), is about so large; false: all is written.
  bool dump_some(std::string& out, std::size_t bytes);
  /// Writes one entry, as commands that make it (commands.h).
  using Write = void (*)(const Entry& entry, std::string& out);
  void set_dump_writer(Write write) noexcept { write_ = write; }

 private:
  struct Buckets {
    std::vector<Entry*> heads;
    std::size_t mask() const noexcept { return heads.size() - 1; }
  };
  static constexpr std::size_t kCost = sizeof(Entry) + 24;

  Entry** place_of(std::uint64_t hash) noexcept;
  Entry** link_to(const Entry& entry) noexcept;
  void grow_if_full();
  void move_some(std::size_t buckets);
  void link(Entry& entry) noexcept;
  std::unique_ptr<Entry> unlink(Entry** link) noexcept;
  void dump(Entry& entry);
  void dump_on(std::size_t bytes);

  Buckets now_, before_;   // before_: what is being left, if anything (S1)
  std::size_t moved_ = 0;  // buckets of before_ that have been
  std::size_t size_ = 0, bytes_ = 0, expiring_ = 0;
  std::uint64_t swept_ = 0;  // a cursor
  bool dumping_ = false;
  std::uint32_t dump_ = 0;
  std::uint64_t dump_cursor_ = 0;
  std::string dumped_;  // by touch()
  Write write_ = nullptr;
};

}  // namespace kv
