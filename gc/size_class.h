// Size classes of the message heap: steps of 64 bytes to 512, then four steps a doubling to 32 KiB. So a block is
// always 64-byte aligned, a multiple of 64 bytes (mailbox words pack addresses that way), and at most 1/4 wasted above
// 512. Constant functions; any thread.
#pragma once

#include <bit>
#include <cstddef>

namespace erlking::gc {

/// Every block is aligned to this many bytes and a multiple of it long.
inline constexpr std::size_t kGrain = 64;
/// Number of size classes; an index runs from 0 to kClasses - 1.
inline constexpr unsigned kClasses = 32;
/// What size_class() says of more than kSmallMax bytes: such a block is the collector's, one by one.
inline constexpr unsigned kLarge = kClasses;
/// Bytes of the largest class.
inline constexpr std::size_t kSmallMax = 32 * 1024;
/// Most blocks in a magazine, the unit in which blocks change threads.
inline constexpr unsigned kMagazineMax = 128;
/// Most bytes in a magazine: bounds what a thread may hoard of the bigger classes.
inline constexpr std::size_t kMagazineBytes = 64 * 1024;

/// The smallest class that holds `bytes` (0 counts as 1), or kLarge.
constexpr unsigned size_class(std::size_t bytes) noexcept {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<unsigned>((bytes - 1) / kGrain);
  if (bytes > kSmallMax) return kLarge;
  const std::size_t last = bytes - 1;
  const unsigned doubling = static_cast<unsigned>(std::bit_width(last)) - 1;  // 9 for 512..1023
  return 8 + (doubling - 9) * 4 + static_cast<unsigned>((last >> (doubling - 2)) & 3);
}

/// Bytes in a block of class `cls`, which must be below kClasses.
constexpr std::size_t class_size(unsigned cls) noexcept {
  if (cls < 8) return (cls + 1) * kGrain;
  const std::size_t base = std::size_t{512} << ((cls - 8) / 4);
  return base + ((cls - 8) % 4 + 1) * (base / 4);
}

/// Blocks in a full magazine of class `cls`: 128, fewer where that would be more than 64 KiB, never fewer than 2.
constexpr unsigned magazine_size(unsigned cls) noexcept {
  const std::size_t fit = kMagazineBytes / class_size(cls);
  return fit > kMagazineMax ? kMagazineMax : static_cast<unsigned>(fit);
}

static_assert(class_size(kClasses - 1) == kSmallMax && size_class(kSmallMax) == kClasses - 1);
static_assert(magazine_size(0) == kMagazineMax && magazine_size(kClasses - 1) == 2);

}  // namespace erlking::gc
