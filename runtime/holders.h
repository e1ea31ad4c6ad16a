// Who holds the memory: the processes for which the most bytes wait, with what they hold and what their stacks take. To
// see whose mailbox it is when a heap grows: Runtime::holders(), and `erlking memory` at the inspection socket
// (docs/tree.md).
//
//   MH1  All mailboxes are looked at for how many messages wait; the deepest, eight for each place in the listing, are
//        asked what these take. So it costs a look at a line per process, and a question to a few. A mailbox of few but
//        large messages may so be missed where many are deeper (SpawnOptions::max_memory is for that), and nobody is
//        asked for whom nothing waits.
#pragma once

#include "runtime/bound.h"
#include "runtime/pid.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace erlking {

/// A process and what it holds.
struct MemoryHolder {
  Pid pid;                          ///< who
  std::string name = {};            ///< registered; empty: none
  std::string label = {};           ///< what set_label() said; empty: nothing, or no answer
  std::string entry = {};           ///< the type of its function or class; empty: no answer
  std::uint32_t mailbox_depth = 0;  ///< messages that wait. Known without an answer
  bool answered = false;            ///< whether the rest is known
  std::size_t queued_bytes = 0;     ///< ProcessInfo::queued_bytes
  std::size_t max_memory = 0;       ///< ProcessInfo::max_memory
  std::size_t held_bytes = 0;       ///< ProcessInfo::held_bytes
  std::size_t stack_used = 0;       ///< ProcessInfo::stack_used
};

/// Where a runtime's messages wait.
struct MemoryHolders {
  std::vector<MemoryHolder>
      holders;  ///< most bytes, queued and held, first; who has not answered by its depth, behind all others
  std::uint64_t processes = 0;  ///< alive, the one that asks among them
  std::uint64_t messages = 0;   ///< that wait for all of them, roughly
  std::size_t heap_bytes = 0;   ///< taken from the system for messages, in use or idle
  std::size_t heap_used = 0;    ///< of these, in use
};

/// The most a listing can have.
inline constexpr std::size_t kMemoryHoldersMax = 1'000;

/// Looks at the caller's runtime, for at most `bound` in all; at most `most` holders, 1 to 1,000 (more counts as that).
/// Many safe points. No memory: std::bad_alloc.
MemoryHolders memory_holders(Bound bound, std::size_t most = 10);

/// As lines of text, in columns. What is not printable in names is shown as \xNN.
std::string to_text(const MemoryHolders& holders);
/// As JSON; what is no UTF-8 becomes U+FFFD.
std::string to_json(const MemoryHolders& holders);

}  // namespace erlking
