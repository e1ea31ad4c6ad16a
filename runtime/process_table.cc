#include "runtime/process_table.h"

#include <algorithm>
#include <new>
#include <sys/mman.h>

namespace erlking::detail {

namespace {
constexpr std::size_t kBytes = std::size_t{ProcessTable::kSlots} * sizeof(Process);
constexpr std::size_t kSmallPages = std::size_t{4} << 20;  // bytes, in pages of the usual size
}  // namespace

ProcessTable::ProcessTable(std::uint32_t max, std::uint32_t spare, unsigned tag) noexcept
    : max_(std::min(max, kMaxProcesses)), limit_(std::min(max_ + spare + 1, kSlots)), tag_(tag) {
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;
  // Slots of many processes are touched at random: huge pages spare most of the page walks. Few need none.
  madvise(static_cast<std::byte*>(memory) + kSmallPages, kBytes - kSmallPages, MADV_HUGEPAGE);
  base_ = static_cast<Process*>(memory);
  new (&base_[0]) Process;  // nobody
  used_.store(1, base::release);
}

ProcessTable::~ProcessTable() {
  if (base_ == nullptr) return;
  for (std::uint32_t i = 0; i < used(); ++i) base_[i].~Process();
  munmap(base_, kBytes);
}

std::uint32_t ProcessTable::take(std::uint32_t* out, std::uint32_t n) noexcept {
  base::MutexLock lock(mutex_);
  std::uint32_t given = 0;
  while (given < n && ring_size_ != 0) {
    out[given++] = ring_[ring_head_];
    ring_head_ = (ring_head_ + 1) % ring_.size();
    --ring_size_;
  }
  std::uint32_t used = used_.load(base::relaxed);
  try {
    // Room for every slot there is, so that give() never allocates.
    const std::size_t wanted = std::min<std::size_t>(limit_, used + n - given);
    if (ring_.size() < wanted) {
      std::vector<std::uint32_t> larger(std::min<std::size_t>(limit_, std::max<std::size_t>(wanted, ring_.size() * 2)));
      for (std::size_t i = 0; i < ring_size_; ++i) larger[i] = ring_[(ring_head_ + i) % ring_.size()];
      ring_ = std::move(larger);
      ring_head_ = 0;
    }
  } catch (const std::bad_alloc&) {
    n = given;  // what has been used before will do
  }
  while (given < n && used < limit_) {
    new (&base_[used]) Process;
    out[given++] = used++;
  }
  used_.store(used, base::release);  // used()'s acquire: the slots below are constructed
  out_ += given;
  count_out();
  return given;
}

void ProcessTable::count_out() noexcept { scarce_.store(out_ > max_, base::relaxed); }  // relaxed: see is_scarce()

void ProcessTable::give(const std::uint32_t* slots, std::uint32_t n) noexcept {
  base::MutexLock lock(mutex_);
  for (std::uint32_t i = 0; i < n; ++i) {
    ring_[(ring_head_ + ring_size_++) % ring_.size()] = slots[i];
  }
  out_ -= n;
  count_out();
}

void SlotCache::flush() noexcept {
  while (size_ != 0) spill();
}

bool SlotCache::refill() noexcept {
  std::uint32_t batch[kBatch];
  const std::uint32_t n = table_.take(batch, batch_);
  for (std::uint32_t i = 0; i < n; ++i) slots_[(head_ + size_++) % kSize] = batch[i];
  return n != 0;
}

void SlotCache::spill() noexcept {
  std::uint32_t batch[kBatch];
  std::uint32_t n = 0;
  while (n < kBatch && size_ != 0) {
    batch[n++] = slots_[head_++ % kSize];
    --size_;
  }
  table_.give(batch, n);
}

}  // namespace erlking::detail
