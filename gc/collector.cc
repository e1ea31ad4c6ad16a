#include "gc/collector.h"

#include "gc/backends.h"

namespace erlking::gc {
namespace {

struct Backend {
  std::string_view name;
  std::unique_ptr<Collector> (*make)(const CollectorOptions&) noexcept;
};
constexpr Backend kBackends[] = {{"owned", make_owned}};

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
    if (auto collector = backend.make(options)) return collector;
    return std::unexpected("no memory for the heap \"" + std::string(name) + "\"");
  }
  std::string message = "unknown heap \"" + std::string(name) + "\"; valid are:";
  for (const Backend& backend : kBackends) message.append(" ").append(backend.name);
  return std::unexpected(std::move(message));
}

std::vector<std::string_view> collector_names() {
  std::vector<std::string_view> names;
  for (const Backend& backend : kBackends) names.push_back(backend.name);
  return names;
}

Collector::~Collector() {
  const base::MutexLock lock(mutex_);
  EK_CHECK(locals_ == nullptr);
}

void Collector::attach(Local& local) noexcept {
  const base::MutexLock lock(mutex_);
  local.next_ = locals_;
  local.prev_ = nullptr;
  if (locals_ != nullptr) locals_->prev_ = &local;
  locals_ = &local;
}

void Collector::detach(Local& local) noexcept {
  const base::MutexLock lock(mutex_);
  (local.prev_ == nullptr ? locals_ : local.prev_->next_) = local.next_;
  if (local.next_ != nullptr) local.next_->prev_ = local.prev_;
  add(departed_, local.stats());
}

void Collector::add_locals(HeapStats& stats) const noexcept {
  const base::MutexLock lock(mutex_);
  LocalStats sum = departed_;
  for (const Local* local = locals_; local != nullptr; local = local->next_) add(sum, local->stats());
  stats.blocks_allocated = sum.allocated;
  stats.blocks_freed = sum.freed;
  // Between threads at work a free may be seen whose allocation is not yet: then the live count is taken as none.
  stats.blocks_live = sum.allocated > sum.freed ? sum.allocated - sum.freed : 0;
  stats.bytes_live = sum.allocated_bytes > sum.freed_bytes ? sum.allocated_bytes - sum.freed_bytes : 0;
}

}  // namespace erlking::gc
