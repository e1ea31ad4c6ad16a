#include "runtime/report.h"

#include "base/log.h"
#include "runtime/behaviour.h"
#include "runtime/options.h"
#include "runtime/system.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace erlking {

namespace {

constexpr std::size_t kAncestors = 16;
constexpr base::Nanos kSecond = 1'000'000'000;

constexpr base::Level level_of(ReportKind kind) noexcept {
  if (kind == ReportKind::stall) return base::Level::warning;
  return kind == ReportKind::progress ? base::Level::debug : base::Level::error;
}

ReportKind kind_of(const Report& report) noexcept {
  if (const auto* const left_out = std::get_if<LeftOut>(&report)) return left_out->kind;
  return static_cast<ReportKind>(report.index());
}

std::uint32_t second_of(base::Nanos now) noexcept { return static_cast<std::uint32_t>(now / kSecond); }

// --- as text ---------------------------------------------------------------------------------------------------------

struct Text {
  std::string line;
  std::vector<std::string> details;
};

std::string who(const ReportedProcess& process) {
  if (!process.pid) return "nobody";
  return process.name.empty() ? to_string(process.pid) : to_string(process.pid) + ' ' + process.name;
}

std::string line_of(const std::vector<ReportedProcess>& ancestors) {
  std::string line = "ancestors: ";
  for (std::size_t i = 0; i < ancestors.size(); ++i) line += (i == 0 ? "" : ", ") + who(ancestors[i]);
  return line;
}

std::string shown(const Described& object) {
  return object.text.empty() ? object.type : object.type + ": " + object.text;
}

void add_frames(Text& text, const Reason& reason) {
  for (const std::string& frame : reason.frames()) text.details.push_back("at " + frame);
}

Text text_of(const CrashReport& crash) {
  Text text;
  const std::string label = crash.label.empty() ? std::string() : '(' + crash.label + ')';
  text.line = fmt::format("{}{} crashed in {}: {}", who(crash.process),
                          crash.process.name.empty() ? ' ' + label : label, crash.entry, crash.reason.to_string());
  if (crash.last_message) text.details.push_back("last message: " + shown(*crash.last_message));
  if (crash.state) text.details.push_back("state: " + shown(*crash.state));
  if (crash.mailbox_depth != 0) text.details.push_back(fmt::format("mailbox: {} messages", crash.mailbox_depth));
  if (!crash.ancestors.empty()) text.details.push_back(line_of(crash.ancestors));
  add_frames(text, crash.reason);
  return text;
}

Text text_of(const SupervisorReport& report) {
  const ReportedChild& child = report.child;
  Text text;
  text.line = fmt::format("{}: {} of {}: {}", who(report.supervisor), to_string(report.context), child.id,
                          report.reason.to_string());
  text.details.push_back(fmt::format("child: {} {}, {}, shutdown {}, {}, restarts so far: {}", child.id,
                                     who({child.pid, {}}), child.restart, child.shutdown, child.type, child.restarts));
  add_frames(text, report.reason);
  return text;
}

Text text_of(const ProgressReport& report) {
  return {fmt::format("{}: started {} as {}, {}", who(report.supervisor), report.child_id, to_string(report.child),
                      report.started),
          {}};
}

// a cycle of calls: <0.7.1> store waits for <0.9.1> cache, which waits for …
Text text_of(const CallCycleReport& report) {
  const std::vector<ReportedProcess>& all = report.processes;
  Text text{"a cycle of calls: " + (all.empty() ? "nobody's" : who(all.front())), {}};
  for (std::size_t i = 1; i <= all.size(); ++i) {
    text.line += fmt::format("{}waits for {}", i == 1 ? " " : ", which ", who(all[i % all.size()]));
  }
  return text;
}

Text text_of(const MemoryReport& report) {
  return {fmt::format("{}{}: {} bytes in {} messages wait, {} may", who(report.process),
                      report.killed ? " is killed" : "", report.queued_bytes, report.mailbox_depth, report.max_memory),
          {}};
}

// <0.7.1> store computes on in serve: 12 ms so far
Text text_of(const StallReport& stall) {
  Text text;
  text.line = fmt::format("{} {} in {}: {} ms{}", who(stall.process), stall.is_over ? "computed on" : "computes on",
                          stall.entry, stall.length.count() / 1'000'000, stall.is_over ? "" : " so far");
  for (const std::string& frame : stall.frames) text.details.push_back("at " + frame);
  if (!stall.ancestors.empty()) text.details.push_back(line_of(stall.ancestors));
  return text;
}

Text text_of(const LeftOut& left_out) {
  return {fmt::format("{} {} reports were left out: more than Options::reports_per_second", left_out.count,
                      to_string(left_out.kind)),
          {}};
}

Text text_of(const Report& report) {
  return std::visit([](const auto& of_kind) { return text_of(of_kind); }, report);
}

// --- as JSON ---------------------------------------------------------------------------------------------------------

using Json = nlohmann::ordered_json;

Json json_of(Pid pid) { return pid ? Json(to_string(pid)) : Json(); }

Json json_of(const ReportedProcess& process) { return {{"pid", json_of(process.pid)}, {"name", process.name}}; }

Json json_of(const std::optional<Described>& object) {
  if (!object) return {};
  return {{"type", object->type}, {"text", object->text}};
}

Json json_of(const Reason& reason) {
  return {{"name", reason.name()}, {"detail", reason.detail()},  {"type", reason.type()},
          {"what", reason.what()}, {"text", reason.to_string()}, {"frames", reason.frames()}};
}

void add_fields(Json& json, const CrashReport& crash) {
  json["pid"] = json_of(crash.process.pid);
  json["name"] = crash.process.name;
  json["label"] = crash.label;
  json["entry"] = crash.entry;
  json["reason"] = json_of(crash.reason);
  json["last_message"] = json_of(crash.last_message);
  json["state"] = json_of(crash.state);
  json["mailbox_depth"] = crash.mailbox_depth;
  json["ancestors"] = Json::array();
  for (const ReportedProcess& ancestor : crash.ancestors) json["ancestors"].push_back(json_of(ancestor));
}

void add_fields(Json& json, const SupervisorReport& report) {
  const ReportedChild& child = report.child;
  json["supervisor"] = json_of(report.supervisor);
  json["context"] = to_string(report.context);
  json["reason"] = json_of(report.reason);
  json["child"] = {{"id", child.id},           {"pid", json_of(child.pid)},
                   {"restart", child.restart}, {"shutdown", child.shutdown},
                   {"type", child.type},       {"restarts", child.restarts}};
}

void add_fields(Json& json, const ProgressReport& report) {
  json["supervisor"] = json_of(report.supervisor);
  json["child"] = {{"id", report.child_id}, {"pid", json_of(report.child)}};
  json["started"] = report.started;
}

void add_fields(Json& json, const CallCycleReport& report) {
  json["processes"] = Json::array();
  for (const ReportedProcess& process : report.processes) json["processes"].push_back(json_of(process));
}

void add_fields(Json& json, const MemoryReport& report) {
  json["pid"] = json_of(report.process.pid);
  json["name"] = report.process.name;
  json["queued_bytes"] = report.queued_bytes;
  json["max_memory"] = report.max_memory;
  json["mailbox_depth"] = report.mailbox_depth;
  json["killed"] = report.killed;
}

void add_fields(Json& json, const StallReport& stall) {
  json["pid"] = json_of(stall.process.pid);
  json["name"] = stall.process.name;
  json["entry"] = stall.entry;
  json["over"] = stall.is_over;
  json["nanoseconds"] = stall.length.count();
  json["frames"] = stall.frames;
  json["ancestors"] = Json::array();
  for (const ReportedProcess& ancestor : stall.ancestors) json["ancestors"].push_back(json_of(ancestor));
}

void add_fields(Json& json, const LeftOut& left_out) {
  json["of"] = to_string(left_out.kind);
  json["count"] = left_out.count;
}

// --- a crash ---------------------------------------------------------------------------------------------------------

// D3: the slot may have another tenant by now, whose birth writes the same word.
std::optional<Pid> parent_if_alive(const System& system, Pid pid) {
  Process& process = system.process(pid);
  if (!process.mailbox.is_open(pid.id)) return std::nullopt;
  const Pid parent{std::atomic_ref(process.parent.id).load(base::acquire)};  // [parent]
  return process.mailbox.is_open(pid.id) ? std::optional(parent) : std::nullopt;
}

std::vector<ReportedProcess> ancestors_from(const System& system, Pid parent) {
  std::vector<ReportedProcess> ancestors;
  for (Pid pid = parent; pid && ancestors.size() < kAncestors;) {
    ancestors.push_back({pid, system.registry.name_of(pid)});
    pid = parent_if_alive(system, pid).value_or(Pid{});
  }
  return ancestors;
}

CrashReport crash_of(Process& process) {
  CrashReport crash;
  crash.process = {process.pid(), process.system->registry.name_of(process.pid())};
  if (process.relations != nullptr) crash.label = process.relations->label;
  crash.entry = process.start->name;
  crash.reason = process.reason;
  crash.mailbox_depth = process.mailbox.size();
  crash.ancestors = ancestors_from(*process.system, process.parent);
  if (process.start->behaves && !process.stateless) {
    detail::Behaviour& behaviour = detail::behaviour_of(process);
    if (const detail::Extras* const extras = behaviour.extras_if_any()) {
      if (extras->last_message != nullptr) crash.last_message = *extras->last_message;
    }
    const detail::BehaviourType& type = detail::type_of(process);
    if (behaviour.has_object() && type.describe_state != nullptr) crash.state = type.describe_state(behaviour);
  }
  return crash;
}

}  // namespace

