// Ticket: how a process waits for anything but a message — a reply, room in another's mailbox, time — and the cell a
// call's answer arrives in. One word [number 61][state 3]; the number never comes back, not even when the slot is
// reused.
//
//   state   who leaves it      to
//   idle    owner (begin)      open, with the next number
//   open    owner (arm)        armed        any answerer (claim)   claim      owner (revoke)  idle
//   armed   any waker (wake)   open         any answerer (claim)   claim      owner (disarm)  open
//   claim   its answerer       done, without blocking in between
//   done    owner (begin)      open, with the next number
//
//   K1  Whoever changes armed to something else (a waker, an answerer) makes the owner ready, exactly once.
//   K2  An answer counts only for its number: a late one finds another and is dropped.
//   K3  A wake does not revoke: an answer may still come between the wake and the next arm().
//   K4  done is stored (release) after the answer's value is written; the owner reads done (acquire) first [ticket-
//       done].
//   K5  The owner arms (seq_cst), then looks for signals (seq_cst); a signal is pushed (seq_cst), then its sender
//       looks at the ticket (seq_cst): one of them sees the other [ticket-armed].
// Cost of a call's answer: one CAS to arm, one to claim, one release store.
#pragma once

#include "base/assert.h"
#include "base/atomic.h"

#include <cstdint>

namespace erlking {

template <class Sync>
class Ticket {
 public:
  enum State : std::uint64_t { idle, open, armed, claim, done };

  // --- owner ---

  /// Begins a wait with a number of its own. The last one must be over (idle or done).
  std::uint64_t begin() noexcept {
    const std::uint64_t word = word_.load(base::relaxed);  // relaxed: nobody else leaves idle or done
    EK_DCHECK(state_of(word) == idle || state_of(word) == done);
    const std::uint64_t number = (word >> kStateBits) + 1;
    word_.store(pack(number, open), base::release);  // release: what the owner set up before, for whoever claims
    return number;
  }
  /// open → armed: from now on a wake makes the owner ready. False: answered, or being answered.
  bool arm(std::uint64_t number) noexcept { return change(number, open, armed); }  // [ticket-armed]
  /// armed → open. False: a wake is under way: the owner must use it up (switch away once).
  bool disarm(std::uint64_t number) noexcept { return change(number, armed, open); }
  /// open → idle: no answer will be taken any more. False: one is there or about to be (wait for done).
  bool revoke(std::uint64_t number) noexcept { return change(number, open, idle); }
  std::uint64_t number() const noexcept {
    return word_.load(base::relaxed) >> kStateBits;
  }                                                                             // relaxed: only the owner changes it
  State state() const noexcept { return state_of(word_.load(base::acquire)); }  // [ticket-done] K4

  // --- anyone ---

  /// armed → open for that number (K1).
  bool wake(std::uint64_t number) noexcept { return change(number, armed, open); }
  /// armed → open whatever the number; after a signal was pushed (K5).
  bool wake_any() noexcept {
    std::uint64_t word = word_.load(base::seq_cst);  // [ticket-armed] K5
    while (state_of(word) == armed) {
      if (word_.compare_exchange_strong(word, pack(word >> kStateBits, open), base::seq_cst, base::seq_cst))
        return true;
    }
    return false;
  }
  /// Whether `number` is the current wait's, not yet over, and armed.
  enum class Look : std::uint8_t { stale, not_armed, is_armed };
  Look look(std::uint64_t number) const noexcept {
    const std::uint64_t word = word_.load(base::acquire);
    const State state = state_of(word);
    if (word >> kStateBits != number || state == idle || state == done) return Look::stale;
    return state == armed ? Look::is_armed : Look::not_armed;
  }

  /// What claim() found.
  enum class Claim : std::uint8_t { lost, won, won_armed };
  /// The right to answer `number`. won_armed: the owner waits: make it ready after finish() (K1).
  Claim claim_answer(std::uint64_t number) noexcept {
    std::uint64_t word = word_.load(base::acquire);
    for (;;) {
      if (word >> kStateBits != number) return Claim::lost;  // K2
      const State state = state_of(word);
      if (state != open && state != armed) return Claim::lost;
      if (word_.compare_exchange_strong(word, pack(number, claim), base::acq_rel, base::acquire)) {
        return state == armed ? Claim::won_armed : Claim::won;
      }
    }
  }
  /// The answer is written (K4).
  void finish(std::uint64_t number) noexcept {
    EK_DCHECK(word_.load(base::relaxed) == pack(number, claim));  // its answerer alone leaves it
    word_.store(pack(number, done), base::release);               // [ticket-done]
  }

 private:
  static constexpr unsigned kStateBits = 3;
  static State state_of(std::uint64_t word) noexcept { return static_cast<State>(word & 7); }
  static std::uint64_t pack(std::uint64_t number, State state) noexcept { return number << kStateBits | state; }

  bool change(std::uint64_t number, State from, State to) noexcept {
    std::uint64_t expected = pack(number, from);
    return word_.compare_exchange_strong(expected, pack(number, to), base::seq_cst, base::acquire);
  }

  typename Sync::template atomic<std::uint64_t> word_{0};
};

}  // namespace erlking
