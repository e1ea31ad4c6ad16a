// A free block and a magazine of them: what passes between a Local and its Collector. A free block's first word links
// it to the next; the rest is dead, and poisoned under AddressSanitizer so that a use after free is reported.
// Plain data: whoever holds the magazine owns its blocks, and hands them on under a lock.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace erlking::gc {

/// A block nobody uses.
struct Block {
  Block* next;
};

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
