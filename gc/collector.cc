#include "gc/collector.h"

#include "gc/backends.h"

namespace erlking::gc {
namespace {

struct Backend {
  std::string_view name;
  std::unique_ptr<Collector> (*make)(const CollectorOptions&) noexcept;
  const char* (*refusal)() noexcept = nullptr;  // why it cannot be had; null, or answers null: it can
};
constexpr Backend kBackends[] = {{"owned", make_owned}, {"region", make_region}, {"boehm", make_boehm, boehm_refusal}};

const char* refusal(const Backend& backend) noexcept {
  return backend.refusal == nullptr ? nullptr : backend.refusal();
}

void add(LocalStats& sum, const LocalStats& part) noexcept {
  sum.allocated += part.allocated;
  sum.freed += part.freed;
  sum.allocated_bytes += part.allocated_bytes;
  sum.freed_bytes += part.freed_bytes;
}

}  // namespace

std::expected<std::unique_ptr<Collector>, std::string> make_collector(std::string_view name,
                                                                      const CollectorOptions& options) {
  for (const Backend& backend : kBackends) {
    if (backend.name != name) continue;
    if (const char* const why = refusal(backend)) {
      return std::unexpected("the heap \"" + std::string(name) + "\" cannot be had: " + why);
    }
    if (auto collector = backend.make(options)) return collector;
    return std::unexpected("no memory for the heap \"" + std::string(name) + "\"");
  }
  std::string message = "unknown heap \"" + std::string(name) + "\"; valid are:";
  for (const std::string_view valid : collector_names()) message.append(" ").append(valid);
  return std::unexpected(std::move(message));
}

std::vector<std::string_view> collector_names() {
  std::vector<std::string_view> names;
  for (const Backend& backend : kBackends) {
    if (refusal(backend) == nullptr) names.push_back(backend.name);
  }
  return names;
}

Collector::~Collector() {
  const base::MutexLock lock(mutex_);
  EK_CHECK(locals_.load(base::relaxed) == nullptr);
}

void Collector::attach(Local& local) noexcept {
  const base::MutexLock lock(mutex_);
  Local* const first = locals_.load(base::relaxed);
  local.next_.store(first, base::relaxed);
  local.prev_ = nullptr;
  if (first != nullptr) first->prev_ = &local;
  locals_.store(&local, base::release);  // for_each_stopped_local() may come in between
}

void Collector::detach(Local& local) noexcept {
  const base::MutexLock lock(mutex_);
  Local* const next = local.next_.load(base::relaxed);
  (local.prev_ == nullptr ? locals_ : local.prev_->next_).store(next, base::release);
  if (next != nullptr) next->prev_ = local.prev_;
  add(departed_, local.stats());
}

void Collector::add_locals(HeapStats& stats) const noexcept {
  const base::MutexLock lock(mutex_);
  LocalStats sum = departed_;
  for (const Local* local = locals_.load(base::relaxed); local != nullptr; local = local->next_.load(base::relaxed)) {
    add(sum, local->stats());
  }
  stats.blocks_allocated = sum.allocated;
  stats.blocks_freed = sum.freed;
  // Between threads at work a free may be seen whose allocation is not yet: then the live count is taken as none.
  stats.blocks_live = sum.allocated > sum.freed ? sum.allocated - sum.freed : 0;
  stats.bytes_live = sum.allocated_bytes > sum.freed_bytes ? sum.allocated_bytes - sum.freed_bytes : 0;
}

std::uint64_t Collector::freed_bytes() const noexcept {
  const base::MutexLock lock(mutex_);
  std::uint64_t freed = departed_.freed_bytes;
  for (const Local* local = locals_.load(base::relaxed); local != nullptr; local = local->next_.load(base::relaxed)) {
    freed += local->stats().freed_bytes;
  }
  return freed;
}

}  // namespace erlking::gc
