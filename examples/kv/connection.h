// A connection's process: reads requests, sends them to the parts in batches, one message for each part concerned, and
// writes the replies of a batch at once. It reads on when its peer has taken them, so a peer that is slow to read is
// slowed, and what waits for it is bounded by one batch. Subscribers have a second process, which writes (outbox): what
// is published comes at any time.
#pragma once

#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <memory>

namespace kv {

/// Runs a connection until it ends.
void serve(const std::shared_ptr<World>& world, const std::shared_ptr<erlking::Socket>& socket);

}  // namespace kv
