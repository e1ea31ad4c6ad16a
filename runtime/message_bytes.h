// message_bytes: how much memory a message takes, for bounds and listings. It counts the object itself and, of standard
// containers, strings and smart pointers, what they own. Nobody looks inside a struct: say it beside the type, where it
// is found by its argument:
//
//   struct Put { std::string key, value; };
//   std::size_t message_bytes(const Put& put) {
//     return erlking::message_bytes(put.key) + erlking::message_bytes(put.value);
//   }
//
// What many share (a Ref, a std::shared_ptr) counts as the reference alone. Asked as a message is sent to a process
// with a bound on memory (memory.h), and once as it is received: it must not wait, and must say the same both times.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace erlking {

namespace detail {

namespace own {
void message_bytes() = delete;  // so that only what lies beside T is found
template <class T>
concept Measured = requires(const T& object) {
  { message_bytes(object) } -> std::convertible_to<std::size_t>;
};
template <class T>
std::size_t ask(const T& object) {
  return message_bytes(object);
}
}  // namespace own

/// What T owns outside itself.
template <class T>
struct OwnedBytes {
  static constexpr bool none = true;
  static std::size_t of(const T&) noexcept { return 0; }
};

template <class T>
inline constexpr bool owns_nothing = !own::Measured<T> && OwnedBytes<T>::none;

template <class T>
std::size_t owned_bytes(const T& object) {
  if constexpr (own::Measured<T>) {
    const std::size_t all = own::ask(object);
    return all > sizeof(T) ? all - sizeof(T) : 0;
  } else {
    return OwnedBytes<T>::of(object);
  }
}

template <class Range>
std::size_t owned_by_each(const Range& range) {
  std::size_t sum = 0;
  if constexpr (!owns_nothing<typename Range::value_type>) {
    for (const auto& each : range) sum += owned_bytes(each);
  }
  return sum;
}

template <class C, class Traits, class A>
struct OwnedBytes<std::basic_string<C, Traits, A>> {
  static constexpr bool none = false;
  static std::size_t of(const std::basic_string<C, Traits, A>& text) noexcept {
    const auto* const data = reinterpret_cast<const std::byte*>(text.data());
    const auto* const self = reinterpret_cast<const std::byte*>(&text);
    const bool inside = !std::less<>()(data, self) && std::less<>()(data, self + sizeof text);
    return inside ? 0 : (text.capacity() + 1) * sizeof(C);
  }
};

template <class T, class A>
struct OwnedBytes<std::vector<T, A>> {
  static constexpr bool none = false;
  static std::size_t of(const std::vector<T, A>& all) {
    if constexpr (std::is_same_v<T, bool>) return all.capacity() / 8;
    return all.capacity() * sizeof(T) + owned_by_each(all);
  }
};

/// Deques, lists, sets, maps: their elements, each with what a node has besides.
template <class T>
concept Nodes = requires(const T& all) {
  typename T::value_type;
  typename T::allocator_type;
  { all.size() } -> std::convertible_to<std::size_t>;
  all.begin();
};
template <Nodes T>
struct OwnedBytes<T> {
  static constexpr bool none = false;
  static std::size_t of(const T& all) {
    constexpr std::size_t kNode = 4 * sizeof(void*);  // of libstdc++'s: 0 (deque) to 4
    return all.size() * (sizeof(typename T::value_type) + kNode) + owned_by_each(all);
  }
};

template <class T, std::size_t n>
struct OwnedBytes<std::array<T, n>> {
  static constexpr bool none = owns_nothing<T>;
  static std::size_t of(const std::array<T, n>& all) { return owned_by_each(all); }
};

template <class T>
struct OwnedBytes<std::optional<T>> {
  static constexpr bool none = owns_nothing<T>;
  static std::size_t of(const std::optional<T>& object) { return object ? owned_bytes(*object) : 0; }
};

template <class T>
struct OwnedBytes<std::unique_ptr<T>> {
  static constexpr bool none = false;
  static std::size_t of(const std::unique_ptr<T>& object) {
    return object != nullptr ? sizeof(T) + owned_bytes(*object) : 0;
  }
};

template <class A, class B>
struct OwnedBytes<std::pair<A, B>> {
  static constexpr bool none = owns_nothing<std::remove_const_t<A>> && owns_nothing<B>;
  static std::size_t of(const std::pair<A, B>& both) { return owned_bytes(both.first) + owned_bytes(both.second); }
};

template <class... Ts>
struct OwnedBytes<std::tuple<Ts...>> {
  static constexpr bool none = (owns_nothing<std::remove_cvref_t<Ts>> && ...);
  static std::size_t of(const std::tuple<Ts...>& all) {
    return std::apply([](const auto&... each) { return (owned_bytes(each) + ... + std::size_t{0}); }, all);
  }
};

template <class... Ts>
struct OwnedBytes<std::variant<Ts...>> {
  static constexpr bool none = (owns_nothing<Ts> && ...);
  static std::size_t of(const std::variant<Ts...>& any) {
    return any.valueless_by_exception() ? 0 : std::visit([](const auto& object) { return owned_bytes(object); }, any);
  }
};

struct MessageBytes {
  template <class T>
  std::size_t operator()(const T& object) const {
    return sizeof(T) + owned_bytes(object);
  }
};

}  // namespace detail

/// Bytes of `object` and of what it owns, as said above. Throws what the type's own message_bytes() throws.
inline constexpr detail::MessageBytes message_bytes;

}  // namespace erlking
