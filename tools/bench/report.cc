#include "tools/bench/report.h"

#include "tools/bench/targets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace erlking::bench {

namespace {

struct Unit {
  double ns;
  std::string_view name;
};

Unit unit_for(double ns) {
  if (ns < 1e3) return {1, "ns"};
  if (ns < 1e6) return {1e3, "µs"};
  return {1e6, "ms"};
}

std::string number(double value) {
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

}  // namespace

std::string Row::Cell::placement() const {
  if (placements.empty()) return "";
  const auto most = std::max_element(placements.begin(), placements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  if (placements.size() == 1) return most->first;
  return fmt::format("{} in {} of {}", most->first, most->second, samples.size());
}

Row& Board::row(const Case& which, std::string_view metric) {
  for (Row& row : rows) {
    if (row.which.workload == which.workload && row.which.workers == which.workers && row.metric == metric) return row;
  }
  rows.push_back({which, std::string(metric), {}});
  return rows.back();
}

const Row* Board::find(std::string_view workload, unsigned workers, std::string_view metric) const {
  for (const Row& row : rows) {
    if (row.which.workload->name == workload && row.which.workers == workers && row.metric == metric) return &row;
  }
  return nullptr;
}

double Board::ours(std::string_view workload, unsigned workers, std::string_view metric) const {
  const Row* const row = find(workload, workers, metric);
  if (row == nullptr || row->of(Contender::erlking).empty()) return std::numeric_limits<double>::quiet_NaN();
  return row->of(Contender::erlking).summary().median;
}

std::string text_of(const Summary& summary) {
  if (summary.runs == 0) return "-";
  const Unit unit = unit_for(summary.median);
  if (summary.runs == 1) return fmt::format("{} {}", number(summary.median / unit.ns), unit.name);
  return fmt::format("{} ({}..{}) {}", number(summary.median / unit.ns), number(summary.min / unit.ns),
                     number(summary.max / unit.ns), unit.name);
}

std::string text_of(double ns) {
  if (std::isnan(ns)) return "-";
  const Unit unit = unit_for(ns);
  return fmt::format("{} {}", number(ns / unit.ns), unit.name);
}

std::string ratio_of(const Summary& peer, const Summary& ours) {
  if (peer.runs == 0 || ours.runs == 0 || ours.median <= 0) return "";
  const double times = peer.median / ours.median;
  return times < 100 ? fmt::format("{:.1f}×", times) : fmt::format("{:.0f}×", times);
}

void print_table(std::FILE* out, const Board& board) {
  std::vector<std::vector<std::string>> lines(1);
  lines[0] = {"workload", "workers", "ours ran", "erlking"};
  for (const Contender peer : board.contenders) {
    if (peer == Contender::erlking) continue;
    lines[0].emplace_back(to_string(peer));
    lines[0].emplace_back("ratio");
  }
  lines[0].emplace_back("target");
  for (const Row& row : board.rows) {
    const Summary ours = row.of(Contender::erlking).summary();
    const auto cell = [&](Contender contender) {
      const Row::Cell& of = row.of(contender);
      return text_of(of.summary()) + (of.disturbed != 0 ? "*" : "");
    };
    std::string name = title(row.which);
    if (row.which.workload->is_latency()) name += " " + row.metric.substr(0, row.metric.find('@'));
    std::string ran = row.of(Contender::erlking).placement();
    if (ran.starts_with("natural: ")) ran.erase(0, 9);
    std::vector<std::string> line{name, std::to_string(row.which.workers), ran, cell(Contender::erlking)};
    for (const Contender peer : board.contenders) {
      if (peer == Contender::erlking) continue;
      line.push_back(cell(peer));
      line.push_back(ratio_of(row.of(peer).summary(), ours));
    }
    line.push_back(verdict(board, row));
    lines.push_back(std::move(line));
  }
  print_columns(out, lines);
}

void print_floors(std::FILE* out, const Board& board) {
  std::vector<std::vector<std::string>> lines;
  for (std::size_t i = 0; i < kFloors; ++i) {
    if (std::isnan(board.floors[i])) continue;
    lines.push_back({"floor: " + std::string(describe(static_cast<Floor>(i))),
                     text_of(board.floors[i]) + (board.floors_disturbed ? "*" : ""), ""});
  }
  print_columns(out, lines);
}

void print_csv(std::FILE* out, const Board& board) {
  fmt::print(out, "workload,system,scheduler,heap,workers,placement,metric,unit,median,min,max,runs\n");
  for (const Row& row : board.rows) {
    for (const Contender contender : board.contenders) {
      const Row::Cell& cell = row.of(contender);
      if (cell.empty()) continue;
      const bool ours = contender == Contender::erlking;
      const Summary s = cell.summary();
      fmt::print(out, "{},{},{},{},{},{},{},ns,{:.1f},{:.1f},{:.1f},{}\n", row.which.workload->name,
                 to_string(contender), ours ? board.scheduler : "-", ours ? board.heap : "-", row.which.workers,
                 cell.placement(), row.metric, s.median, s.min, s.max, s.runs);
    }
  }
}

}  // namespace erlking::bench
