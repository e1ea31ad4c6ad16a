// A connection's process: reads requests, sends them to the parts in batches, one message for each part concerned, and
// writes the replies of a batch at once. It reads on when its peer has taken them, so a peer that is slow to read is
// slowed, and what waits for it is bounded by one batch. Subscribers have a second process, which writes (outbox): what
// is published comes at any time.
#pragma once

#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <memory>
#include <utility>

namespace kv {

/// A client that was accepted, and counts as one until it is gone: from before its process begins, which may be later
/// than the next client comes.
class Client {
 public:
  Client(std::shared_ptr<World> world, erlking::Socket accepted)
      : socket(std::move(accepted)), world_(std::move(world)) {
    world_->clients.fetch_add(1, std::memory_order_relaxed);  // relaxed: counts
    world_->connections.fetch_add(1, std::memory_order_relaxed);
  }
  ~Client() { world_->clients.fetch_sub(1, std::memory_order_relaxed); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  erlking::Socket socket;

 private:
  const std::shared_ptr<World> world_;
};

/// Runs a connection until it ends.
void serve(const std::shared_ptr<World>& world, const std::shared_ptr<Client>& client);

}  // namespace kv
