#include "examples/kv/value.h"

#include <array>

namespace kv {

bool Set::add(std::string_view member) {
  if (contains(member)) return false;
  // Nothing is half added without memory.
  if (order_.size() == order_.capacity()) order_.reserve(2 * order_.size() + 8);
  const auto at = places_.emplace(member, order_.size()).first;
  order_.push_back(&at->first);
  bytes_ += member.size() + kMemberCost;
  return true;
}

bool Set::remove(std::string_view member) {
  const auto at = places_.find(member);
  if (at == places_.end()) return false;
  const std::size_t place = at->second;
  order_[place] = order_.back();
  places_.find(*order_[place])->second = place;
  order_.pop_back();
  bytes_ -= at->first.size() + kMemberCost;
  places_.erase(at);
  return true;
}

std::optional<double> Ranking::score_of(std::string_view member) const {
  const auto at = scores_.find(member);
  return at == scores_.end() ? std::nullopt : std::optional(at->second);
}

bool Ranking::put(std::string_view member, double score) {
  const auto [at, fresh] = scores_.try_emplace(std::string(member), score);
  if (fresh) {
    try {
      order_.emplace(score, at->first);
    } catch (...) {
      scores_.erase(at);
      throw;
    }
    bytes_ += member.size() + 2 * kMemberCost;
    return true;
  }
  auto node = order_.extract({at->second, at->first});
  at->second = node.value().first = score;
  order_.insert(std::move(node));
  return false;
}

bool Ranking::remove(std::string_view member) {
  const auto at = scores_.find(member);
  if (at == scores_.end()) return false;
  order_.erase({at->second, at->first});
  bytes_ -= at->first.size() + 2 * kMemberCost;
  scores_.erase(at);
  return true;
}

std::string_view to_string(Type type) noexcept {
  constexpr std::array<std::string_view, 5> names = {"string", "list", "set", "hash", "zset"};
  return names[static_cast<std::size_t>(type)];
}

std::size_t bytes_of(const Value& value) noexcept {
  switch (type_of(value)) {
    case Type::string:
      return std::get<std::string>(value).size();
    case Type::list:
      return std::get<std::unique_ptr<List>>(value)->bytes;
    case Type::set:
      return std::get<std::unique_ptr<Set>>(value)->bytes();
    case Type::hash:
      return std::get<std::unique_ptr<Fields>>(value)->bytes;
    default:
      return std::get<std::unique_ptr<Ranking>>(value)->bytes();
  }
}

}  // namespace kv
