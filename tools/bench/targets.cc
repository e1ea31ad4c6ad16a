#include "tools/bench/targets.h"

#include <fmt/format.h>

#include <cmath>

namespace erlking::bench {

namespace {

// What an own bound is a multiple of.
enum class Of : std::uint8_t { none, ns, sum, line, hop_apart, one_worker, futex };

struct Target {
  std::string_view workload, metric;
  unsigned workers;  // 2: two or more
  double beam, go;   // at least so many times better; 0: nothing promised
  double own;        // at most so many times `of`
  Of of;
};

// The one table of promises.
constexpr Target kTargets[] = {
    {"pingpong", "ns_per_hop", 1, 9, 4, 1.5, Of::sum},
    {"pingpong", "ns_per_hop", 2, 9, 4, 1.5, Of::sum},
    {"pingpong-apart", "ns_per_hop", 2, 25, 40, 6, Of::line},
    {"fanin", "ns_per_message", 1, 6.5, 1.7, 0, Of::none},
    {"fanin", "ns_per_message", 2, 14, 3, 1.05, Of::one_worker},
    {"fanin-apart", "ns_per_message", 2, 3, 0, 100, Of::ns},
    {"spawn", "ns_per_spawn", 1, 10, 3, 60, Of::ns},
    {"spawn", "ns_per_spawn", 2, 15, 3, 60, Of::ns},
    {"call", "ns_per_call", 1, 16, 8, 65, Of::ns},
    {"call", "ns_per_call", 2, 16, 9, 65, Of::ns},
    {"call-apart", "ns_per_call", 2, 0, 0, 3, Of::hop_apart},
    {"latency", "p99@100k/busy", 2, 3, 0, 0, Of::none},
    {"latency", "p50@1k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@10k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@100k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@1M/parked", 2, 1, 0, 1.15, Of::futex},
};

struct Base {
  double ns;
  std::string_view name;
};

Base base_of(const Board& board, const Row& row, Of of) {
  const auto floor = [&](Floor which) { return board.floors[static_cast<std::size_t>(which)]; };
  switch (of) {
    case Of::none:
      break;
    case Of::ns:
      return {1, ""};
    case Of::sum:
      return {floor(Floor::sum), "sum"};
    case Of::line:
      return {floor(Floor::line), "line"};
    case Of::hop_apart:
      return {board.ours("pingpong-apart", row.which.workers, "ns_per_hop"), "hop apart"};
    case Of::one_worker:
      return {board.ours(row.which.workload->name, 1, row.metric), "one worker"};
    // Above 10k messages a second there is hardly time to fall asleep: the quicker of the two stands for them.
    case Of::futex:
      return {floor(row.which.rate <= 1'000 ? Floor::futex_1k : Floor::futex_10k), "futex"};
  }
  return {std::nan(""), ""};
}

void append(std::string& text, std::string_view more) {
  if (!text.empty()) text += "; ";
  text += more;
}

void judge_peer(std::string& text, const Row& row, Contender peer, double least) {
  const Summary theirs = row.of(peer).summary(), ours = row.of(Contender::erlking).summary();
  if (least <= 0 || theirs.runs == 0 || ours.runs == 0) return;
  const double times = theirs.median / ours.median;
  append(text, times >= least ? fmt::format("{} ≥ {}× met", to_string(peer), least)
                              : fmt::format("{} ≥ {}× missed: {:.1f}×", to_string(peer), least, times));
}

}  // namespace

std::string verdict(const Board& board, const Row& row) {
  std::string text;
  for (const Target& target : kTargets) {
    const bool this_many = target.workers == 1 ? row.which.workers == 1 : row.which.workers >= 2;
    if (target.workload != row.which.workload->name || target.metric != row.metric || !this_many) continue;
    judge_peer(text, row, Contender::beam, target.beam);
    judge_peer(text, row, Contender::go, target.go);
    const Base base = base_of(board, row, target.of);
    const double ours = row.of(Contender::erlking).summary().median;
    if (std::isnan(base.ns) || row.of(Contender::erlking).empty()) continue;
    const double most = target.own * base.ns;
    const std::string bound = target.of == Of::ns ? fmt::format("≤ {}", text_of(most))
                                                  : fmt::format("≤ {} {} ({})", target.own, base.name, text_of(most));
    append(text, ours <= most ? bound + " met" : fmt::format("{} missed: {}", bound, text_of(ours)));
  }
  return text;
}

}  // namespace erlking::bench
