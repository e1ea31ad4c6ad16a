// Value: what a key holds, one of Redis' five types. Each collection counts the bytes it holds as it changes.
#pragma once

#include "base/random.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace kv {

/// What a key, or a member of a collection, hashes to; the same in every run, for the files say which part owns a key.
inline std::uint64_t hash_of(std::string_view text) noexcept { return std::hash<std::string_view>()(text); }

/// So that a table of strings is searched by a string_view.
struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept { return hash_of(text); }
};
/// An estimate of what a member costs beside its bytes.
inline constexpr std::size_t kMemberCost = 64;

/// A list.
struct List {
  std::deque<std::string> items;
  std::size_t bytes = 0;
};

/// A set, of which members can be drawn at random.
class Set {
 public:
  bool add(std::string_view member);
  bool remove(std::string_view member);
  bool contains(std::string_view member) const { return places_.contains(member); }
  std::size_t size() const noexcept { return order_.size(); }
  /// Any member; there must be one.
  const std::string& draw(erlking::base::Random& random) const { return *order_[random.below(order_.size())]; }
  const std::vector<const std::string*>& members() const noexcept { return order_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::unordered_map<std::string, std::size_t, Hash, std::equal_to<>> places_;
  std::vector<const std::string*> order_;  // the keys of places_, each at its place
  std::size_t bytes_ = 0;
};

/// A table of fields.
struct Fields {
  std::unordered_map<std::string, std::string, Hash, std::equal_to<>> values;
  std::size_t bytes = 0;
};

/// Members by score, those of one score by name.
class Ranking {
 public:
  /// Nothing: there is no such member.
  std::optional<double> score_of(std::string_view member) const;
  /// Adds it or gives it another score; true: it is new.
  bool put(std::string_view member, double score);
  bool remove(std::string_view member);
  std::size_t size() const noexcept { return order_.size(); }
  using Order = std::set<std::pair<double, std::string_view>>;
  const Order& order() const noexcept { return order_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::unordered_map<std::string, double, Hash, std::equal_to<>> scores_;
  Order order_;  // of the keys of scores_
  std::size_t bytes_ = 0;
};

/// In the order of Value's alternatives.
enum class Type : std::uint8_t { string, list, set, hash, zset };
using Value = std::variant<std::string, std::unique_ptr<List>, std::unique_ptr<Set>, std::unique_ptr<Fields>,
                           std::unique_ptr<Ranking>>;
/// As TYPE spells it.
std::string_view to_string(Type type) noexcept;
inline Type type_of(const Value& value) noexcept { return static_cast<Type>(value.index()); }
/// What it holds, about.
std::size_t bytes_of(const Value& value) noexcept;

}  // namespace kv
