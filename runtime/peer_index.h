// PeerIndex: where in a PeerTable beyond 16 entries each key is. An open hash table (tsl::robin_map) whose places are
// keys modulo a prime: refs count up and so lie side by side, which a hundred thousand DOWNs in their order walk along
// without a cache miss for each; pids of one slot, 2^28 apart, spread all the same. Its process only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace erlking::detail {

/// Entries that were compared, hashed or moved.
struct StepCount {
  std::uint64_t taken = 0;
  void add(std::size_t steps) noexcept { taken += steps; }
};
struct NoStepCount {
  void add(std::size_t) noexcept {}
};

template <class Steps>
class PeerIndex {
 public:
  static constexpr std::size_t kNone = ~std::size_t{0};

  /// Throws std::bad_alloc.
  explicit PeerIndex(Steps& steps);
  PeerIndex(const PeerIndex&) = delete;
  PeerIndex& operator=(const PeerIndex&) = delete;
  ~PeerIndex();

  /// kNone: it is not there.
  std::size_t find(std::uint64_t key) const noexcept;
  /// `key` is not there. May throw std::bad_alloc, and then changes nothing.
  void add(std::uint64_t key, std::size_t at);
  /// `key` is there.
  void move(std::uint64_t key, std::size_t at) noexcept;
  void remove(std::uint64_t key) noexcept;

 private:
  struct Map;
  std::unique_ptr<Map> map_;
};

extern template class PeerIndex<StepCount>;
extern template class PeerIndex<NoStepCount>;

}  // namespace erlking::detail
