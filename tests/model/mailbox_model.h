// What the Worlds over a Mailbox share: items whose every field is checked for races, and the truth about what is in.
#pragma once

// clang-format off
#include "tests/model/model_sync.h"

#include "runtime/mailbox.h"
// clang-format on

namespace erlking::model {

/// A message or a signal; 64-byte alignment is what the mailbox's word asks for.
struct alignas(64) Item {
  Link<Item> next;
  Model::var<int> sender, number;
  Model::var<bool> signal;
  Model::var<std::uint64_t> id;  // the incarnation it was sent to

  void fill(int from, int which, bool is_signal, std::uint64_t to) {
    sender.set(from), number.set(which), signal.set(is_signal), id.set(to);
  }
};

/// Newest first to oldest first.
inline Item* reversed(Item* newest) {
  Item* oldest = nullptr;
  while (newest != nullptr) {
    Item* const following = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = following;
  }
  return oldest;
}

/// One receiver (thread 0) and its mailbox, open as kId. The ghosts change with the operation itself: no scheduling
/// point lies between the CAS or store that counts and the counting.
class Receiver {
 public:
  static constexpr std::uint64_t kId = 0x500000001;

  explicit Receiver(std::uint32_t bound) : bound_(bound) {
    watch.word = &box;  // the word is its first member
    watch.writer = 0;
    box.reopen(kId, bound);
  }

  // any thread
  Push send(Item& item, std::uint64_t id = kId) { return sent(box.push_message(&item, id)); }
  Push send_again(Item& item, std::uint64_t id = kId) { return sent(box.push_message<true>(&item, id)); }
  Push signal(Item& item, std::uint64_t id = kId) {
    const Push push = box.push_signal(&item, id);
    require(push != Push::full, "a signal is never refused for want of room");
    if (push == Push::woke) gate.ready();
    return push;
  }
  void send_until_accepted(Item& item) {
    while (send(item) == Push::full) Model::pause();
  }

  // the receiver
  void consume() {
    box.consume();
    watch.ghost = ++consumed_;
  }
  bool park() {
    if (!box.park()) return false;
    ++parks_;
    return true;
  }

  void expect_empty() {
    require(!box.has_any() && box.size() == 0 && consumed_ == sent_, "everything accepted was consumed");
    require(gate.readied() == parks_ && gate.waits() == parks_ && gate.is_clear(), "one wake per park");
  }

  Mailbox<Model, Item> box;
  Gate gate;

 private:
  Push sent(Push push) {
    if (push == Push::queued || push == Push::woke) {
      ++sent_;
      require(sent_ - consumed_ <= bound_, "never more than the bound");
    } else if (push == Push::full) {
      expect_was_full();
    }
    if (push == Push::woke) gate.ready();
    return push;
  }

  // M2: full is only said of a word that was full, given what the receiver had consumed when it last changed that word.
  void expect_was_full() {
    const std::uint64_t word = watch.last_read[rl::thread_index()];
    const std::uint32_t start = 1;  // reopen of a fresh slot
    const std::uint32_t sent = (static_cast<std::uint32_t>(word >> 2) & Mailbox<Model, Item>::kSentMask) - start;
    for (unsigned i = 0; i < watch.changes; ++i) {
      if (watch.value[i] == word && sent - watch.known[i] >= bound_) return;
    }
    require(false, "full, but that word was not");
  }

  const std::uint32_t bound_;
  std::uint32_t sent_ = 0, consumed_ = 0;
  unsigned parks_ = 0;
};

/// Numbers of each sender come as 1, 2, 3, …
template <int kSenders>
class Order {
 public:
  void next(Item& item, const Location& at = Location::current()) {
    int& before = last_[item.sender.get()];
    require(item.number.get() == before + 1, "each sender's items come in order, once", at);
    ++before;
  }
  /// Likewise, with gaps: items that were refused.
  void later(Item& item, const Location& at = Location::current()) {
    int& before = last_[item.sender.get()];
    require(item.number.get() > before, "each sender's items come in order, once", at);
    before = item.number.get();
  }

 private:
  std::array<int, kSenders> last_{};
};

}  // namespace erlking::model
