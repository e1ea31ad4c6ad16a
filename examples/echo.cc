// A server that sends back what it reads, a process for each connection. Usage: echo [PORT]; then: nc 127.0.0.1 7777
#include <erlking/erlking.h>

#include <cstdio>
#include <cstdlib>

using namespace erlking;
using namespace std::chrono_literals;

void serve(Socket& peer) {
  char buffer[4096];
  for (auto n = peer.read(buffer, 60s); n && *n > 0; n = peer.read(buffer, 60s))
    if (!peer.write({buffer, *n}, 10s)) return;
}

int main(int argc, char** argv) {
  return Runtime(Options::from(argc, argv)).run([port = argc > 1 ? std::atoi(argv[1]) : 7777] {
    auto listener = tcp::listen({.port = static_cast<std::uint16_t>(port)});
    if (!listener) exit(Reason(listener.error().to_string()));
    std::fprintf(stderr, "listening at %s\n", listener->local()->to_string().c_str());
    for (;;)
      if (auto peer = listener->accept(1h)) spawn([peer = *std::move(peer)]() mutable { serve(peer); });
  });
}
