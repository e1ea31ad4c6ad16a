// Flight: the last events of one worker, in a ring of words that it overwrites as it goes; read by whoever wants to
// know what happened just before, a crash handler among them. An event is one word, or one and those that go on with
// it; what kinds there are beside the ring's own, and what they hold, says the layer above (runtime/flight_word.h).
//
//   F1  Owner thread writes: the word (release), then the count of all written (release) [flight-word] [flight-count].
//   F2  A reader takes the count (acquire), the words (acquire), the count again: what was overwritten meanwhile was
//       stored after a count that this look finds, so what may have been overwritten is thrown away. Each word
//       is whole. One that is cut off from the word it goes on with is thrown away, too.
//   F3  Time is too dear to be asked for at each event (20 ns): marks hold it, made at ticks, before a sleep and after
//       it; the events between two marks lie between their times. The last mark is kept beside the ring, for when
//       events have pushed all of them out.
//   F4  The stall of one event: a branch (off), or two loads and two stores. Nothing is allocated after open().
#pragma once

#include "base/atomic.h"
#include "base/clock.h"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace erlking::sched {

/// The kinds of word that sched itself writes; the low six bits of each word. Those above kOwnKinds are runtime's.
enum class FlightKind : std::uint8_t {
  none,   ///< never written
  tick,   ///< a mark: the time
  sleep,  ///< a mark: it lies down
  wake,   ///< a mark: it has got up
  steal,  ///< took tasks from another worker: its index, their number << 16
};
inline constexpr unsigned kOwnKinds = 8, kFlightKindBits = 6;
inline constexpr std::uint64_t kFlightKindMask = (1u << kFlightKindBits) - 1;

class Flight {
 public:
  Flight() noexcept = default;
  ~Flight();
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;

  /// Begins to record, the last `words` of them, rounded up to a power of two; 0: stays off. Once, before its worker
  /// runs. False: no memory; it stays off.
  bool open(std::size_t words) noexcept;
  /// Words it holds; 0: it is off.
  std::size_t size() const noexcept { return words_ == nullptr ? 0 : mask_ + 1; }

  // --- owner thread only ---

  bool is_on() const noexcept { return words_ != nullptr; }
  [[gnu::always_inline]] void record(std::uint64_t word) noexcept {
    if (words_ == nullptr) [[unlikely]]
      return;
    const std::uint64_t n = count_.load(base::relaxed);  // relaxed: its own
    words_[n & mask_].store(word, base::release);        // [flight-word]
    count_.store(n + 1, base::release);                  // [flight-count]
  }
  /// An event of two words.
  [[gnu::always_inline]] void record(std::uint64_t word, std::uint64_t more) noexcept {
    if (words_ == nullptr) [[unlikely]]
      return;
    const std::uint64_t n = count_.load(base::relaxed);  // relaxed: its own
    words_[n & mask_].store(word, base::release);        // [flight-word]
    words_[(n + 1) & mask_].store(more, base::release);  // [flight-word]
    count_.store(n + 2, base::release);                  // [flight-count]
  }
  /// A mark (F3): `kind` is tick, sleep or wake, `now` the real time.
  void mark(FlightKind kind, base::Nanos now) noexcept;

  // --- any thread, a signal handler, too ---

  /// Words written so far.
  std::uint64_t count() const noexcept { return count_.load(base::acquire); }  // [flight-count]
  /// The word of that number, which may be a later one's: see first_kept(). It is on.
  std::uint64_t word(std::uint64_t number) const noexcept {
    return words_[number & mask_].load(base::acquire);  // [flight-word] F2
  }
  /// After words below `count` have been read: the first that was surely not overwritten meanwhile. It is on.
  std::uint64_t first_kept() const noexcept {
    const std::uint64_t begun = count_.load(base::acquire) + kMost;  // [flight-count] an event may be under way
    return begun > size() ? begun - size() : 0;
  }
  /// The time of the last mark; 0: none yet.
  base::Nanos marked_at() const noexcept { return marked_at_.load(base::relaxed); }  // relaxed: an estimate
  /// The most words of one record().
  static constexpr std::uint64_t kMost = 2;

  static constexpr std::uint64_t value_word(std::uint64_t value, FlightKind kind) noexcept {
    return value << kFlightKindBits | static_cast<std::uint64_t>(kind);
  }

 private:
  std::atomic<std::uint64_t>* words_ = nullptr;  // null: off
  std::uint64_t mask_ = 0;
  std::atomic<std::uint64_t> count_{0};
  std::atomic<base::Nanos> marked_at_{0};
};

}  // namespace erlking::sched
