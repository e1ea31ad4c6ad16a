#include "base/log.h"

#include "base/mutex.h"

#include <fmt/chrono.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

namespace erlking::base {
namespace {

constexpr std::array<std::string_view, 5> kNames{"debug", "info", "warning", "error", "off"};

void write_at_once(spdlog::logger& logger, const char* pattern) {
  logger.set_level(spdlog::level::trace);  // State::level decides
  logger.set_pattern(pattern);
  logger.flush_on(spdlog::level::trace);
}

struct State {
  Mutex mutex;
  std::shared_ptr<const LogSink> sink EK_GUARDED_BY(mutex);
  std::atomic<bool> has_sink{false};  // spares log() the mutex; a sink just set may miss a report being made
  std::atomic<Level> level{Level::info};
  spdlog::logger stderr_logger{"erlking", std::make_shared<spdlog::sinks::stderr_sink_mt>()};
  spdlog::logger line_logger{"erlking", std::make_shared<spdlog::sinks::stderr_sink_mt>()};  // the same lock

  State() {
    write_at_once(stderr_logger, "%Y-%m-%d %H:%M:%S.%f %v");
    write_at_once(line_logger, "%v");
    const char* const wanted = std::getenv("ERLKING_LOG");
    Level from_environment{};
    if (wanted != nullptr && parse_level(wanted, from_environment)) level.store(from_environment);
  }
};

// Never destroyed: threads may still report while the program ends.
State& state() {
  static State& the_state = *new State;
  return the_state;
}

spdlog::level::level_enum translate(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::off:
      return spdlog::level::off;
  }
  return spdlog::level::err;
}

void append_escaped(std::string& line, std::string_view text) {
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) [[likely]] {  // beyond ASCII: UTF-8, left alone
      line += c;
    } else if (c == '\n') {
      line += "\\n";
    } else if (c == '\t') {
      line += "\\t";
    } else if (c == '\r') {
      line += "\\r";
    } else {
      constexpr std::string_view digits = "0123456789abcdef";
      line += "\\x";
      line += digits[byte >> 4];
      line += digits[byte & 15];
    }
  }
}

// False: there is none, and the message goes to stderr.
bool give_to_sink(State& state, Level level, std::string_view component, std::string_view message) {
  if (!state.has_sink.load(std::memory_order_relaxed)) return false;  // relaxed: the mutex orders the sink itself
  std::shared_ptr<const LogSink> sink;
  {
    MutexLock lock(state.mutex);
    sink = state.sink;
  }
  if (sink == nullptr) return false;
  (*sink)(level, component, message);
  return true;
}

constexpr std::string_view kIndented = "\n    ";

}  // namespace

void log(Level level, std::string_view component, std::string_view message) noexcept {
  log(level, component, message, {});
}

void log(Level level, std::string_view component, std::string_view message,
         std::span<const std::string> details) noexcept {
  if (!log_enabled(level)) return;
  try {
    State& s = state();
    std::string text;
    if (s.has_sink.load(std::memory_order_relaxed)) {  // relaxed: as in give_to_sink()
      text = message;
      for (const std::string& detail : details) (text += kIndented) += detail;
      if (give_to_sink(s, level, component, text)) return;
    }
    text = kNames[static_cast<std::size_t>(level)];
    text += ' ';
    append_escaped(text, component);
    text += ": ";
    text += to_lines(message, details);
    s.stderr_logger.log(translate(level), text);
  } catch (...) {  // a report is not worth the reporter
  }
}

void log_line(Level level, std::string_view component, std::string_view line) noexcept {
  if (!log_enabled(level)) return;
  try {
    State& s = state();
    if (!give_to_sink(s, level, component, line)) s.line_logger.log(translate(level), line);
  } catch (...) {  // as above
  }
}

bool log_enabled(Level level) noexcept { return level < Level::off && level >= log_level(); }

Level log_level() noexcept { return state().level.load(std::memory_order_relaxed); }  // relaxed: publishes nothing

void set_log_level(Level level) noexcept {
  state().level.store(level, std::memory_order_relaxed);  // relaxed: publishes nothing
}

void set_log_sink(LogSink sink) {
  State& s = state();
  std::shared_ptr<const LogSink> next = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
  {
    MutexLock lock(s.mutex);
    s.has_sink.store(next != nullptr, std::memory_order_relaxed);  // relaxed: the mutex orders the sink itself
    s.sink.swap(next);
  }  // the sink before dies here, outside of the mutex
}

struct LogFile::Body {
  spdlog::logger logger;
};

LogFile::LogFile(std::unique_ptr<Body> body) noexcept : body_(std::move(body)) {}
LogFile::LogFile(LogFile&& other) noexcept = default;
LogFile& LogFile::operator=(LogFile&& other) noexcept = default;
LogFile::~LogFile() = default;

std::expected<LogFile, std::string> LogFile::open(const std::string& path) {
  try {
    auto body = std::make_unique<Body>(
        Body{spdlog::logger("erlking", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path))});
    write_at_once(body->logger, "%v");
    return LogFile(std::move(body));
  } catch (const spdlog::spdlog_ex& e) {
    return std::unexpected(std::string(e.what()));
  }
}

void LogFile::write(std::string_view line) const noexcept {
  try {
    body_->logger.log(spdlog::level::info, line);
  } catch (...) {  // as log()
  }
}

std::string to_lines(std::string_view message, std::span<const std::string> details) {
  std::string lines;
  append_escaped(lines, message);
  for (const std::string& detail : details) {
    lines += kIndented;
    append_escaped(lines, detail);
  }
  return lines;
}

std::string time_of_day() {
  const auto now = std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::time_point_cast<std::chrono::seconds>(now);
  return fmt::format("{:%FT%T}.{:06}Z", fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)),
                     (now - seconds).count());
}

std::string_view to_string(Level level) noexcept { return kNames[static_cast<std::size_t>(level)]; }

bool parse_level(std::string_view name, Level& level) noexcept {
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] != name) continue;
    level = static_cast<Level>(i);
    return true;
  }
  return false;
}

}  // namespace erlking::base
