// What travels: a typed object in a block of the message heap, moved in by the sender, passed by pointer, moved out or
// destroyed by the receiver. No copy, no serialization inside a node.
//
//   Item      the block's head: link, stamp, type; the body follows. Signals are Items too (signal.h).
//   TypeInfo  one constant per message type: how to compare, name and destroy it
//   Message   an Item in user hands: what `[](Message)` receives
#pragma once

#include "gc/gc.h"
#include "runtime/message_bytes.h"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

namespace erlking {

/// What a message is to a behaviour (behaviour.h). In this order: the class gets what is no more than a call at once.
enum class MessageKind : std::uint8_t {
  plain,   ///< something sent
  call,    ///< a request that wants a reply
  exit,    ///< an Exit
  system,  ///< a request to the runtime's part of a behaviour
  idle,    ///< the tick of its idle timer
};

struct alignas(64) TypeInfo {  // its address has room for a kind (flight_word.h)
  std::uint64_t hash;  ///< of the name; 0: equal by address only (the type has no name another module could mean)
  std::string_view name;
  const std::type_info* id;   ///< tells local types of one name apart
  std::uint32_t body_offset;  ///< of the body in its Item, bytes
  void (*destroy)(void* body) noexcept;
  MessageKind kind = MessageKind::plain;
  std::size_t (*owned)(const void* body) = nullptr;  ///< bytes outside the body (message_bytes.h)
};

namespace detail {

constexpr std::uint64_t hash_name(std::string_view text) noexcept {  // FNV-1a, 64 bits
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash | 1;
}

template <class T>
consteval std::string_view type_name() noexcept {
  std::string_view text = __PRETTY_FUNCTION__;  // "… [with T = NAME; …]" (g++), "… [T = NAME]" (clang)
  text.remove_prefix(text.find("T = ") + 4);
  return text.substr(0, text.find_first_of(";]"));
}

// A name with internal linkage may mean another type in another module: such types are equal by address only.
constexpr bool nameable(std::string_view name) noexcept {
  return name.find("anonymous") == std::string_view::npos && name.find("lambda") == std::string_view::npos &&
         name.find("::<unnamed") == std::string_view::npos && name.find('(') == std::string_view::npos;
}

template <class T>
void destroy_body(void* body) noexcept {
  std::destroy_at(static_cast<T*>(body));
}

template <class T>
std::size_t owned_by_body(const void* body) {
  return owned_bytes(*static_cast<const T*>(body));
}

template <class T>
inline constexpr MessageKind kind_of = MessageKind::plain;

}  // namespace detail

struct Item;

/// The head of every message and signal, in a 64-byte aligned block of the message heap.
struct Item {
  std::uint16_t flags = kInUse;    // these three as gc::kBlockHead has it
  std::uint16_t signal = 0;        // which, if type is null; else region.h's: RG3
  std::uint32_t bytes = 0;         // of the block
  Item* next = nullptr;            // in a mailbox or a private list
  std::uint64_t stamp = 0;         // the pid it was sent to (one for an earlier tenant of the slot is dropped), or A1
  const TypeInfo* type = nullptr;  // null: a signal (signal.h)

  static constexpr std::uint16_t kInUse = gc::kInUse;              // always
  static constexpr std::uint16_t kPointerFree = gc::kPointerFree;  // its body holds no Gc
  static constexpr std::uint16_t kCounted = 4;   // takes a place in the bound: gives it back when it leaves
  static constexpr std::uint16_t kTimed = 8;     // a timer's: takes one of the places for timers instead (timer.h TM5)
  static constexpr std::uint16_t kDown = 16;     // its body begins with a Down (monitor.h)
  static constexpr std::uint16_t kAnswer = 32;   // its body begins with an AnswerHead (call.h)
  static constexpr std::uint16_t kMetered = 64;  // counted in bytes, too: taken off when it leaves (memory.h)
  static constexpr std::uint16_t kHeld = 128;    // in the region of the process that took it out (region.h)
  static constexpr std::uint16_t kHolds = 256;   // so are Refs in its body
  static constexpr std::uint16_t kRecorded = 512;  // its receipt is for the flight recorder
  static constexpr std::uint16_t kTallied = 1024;  // counted in the bytes its holder holds (region.h RG7)
  static constexpr std::uint16_t kKept = kHeld | kTallied;
  /// Those given, and what says nothing of the mailbox as it was.
  void set_flags(unsigned others) noexcept {
    flags = static_cast<std::uint16_t>(others | (flags & (kInUse | kPointerFree)));
  }

