#include "gc/local.h"

#include "gc/collector.h"

#include <algorithm>
#include <utility>

namespace erlking::gc {

Local::Local(Collector& collector, bool lean) noexcept
    : lean_(lean), collector_(collector), tracer_(collector.tracer()) {
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    set_length(cls, 0);
    if (tracer_ != nullptr) bins_[cls].kept = 0;
  }
  collector_.attach(*this);
}

Local::~Local() {
  flush();
  collector_.detach(*this);
}

void Local::flush() noexcept {
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    Bin& bin = bins_[cls];
    for (unsigned i = 0; i != bin.spares; ++i) collector_.drain(*this, cls, {spares_[cls][i], magazine_size(cls)});
    if (bin.head != nullptr) collector_.drain(*this, cls, {bin.head, length(cls)});
    bin.head = nullptr;
    bin.spares = 0;
    set_length(cls, 0);
  }
}

void* Local::allocate_large(std::size_t bytes) noexcept { return collector_.allocate_large(bytes); }

void Local::free_large(void* block, std::size_t bytes) noexcept { collector_.free_large(block, bytes); }

LocalStats Local::stats() const noexcept {
  LocalStats sum;
  // Freed first: a block freed between the two readings then counts as live rather than as freed twice.
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    const std::uint64_t freed = bins_[cls].freed.load(base::relaxed);
    const std::uint64_t allocated = bins_[cls].allocated.load(base::relaxed);
    sum.freed += freed;
    sum.freed_bytes += freed * class_size(cls);
    sum.allocated += allocated;
    sum.allocated_bytes += allocated * class_size(cls);
  }
  return sum;
}

unsigned Local::length(unsigned cls) const noexcept {
  const Bin& bin = bins_[cls];
  return static_cast<unsigned>(magazine_size(cls) + bin.freed.load(base::relaxed) - bin.allocated.load(base::relaxed) -
                               bin.mark);
}

void Local::set_length(unsigned cls, unsigned length) noexcept {
  Bin& bin = bins_[cls];
  bin.mark = magazine_size(cls) + bin.freed.load(base::relaxed) - bin.allocated.load(base::relaxed) - length;
}

[[gnu::noinline]] void* Local::allocate_miss(unsigned cls) noexcept {
  Bin& bin = bins_[cls];
  if (bin.spares != 0) {
    bin.head = spares_[cls][--bin.spares];
    set_length(cls, magazine_size(cls));
  } else {
    const Magazine magazine = collector_.refill(*this, cls);
    if (magazine.head == nullptr) return nullptr;
    EK_CHECK(magazine.count >= 1 && magazine.count <= magazine_size(cls));
    bin.head = magazine.head;
    set_length(cls, magazine.count);
  }
  return allocate(cls);
}

// The list is a full magazine: it becomes a spare, and if there are enough the coldest goes to the depot. No walk.
[[gnu::noinline]] void Local::free_miss(void* block, unsigned cls) noexcept {
  Bin& bin = bins_[cls];
  if (tracer_ != nullptr) {
    new (block) Block{reinterpret_cast<Block*>(kDropped)};
    bump(bin.freed);
    return;
  }
  Block** const spares = spares_[cls];
  if (bin.spares == spares_most(cls)) {
    collector_.drain(*this, cls, {spares[0], magazine_size(cls)});
    std::copy(spares + 1, spares + bin.spares, spares);
    --bin.spares;
  }
  spares[bin.spares++] = std::exchange(bin.head, nullptr);
  set_length(cls, 0);
  free(block, cls);
}

}  // namespace erlking::gc
