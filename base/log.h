// Reports to whoever runs the node: one line each on stderr, with the time, the level and the part that speaks. A
// façade, so that what prints (spdlog) stays out of every other file. ERLKING_LOG=debug|info|warning|error|off in the
// environment sets the first level; info without it. Thread-safe; may block the thread on stderr: not for hot paths.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace erlking::base {

/// How much a report matters, rising. `off` is a setting only: above every report.
enum class Level : std::uint8_t { debug, info, warning, error, off };

/// Reports `message` if `level` is at least the level set. Control characters are written escaped to stderr, so that a
/// report stays one line; a sink gets the message as it is.
void log(Level level, std::string_view component, std::string_view message) noexcept;

/// Whether log() would report; for callers to whom making the message costs something. A relaxed load.
bool log_enabled(Level level) noexcept;

/// The least level reported.
Level log_level() noexcept;
void set_log_level(Level level) noexcept;

/// Where reports go instead of stderr (null: back to stderr). Called on the reporting threads, several at a time
/// perhaps; it may still be running on another thread when set_log_sink returns. What it throws is dropped.
using LogSink = std::function<void(Level level, std::string_view component, std::string_view message)>;
void set_log_sink(LogSink sink);

/// The level's name as ERLKING_LOG spells it.
std::string_view to_string(Level level) noexcept;
/// Sets `level` to the one of that name; false (and untouched) if there is none.
bool parse_level(std::string_view name, Level& level) noexcept;

}  // namespace erlking::base
