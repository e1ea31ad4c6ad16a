#include "base/log.h"

#include "base/mutex.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>

namespace erlking::base {
namespace {

constexpr std::array<std::string_view, 5> kNames{"debug", "info", "warning", "error", "off"};

struct State {
  Mutex mutex;
  std::shared_ptr<const LogSink> sink EK_GUARDED_BY(mutex);
  std::atomic<bool> has_sink{false};  // spares log() the mutex; a sink just set may miss a report being made
  std::atomic<Level> level{Level::info};
  spdlog::logger stderr_logger{"erlking", std::make_shared<spdlog::sinks::stderr_sink_mt>()};

  State() {
    stderr_logger.set_level(spdlog::level::trace);  // `level` decides
    stderr_logger.set_pattern("%Y-%m-%d %H:%M:%S.%f %v");
    stderr_logger.flush_on(spdlog::level::trace);
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

}  // namespace

void log(Level level, std::string_view component, std::string_view message) noexcept {
  if (!log_enabled(level)) return;
  try {
    State& s = state();
    if (s.has_sink.load(std::memory_order_relaxed)) {  // relaxed: the mutex orders the sink itself
      std::shared_ptr<const LogSink> sink;
      {
        MutexLock lock(s.mutex);
        sink = s.sink;
      }
      if (sink != nullptr) return (*sink)(level, component, message);
    }
    std::string line;
    line.reserve(component.size() + message.size() + 16);
    line += kNames[static_cast<std::size_t>(level)];
    line += ' ';
    append_escaped(line, component);
    line += ": ";
    append_escaped(line, message);
    s.stderr_logger.log(translate(level), line);
  } catch (...) {  // a report is not worth the reporter
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
