// The heaps there are, for collector.cc's table. Internal to gc.
#pragma once

#include "gc/collector.h"

#include <memory>

namespace erlking::gc {

/// Moved messages, magazines over slabs; see collector_owned.cc. Null: out of memory.
std::unique_ptr<Collector> make_owned(const CollectorOptions& options) noexcept;
/// The same memory, for a runtime that keeps regions. Null: out of memory.
std::unique_ptr<Collector> make_region(const CollectorOptions& options) noexcept;
/// Traced by the Boehm collector; see collector_boehm.cc. Null: out of memory. Only while boehm_refusal() answers null.
std::unique_ptr<Collector> make_boehm(const CollectorOptions& options) noexcept;
/// Why there is none in this program, a sentence; null: there is.
const char* boehm_refusal() noexcept;

}  // namespace erlking::gc
