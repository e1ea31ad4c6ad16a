// What a bench has found, and two ways it is shown: a table with ratios and targets for people, CSV for programs.
#pragma once

#include "tools/bench/floors.h"
#include "tools/bench/samples.h"
#include "tools/bench/workload.h"

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace erlking::bench {

/// Whose figures stand below each other in a table.
struct Column {
  Contender contender = Contender::erlking;
  std::size_t variant = 0;  // of ours: which of the board's
};

/// What ours can be run on.
struct Variant {
  std::string scheduler, io, heap;
};

/// One figure of one case.
struct Row {
  /// What one contender's runs gave.
  struct Cell {
    std::vector<double> samples;                 // in the row's unit; one a run
    std::map<std::string, unsigned> placements;  // how many runs were placed so
    unsigned disturbed = 0;                      // runs accepted although a neighbour disturbed them
    std::vector<std::vector<double>> curves;     // Figure::curve of each run that has one
    std::optional<HeapUse> heap;                 // of all runs: the collections of each, the most of the others

    bool empty() const noexcept { return samples.empty(); }
    Summary summary() const { return summarise(samples); }
    /// Where the runs were, told shortly.
    std::string placement() const;
  };
  Case which;
  std::string metric;
  /// By contender; after them ours in its further variants.
  std::vector<Cell> cells = std::vector<Cell>(kContenders);

  Unit unit() const noexcept { return unit_of(metric); }
  const Cell& of(Column column) const;
  Cell& of(Column column);
  const Cell& of(Contender contender) const { return of(Column{contender}); }
};

struct Board {
  std::vector<Variant> variants;  // ours; the first is the one compared and judged
  std::vector<Column> columns;    // ours in each variant, then the peers
  std::vector<Row> rows;
  FloorFigures floors{};
  bool floors_disturbed = false;  // some of their rounds were
  /// What redis-server gave in a round's place for ours, by workload and metric; ns.
  std::map<std::pair<std::string_view, std::string>, std::vector<double>> redis;

  /// What tells a variant from the others: "", "threads", "threads epoll", "boehm".
  std::string name_of(const Variant& variant) const;
  /// "erlking", "erlking threads" if there are several variants, "beam".
  std::string name_of(Column column) const;

  /// The row of that figure, made if there is none.
  Row& row(const Case& which, std::string_view metric);
  /// Null: not measured.
  const Row* find(std::string_view workload, unsigned workers, std::string_view metric) const;
  /// Floors and what redis-server gave, each with what it is.
  std::vector<std::pair<std::string, std::string>> floor_lines() const;
  /// Our median; NaN: not measured.
  double ours(std::string_view workload, unsigned workers, std::string_view metric) const;
};

/// "33.1 (31.9..35.0) ns", time in the unit that suits the median.
std::string text_of(const Summary& summary, Unit unit);
std::string text_of(double value, Unit unit);
/// "8.8×": how many times better ours is. Empty: one of the two was not measured.
std::string ratio_of(const Summary& other, const Summary& ours);

void print_table(std::FILE* out, const Board& board);
/// What the runs did to our heaps, where one traces or several were asked for; and when to choose which, if `owned` and
/// another were measured.
void print_heaps(std::FILE* out, const Board& board);
void print_floors(std::FILE* out, const Board& board);
void print_csv(std::FILE* out, const Board& board);

}  // namespace erlking::bench
