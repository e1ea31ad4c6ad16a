#include "examples/kv/options.h"

#include <erlking/erlking.h>

#include <array>
#include <charconv>
#include <functional>
#include <limits>
#include <string_view>
#include <utility>

namespace kv {

namespace {

// A number; with `bytes` also as "64mb".
bool read_number(std::string_view text, std::uint64_t& value, std::uint64_t least, std::uint64_t most, bool bytes) {
  std::uint64_t number = 0, unit = 1;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  const std::string_view suffix(end, static_cast<std::size_t>(last - end));
  if (bytes && suffix == "kb") unit = 1u << 10;
  if (bytes && suffix == "mb") unit = 1u << 20;
  if (bytes && suffix == "gb") unit = 1u << 30;
  if (error != std::errc() || (unit == 1 && !suffix.empty()) || number > most / unit) return false;
  value = number * unit;
  return value >= least;
}

}  // namespace

CommandLine parse(int argc, char** argv) {
  CommandLine given;
  Settings& set = given.settings;
  const auto number = [](auto& value, std::uint64_t least, std::uint64_t most, bool bytes = false) {
    return [&value, least, most, bytes](std::string_view text) {
      std::uint64_t read = 0;
      if (!read_number(text, read, least, most, bytes)) return false;
      value = static_cast<std::remove_reference_t<decltype(value)>>(read);
      return true;
    };
  };
  const auto text = [](std::string& value) { return [&value](std::string_view said) { return value = said, true; }; };
  const auto sync = [&set](std::string_view said) {
    constexpr std::array<std::string_view, 3> names = {"always", "everysec", "no"};
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (said == names[i]) return set.sync = static_cast<Sync>(i), true;
    }
    return false;
  };
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max() / 2;
  const std::array<std::pair<std::string_view, std::function<bool(std::string_view)>>, 12> flags = {{
      {"--port", number(set.port, 0, 65'535)},
      {"--bind", text(set.address)},
      {"--dir", text(set.dir)},
      {"--appendfsync", sync},
      {"--shards", [&](std::string_view said) { return given.parts_given = number(set.parts, 1, 256)(said); }},
      {"--maxmemory", number(set.max_memory, 0, kMost, true)},
      {"--maxclients", number(set.max_clients, 1, 1'000'000)},
      {"--timeout", number(set.idle_seconds, 0, 1'000'000'000)},
      {"--subscriber-buffer", number(set.subscriber_buffer, 1, kMost, true)},
      {"--rewrite-min", number(set.rewrite_min, 1, kMost, true)},
      {"--scheduler", text(given.scheduler)},
      {"--io", text(given.io)},
  }};
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    if (flag == "--help") {
      given.help = true;
      continue;
    }
    bool known = false;
    for (const auto& [name, take] : flags) {
      if (name != flag || name.empty()) continue;
      known = true;
      if (++i >= argc || !take(argv[i]))
        given.wrong = "what follows " + std::string(flag) + " is not one of its values";
    }
    if (!known) given.wrong = "unknown argument '" + std::string(flag) + "'";
    if (!given.wrong.empty()) break;
  }
  return given;
}

void print_usage(std::FILE* out) {
  std::fprintf(
      out,
      "usage: kv [OPTION VALUE]...\n"
      "A key-value store for clients of Redis, such as redis-cli. Ctrl-C, SIGTERM or SHUTDOWN stop it in order.\n"
      "  --port N               0: the system chooses one, and it is printed; default 6379\n"
      "  --bind ADDRESS         default 127.0.0.1\n"
      "  --dir FOLDER           keeps the data there; without it they are gone with the program\n"
      "  --appendfsync WHEN     always: a write is on the disk before it is acknowledged; everysec; no;\n"
      "                         default everysec\n"
      "  --shards N             parts of the keys, each with a process: 1 to 256; default: one per worker\n"
      "  --maxmemory BYTES      writes beyond it are refused; 0: no limit, the default; also as 100mb\n"
      "  --maxclients N         connections at once; default 10000\n"
      "  --timeout SECONDS      a connection silent for so long is closed; 0: never, the default\n"
      "  --subscriber-buffer BYTES  what may wait for one subscriber before it is dropped; default 32mb\n"
      "  --rewrite-min BYTES    the log is rewritten when it has grown to that, and doubled; default 64mb\n"
      "  --scheduler NAME       as --ek-scheduler\n"
      "  --io NAME              as --ek-io\n%s",
      erlking::Options::help().c_str());
}

}  // namespace kv
