// The door of the message heap; other layers include only this.
//
//   Collector   a heap, chosen at start by name (make_collector)
//   Local       one thread's hands on it: allocate() and free() in about a nanosecond each
//   Ref         a counted reference to an immutable value, for what many processes read
//   Gc          a pointer to what a heap that traces frees: gc_new
//   Holds       what a heap of regions asks of Refs and descriptors
//   Roots       what such a heap asks of who uses it
#pragma once

#include "gc/collector.h"   // IWYU pragma: export
#include "gc/gc_new.h"      // IWYU pragma: export
#include "gc/holds.h"       // IWYU pragma: export
#include "gc/local.h"       // IWYU pragma: export
#include "gc/ref.h"         // IWYU pragma: export
#include "gc/roots.h"       // IWYU pragma: export
#include "gc/size_class.h"  // IWYU pragma: export
