#include "examples/kv/part.h"

#include "examples/kv/log.h"

#include <cstring>
#include <utility>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {
constexpr auto kRecovery = 1h;     // for the log to read its files
constexpr auto kPatience = 15min;  // for room in the log's mailbox: longer than the disk may take
constexpr auto kSweeping = 100ms;
constexpr std::size_t kSwept = 2000;        // buckets at once
constexpr std::size_t kPiece = 256 * 1024;  // bytes of a dump at once
}  // namespace

std::string name_of_part(std::size_t part) { return "part-" + std::to_string(part); }

Part::Part(std::shared_ptr<World> world, std::uint32_t part)
    : world_(std::move(world)), part_(part), logged_(!world_->settings.dir.empty()) {
  if (logged_) {
    auto taken = call(Name{kLog}, TakeStore{part}, kRecovery);
    if (!taken || *taken == nullptr) exit(Reason("no_store"));
    store_ = *std::move(taken);
    log_ = whereis(kLog).value_or(Pid{});
  } else {
    store_ = std::make_unique<Store>();
  }
  store_->set_dump_writer(write_entry);
  store_->on_expired = [this](std::string_view key) {
    if (logged_) add_command(changes_, {"DEL", key});
  };
  after_changes();
}

void Part::publish(std::uint64_t bytes, std::uint64_t keys) noexcept {
  // relaxed: a count, read for limits and INFO
  world_->memory.fetch_add(bytes - std::exchange(published_, bytes), std::memory_order_relaxed);
  world_->keys[part_].store(keys, std::memory_order_relaxed);
}

void Part::after_changes() {
  publish(store_->bytes(), store_->size());
  if (store_->with_expiry() == 0 || std::exchange(sweeping_, true)) return;
  sweeping_ = send_after(kSweeping, self(), Sweep{}).has_value();
}

std::string_view Part::refusal(const Command& command) noexcept {
  if (!command.writes) return {};
  if (const int broken = world_->log_error.load(std::memory_order_relaxed); broken != 0) {  // relaxed: L4 holds anyhow
    refused_ = error::misconf(broken);
    return refused_;
  }
  const std::uint64_t most = world_->settings.max_memory;
  if (most == 0 || !command.grows || command.where == Where::parts) return {};
  const std::uint64_t now = world_->memory.load(std::memory_order_relaxed) - published_ + store_->bytes();
  return now > most ? error::kMemory : std::string_view();
}

void Part::on(Run& run, From<Run> from) {
  Pipeline& pipeline = *run.pipeline;
  Call call{*store_, random_, pipeline.section(part_).out, logged_ ? &changes_ : nullptr, wall_ms()};
  pipeline.run(part_, call, [this](const Command& command) { return refusal(command); });
  after_changes();
  if (changes_.empty()) {
    from.reply({});
  } else if (world_->settings.sync == Sync::always) {
    hand_over(std::move(from), std::move(run.pipeline));
  } else {
    hand_over({}, nullptr);
    from.reply({});
  }
}

void Part::hand_over(From<Run> from, std::shared_ptr<Pipeline> pipeline) {
  Append append{part_, std::exchange(changes_, {}), std::move(from), std::move(pipeline)};
  if (send(log_, std::move(append), kPatience) != Delivery::queued) exit(Reason("log_stuck"));
}

DumpSome::Piece Part::on(DumpSome& dump) {
  if (dump.begin) {
    if (!changes_.empty()) hand_over({}, nullptr);
    if (send(log_, PartMovesOn{part_}, kPatience) != Delivery::queued) exit(Reason("log_stuck"));
    store_->begin_dump();
  }
  DumpSome::Piece piece;
  if (dump.end) {
    store_->end_dump();
    return piece;
  }
  piece.more = store_->dump_some(piece.commands, kPiece);
  return piece;
}

void Part::on(Sweep&) {
  sweeping_ = false;
  store_->sweep(wall_ms(), kSwept);
  if (!changes_.empty()) hand_over({}, nullptr);
  after_changes();
}

}  // namespace kv
