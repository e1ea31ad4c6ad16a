// Programs that serve sockets.
#include "tools/bench/ours.h"
#include "tools/bench/ours/program.h"

#include <array>
#include <memory>
#include <thread>

namespace erlking::bench {

namespace {

constexpr std::size_t kBufferBytes = 1024;

// Sends back what comes, until the peer goes.
void serve(Socket& peer) {
  std::array<char, kBufferBytes> buffer;
  for (;;) {
    const auto got = peer.read(std::span(buffer), 1h);
    if (!got || *got == 0) return;
    if (!peer.write(std::string_view(buffer.data(), *got), kLimit)) return;
  }
}

}  // namespace

std::expected<std::unique_ptr<EchoServer>, std::string> EchoServer::start(Runtime& runtime) {
  struct Told {
    std::uint16_t port = 0;
    std::string why;
    std::atomic<bool> told{false};
  };
  const auto told = std::make_shared<Told>();
  const auto root = runtime.spawn([told] {
    auto listener = tcp::listen({});
    if (listener) {
      const auto at = listener->local();
      told->port = at ? at->port : 0;
    } else {
      told->why = listener.error().to_string();
    }
    told->told.store(true, std::memory_order_release);  // feeds the acquire below
    while (listener) {
      if (auto peer = listener->accept(1h)) {
        spawn_link([peer = *std::move(peer)]() mutable { serve(peer); });
      } else if (peer.error() != IoFailure::timed_out && peer.error() != IoFailure::limit) {
        return;
      }
    }
  });
  if (!root) return std::unexpected(fmt::format("no process could be made: {}", to_string(root.error())));
  std::unique_ptr<EchoServer> server(new EchoServer(runtime, *root));
  for (const auto until = Clock::now() + kLimit; !told->told.load(std::memory_order_acquire);) {
    if (Clock::now() > until) return std::unexpected(std::string("the server does not start"));
    std::this_thread::sleep_for(1ms);
  }
  if (told->port == 0) return std::unexpected("the server cannot listen: " + told->why);
  server->port_ = told->port;
  return server;
}

EchoServer::~EchoServer() {
  runtime_.exit(root_, reason::kill);
  runtime_.wait(root_, kLimit);
}

}  // namespace erlking::bench
