#include "examples/kv/info.h"

#include "examples/kv/commands.h"
#include "examples/kv/glob.h"
#include "examples/kv/resp.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unistd.h>
#include <utility>
#include <vector>

namespace kv {

namespace {

std::string_view name_of(Sync sync) {
  constexpr std::array<std::string_view, 3> names = {"always", "everysec", "no"};
  return names[static_cast<std::size_t>(sync)];
}

void add_entry(std::string& out, const Command& command) {
  add_array(out, 6);
  add_bulk(out, command.name);
  add_integer(out, command.arity);
  add_array(out, 1 + (command.grows ? 1 : 0));
  add_simple(out, command.writes ? "write" : "readonly");
  if (command.grows) add_simple(out, "denyoom");
  add_integer(out, command.first);
  add_integer(out, command.last);
  add_integer(out, command.step);
}

bool is_public(const Command& command) { return command.where != Where::internal; }

}  // namespace

void reply_info(std::string& out, const World& world, std::string_view section) {
  const Settings& set = world.settings;
  std::uint64_t keys = 0;
  for (const auto& part : world.keys) keys += part.load();
  const bool good = world.log_error == 0;
  const std::array<std::pair<std::string_view, std::string>, 6> sections = {{
      {"Server",
       fmt::format("redis_version:7.0.0\r\nserver_name:erlking-kv\r\nprocess_id:{}\r\ntcp_port:{}\r\n"
                   "uptime_in_seconds:{}\r\n",
                   ::getpid(), world.port.load(), (erlking::base::monotonic_now() - world.started) / 1'000'000'000)},
      {"Clients", fmt::format("connected_clients:{}\r\nmaxclients:{}\r\n", world.clients.load(), set.max_clients)},
      {"Memory", fmt::format("used_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n", world.memory.load(),
                             set.max_memory)},
      {"Persistence", fmt::format("aof_enabled:{}\r\naof_rewrite_in_progress:{}\r\naof_last_write_status:{}\r\n"
                                  "aof_current_size:{}\r\n",
                                  set.dir.empty() ? 0 : 1, world.rewriting.load() ? 1 : 0, good ? "ok" : "err",
                                  world.log_bytes.load())},
      {"Stats", fmt::format("total_connections_received:{}\r\ntotal_commands_processed:{}\r\n",
                            world.connections.load(), world.commands.load())},
      {"Keyspace", keys == 0 ? std::string() : fmt::format("db0:keys={}\r\n", keys)},
  }};
  std::string text;
  const bool all =
      section.empty() || same_word(section, "all") || same_word(section, "default") || same_word(section, "everything");
  for (const auto& [name, body] : sections) {
    if (!all && !same_word(section, name)) continue;
    if (!text.empty()) text += "\r\n";
    text += fmt::format("# {}\r\n{}", name, body);
  }
  add_bulk(out, text);
}

void reply_config(std::string& out, const World& world, std::size_t words, const Word& word) {
  const Settings& set = world.settings;
  if (!same_word(word(1), "get")) {
    return add_error(out, fmt::format("ERR unknown subcommand '{}'. Try CONFIG HELP.", word(1).substr(0, 128)));
  }
  if (words < 3) return add_error(out, error::arity("config|get"));
  const std::array<std::pair<std::string_view, std::string>, 9> all = {{
      {"appendfsync", std::string(name_of(set.sync))},
      {"appendonly", set.dir.empty() ? "no" : "yes"},
      {"databases", "1"},
      {"dir", set.dir},
      {"maxclients", std::to_string(set.max_clients)},
      {"maxmemory", std::to_string(set.max_memory)},
      {"port", std::to_string(world.port.load())},
      {"save", ""},
      {"timeout", std::to_string(set.idle_seconds)},
  }};
  std::vector<std::string_view> found;
  for (const auto& [name, value] : all) {
    for (std::size_t i = 2; i < words; ++i) {
      std::string pattern(word(i));
      std::ranges::transform(pattern, pattern.begin(), [](unsigned char c) { return std::tolower(c); });
      if (!matches(pattern, name)) continue;
      found.insert(found.end(), {name, value});
      break;
    }
  }
  add_array(out, found.size());
  for (const std::string_view text : found) add_bulk(out, text);
}

void reply_command(std::string& out, std::size_t words, const Word& word) {
  const auto all = all_commands();
  const auto known = std::ranges::count_if(all, is_public);
  if (words == 1) {
    add_array(out, static_cast<std::size_t>(known));
    for (const Command& command : all) {
      if (is_public(command)) add_entry(out, command);
    }
  } else if (same_word(word(1), "count")) {
    add_integer(out, known);
  } else if (same_word(word(1), "docs")) {
    add_array(out, 0);
  } else if (same_word(word(1), "info")) {
    add_array(out, words - 2);
    for (std::size_t i = 2; i < words; ++i) {
      const Command* const command = find_command(word(i));
      command != nullptr&& is_public(*command) ? add_entry(out, *command) : add_null_array(out);
    }
  } else {
    add_error(out, fmt::format("ERR unknown subcommand '{}'. Try COMMAND HELP.", word(1).substr(0, 128)));
  }
}

}  // namespace kv
