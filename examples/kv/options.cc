#include "examples/kv/options.h"

#include <erlking/erlking.h>

#include <CLI/CLI.hpp>

#include <map>
#include <string>

namespace kv {

CommandLine parse(int argc, char** argv) {
  CommandLine given;
  Settings& set = given.settings;
  CLI::App app(
      "A key-value store for clients of Redis, such as redis-cli. Ctrl-C, SIGTERM or SHUTDOWN stop it in order.", "kv");
  const CLI::AsSizeValue bytes(false);  // 64kb, 64mb, 64gb
  app.add_option("--port", set.port, "0: the system chooses one, and it is printed")
      ->check(CLI::Range(0, 65'535))
      ->capture_default_str();
  app.add_option("--bind", set.address, "address to listen at")->capture_default_str();
  app.add_option("--dir", set.dir, "keeps the data in this folder; without it they are gone with the program");
  const std::map<std::string, Sync> syncs = {{"always", Sync::always}, {"everysec", Sync::everysec}, {"no", Sync::no}};
  std::string sync = "everysec";
  app.add_option("--appendfsync", sync,
                 "when the log is on the disk: always, before a write is acknowledged; everysec; no")
      ->check(CLI::IsMember({"always", "everysec", "no"}))
      ->capture_default_str();
  CLI::Option* const parts =
      app.add_option("--shards", set.parts, "parts of the keys, each with a process, 1 to 256; default: one per worker")
          ->check(CLI::Range(1, 256));
  app.add_option("--maxmemory", set.max_memory, "bytes, also as 100mb, beyond which writes are refused; 0: no limit")
      ->transform(bytes)
      ->capture_default_str();
  app.add_option("--maxclients", set.max_clients, "connections at once, 1 to 1000000")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--timeout", set.idle_seconds, "a connection silent for so many seconds is closed; 0: never")
      ->check(CLI::Range(0, 1'000'000'000))
      ->capture_default_str();
  app.add_option("--subscriber-buffer", set.subscriber_buffer, "bytes that may wait for a subscriber; more: dropped")
      ->transform(bytes)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--rewrite-min", set.rewrite_min, "bytes of log; from there it is rewritten when it has doubled")
      ->transform(bytes)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.footer("It runs on one worker unless --ek-workers says more.\n\n" + erlking::Options::help());
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int status = app.exit(e);
    given.status = status == 0 ? 0 : 2;
  }
  if (!given.status) set.sync = syncs.at(sync);
  given.parts_given = parts->count() != 0;
  return given;
}

}  // namespace kv
