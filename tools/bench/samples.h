// What is told of several runs of one thing: the median, and how far they spread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace erlking::bench {

struct Summary {
  double median = 0, min = 0, max = 0;
  std::size_t runs = 0;
};

/// All zero if there are none.
inline Summary summarise(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const double median = n % 2 != 0 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {median, values.front(), values.back(), n};
}

}  // namespace erlking::bench
