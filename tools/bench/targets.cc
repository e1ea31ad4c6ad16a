#include "tools/bench/targets.h"

#include <fmt/format.h>

#include <cmath>

namespace erlking::bench {

namespace {

// What an own bound is a multiple of; `speed_up`: so many times faster than with one worker, at least.
enum class Of : std::uint8_t { none, unit, sum, line, hop_apart, speed_up, call, futex, sleep, echo, fio, redis };

struct Target {
  std::string_view workload, metric;  // metric empty: each
  unsigned workers;                   // 0: any number; 2: two or more
  double beam, go;                    // at least so many times better; 0: nothing promised
  double own;                         // at most so many times `of`
  Of of;
};

// The one table of promises; and besides, what is natural keeps kSecondWorker.
constexpr Target kTargets[] = {
    {"pingpong", "ns_per_hop", 0, 9, 4, 1.5, Of::sum},
    {"pingpong-apart", "ns_per_hop", 2, 25, 40, 6, Of::line},
    {"ring-1", "ns_per_hop", 0, 10, 7, 0, Of::none},
    {"ring-100", "ns_per_hop", 0, 5.5, 2.3, 0, Of::none},
    {"fanin", "ns_per_message", 1, 6.5, 1.7, 0, Of::none},
    {"fanin", "ns_per_message", 2, 14, 3, 0, Of::none},
    {"fanin-apart", "ns_per_message", 2, 3, 0, 100, Of::unit},
    {"big", "ns_per_message", 1, 6, 4, 0, Of::none},
    {"big", "ns_per_message", 2, 14, 5, 0, Of::none},
    {"spawn", "ns_per_spawn", 1, 10, 3, 60, Of::unit},
    {"spawn", "ns_per_spawn", 2, 15, 3, 60, Of::unit},
    {"fork-join-1k", "ns_per_process", 2, 0, 0, 1.25, Of::speed_up},
    {"fork-join-64k", "ns_per_process", 2, 0, 0, 1.25, Of::speed_up},
    {"monitors", "ns_per_down", 0, 10, 0, 0, Of::none},
    {"restart", "ns_per_restart", 0, 7, 0, 0, Of::none},
    {"sup-simple-100k", "ns_per_child", 0, 5, 0, 0, Of::none},
    {"pg-join", "ns_per_join", 0, 5, 0, 0, Of::none},
    {"call", "ns_per_call", 1, 16, 8, 65, Of::unit},
    {"call", "ns_per_call", 2, 16, 9, 65, Of::unit},
    {"call-apart", "ns_per_call", 2, 0, 0, 3, Of::hop_apart},
    {"call-50", "ns_per_call", 2, 0, 0, 1.7, Of::speed_up},
    {"server-call", "ns_per_call", 0, 12, 0, 0, Of::none},
    {"selective", "ns_per_call", 1, 0, 0, 1.1, Of::call},
    {"compute-1us", "ns_per_message", 2, 0, 0, 1.5, Of::speed_up},
    {"compute-5us", "ns_per_message", 2, 0, 0, 1.75, Of::speed_up},
    {"compute-100us", "ns_per_message", 2, 0, 0, 1.85, Of::speed_up},
    {"behind", "p50", 2, 0, 0, 40'000, Of::unit},
    {"sleepers", "p99", 2, 0, 0, 300'000, Of::unit},
    {"hogs", "p99", 2, 0, 0, 5'000'000, Of::unit},
    {"timers", "ns_per_timer", 0, 15, 6, 0, Of::none},
    {"timer-accuracy", "p99", 0, 0, 0, 1.5, Of::sleep},
    {"timer-accuracy-spread", "p99", 0, 0, 0, 1.5, Of::sleep},
    {"tcp-echo", "ns_per_request", 0, 1.4, 1.3, 1, Of::echo},
    {"tcp-echo", "p99", 0, 0, 0, 1.3, Of::echo},
    {"file-read", "ns_per_read", 1, 0, 0, 1 / 0.95, Of::fio},
    {"kv", "", 0, 0, 0, 1, Of::redis},
    {"kv-16", "", 0, 0, 0, 1 / 1.2, Of::redis},
    {"kv-always", "", 0, 0, 0, 1, Of::redis},
    {"idle-connections", "bytes_each", 0, 0, 0, 6'144, Of::unit},
    {"idle-connections", "percent_cpu", 0, 0, 0, 1, Of::unit},
    {"idle", "bytes_each", 0, 0, 0, 4'710, Of::unit},
    {"idle", "ns_per_spawn", 0, 0, 0, 2'500, Of::unit},
    {"idle", "percent_cpu", 0, 0, 0, 1, Of::unit},
    {"idle-handlers", "bytes_each", 0, 0, 0, 320, Of::unit},
    {"idle-handlers", "ns_per_spawn", 0, 0, 0, 200, Of::unit},
    {"idle-handlers", "ns_per_wake", 0, 0, 0, 70, Of::unit},
    {"idle-handlers", "percent_cpu", 0, 0, 0, 1, Of::unit},
    {"idle-servers", "bytes_each", 0, 0, 0, 320, Of::unit},
    {"idle-servers", "ns_per_start", 0, 0, 0, 300, Of::unit},
    {"idle-servers", "percent_cpu", 0, 0, 0, 1, Of::unit},
    {"latency", "p99@100k/busy", 2, 3, 0, 0, Of::none},
    {"latency", "p50@1k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@10k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@100k/parked", 2, 1, 0, 1.15, Of::futex},
    {"latency", "p50@1M/parked", 2, 1, 0, 1.15, Of::futex},
};

// Of its figure with one worker, at most: a second worker harms nobody.
constexpr double kSecondWorker = 1.05;

struct Base {
  double value;
  std::string_view name;
};

Base base_of(const Board& board, const Row& row, Of of) {
  const auto floor = [&](Floor which) { return board.floors[static_cast<std::size_t>(which)]; };
  switch (of) {
    case Of::none:
      break;
    case Of::unit:
      return {1, ""};
    case Of::sum:
      return {floor(Floor::sum), "sum"};
    case Of::line:
      return {floor(Floor::line), "line"};
    case Of::hop_apart:
      return {board.ours("pingpong-apart", row.which.workers, "ns_per_hop"), "hop apart"};
    case Of::call:
      return {board.ours("call", row.which.workers, "ns_per_call"), "call"};
    case Of::sleep:
      return {floor(Floor::sleep_p99), "clock_nanosleep"};
    case Of::echo:
      if (row.metric == "p99") {
        return {floor(row.which.workers == 1 ? Floor::echo_apart_p99 : Floor::echo_together_p99), "bare epoll"};
      }
      return {floor(row.which.workers == 1 ? Floor::echo_apart : Floor::echo_together), "bare epoll"};
    case Of::redis: {
      const auto theirs = board.redis.find({row.which.workload->name, row.metric});
      return {theirs != board.redis.end() ? summarise(theirs->second).median : std::nan(""), "redis-server"};
    }
    case Of::fio:
      return {floor(Floor::fio_read), "fio"};
    case Of::speed_up:
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

void judge_own(std::string& text, const Board& board, const Row& row, const Target& target) {
  const Base base = base_of(board, row, target.of);
  if (std::isnan(base.value) || row.of(Contender::erlking).empty()) return;
  const double ours = row.of(Contender::erlking).summary().median;
  if (target.of == Of::speed_up) {
    const double times = base.value / ours;
    append(text, times >= target.own ? fmt::format("≥ {}× {} met", target.own, base.name)
                                     : fmt::format("≥ {}× {} missed: {:.2f}×", target.own, base.name, times));
    return;
  }
  const double most = target.own * base.value;
  const std::string bound = target.of == Of::unit
                                ? fmt::format("≤ {}", text_of(most, row.unit()))
                                : fmt::format("≤ {:.3g} {} ({})", target.own, base.name, text_of(most, row.unit()));
  append(text, ours <= most ? bound + " met" : fmt::format("{} missed: {}", bound, text_of(ours, row.unit())));
}

void judge_second_worker(std::string& text, const Board& board, const Row& row) {
  const Workload& workload = *row.which.workload;
  if (row.which.workers < 2 || workload.place != Place::natural || workload.metric.empty()) return;
  const double one = board.ours(workload.name, 1, row.metric),
               ours = board.ours(workload.name, row.which.workers, row.metric);
  if (std::isnan(one) || std::isnan(ours)) return;
  const double most = kSecondWorker * one;
  const std::string bound = fmt::format("≤ {} one worker ({})", kSecondWorker, text_of(most, row.unit()));
  append(text, ours <= most ? bound + " met" : fmt::format("{} missed: {}", bound, text_of(ours, row.unit())));
}

}  // namespace

std::string verdict(const Board& board, const Row& row) {
  std::string text;
  bool faster = false;  // is promised
  for (const Target& target : kTargets) {
    const bool this_many =
        target.workers == 0 || (target.workers == 1 ? row.which.workers == 1 : row.which.workers >= 2);
    const bool this_metric = target.metric == row.metric || target.metric.empty();
    if (target.workload != row.which.workload->name || !this_metric || !this_many) continue;
    judge_peer(text, row, Contender::beam, target.beam);
    judge_peer(text, row, Contender::go, target.go);
    judge_own(text, board, row, target);
    faster = faster || target.of == Of::speed_up;
  }
  if (!faster) judge_second_worker(text, board, row);
  return text;
}

}  // namespace erlking::bench
