#include "examples/kv/hub.h"

#include "base/log.h"
#include "examples/kv/resp.h"

#include <algorithm>
#include <utility>

namespace kv {

using namespace erlking;

bool Hub::on(Subscribe& wish) {
  const auto [at, fresh] = subscribers_.try_emplace(wish.outbox.id, Subscriber{wish.backlog, {}});
  at->second.channels.push_back(wish.channel);
  channels_[wish.channel].push_back(wish.outbox);
  if (fresh) monitor(wish.outbox);
  return deliver(wish.outbox, *wish.backlog, wish.confirmation);
}

bool Hub::on(Unsubscribe& wish) {
  forget(wish.outbox, wish.channel);
  if (const auto at = subscribers_.find(wish.outbox.id); at != subscribers_.end()) {
    std::erase(at->second.channels, wish.channel);
  }
  return true;
}

void Hub::forget(Pid outbox, const std::string& channel) {
  const auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  std::erase(at->second, outbox);
  if (at->second.empty()) channels_.erase(at);
}

std::int64_t Hub::on(Publish& message) {
  const auto at = channels_.find(message.channel);
  if (at == channels_.end()) return 0;
  std::string made;
  add_array(made, 3);
  add_bulk(made, "message");
  add_bulk(made, message.channel);
  add_bulk(made, message.text);
  const auto text = std::make_shared<const std::string>(std::move(made));
  std::int64_t reached = 0;
  for (const Pid outbox : at->second) reached += deliver(outbox, *subscribers_.at(outbox.id).backlog, text) ? 1 : 0;
  return reached;
}

bool Hub::deliver(Pid outbox, Backlog& backlog, const std::shared_ptr<const std::string>& text) {
  // relaxed: a count
  const std::uint64_t waiting = backlog.bytes.fetch_add(text->size(), std::memory_order_relaxed) + text->size();
  if (waiting <= world_->settings.subscriber_buffer && send(outbox, Deliver{text}) == Delivery::queued) return true;
  base::log(base::Level::warning, "kv", "a subscriber that is too slow is dropped");
  exit(outbox, reason::kill);  // its connection ends with it; Down tells
  return false;
}

void Hub::on(Down& down) {
  const auto at = subscribers_.find(down.pid.id);
  if (at == subscribers_.end()) return;
  for (const std::string& channel : at->second.channels) forget(down.pid, channel);
  subscribers_.erase(at);
}

}  // namespace kv
