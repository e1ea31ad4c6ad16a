#include "examples/kv/server.h"

#include "base/log.h"
#include "examples/kv/connection.h"
#include "examples/kv/hub.h"
#include "examples/kv/log.h"
#include "examples/kv/part.h"
#include "examples/kv/snapshot.h"

#include <chrono>
#include <cstdio>
#include <string>
#include <utility>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {

constexpr const char* kConnections = "connections";
constexpr std::uint32_t kQueue = 4096;  // messages that wait for one process

void listen(const std::shared_ptr<World>& world) {
  const Settings& set = world->settings;
  const std::uint16_t port = world->port != 0 ? world->port.load() : set.port;  // the same again
  auto listener = tcp::listen({.address = set.address, .port = port});
  if (!listener) {
    base::log(base::Level::error, "kv", listener.error().to_string());
    exit(Reason("cannot_listen"));
  }
  const SocketAddress here = listener->local().value_or(SocketAddress{});
  world->port = here.port;
  std::printf("ready to accept connections at %s\n", here.to_string().c_str());
  std::fflush(stdout);
  for (;;) {
    auto peer = listener->accept(forever);
    if (!peer) continue;  // limit: it has waited
    if (world->clients.load(std::memory_order_relaxed) >= set.max_clients) {
      static_cast<void>(peer->write("-ERR max number of clients reached\r\n", 0s));
      continue;
    }
    static_cast<void>(start_child(10s, Name{kConnections}, std::make_shared<Client>(world, *std::move(peer))));
  }
}

void steward() {
  receive(forever, [](Stop) {});
}

}  // namespace

Supervisor::Spec server(const std::shared_ptr<World>& world) {
  const auto named = [](std::string name) { return SpawnOptions{.name = std::move(name), .mailbox = kQueue}; };
  const bool kept = !world->settings.dir.empty();
  std::vector<ChildSpec> storage;
  if (kept) storage.push_back(child("log", {.shutdown = 30s, .spawn = named(kLog)}, run_log, world));
  for (std::uint32_t part = 0; part < world->settings.parts; ++part) {
    storage.push_back(child<Part>(
        name_of_part(part), {.shutdown = 10s, .spawn = named(name_of_part(part)), .start_within = 1h}, world, part));
  }
  ChildOptions steady{.restart = transient, .significant = true, .spawn = named(kSteward)};
  Supervisor::Spec root{
      .strategy = rest_for_one,
      .intensity = {3, 10s},
      .auto_shutdown = AutoShutdown::any_significant,
      .children = {
          supervisor("storage", {.strategy = one_for_all, .intensity = {3, 10s}, .children = std::move(storage)})}};
  if (kept) {
    root.children.push_back(child<Rewriter>("rewriter", {.shutdown = 1s, .spawn = named(kRewriter)}, world));
  }
  root.children.push_back(child<Hub>("hub", {.spawn = named(kHub)}, world));
  ChildSpec connections =
      supervisor("connections",
                 {.strategy = simple_one_for_one,
                  .children = {child("connection", {.restart = temporary, .shutdown = 1s}, serve, world)}},
                 {.spawn = named(kConnections)});
  root.children.push_back(
      supervisor("front", {.strategy = rest_for_one,
                           .intensity = {3, 10s},
                           .children = {std::move(connections), child("listener", {.shutdown = 1s}, listen, world)}}));
  root.children.push_back(child("steward", std::move(steady), steward));
  return root;
}

}  // namespace kv
