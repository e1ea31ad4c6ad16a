// A free block and a magazine of them: what passes between a Local and its Collector. A free block's first word links
// it to the next; the rest is dead, and poisoned under AddressSanitizer so that a use after free is reported.
// Plain data: whoever holds the magazine owns its blocks, and hands them on under a lock.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace erlking::gc {

/// A block nobody uses.
struct Block {
  Block* next;
};

/// How a block in use looks to a heap that traces (Tracer): its first 32 bytes are its head, which is not scanned. Of
/// the first word the lowest bit is set, which that of a free block's link never is, and keeps the block from being
/// taken; the next bit says that nothing behind the head need be scanned; the upper half is the number of bytes to look
/// at, head included. A block just allocated has a first word without these bits, and lives as long as a stack or a
/// register points at it.
inline constexpr std::uint16_t kInUse = 1, kPointerFree = 2;
inline constexpr std::size_t kBlockHead = 32;

/// The first word of a block that such a heap has been given back.
inline constexpr std::uintptr_t kDropped = 4;

/// A chain of free blocks of one class, which its holder knows; `count` 0 and `head` null when empty.
struct Magazine {
  Block* head = nullptr;
  unsigned count = 0;
};

/// Marks a free block's bytes behind its link as not to be touched. Costs nothing outside AddressSanitizer.
inline void poison([[maybe_unused]] Block* block, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(block + 1, bytes - sizeof(Block));
#endif
}

/// Makes `bytes` from `memory` usable again.
inline void unpoison([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(memory, bytes);
#endif
}

}  // namespace erlking::gc
