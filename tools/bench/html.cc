#include "tools/bench/html.h"

#include "tools/bench/machine.h"
#include "tools/bench/targets.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <expected>
#include <filesystem>
#include <string_view>
#include <unistd.h>
#include <utility>

extern const char* const erlking_bench_page;  // report.html with D3 in it, by embed_page.py

namespace erlking::bench {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// A file that takes the place of `target` when complete. Lies beside it, since a rename crosses no file system.
class Aside {
 public:
  static std::expected<Aside, std::string> open(const std::string& file) {
    std::error_code error;
    const auto fail = [&](std::string_view why) {
      return std::unexpected(fmt::format("--html: cannot write '{}': {}", file, why));
    };
    if (file.empty()) return std::unexpected(std::string("--html: an empty file name"));
    const fs::path target = fs::weakly_canonical(file, error);  // a link stays one
    if (error) return fail(error.message());
    const fs::file_status status = fs::status(target, error);
    if (fs::exists(status) && !fs::is_regular_file(status)) return fail("it is no regular file");
    if (fs::exists(status) && ::access(target.c_str(), W_OK) != 0) return fail(std::strerror(errno));
    if (!target.has_filename()) return fail("it names a folder");
    Aside aside;
    aside.target_ = target;
    aside.path_ = target.parent_path() / fmt::format(".erlking-bench-{}.html", ::getpid());
    aside.out_ = std::fopen(aside.path_.c_str(), "we");
    if (aside.out_ == nullptr) return fail(std::strerror(errno));
    return aside;
  }

  ~Aside() {
    if (out_ == nullptr) return;
    std::fclose(out_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Aside(Aside&& other) noexcept
      : out_(std::exchange(other.out_, nullptr)), path_(std::move(other.path_)), target_(std::move(other.target_)) {}
  Aside& operator=(Aside&&) = delete;

  // Empty: `text` is what the target holds now.
  std::string replace(std::string_view text) {
    bool good = std::fwrite(text.data(), 1, text.size(), out_) == text.size();
    good = std::fflush(out_) == 0 && good;
    good = good && ::fsync(::fileno(out_)) == 0 && ::rename(path_.c_str(), target_.c_str()) == 0;
    if (!good) return fmt::format("--html: cannot write '{}': {}", target_.string(), std::strerror(errno));
    path_.clear();
    return "";
  }

 private:
  Aside() = default;

  std::FILE* out_ = nullptr;
  fs::path path_, target_;  // path_ is empty once it has been moved
};

// The k-th median of all runs' k-th points. A run's points are as many as its messages allow.
json curve_of(const std::vector<std::vector<double>>& runs) {
  json points = json::array();
  for (std::size_t k = 0;; ++k) {
    std::vector<double> values;
    for (const auto& run : runs) {
      if (k < run.size()) values.push_back(run[k]);
    }
    if (values.empty()) return points;
    points.push_back(summarise(std::move(values)).median);
  }
}

json cell_of(const Row::Cell& cell, Unit unit) {
  if (cell.empty()) return nullptr;
  const Summary s = cell.summary();
  return {{"median", s.median},
          {"min", s.min},
          {"max", s.max},
          {"runs", s.runs},
          {"text", text_of(s, unit)},
          {"short", text_of(s.median, unit)},
          {"placement", cell.placement()},
          {"disturbed", cell.disturbed},
          {"curve", curve_of(cell.curves)}};
}

// "p99.9@1k/busy" → 99.9, "max@…" → 100; null: no percentile.
json percentile_of(const Row& row) {
  if (!row.which.workload->metric.empty()) return nullptr;
  const std::string name = row.metric.substr(0, row.metric.find('@'));
  if (name == "max") return 100;
  double p = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), p);
  return name[0] == 'p' && error == std::errc{} && end == name.data() + name.size() ? json(p) : json(nullptr);
}

json row_of(const Board& board, const Row& row) {
  json cells = json::array(), ratios = json::array();
  const Summary ours = row.of(Contender::erlking).summary();
  for (const Column& column : board.columns) {
    cells.push_back(cell_of(row.of(column), row.unit()));
    ratios.push_back(cells.size() == 1 ? "" : ratio_of(row.of(column).summary(), ours));
  }
  return {{"workload", row.which.workload->name},
          {"what", row.which.workload->what},
          {"case", title(row.which)},
          {"workers", row.which.workers},
          {"metric", row.metric},
          {"label", row.metric.substr(0, row.metric.find('@'))},
          {"percentile", percentile_of(row)},
          {"unit", to_string(row.unit())},
          {"verdict", verdict(board, row)},
          {"cells", cells},
          {"ratios", ratios}};
}

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  return text;
}

std::string page_of(const Board& board, const PageFacts& facts) {
  json data{{"date", now_text()}, {"command", facts.command}, {"notes", facts.notes}};
  data["machine"] = json::array();
  for (const auto& [what, value] : describe_machine()) data["machine"].push_back({what, value});
  for (const Column& column : board.columns) {
    const auto version = facts.versions.find(column.contender);
    std::string text = version == facts.versions.end() ? "" : version->second;
    if (column.contender == Contender::erlking) {
      text += fmt::format(", {}, {}", board.variants[column.variant].scheduler, board.variants[column.variant].heap);
    }
    data["contenders"].push_back({{"name", board.name_of(column)}, {"version", text}});
  }
  data["rows"] = data["floors"] = json::array();
  for (const Row& row : board.rows) data["rows"].push_back(row_of(board, row));
  for (const auto& [what, value] : board.floor_lines()) data["floors"].push_back({what, value});
  // A command line may hold bytes that are no UTF-8, and "</script>".
  std::string text = data.dump(-1, ' ', false, json::error_handler_t::replace);
  for (std::size_t at = 0; (at = text.find('<', at)) != text.npos;) text.replace(at, 1, "\\u003c");

  constexpr std::string_view kPlace = "@DATA@";
  std::string page = erlking_bench_page;
  return page.replace(page.find(kPlace), kPlace.size(), text);
}

}  // namespace

std::string why_no_html(const std::string& file) {
  const auto aside = Aside::open(file);
  return aside ? "" : aside.error();
}

std::string write_html(const std::string& file, const Board& board, const PageFacts& facts) {
  auto aside = Aside::open(file);
  return aside ? aside->replace(page_of(board, facts)) : aside.error();
}

}  // namespace erlking::bench
