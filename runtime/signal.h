// Signals: what travels between processes besides messages, in the same inbox, uncounted and never refused
// (SEMANTICS §1, §14). A signal is an Item of one 64-byte block, and its answer travels in the same block: a LINK is
// kept by its receiver and becomes the EXIT it owes, a MONITOR becomes the DOWN, an UNLINK its acknowledgement. So
// whoever asks has paid for the answer, and a death allocates nothing.
#pragma once

#include "gc/gc.h"
#include "runtime/message.h"
#include "runtime/pid.h"
#include "runtime/reason.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <string>

namespace erlking {

class Process;

/// A monitored process has ended (or never was: reason `noproc`). `name` is set if the monitor was made by name.
struct Down {
  MonitorRef ref;               ///< which monitor
  Pid pid;                      ///< who has ended; null: nobody had the name
  Reason reason;                ///< why
  Ref<const std::string> name;  ///< the monitor's, or empty
};

/// A linked process has ended, or somebody said exit(pid, reason); only while trapping exits.
struct Exit {
  Pid from;       ///< who has ended, or who said exit(); null: a thread
  Reason reason;  ///< why
};

namespace detail {

template <>
inline constexpr MessageKind kind_of<Exit> = MessageKind::exit;

enum class SignalKind : std::uint16_t {
  link,        // from
  unlink,      // from, ref: the unlink's number
  unlink_ack,  // from, ref
  exit_link,   // from, reason: the process at the other end of a link has ended
  exit_plain,  // from, reason: exit(pid, reason)
  monitor,     // from: the watcher, ref
  demonitor,   // from, ref
  down,        // from: the watched, ref, reason, name
  nudge,       // a source of a select may be ready (select.h V1)
  query,       // from, ref: the asker's ticket number, answer: what writes the answer
};

/// Runs in the process asked (null: it is gone) and writes the answer into the asker's cell.
using QueryAnswer = void (*)(Process* asked, void* cell) noexcept;

struct SignalBody {
  Pid from;
  std::uint64_t ref = 0;
  Reason reason;
  union {
    Ref<const std::string> name;  // monitor, down
    QueryAnswer answer;           // query
  };
  SignalBody() noexcept : name() {}
  ~SignalBody() {}
};
static_assert(sizeof(SignalBody) == 32 && sizeof(Down) == 32);

/// The block of every signal, and of the Down or Exit message it may become.
inline constexpr std::size_t kSignalBytes = 64;

inline SignalBody& signal_body(Item& item) noexcept { return *item.body<SignalBody>(); }
inline SignalKind signal_kind(const Item& item) noexcept { return static_cast<SignalKind>(item.signal); }

inline bool has_name(SignalKind kind) noexcept { return kind == SignalKind::monitor || kind == SignalKind::down; }

/// Destroys the body, leaving the block to be filled anew or freed.
inline void destroy_signal(Item& item) noexcept {
  SignalBody& body = signal_body(item);
  if (has_name(signal_kind(item))) body.name.~Ref();
  body.reason.~Reason();
}

/// Fills a block of kSignalBytes.
inline Item* make_signal(void* block, SignalKind kind, Pid from, std::uint64_t ref = 0) noexcept {
  Item* const item = new (block) Item;
  item->flags = Item::kInUse | Item::kPointerFree;
  item->bytes = kSignalBytes;
  item->signal = static_cast<std::uint16_t>(kind);
  auto* const body = new (item->body<SignalBody>()) SignalBody;
  body->from = from;
  body->ref = ref;
  return item;
}

/// Makes the signal another: the answer travels in the question's block.
inline void become(Item& item, SignalKind kind, Pid from) noexcept {
  item.signal = static_cast<std::uint16_t>(kind);
  signal_body(item).from = from;
}

}  // namespace detail
}  // namespace erlking
