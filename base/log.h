// Reports to whoever runs the node: one line each on stderr, with the time, the level and the part that speaks. A
// façade, so that what prints (spdlog) stays out of every other file. ERLKING_LOG=debug|info|warning|error|off in the
// environment sets the first level; info without it. Thread-safe; may block the thread on stderr: not for hot paths.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace erlking::base {

/// How much a report matters, rising. `off` is a setting only: above every report.
enum class Level : std::uint8_t { debug, info, warning, error, off };

/// Reports `message` if `level` is at least the level set. Control characters are written escaped to stderr, so that a
/// report stays one line; a sink gets the message as it is.
void log(Level level, std::string_view component, std::string_view message) noexcept;

/// The same with details, which stderr shows on lines of their own, indented. A sink gets all in one text, in which
/// such a line begins after a line end and four spaces.
void log(Level level, std::string_view component, std::string_view message,
         std::span<const std::string> details) noexcept;
/// The same for a line of a form of its own, such as JSON: it goes to stderr as it is, without time, level and
/// component. The caller sees to it that it is one line.
void log_line(Level level, std::string_view component, std::string_view line) noexcept;

/// Whether log() would report; for callers to whom making the message costs something. A relaxed load.
bool log_enabled(Level level) noexcept;

/// The least level reported.
Level log_level() noexcept;
void set_log_level(Level level) noexcept;

/// Where reports go instead of stderr (null: back to stderr). Called on the reporting threads, several at a time
/// perhaps; it may still be running on another thread when set_log_sink returns. What it throws is dropped.
using LogSink = std::function<void(Level level, std::string_view component, std::string_view message)>;
void set_log_sink(LogSink sink);

/// A file that gets whole lines, appended, each at once; lines of several threads do not mix. What cannot be written is
/// dropped, and stderr says so, once a second at most.
class LogFile {
 public:
  /// Opens or makes it, and the folders it lies in. An error is a line that says what is wrong.
  static std::expected<LogFile, std::string> open(const std::string& path);
  LogFile(LogFile&& other) noexcept;
  LogFile& operator=(LogFile&& other) noexcept;
  ~LogFile();

  /// Appends `line` and a line end. May block the thread on the disk.
  void write(std::string_view line) const noexcept;

 private:
  struct Body;
  explicit LogFile(std::unique_ptr<Body> body) noexcept;
  std::unique_ptr<Body> body_;
};

/// `message` and its details as stderr shows them, without time, level and component.
std::string to_lines(std::string_view message, std::span<const std::string> details);
/// The time of day in UTC, as 2026-01-31T23:59:59.123456Z: for lines of a form of their own.
std::string time_of_day();

/// The level's name as ERLKING_LOG spells it.
std::string_view to_string(Level level) noexcept;
/// Sets `level` to the one of that name; false (and untouched) if there is none.
bool parse_level(std::string_view name, Level& level) noexcept;

}  // namespace erlking::base