std::string_view to_string(ReportKind kind) noexcept {
  switch (kind) {
    case ReportKind::crash:
      return "crash";
    case ReportKind::supervisor:
      return "supervisor";
    case ReportKind::progress:
      return "progress";
    case ReportKind::call_cycle:
      return "call_cycle";
    case ReportKind::memory:
      return "memory";
    case ReportKind::stall:
      return "stall";
  }
  return "unknown";
}

std::string_view to_string(SupervisorContext context) noexcept {
  switch (context) {
    case SupervisorContext::start_error:
      return "start_error";
    case SupervisorContext::child_terminated:
      return "child_terminated";
    case SupervisorContext::shutdown_error:
      return "shutdown_error";
    case SupervisorContext::shutdown:
      return "shutdown";
  }
  return "unknown";
}

std::string to_text(const Report& report) {
  const Text text = text_of(report);
  return base::to_lines(text.line, text.details);
}

std::string to_json(const Report& report) {
  Json json;
  json["time"] = base::time_of_day();
  json["level"] = base::to_string(level_of(kind_of(report)));
  json["kind"] = std::holds_alternative<LeftOut>(report) ? "left_out" : to_string(kind_of(report));
  std::visit([&](const auto& of_kind) { add_fields(json, of_kind); }, report);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool wants_report(const System& system, ReportKind kind) noexcept { return system.reporter.wants(kind, system.now()); }

void report(System& system, SupervisorReport report) noexcept {
  system.reporter.report(ReportKind::supervisor, system.now(), [&] { return std::move(report); });
}

void report(System& system, ProgressReport report) noexcept {
  system.reporter.report(ReportKind::progress, system.now(), [&] { return std::move(report); });
}

namespace detail {

bool ReportMeter::admit(std::uint32_t second, std::uint32_t limit, std::uint64_t& left_out) noexcept {
  left_out = 0;
  std::uint64_t seen = word_.load(base::relaxed);  // relaxed, all: counts; nothing is published
  while (static_cast<std::int32_t>(second - static_cast<std::uint32_t>(seen >> 32)) > 0) {
    if (!word_.compare_exchange_weak(seen, std::uint64_t{second} << 32 | 1, base::relaxed, base::relaxed)) continue;
    const std::uint64_t asked = seen & 0xffff'ffff;
    left_out = asked > limit ? asked - limit : 0;
    return true;
  }
  return (word_.fetch_add(1, base::relaxed) & 0xffff'ffff) < limit;
}

bool ReportMeter::has_room(std::uint32_t second, std::uint32_t limit) const noexcept {
  const std::uint64_t seen = word_.load(base::relaxed);  // relaxed: as admit()
  return static_cast<std::uint32_t>(seen >> 32) != second || (seen & 0xffff'ffff) < limit;
}

std::uint64_t ReportMeter::take_left_out(std::uint32_t limit) noexcept {
  std::uint64_t seen = word_.load(base::relaxed);  // relaxed: as admit()
  std::uint64_t asked = 0;
  do {
    asked = seen & 0xffff'ffff;
    if (asked <= limit) return 0;
  } while (
      !word_.compare_exchange_weak(seen, (seen & ~std::uint64_t{0xffff'ffff}) | limit, base::relaxed, base::relaxed));
  return asked - limit;
}

struct Reporter::Output {
  ReportHook hook;
  std::optional<base::LogFile> file;
  bool is_json = false;
};

Reporter::Reporter() : output_(std::make_unique<Output>()) {}
Reporter::~Reporter() = default;

std::expected<void, std::string> Reporter::open(const Options& options) {
  if (options.report_format != "text" && options.report_format != "json") {
    return std::unexpected(fmt::format("report_format must be text or json, not {}", options.report_format));
  }
  if (options.reports_per_second < 1 || options.reports_per_second > kMaxReportsPerSecond) {
    return std::unexpected(
        fmt::format("reports_per_second must be 1 to {}, not {}", kMaxReportsPerSecond, options.reports_per_second));
  }
  limit_ = options.reports_per_second;
  output_->hook = options.report_hook;
  output_->is_json = options.report_format == "json";
  if (options.report_file.empty()) return {};
  auto file = base::LogFile::open(options.report_file);
  if (!file) return std::unexpected(fmt::format("report_file {}: {}", options.report_file, file.error()));
  output_->file = std::move(*file);
  return {};
}

bool Reporter::wants(ReportKind kind, base::Nanos now) const noexcept {
  return base::log_enabled(level_of(kind)) && meters_[static_cast<std::size_t>(kind)].has_room(second_of(now), limit_);
}

bool Reporter::admit(ReportKind kind, base::Nanos now) noexcept {
  if (!base::log_enabled(level_of(kind))) return false;
  std::uint64_t left_out = 0;
  const bool admitted = meters_[static_cast<std::size_t>(kind)].admit(second_of(now), limit_, left_out);
  if (left_out != 0) tell_left_out(kind, left_out);
  return admitted;
}

void Reporter::tell_left_out(ReportKind kind, std::uint64_t count) noexcept {
  try {
    give(kind, LeftOut{kind, count});
  } catch (...) {  // RP4
  }
}

void Reporter::finish() noexcept {
  for (std::size_t i = 0; i < meters_.size(); ++i) {
    if (const std::uint64_t count = meters_[i].take_left_out(limit_)) tell_left_out(static_cast<ReportKind>(i), count);
  }
}

void Reporter::give(ReportKind kind, const Report& report) {
  if (output_->hook) {
    try {
      return output_->hook(report);
    } catch (...) {  // its report goes the common way
    }
  }
  write(kind, report);
}

void Reporter::write(ReportKind kind, const Report& report) {
  const base::Level level = level_of(kind);
  const std::string_view part = to_string(kind);
  if (output_->is_json) {
    const std::string line = to_json(report);
    return output_->file ? output_->file->write(line) : base::log_line(level, part, line);
  }
  const Text text = text_of(report);
  if (!output_->file) return base::log(level, part, text.line, text.details);
  output_->file->write(fmt::format("{} {} {}: {}", base::time_of_day(), base::to_string(level), part,
                                   base::to_lines(text.line, text.details)));
}

void report_stall(System& system, Pid pid, Pid parent, std::string_view entry, std::span<void* const> frames,
                  base::Nanos length, bool is_over) noexcept {
  system.reporter.report(ReportKind::stall, system.now(), [&] {
    StallReport stall;
    stall.process = {pid, system.registry.name_of(pid)};
    stall.entry = entry;
    stall.is_over = is_over;
    stall.length = std::chrono::nanoseconds(length);
    if (!is_over) {
      for (void* const frame : frames) stall.frames.push_back(detail::frame_text(frame));
    }
    stall.ancestors = ancestors_from(system, parent);
    return stall;
  });
}

void report_crash(Process& process) noexcept {
  if (process.doomed || !process.reason.is_abnormal()) return;
  System& system = *process.system;
  system.reporter.report(ReportKind::crash, system.now(), [&] { return crash_of(process); });
}

}  // namespace detail
}  // namespace erlking
