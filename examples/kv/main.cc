// A key-value store that speaks Redis' protocol: a supervised tree of processes, and files that survive a crash.
#include "examples/kv/options.h"
#include "examples/kv/server.h"
#include <erlking/erlking.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>

int main(int argc, char** argv) {
  erlking::Options options = erlking::Options::from(argc, argv);  // takes its own flags, --ek-…, out of argv
  kv::CommandLine given = kv::parse(argc, argv);
  if (given.status) return *given.status;
  if (options.workers == 0 && options.scheduler == "steal") options.workers = 1;  // README.md says why
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the write
  try {
    erlking::Runtime runtime(options);
    if (!given.parts_given) given.settings.parts = std::max(1u, std::min(runtime.stats().workers, 256u));
    const auto world = std::make_shared<kv::World>(given.settings);
    return runtime.run(kv::server(world));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "kv: %s\n", e.what());
    return 1;
  }
}