  template <class T>
  static constexpr std::uint32_t body_offset = alignof(T) <= 32 ? 32 : 64;
  template <class T>
  T* body() noexcept {
    return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(this) + body_offset<T>);
  }
  void* untyped_body() noexcept { return reinterpret_cast<std::byte*>(this) + type->body_offset; }
};
static_assert(sizeof(Item) == gc::kBlockHead && offsetof(Item, flags) == 0 && offsetof(Item, bytes) == 4);

/// What the runtime knows of T.
template <class T>
inline constexpr TypeInfo type_info_of{
    detail::nameable(detail::type_name<T>()) ? detail::hash_name(detail::type_name<T>()) : 0,
    detail::type_name<T>(),
    &typeid(T),
    Item::body_offset<T>,
    &detail::destroy_body<T>,
    detail::kind_of<T>,
    &detail::owned_by_body<T>};

namespace detail {
/// Types are equal by address, else (across shared objects) by name; its hash says mostly no.
inline bool same_type(const TypeInfo* a, const TypeInfo* b) noexcept {
  return a == b || (a->hash == b->hash && a->hash != 0 && *a->id == *b->id);
}
template <class T>
T* item_as(Item* item) noexcept {
  return same_type(item->type, &type_info_of<T>) ? item->body<T>() : nullptr;
}
/// `item`, kKept, is about to be given back or sent on. False: it is another process's, whose block stays until
/// that one ends (region.h).
bool let_go(Item& item) noexcept;
/// Destroys the body and frees the block; on a worker thread or a thread that holds the runtime's outside heap.
void drop_item(Item* item) noexcept;
}  // namespace detail

/// Any message, owned: destroyed with this object unless sent on (`send(to, std::move(message))`). Of the process that
/// received it; not to be kept beyond it.
class Message {
 public:
  /// No message.
  Message() noexcept = default;
  /// Takes the Item over; for the runtime.
  explicit Message(Item* item) noexcept : item_(item) {}
  Message(Message&& other) noexcept : item_(std::exchange(other.item_, nullptr)) {}
  Message& operator=(Message&& other) noexcept {
    Message(std::move(other)).swap(*this);
    return *this;
  }
  ~Message() {
    if (item_ != nullptr) detail::drop_item(item_);
  }

  /// The body if it is a T, else null. Exact: no conversions.
  template <class T>
  T* get() noexcept {
    return item_ == nullptr ? nullptr : detail::item_as<T>(item_);
  }
  /// The type's name as the compiler spells it; empty for an empty Message.
  std::string_view type_name() const noexcept { return item_ == nullptr ? std::string_view() : item_->type->name; }
  /// What it is to a behaviour; of an empty Message: plain.
  MessageKind kind() const noexcept { return item_ == nullptr ? MessageKind::plain : item_->type->kind; }
  /// Where its body lies, whatever its type; for the runtime. Not of an empty Message.
  void* body() noexcept { return item_->untyped_body(); }
  /// Whether it holds a message.
  explicit operator bool() const noexcept { return item_ != nullptr; }
  void swap(Message& other) noexcept { std::swap(item_, other.item_); }

  /// The Item, still owned; for the runtime.
  Item* item() const noexcept { return item_; }
  /// Gives the Item up; for the runtime.
  Item* release() noexcept { return std::exchange(item_, nullptr); }

 private:
  Item* item_ = nullptr;
};

template <class T>
concept Borrowed = std::is_pointer_v<T> || std::is_array_v<T> || std::is_same_v<T, std::string_view>;

/// What may be sent: a movable object that owns what it holds. Pointers, arrays and string_views are refused, because
/// what they point at is the sender's: send a std::string, a vector, a Ref. A refused object must find its way back: by
/// move assignment, or by a move construction that cannot fail.
template <class T>
concept Sendable = std::is_object_v<T> && std::move_constructible<T> &&
                   (std::is_move_assignable_v<T> || std::is_nothrow_move_constructible_v<T>)&&!std::is_const_v<T> &&
                   !Borrowed<T> && alignof(T) <= 64 && !std::is_same_v<T, Message>;

namespace detail {
// Why T&& is refused by send, one reason each.
template <class T>
concept Lent = Borrowed<std::remove_cvref_t<T>>;
template <class T>
concept Kept = std::is_lvalue_reference_v<T> && !Lent<T>;
template <class T>
concept Fixed = !Sendable<T> && !Kept<T> && !Lent<T> && !std::is_same_v<T, Message>;
}  // namespace detail

/// A message that names its reply: what call() takes.
template <class T>
concept Request = Sendable<T> && requires {
  typename T::Reply;
} && Sendable<typename T::Reply>;

}  // namespace erlking
