#include "runtime/peer_index.h"

#include <memory>
#include <tsl/robin_map.h>
#include <utility>

namespace erlking::detail {

namespace {

// Asked for each entry that is sought, and for each that is moved as the table grows.
template <class Steps>
struct Hash {
  Steps* steps;
  std::size_t operator()(std::uint64_t key) const noexcept {
    steps->add(1);
    return key;
  }
};

// Asked for each entry that is passed on the way.
template <class Steps>
struct Same {
  Steps* steps;
  bool operator()(std::uint64_t a, std::uint64_t b) const noexcept {
    steps->add(1);
    return a == b;
  }
};

}  // namespace

template <class Steps>
struct PeerIndex<Steps>::Map
    : tsl::robin_map<std::uint64_t, std::size_t, Hash<Steps>, Same<Steps>,
                     std::allocator<std::pair<std::uint64_t, std::size_t>>, false, tsl::rh::prime_growth_policy> {
  using Map::robin_map::robin_map;
};

template <class Steps>
PeerIndex<Steps>::PeerIndex(Steps& steps) : map_(new Map(0, Hash<Steps>{&steps}, Same<Steps>{&steps})) {
  map_->max_load_factor(0.7f);
}

template <class Steps>
PeerIndex<Steps>::~PeerIndex() = default;

template <class Steps>
std::size_t PeerIndex<Steps>::find(std::uint64_t key) const noexcept {
  const auto it = std::as_const(*map_).find(key);
  return it == map_->cend() ? kNone : it->second;
}

template <class Steps>
void PeerIndex<Steps>::add(std::uint64_t key, std::size_t at) {
  map_->emplace(key, at);
}

template <class Steps>
void PeerIndex<Steps>::move(std::uint64_t key, std::size_t at) noexcept {
  map_->find(key).value() = at;
}

template <class Steps>
void PeerIndex<Steps>::remove(std::uint64_t key) noexcept {
  map_->erase(key);  // not by an iterator, which would look for the next entry
}

template class PeerIndex<StepCount>;
template class PeerIndex<NoStepCount>;

}  // namespace erlking::detail
