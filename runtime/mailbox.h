// Mailbox: many senders, one receiver, exactly bounded; intrusive, so an idle process owns no slots and signals ride
// along in the order of their sender's messages. The part of a mailbox that senders touch: 32 bytes, on one line.
//   operation     who            when it cannot
//   push_message  any thread     full, closed: the caller keeps the message
//   push_signal   any thread     closed: the caller keeps it (signals are never refused for want of room)
//   take          the receiver   null: nothing accepted since the last take
//   park          the receiver   false: something was accepted; take it
//   wake          whoever may end a wait (a timer)   false: the receiver does not wait
//
//   M1  word = [head of a LIFO of Items 42][sent 20][signal 1][waiting 1]; every change is one CAS. Closed is head 0,
//       both bits.
//   M2  Bound: a sender loads word (acquire), then consumed; sent − consumed >= bound, taken as a signed 20-bit
//       difference, is full at once: the box was full when consumed was read. Negative: the word is outdated, the CAS
//       will fail. The CAS proves the word, and consumed only grows, so sent − consumed never exceeds the bound
//       [mailbox-word].
//   M3  waiting is set by CAS only on an empty word with nothing unseen: whoever clears it owes the wake. A message
//       that clears it does not enter the list: it is handed over in `direct` (counted in sent all the same).
//   M4  consumed grows by one per message that has left, after it has (release) [mailbox-consumed]: a sender may see
//       too many, never too few. Messages dropped for a stale stamp leave, too.
//   M5  A signal never goes to direct and sets `signal`, so that the receiver knows by one relaxed load that one
//       waits.
//   M6  Reuse: close() wipes the word; reopen() continues sent one further, so a sender stalled over a whole
//       incarnation cannot take the new word for the old. Items carry the pid they were sent to, which survives what
//       is left.
// Why not a ring: a million idle processes would own its slots, and signals need the messages' order without their
// bound. Exactness holds unless a sender is stalled between load and CAS while exactly k·2^20 messages pass: then bound
// + 1. Cost of a message: 1 CAS to push, 1 CAS per take of all that is there, or 1 per park; one line.
#pragma once

#include "base/assert.h"
#include "base/atomic.h"

#include <cstdint>

namespace erlking {

/// What became of a push.
enum class Push : std::uint8_t {
  queued,  ///< in the list
  woke,    ///< the receiver waited: the caller must make it ready
  full,    ///< refused: the caller keeps the message
  closed,  ///< no such process (any more): the caller keeps it
};

/// `Item` needs a member `Item* next` and 64-byte alignment.
template <class Sync, class Item>
class Mailbox {
 public:
  static constexpr std::uint32_t kSentBits = 20;
  static constexpr std::uint32_t kSentMask = (1u << kSentBits) - 1;
  /// Bounds are 1 to this: half the count's range, less room for senders under way.
  static constexpr std::uint32_t kMaxBound = 500'000;

  // --- senders: any thread ---

  /// Delivers `item` to the incarnation `id`. kWaiting: the second try of a sender that has joined the waiting list;
  /// its loads must be ordered after that (seq_cst) [mailbox-waiters].
  template <bool kWaiting = false>
  [[gnu::always_inline]] Push push_message(Item* item, std::uint64_t id) noexcept {
    std::uint64_t word = word_.load(kWaiting ? base::seq_cst : base::acquire);  // [mailbox-word] M2
    for (;;) {
      if (is_closed(word) || id_.load(base::relaxed) != id) return Push::closed;  // relaxed: after word's acquire (M6)
      const std::uint32_t consumed = consumed_.load(kWaiting ? base::seq_cst : base::acquire);  // [mailbox-consumed] M4
      if (difference(sent(word), consumed) >=
          static_cast<std::int32_t>(bound_.load(kWaiting ? base::seq_cst : base::relaxed))) [[unlikely]] {
        return id_.load(base::relaxed) == id ? Push::full : Push::closed;
      }
      if ((word & kWaitingBit) != 0) {
        // acquire half: the receiver's direct = null before its park; seq_cst half: waiters, tickets [mailbox-waiters]
        if (word_.compare_exchange_strong(word, with_sent(0, sent(word) + 1), base::seq_cst, base::acquire)) {
          EK_DCHECK(direct_.get() == nullptr);
          direct_.set(item);  // plain: the queue that carries the wake publishes it (M3)
          return Push::woke;
        }
      } else {
        item->next = head(word);
        if (word_.compare_exchange_strong(word, with_sent(pack(item) | (word & kSignalBit), sent(word) + 1),
                                          base::seq_cst, base::acquire)) {
          return Push::queued;
        }
      }
    }
  }

