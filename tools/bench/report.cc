#include "tools/bench/report.h"

#include "tools/bench/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <ranges>

namespace erlking::bench {

namespace {

// What a value is shown in.
struct Shown {
  double one;
  std::string_view name;
};

Shown shown(double value, Unit unit) {
  if (unit == Unit::bytes) return {1, "B"};
  if (unit == Unit::percent) return {1, "%"};
  if (value < 1e3) return {1, "ns"};
  if (value < 1e6) return {1e3, "µs"};
  return {1e6, "ms"};
}

std::string number(double value) {
  if (value != 0 && std::abs(value) < 0.1) return fmt::format("{:.3f}", value);
  return std::abs(value) < 1e3 ? fmt::format("{:.1f}", value) : fmt::format("{:.0f}", value);
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Columns as wide as their widest cell; the first and the last to the left, the others to the right.
void print_columns(std::FILE* out, const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> widths;
  for (const auto& line : lines) {
    widths.resize(std::max(widths.size(), line.size()));
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], width(line[i]));
  }
  for (const auto& line : lines) {
    std::string text;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const std::string pad(widths[i] - width(line[i]), ' ');
      const bool left = i == 0 || i + 1 == line.size();
      text += (i == 0 ? "" : "  ") + (left ? line[i] + pad : pad + line[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    fmt::print(out, "{}\n", text);
  }
}

std::size_t place_of(Column column) {
  return column.variant == 0 ? static_cast<std::size_t>(column.contender) : kContenders + column.variant - 1;
}

}  // namespace

std::string Row::Cell::placement() const {
  if (placements.empty()) return "";
  const auto most = std::max_element(placements.begin(), placements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (placements.size() == 1) return most->first;
  return fmt::format("{} in {} of {}", most->first, most->second, samples.size());
}

Row::Cell& Row::of(Column column) {
  if (place_of(column) >= cells.size()) cells.resize(place_of(column) + 1);
  return cells[place_of(column)];
}

const Row::Cell& Row::of(Column column) const {
  static const Cell kNone;
  return place_of(column) < cells.size() ? cells[place_of(column)] : kNone;
}

std::string Board::name_of(const Variant& variant) const {
  const auto differ = [this](std::string Variant::*what) {
    return std::ranges::any_of(variants, [&](const Variant& each) { return each.*what != variants[0].*what; });
  };
  std::string name = differ(&Variant::scheduler) ? variant.scheduler : "";
  if (differ(&Variant::io)) name += (name.empty() ? "" : " ") + variant.io;
  if (differ(&Variant::heap)) name += (name.empty() ? "" : " ") + variant.heap;
  return name;
}

std::string Board::name_of(Column column) const {
  std::string name(to_string(column.contender));
  if (column.contender != Contender::erlking) return name;
  const std::string variant = name_of(variants[column.variant]);
  return variant.empty() ? name : name + " " + variant;
}

Row& Board::row(const Case& which, std::string_view metric) {
  for (Row& row : rows) {
    if (row.which.workload == which.workload && row.which.workers == which.workers && row.metric == metric) return row;
  }
  Row& row = rows.emplace_back();
  row.which = which;
  row.metric = metric;
  return row;
}

const Row* Board::find(std::string_view workload, unsigned workers, std::string_view metric) const {
  for (const Row& row : rows) {
    if (row.which.workload->name == workload && row.which.workers == workers && row.metric == metric) return &row;
  }
  return nullptr;
}

std::vector<std::pair<std::string, std::string>> Board::floor_lines() const {
  std::vector<std::pair<std::string, std::string>> lines;
  const std::string mark = floors_disturbed ? "*" : "";
  for (std::size_t i = 0; i < kFloors; ++i) {
    if (std::isnan(floors[i])) continue;
    lines.emplace_back(describe(static_cast<Floor>(i)), text_of(floors[i], Unit::ns) + mark);
  }
  for (const auto& [which, samples] : redis) {
    lines.emplace_back(fmt::format("redis-server, {}, {}", which.first, which.second),
                       text_of(summarise(samples).median, Unit::ns) + mark);
  }
  return lines;
}

double Board::ours(std::string_view workload, unsigned workers, std::string_view metric) const {
  const Row* const row = find(workload, workers, metric);
  if (row == nullptr || row->of(Contender::erlking).empty()) return std::numeric_limits<double>::quiet_NaN();
  return row->of(Contender::erlking).summary().median;
}

std::string text_of(const Summary& summary, Unit unit) {
  if (summary.runs == 0) return "-";
  const Shown in = shown(summary.median, unit);
  if (summary.runs == 1) return fmt::format("{} {}", number(summary.median / in.one), in.name);
  return fmt::format("{} ({}..{}) {}", number(summary.median / in.one), number(summary.min / in.one),
                     number(summary.max / in.one), in.name);
}

std::string text_of(double value, Unit unit) {
  if (std::isnan(value)) return "-";
  const Shown in = shown(value, unit);
  return fmt::format("{} {}", number(value / in.one), in.name);
}

std::string ratio_of(const Summary& other, const Summary& ours) {
  if (other.runs == 0 || ours.runs == 0 || ours.median <= 0) return "";
  const double times = other.median / ours.median;
  return times < 100 ? fmt::format("{:.1f}×", times) : fmt::format("{:.0f}×", times);
}

void print_table(std::FILE* out, const Board& board) {
  const std::vector<Column>& columns = board.columns;
  std::vector<std::vector<std::string>> lines(1);
  lines[0] = {"workload", "workers", "ours ran", board.name_of(columns[0])};
  for (const Column& column : columns | std::views::drop(1)) {
    lines[0].push_back(board.name_of(column));
    lines[0].emplace_back("ratio");
  }
  lines[0].emplace_back("target");
  for (const Row& row : board.rows) {
    const Summary ours = row.of(Contender::erlking).summary();
    const auto cell = [&](const Row::Cell& of) {
      return text_of(of.summary(), row.unit()) + (of.disturbed != 0 ? "*" : "");
    };
    std::string name = title(row.which);
    if (row.which.workload->metric.empty()) name += " " + row.metric.substr(0, row.metric.find('@'));
    std::string ran = row.of(Contender::erlking).placement();
    if (ran.starts_with("natural: ")) ran.erase(0, 9);
    std::vector<std::string> line{name, std::to_string(row.which.workers), ran, cell(row.of(columns[0]))};
    for (const Column& column : columns | std::views::drop(1)) {
      line.push_back(cell(row.of(column)));
      line.push_back(ratio_of(row.of(column).summary(), ours));
    }
    line.push_back(verdict(board, row));
    lines.push_back(std::move(line));
  }
  print_columns(out, lines);
}

namespace {

// How many times as long as on `owned` our workloads of one time took on another heap, everything else being the same.
struct TimesOwned {
  double least = 0, most = 0;
  std::string least_of, most_of;
  double pause_max = 0;  // ns
};
std::optional<TimesOwned> times_owned(const Board& board, std::string_view heap) {
  std::optional<TimesOwned> found;
  for (const Row& row : board.rows) {
    for (const Column& column : board.columns) {
      if (column.contender != Contender::erlking || board.variants[column.variant].heap != heap) continue;
      const auto base = std::ranges::find_if(board.columns, [&](const Column& other) {
        const Variant& mine = board.variants[column.variant];
        return other.contender == Contender::erlking && board.variants[other.variant].heap == "owned" &&
               board.variants[other.variant].scheduler == mine.scheduler && board.variants[other.variant].io == mine.io;
      });
      if (base == board.columns.end()) continue;
      const Row::Cell &cell = row.of(column), &owned = row.of(*base);
      if (row.which.workload->metric.empty() || row.unit() != Unit::ns || cell.empty() || owned.empty() ||
          owned.summary().median == 0)
        continue;
      const double times = cell.summary().median / owned.summary().median;
      if (!found) found = TimesOwned{times, times, title(row.which), title(row.which)};
      if (times < found->least) found->least = times, found->least_of = title(row.which);
      if (times > found->most) found->most = times, found->most_of = title(row.which);
      if (cell.heap) found->pause_max = std::max(found->pause_max, static_cast<double>(cell.heap->pause_max));
    }
  }
  return found;
}

// When to choose which, by what was measured: nothing if there is nothing to choose.
std::string heap_advice(const Board& board) {
  const auto region = times_owned(board, "region"), boehm = times_owned(board, "boehm");
  if (!region && !boehm) return "";
  const auto range = [](const TimesOwned& times) {
    if (times.least_of == times.most_of) return fmt::format("{:.2f} times as long ({})", times.most, times.most_of);
    return fmt::format("{:.2f} ({}) to {:.2f} ({}) times as long", times.least, times.least_of, times.most,
                       times.most_of);
  };
  std::string text =
      "which heap: owned where speed is all; a process that ends by a contained fault leaves what it held.";
  if (region) {
    text += fmt::format(
        " region, here {} as owned, where processes may fault and the program is to go on for long: what "
        "they held is given back.",
        range(*region));
  }
  if (boehm) {
    text += fmt::format(
        " boehm, here {} as owned, all processes stopped for up to {} at a time, where they hand each other "
        "graphs of which nobody can say when to free them; the more is alive, the longer it stops them.",
        range(*boehm), text_of(boehm->pause_max, Unit::ns));
  }
  return text + " More in docs/heaps.md.";
}

}  // namespace

void print_heaps(std::FILE* out, const Board& board) {
  std::vector<std::vector<std::string>> lines{
      {"workload", "workers", "heap", "collections", "longest pause", "memory"}};
  bool any_traces = false;
  for (const Row& row : board.rows) {
    for (const Column& column : board.columns) {
      const std::optional<HeapUse>& heap = row.of(column).heap;
      if (!heap) continue;
      any_traces = any_traces || heap->collections != 0;
      std::vector<std::string> line{title(row.which),
                                    std::to_string(row.which.workers),
                                    board.variants[column.variant].heap,
                                    std::to_string(heap->collections),
                                    text_of(static_cast<double>(heap->pause_max), Unit::ns),
                                    fmt::format("{:.1f} MiB", static_cast<double>(heap->bytes) / (1 << 20))};
      if (line != lines.back()) lines.push_back(std::move(line));  // not again for a workload's other figures
    }
  }
  const bool several = std::ranges::any_of(
      board.variants, [&](const Variant& each) { return each.heap != board.variants.front().heap; });
  if (any_traces || several) {
    print_columns(out, lines);
    fmt::print(out, "\n");
  }
  if (const std::string advice = heap_advice(board); !advice.empty()) fmt::print(out, "{}\n\n", advice);
}

void print_floors(std::FILE* out, const Board& board) {
  std::vector<std::vector<std::string>> lines;
  for (const auto& [what, value] : board.floor_lines()) lines.push_back({"floor: " + what, value, ""});
  print_columns(out, lines);
}

void print_csv(std::FILE* out, const Board& board) {
  fmt::print(
      out,
      "workload,system,scheduler,io,heap,workers,placement,metric,unit,median,min,max,runs,collections,pause_max,"
      "heap_bytes\n");
  for (const Row& row : board.rows) {
    for (const Column& column : board.columns) {
      const Row::Cell& cell = row.of(column);
      if (cell.empty()) continue;
      const bool ours = column.contender == Contender::erlking;
      const Summary s = cell.summary();
      const int digits = row.unit() == Unit::percent ? 3 : 1;
      const std::string heap =
          cell.heap ? fmt::format("{},{},{}", cell.heap->collections, cell.heap->pause_max, cell.heap->bytes) : "-,-,-";
      fmt::print(out, "{},{},{},{},{},{},{},{},{},{:.{}f},{:.{}f},{:.{}f},{},{}\n", row.which.workload->name,
                 to_string(column.contender), ours ? board.variants[column.variant].scheduler : "-",
                 ours && row.which.workload->uses_io() ? board.variants[column.variant].io : "-",
                 ours ? board.variants[column.variant].heap : "-", row.which.workers, cell.placement(), row.metric,
                 to_string(row.unit()), s.median, digits, s.min, digits, s.max, digits, s.runs, heap);
    }
  }
}

}  // namespace erlking::bench
