// The heaps there are, for collector.cc's table. Internal to gc.
#pragma once

#include "gc/collector.h"

#include <memory>

namespace erlking::gc {

/// Moved messages, magazines over slabs; see collector_owned.cc. Null: out of memory.
std::unique_ptr<Collector> make_owned(const CollectorOptions& options) noexcept;

}  // namespace erlking::gc
