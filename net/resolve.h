// resolve(): the addresses of a host, by name.
#pragma once

#include "io/io.h"
#include "runtime/bound.h"

#include <expected>
#include <string>
#include <vector>

namespace erlking {

/// The addresses of `host`, in the order in which to try them: as the system looks them up (/etc/hosts, DNS), on a
/// spare thread. A number is its own address. Fails with no_such_host; unreachable: no server answers; timed_out,
/// cancelled. The system's search cannot be stopped: after timed_out it occupies its thread until it ends by itself.
std::expected<std::vector<std::string>, IoError> resolve(std::string host, Bound bound);

}  // namespace erlking
