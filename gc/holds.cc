#include "gc/holds.h"

namespace erlking::gc {

base::Real::atomic<const Holds*> detail::holds{nullptr};

void set_holds(const Holds& holds) noexcept { detail::holds.store(&holds, base::release); }  // [holds]

}  // namespace erlking::gc