  /// What push_message<true> would say, without pushing: queued if there is room.
  Push probe(std::uint64_t id) const noexcept {
    const std::uint64_t word = word_.load(base::seq_cst);  // [mailbox-waiters]
    if (is_closed(word) || id_.load(base::relaxed) != id) return Push::closed;
    const std::int32_t waiting = difference(sent(word), consumed_.load(base::seq_cst));
    return waiting >= static_cast<std::int32_t>(bound_.load(base::seq_cst)) ? Push::full : Push::queued;
  }

  /// Delivers a signal to the incarnation `id`.
  Push push_signal(Item* item, std::uint64_t id) noexcept {
    std::uint64_t word = word_.load(base::acquire);  // [mailbox-word]
    for (;;) {
      if (is_closed(word) || id_.load(base::relaxed) != id) return Push::closed;
      item->next = head(word);
      const std::uint64_t wanted = with_sent(pack(item) | kSignalBit, sent(word));
      // seq_cst: the caller loads the receiver's ticket next [ticket-armed]
      if (word_.compare_exchange_strong(word, wanted, base::seq_cst, base::acquire)) {
        return (word & kWaitingBit) != 0 ? Push::woke : Push::queued;
      }
    }
  }

  /// Ends the receiver's wait without a message. False: it does not wait (now).
  bool wake() noexcept {
    std::uint64_t word = word_.load(base::acquire);
    while ((word & kWaitingBit) != 0 && !is_closed(word)) {
      if (word_.compare_exchange_strong(word, word & ~kWaitingBit, base::seq_cst, base::acquire)) return true;
    }
    return false;
  }

  /// Whether incarnation `id` is open.
  bool is_open(std::uint64_t id) const noexcept {
    return !is_closed(word_.load(base::acquire)) && id_.load(base::relaxed) == id;
  }

  /// The same, ordered after the caller's last seq_cst store.
  bool is_open_seq_cst(std::uint64_t id) const noexcept {
    return !is_closed(word_.load(base::seq_cst)) && id_.load(base::relaxed) == id;
  }

  // --- the receiver ---

  /// Everything accepted since the last take, newest first; null: nothing. *signals: whether signals are among it.
  /// *waiting, if asked: messages accepted until then and not consumed.
  Item* take(bool* signals, std::int32_t* waiting = nullptr) noexcept {
    std::uint64_t word = word_.load(base::relaxed);  // relaxed: the CAS proves it
    for (;;) {
      if (head(word) == nullptr) return nullptr;
      EK_DCHECK(!is_closed(word) && (word & kWaitingBit) == 0);
      if (word_.compare_exchange_strong(word, with_sent(0, sent(word)), base::seq_cst, base::relaxed)) {
        *signals = (word & kSignalBit) != 0;
        if (waiting != nullptr) *waiting = difference(sent(word), consumed_.load(base::relaxed));
        return head(word);
      }
    }
  }

  /// A look: whether take() would find something, and whether a signal is among it. relaxed: take() acquires.
  bool has_any() const noexcept { return head(word_.load(base::relaxed)) != nullptr; }
  bool has_signal() const noexcept { return (word_.load(base::relaxed) & kSignalBit) != 0; }
  /// The same after arming a ticket: ordered against the signal's push [ticket-armed].
  bool has_signal_seq_cst() const noexcept { return (word_.load(base::seq_cst) & kSignalBit) != 0; }

  /// Begins to wait. False: the word is not empty. On true somebody else decides when this process runs again.
  bool park() noexcept {
    EK_DCHECK(direct_.get() == nullptr);
    std::uint64_t word = word_.load(base::relaxed);
    if (head(word) != nullptr) return false;
    EK_DCHECK((word & (kWaitingBit | kSignalBit)) == 0);  // M3, M5
    return word_.compare_exchange_strong(word, word | kWaitingBit, base::seq_cst, base::relaxed);
  }

  /// What was handed over to end the wait; null if something else ended it. Once per wake.
  Item* take_direct() noexcept {
    Item* const item = direct_.get();
    if (item != nullptr) direct_.set(nullptr);
    return item;
  }

