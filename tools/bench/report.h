// What a bench has found, and two ways it is shown: a table with ratios and targets for people, CSV for programs.
#pragma once

#include "tools/bench/floors.h"
#include "tools/bench/samples.h"
#include "tools/bench/workload.h"

#include <array>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::bench {

/// One figure of one case.
struct Row {
  /// What one contender's runs gave.
  struct Cell {
    std::vector<double> samples;                 // ns; one a run
    std::map<std::string, unsigned> placements;  // how many runs were placed so
    unsigned disturbed = 0;                      // runs accepted although a neighbour disturbed them
    std::vector<std::vector<double>> curves;     // Figure::curve of each run that has one

    bool empty() const noexcept { return samples.empty(); }
    Summary summary() const { return summarise(samples); }
    /// Where the runs were, told shortly.
    std::string placement() const;
  };
  Case which;
  std::string metric;
  std::array<Cell, kContenders> cells;

  const Cell& of(Contender contender) const { return cells[static_cast<std::size_t>(contender)]; }
};

struct Board {
  std::string scheduler, heap;        // ours
  std::vector<Contender> contenders;  // in the order of the columns, ours first
  std::vector<Row> rows;
  FloorFigures floors{};
  bool floors_disturbed = false;  // some of their rounds were

  /// The row of that figure, made if there is none.
  Row& row(const Case& which, std::string_view metric);
  /// Null: not measured.
  const Row* find(std::string_view workload, unsigned workers, std::string_view metric) const;
  /// Our median; NaN: not measured.
  double ours(std::string_view workload, unsigned workers, std::string_view metric) const;
};

/// "33.1 (31.9..35.0) ns", in the unit that suits the median.
std::string text_of(const Summary& summary);
std::string text_of(double ns);
/// "8.8×": how many times better ours is. Empty: one of the two was not measured.
std::string ratio_of(const Summary& peer, const Summary& ours);

void print_table(std::FILE* out, const Board& board);
void print_floors(std::FILE* out, const Board& board);
void print_csv(std::FILE* out, const Board& board);

}  // namespace erlking::bench
