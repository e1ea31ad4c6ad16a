// The commands: what each is called, what it takes, where it runs, and, of those that run on a store, what it does and
// replies, in Redis 7's words.
#pragma once

#include "examples/kv/store.h"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

namespace kv {

/// One run of a command on a store. What it changes is written to `log` as commands that repeat it whenever they are
/// run; null: not logged.
struct Call {
  Store& store;
  erlking::base::Random& random;
  std::string& out;
  std::string* log;
  std::int64_t now;                          ///< milliseconds since the epoch; nothing expires by 0
  std::span<const std::string_view> argv{};  ///< the name, the key, …
  std::uint64_t hash = 0;                    ///< of the key
};

/// Where a command runs.
enum class Where : std::uint8_t {
  part,      ///< on the part that owns its key
  parts,     ///< on each part that owns some of its keys, with those keys
  all,       ///< on every part
  cursor,    ///< on the part its cursor names
  here,      ///< in the connection
  internal,  ///< in the files only; peers do not know it
};
/// What the replies of several parts come to.
enum class Merge : std::uint8_t { none, array, sum, first };

/// What a connection does itself.
enum class Here : std::uint8_t {
  none,
  ping,
  echo,
  select,
  quit,
  command,
  config,
  info,
  subscribe,
  unsubscribe,
  publish,
  rewrite,
  shutdown
};

/// A row of the table.
struct Command {
  std::string_view name;
  int arity;  ///< words, its name counted; negative: at least so many
  Where where;
  void (*run)(Call& call);
  bool writes = false;
  bool grows = false;  ///< refused beyond maxmemory
  std::uint8_t first = 0, step = 0;
  std::int8_t last = 0;  ///< its keys; last: counted from the end if negative
  Merge merge = Merge::none;
  Here here = Here::none;

  bool takes(std::size_t words) const noexcept {
    return arity >= 0 ? words == static_cast<std::size_t>(arity) : words >= static_cast<std::size_t>(-arity);
  }
};

/// In upper or lower case; null: there is none.
const Command* find_command(std::string_view name) noexcept;
std::span<const Command> all_commands() noexcept;

/// Whether they are the same but for upper and lower case.
bool same_word(std::string_view a, std::string_view b) noexcept;
/// Adds a command as RESP, for the files.
void add_command(std::string& out, std::span<const std::string_view> argv);
void add_command(std::string& out, std::initializer_list<std::string_view> argv);
/// Adds the commands that make an entry.
void write_entry(const Entry& entry, std::string& out);
/// Milliseconds since the epoch.
std::int64_t wall_ms();
/// Of the part, of so many, that owns a key.
inline std::size_t part_of(std::uint64_t hash, std::size_t parts) noexcept {
  return static_cast<std::size_t>((hash >> 40) % parts);  // the store's table goes by the low bits
}

namespace error {
inline constexpr std::string_view kSyntax = "ERR syntax error";
inline constexpr std::string_view kInteger = "ERR value is not an integer or out of range";
inline constexpr std::string_view kPositive = "ERR value is out of range, must be positive";
inline constexpr std::string_view kMemory = "OOM command not allowed when used memory > 'maxmemory'.";
/// "ERR wrong number of arguments for 'get' command"
std::string arity(std::string_view name);
/// Of a write that was not run, or may not be on the disk, because of this errno.
std::string misconf(int code);
}  // namespace error

}  // namespace kv