  /// A message has left (M4).
  void consume() noexcept {
    EK_DCHECK(is_closed(word_.load(base::relaxed)) ||
              difference(sent(word_.load(base::relaxed)), consumed_.load(base::relaxed)) > 0);  // never passes sent
    consumed_.store((consumed_.load(base::relaxed) + 1) & kSentMask, base::release);            // [mailbox-consumed]
  }

  /// Whether a sender would find room: seq_cst, for the look at the waiting list after a park or a fence
  /// [mailbox-waiters].
  bool has_room() const noexcept {
    return difference(sent(word_.load(base::seq_cst)), consumed_.load(base::relaxed)) <
           static_cast<std::int32_t>(bound_.load(base::relaxed));
  }

  /// Messages accepted and not yet consumed. Any thread; exact for the receiver.
  std::uint32_t size() const noexcept {
    const std::uint64_t word = word_.load(base::acquire);
    const std::int32_t d = is_closed(word) ? 0 : difference(sent(word), consumed_.load(base::acquire));
    return d > 0 ? static_cast<std::uint32_t>(d) : 0;
  }

  std::uint32_t bound() const noexcept { return bound_.load(base::relaxed); }
  void set_bound(std::uint32_t bound) noexcept { bound_.store(bound, base::relaxed); }  // senders see it soon
  std::uint64_t id() const noexcept { return id_.load(base::relaxed); }

  /// Ends the incarnation: nothing is accepted any more. Returns what was in the list, newest first (direct is apart).
  Item* close() noexcept {
    const std::uint64_t word = word_.exchange(kClosed, base::seq_cst);
    EK_DCHECK(!is_closed(word));
    consumed_.store(sent(word), base::relaxed);  // kept for reopen; nobody accepts it while closed
    return head(word);
  }

  /// Begins the incarnation `id` of a closed (or never used) slot (M6); `waiting`: its receiver waits already (M3).
  void reopen(std::uint64_t id, std::uint32_t bound, bool waiting = false) noexcept {
    EK_DCHECK(is_closed(word_.load(base::relaxed)) && direct_.get() == nullptr);
    id_.store(id, base::relaxed);  // before the word (release): who reads the open word reads this id or a later one
    bound_.store(bound, base::relaxed);
    const std::uint32_t start = (consumed_.load(base::relaxed) + 1) & kSentMask;
    consumed_.store(start, base::relaxed);
    word_.store(with_sent(waiting ? kWaitingBit : 0, start), base::release);  // [mailbox-word]
  }

  /// Makes a never used slot closed.
  void init_closed() noexcept { word_.store(kClosed, base::release); }

 private:
  static constexpr std::uint64_t kWaitingBit = 1, kSignalBit = 2, kClosed = kWaitingBit | kSignalBit;
  static constexpr unsigned kSentShift = 2, kHeadShift = kSentShift + kSentBits;

  static bool is_closed(std::uint64_t word) noexcept { return (word & kClosed) == kClosed; }
  static std::uint32_t sent(std::uint64_t word) noexcept {
    return static_cast<std::uint32_t>(word >> kSentShift) & kSentMask;
  }
  static Item* head(std::uint64_t word) noexcept { return reinterpret_cast<Item*>((word >> kHeadShift) << 6); }
  static std::uint64_t pack(const Item* item) noexcept {
    return (reinterpret_cast<std::uint64_t>(item) >> 6) << kHeadShift;
  }
  static std::uint64_t with_sent(std::uint64_t rest, std::uint32_t sent) noexcept {
    return rest | std::uint64_t{sent & kSentMask} << kSentShift;
  }
  // Signed, 20 bits: sent − consumed.
  static std::int32_t difference(std::uint32_t sent, std::uint32_t consumed) noexcept {
    return static_cast<std::int32_t>((sent - consumed) << (32 - kSentBits)) >> (32 - kSentBits);
  }

  typename Sync::template atomic<std::uint64_t> word_{kClosed};
  typename Sync::template var<Item*> direct_{};                // winner of waiting writes, woken receiver reads
  typename Sync::template atomic<std::uint64_t> id_{0};        // the incarnation: the pid
  typename Sync::template atomic<std::uint32_t> consumed_{0};  // receiver writes
  typename Sync::template atomic<std::uint32_t> bound_{0};
};

}  // namespace erlking
