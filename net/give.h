// give: hands what has a descriptor over to another process, whose it is from then on: a Socket, a Listener, a Pipe, a
// Udp, a File, a Subprocess.
#pragma once

#include "net/readiness.h"
#include "runtime/send.h"

#include <type_traits>
#include <utility>

namespace erlking {

/// send(), by the name of what it does: the other gets a message of that type. Refused (full, noproc) it is still the
/// caller's; in a mailbox whose process ends it closes.
template <detail::HasDescriptor T>
requires(!std::is_lvalue_reference_v<T>) Delivery give(const To& to, T&& what) { return send(to, std::move(what)); }

}  // namespace erlking
