// Hub: the process that knows who has subscribed to what. A message goes to each subscriber's outbox, a process that
// writes to its peer; one whose peer is too slow, so that too much waits for it, is dropped.
#pragma once

#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace kv {

inline constexpr const char* kHub = "hub";  ///< The process's name.

/// Bytes that an outbox has to write, shared by all who get them.
struct Deliver {
  std::shared_ptr<const std::string> text;
};
/// What waits in an outbox.
struct Backlog {
  std::atomic<std::uint64_t> bytes{0};
};

/// From now on `outbox` gets what is published on `channel`, after the confirmation. When it returns, it does.
struct Subscribe {
  using Reply = bool;
  std::string channel;
  erlking::Pid outbox;
  std::shared_ptr<Backlog> backlog;
  std::shared_ptr<const std::string> confirmation;
};
struct Unsubscribe {
  using Reply = bool;
  std::string channel;
  erlking::Pid outbox;
};
/// To how many it went.
struct Publish {
  using Reply = std::int64_t;
  std::string channel;
  std::string text;
};

/// See the head of this file.
class Hub : public erlking::Server {
 public:
  using Handles = erlking::Messages<Subscribe, Unsubscribe, Publish, erlking::Down>;
  explicit Hub(std::shared_ptr<World> world) : world_(std::move(world)) {}

  bool on(Subscribe& wish);
  bool on(Unsubscribe& wish);
  std::int64_t on(Publish& message);
  void on(erlking::Down& down);

 private:
  struct Subscriber {
    std::shared_ptr<Backlog> backlog;
    std::vector<std::string> channels;
  };
  bool deliver(erlking::Pid outbox, Backlog& backlog, const std::shared_ptr<const std::string>& text);
  void forget(erlking::Pid outbox, const std::string& channel);

  std::shared_ptr<World> world_;
  std::unordered_map<std::uint64_t, Subscriber> subscribers_;  // by pid
  std::unordered_map<std::string, std::vector<erlking::Pid>> channels_;
};

}  // namespace kv
