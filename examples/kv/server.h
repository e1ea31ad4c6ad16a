// The server's tree:
//
//   root ─┬─ storage ─┬─ log             one_for_all: what a part has in memory is what the log has read and taken
//         │           └─ part-0…
//         ├─ rewriter                    rest_for_one: what comes later counts on what comes before
//         ├─ hub
//         ├─ front ───┬─ connections ─── a process for each, never started anew
//         │           └─ listener
//         └─ steward                     significant: when it ends (SHUTDOWN), the tree does, in the reverse order
//
// Without a folder there are no log and rewriter.
#pragma once

#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <memory>

namespace kv {

inline constexpr const char* kSteward = "steward";  ///< Whom Stop is sent to.
/// Ends the server in order.
struct Stop {};

/// See the head of this file.
erlking::Supervisor::Spec server(const std::shared_ptr<World>& world);

}  // namespace kv
