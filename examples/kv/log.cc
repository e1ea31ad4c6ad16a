#include "examples/kv/log.h"

#include "base/log.h"
#include "examples/kv/commands.h"
#include "examples/kv/records.h"
#include "examples/kv/resp.h"
#include "examples/kv/snapshot.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <deque>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {

constexpr auto kPatience = 10min;                              // for one operation of the disk
constexpr auto kRetry = 1s;                                    // after a write that failed
constexpr auto kGrowMost = 10ms;                               // that a group waits for more, however long syncs take
constexpr Duration kRewriteRest = 10s, kRewriteRestMost = 1h;  // between two rewrites
constexpr std::size_t kGroupMost = 8u << 20;                   // bytes written at once, and one part's batch more

void tell(base::Level level, std::string_view what) { base::log(level, "kv", what); }
[[noreturn]] void give_up(const std::string& what) {
  tell(base::Level::error, what);
  exit(Reason("no_log"));
}
template <class T>
T need(std::expected<T, IoError> outcome, const std::string& path) {
  if (!outcome) give_up(path + ": " + outcome.error().to_string());
  if constexpr (!std::is_void_v<T>) return *std::move(outcome);
}

// The number in a name such as "log.7"; nothing: it is another's file.
std::optional<std::uint64_t> number_of(std::string_view name, std::string_view kind, std::string_view ending = {}) {
  if (!name.starts_with(kind) || !name.ends_with(ending)) return std::nullopt;
  if (name.size() <= kind.size() + ending.size()) return std::nullopt;
  name = name.substr(kind.size(), name.size() - kind.size() - ending.size());
  std::uint64_t number = 0;
  const auto [end, fault] = std::from_chars(name.data(), name.data() + name.size(), number);
  return fault == std::errc() && end == name.data() + name.size() ? std::optional(number) : std::nullopt;
}

struct LogFile {
  std::uint64_t number = 0;
  File file;
  std::uint64_t size = 0;    // bytes that have been written
  std::string pending = {};  // that have not
  bool dirty = false;        // not synced
};

class Log {
 public:
  explicit Log(std::shared_ptr<World> world) : world_(std::move(world)), folder_(world_->settings.dir) { recover(); }
  void run();

 private:
  std::string path(std::string_view kind, std::uint64_t number) const {
    return folder_ + "/" + std::string(kind) + "." + std::to_string(number);
  }
  void recover();
  std::size_t load(const std::string& path, bool snapshot, std::vector<std::unique_ptr<Store>>& stores);
  void remove_older(std::uint64_t number);
  std::expected<LogFile, IoError> open_file(std::uint64_t number);
  std::uint64_t begin_next();
  void save(std::vector<std::unique_ptr<Store>>& stores, std::uint64_t number);

  void take(Append&& append);
  bool write_pending();
  bool sync();
  void commit();
  void rewrite_if_grown();
  bool receive_one(Bound bound);
  Bound rest();
  bool idle() const {
    return std::ranges::none_of(files_, [](const LogFile& file) { return file.dirty || !file.pending.empty(); });
  }

  std::shared_ptr<World> world_;
  std::string folder_;
  std::vector<std::unique_ptr<Store>> stores_;                                    // until their parts take them
  std::deque<LogFile> files_;                                                     // the newest last
  std::vector<std::uint64_t> file_of_;                                            // by part
  std::vector<From<Run>> waiting_;                                                // for the next sync
  std::vector<std::pair<std::shared_ptr<Pipeline>, std::uint32_t>> waiting_for_;  // whose, and the part
  std::size_t group_ = 0;                                                         // bytes taken since the last commit
  std::uint64_t snapshot_bytes_ = 0;
  std::size_t released_ = 0, expected_ = 0;  // requests (L5)
  Duration sync_took_{0}, patience_{0};
  std::optional<Clock::time_point> grow_until_;
  std::optional<Reason> end_;  // it has been told to end
  Clock::time_point synced_ = now();
  Clock::time_point rewrite_from_ = now();  // not before, so that one that fails is not begun again at once
  Duration rewrite_rest_ = kRewriteRest;
};

// --- recovery ---

// Runs the commands of one record. False: they make no sense.
bool replay(std::string& commands, Store& store, base::Random& random, std::string& out) {
  Parser parser;
  std::vector<Span> arguments;
  std::vector<std::string_view> argv;
  for (;;) {
    arguments.clear();
    const auto result = parser.next(commands, arguments);
    if (result != Parser::Result::request) return result == Parser::Result::more && parser.taken() == commands.size();
    argv.clear();
    for (const Span& span : arguments) argv.emplace_back(commands.data() + span.begin, span.size);
    const Command* const command = argv.empty() ? nullptr : find_command(argv[0]);
    if (command == nullptr || !command->writes || !command->takes(argv.size())) return false;
    Call call{store, random, out, nullptr, 0, argv, argv.size() > 1 ? hash_of(argv[1]) : 0};
    command->run(call);
    out.clear();
  }
}

std::size_t Log::load(const std::string& path, bool snapshot, std::vector<std::unique_ptr<Store>>& stores) {
  File file = need(File::open(path, {.write = true}, kPatience), path);
  base::Random random(base::entropy_seed());
  std::string out;
  const Read read = need(read_records(file,
                                      [&](std::uint32_t part, std::string& commands) {
                                        while (stores.size() <= part) stores.push_back(std::make_unique<Store>());
                                        if (!replay(commands, *stores[part], random, out)) {
                                          give_up(path + ": a good record with commands that cannot be run");
                                        }
                                      }),
                         path);
  if (snapshot && !read.ended) give_up(path + ": the snapshot is damaged");
  // No more than a head, and none: it was being made, for records are written only after a head that is on the disk.
  if (read.good == 0 && read.size > file_head(1).size()) give_up(path + ": this is no log");
  if (read.good < read.size) {
    tell(base::Level::warning,
         path + ": the last " + std::to_string(read.size - read.good) + " bytes were not written completely: cut off");
    need(file.truncate(read.good, kPatience), path);
  }
  need(file.sync(kPatience), path);  // it may be in the system's memory only, and others build on it
  return read.parts;
}

std::expected<LogFile, IoError> Log::open_file(std::uint64_t number) {
  auto file = File::open(path("log", number), {.write = true, .create = true}, kPatience);
  if (!file) return std::unexpected(file.error());
  LogFile made{number, *std::move(file)};
  const auto status = made.file.status(kPatience);
  if (!status) return std::unexpected(status.error());
  made.size = status->size;
  const std::string head = file_head(world_->settings.parts);
  if (made.size < head.size()) {
    if (const auto written = made.file.write_at(0, head, kPatience); !written) return std::unexpected(written.error());
    made.size = head.size();
  }
  // Also of one that is there: who made it may not have come so far.
  auto done = made.file.sync(kPatience);
  if (done) done = file::sync_directory(folder_, kPatience);
  if (done) return made;
  world_->sync_failed = true;  // L4
  world_->log_error = done.error().code == 0 ? EIO : done.error().code;
  return std::unexpected(done.error());
}

std::uint64_t Log::begin_next() {
  if (world_->sync_failed) return 0;
  const std::uint64_t newest = files_.back().number;
  if (std::ranges::find(file_of_, newest) == file_of_.end()) return newest;  // of a rewrite that was given up at once
  auto next = open_file(files_.back().number + 1);
  if (!next) {
    tell(base::Level::error, "no new log file: " + next.error().to_string());
    return 0;
  }
  files_.push_back(*std::move(next));
  return files_.back().number;
}

void Log::save(std::vector<std::unique_ptr<Store>>& stores, std::uint64_t number) {
  auto writer = need(SnapshotWriter::begin(folder_, number, world_->settings.parts), folder_);
  for (std::uint32_t part = 0; part < stores.size(); ++part) {
    stores[part]->set_dump_writer(write_entry);
    stores[part]->begin_dump();
    for (bool more = true; more;) {
      std::string commands;
      more = stores[part]->dump_some(commands, kGroupMost);
      if (!commands.empty()) need(writer.add(part, commands), folder_);
    }
  }
  snapshot_bytes_ = need(writer.finish(), folder_);
}

void Log::recover() {
  if (file::make_directory(folder_, kPatience)) {  // else it is there
    const std::filesystem::path above = std::filesystem::path(folder_).parent_path();
    static_cast<void>(file::sync_directory(above.empty() ? "." : above.string(), kPatience));
  }
  std::set<std::uint64_t> snapshots, logs;
  for (const std::string& name : need(file::list(folder_, kPatience), folder_)) {
    if (const auto number = number_of(name, "snapshot.")) snapshots.insert(*number);
    if (const auto number = number_of(name, "log.")) logs.insert(*number);
    // Begun, and not finished.
    if (number_of(name, "snapshot.", ".new")) static_cast<void>(file::remove(folder_ + "/" + name, kPatience));
  }
  std::uint64_t number = snapshots.empty() ? 0 : *snapshots.rbegin();
  std::size_t parts = 0;
  bool same = true;
  const auto loaded = [&](std::size_t of) {
    same = same && (of == 0 || of == world_->settings.parts);
    parts = std::max(parts, of);
  };
  if (number != 0) {
    loaded(load(path("snapshot", number), true, stores_));
    snapshot_bytes_ = need(file::status(path("snapshot", number), kPatience), folder_).size;
  }
  for (const std::uint64_t log : logs) {
    if (log < number) continue;
    loaded(load(path("log", log), false, stores_));
  }
  if (!logs.empty()) number = std::max(number, *logs.rbegin());
  parts = world_->settings.parts;
  if (!same) {  // other parts than before: the keys are dealt out anew
    std::vector<std::unique_ptr<Store>> dealt;
    while (dealt.size() < parts) dealt.push_back(std::make_unique<Store>());
    for (auto& store : stores_) {
      store->drain([&](std::unique_ptr<Entry> entry) { dealt[part_of(entry->hash, parts)]->adopt(std::move(entry)); });
    }
    stores_ = std::move(dealt);
  }
  while (stores_.size() < parts) stores_.push_back(std::make_unique<Store>());
  if (!same) save(stores_, ++number);
  files_.push_back(need(open_file(std::max<std::uint64_t>(number, 1)), folder_));
  if (!same) remove_older(number);
  file_of_.assign(parts, files_.back().number);
  if (!world_->sync_failed) world_->log_error = 0;
  std::size_t keys = 0;
  for (const auto& store : stores_) keys += store->size();
  tell(base::Level::info, "recovered " + std::to_string(keys) + " keys from " + folder_);
}

void Log::remove_older(std::uint64_t number) {
  const auto names = file::list(folder_, kPatience);
  for (const std::string& name : names.value_or(std::vector<std::string>())) {
    auto of = number_of(name, "snapshot.");
    if (!of) of = number_of(name, "log.");
    if (of && *of < number) static_cast<void>(file::remove(folder_ + "/" + name, kPatience));  // it would be ignored
  }
}

// --- service ---

void Log::take(Append&& append) {
  const auto file = std::ranges::find(files_, file_of_[append.part], &LogFile::number);
  add_record(file->pending, append.part, append.changes);
  group_ += append.changes.size();
  if (!append.from) return;
  waiting_.push_back(std::move(append.from));
  waiting_for_.emplace_back(std::move(append.pipeline), append.part);
}

bool Log::write_pending() {
  if (world_->sync_failed) return false;
  for (LogFile& file : files_) {
    if (file.pending.empty()) continue;
    if (const auto written = file.file.write_at(file.size, file.pending, kPatience); !written) {
      if (world_->log_error.exchange(written.error().code) == 0) {
        tell(base::Level::error, "writes are refused until the log can be written: " + written.error().to_string());
      }
      return false;
    }
    file.size += file.pending.size();
    file.pending.capacity() > kGroupMost ? void(file.pending = {}) : file.pending.clear();
    file.dirty = true;
  }
  if (world_->log_error.exchange(0) != 0) tell(base::Level::warning, "the log can be written again");
  std::uint64_t bytes = 0;
  for (const LogFile& file : files_) bytes += file.size;
  world_->log_bytes = bytes;
  return true;
}

bool Log::sync() {
  if (world_->sync_failed) return false;
  const Clock::time_point began = now();
  for (LogFile& file : files_) {
    if (!file.dirty) continue;
    if (const auto synced = file.file.sync_data(kPatience); !synced) {
      world_->sync_failed = true;
      world_->log_error = synced.error().code == 0 ? EIO : synced.error().code;
      tell(base::Level::error,
           "writes are refused from now on, for the log may have lost some: " + synced.error().to_string());
      return false;
    }
    file.dirty = false;
  }
  synced_ = now();
  sync_took_ = synced_ - began;
  return true;
}

void Log::commit() {
  group_ = 0;
  bool good = write_pending();
  if (world_->settings.sync == Sync::always) {
    good = good && sync();
  } else if (world_->settings.sync == Sync::everysec && now() - synced_ >= 1s) {
    sync();
  }
  for (const auto& [pipeline, part] : waiting_for_) pipeline->section(part).lost = good ? 0 : world_->log_error.load();
  for (From<Run>& from : waiting_) from.reply({});
  released_ = waiting_.size();
  waiting_.clear();
  waiting_for_.clear();
  rewrite_if_grown();
}

void Log::rewrite_if_grown() {
  const std::uint64_t least = std::max(world_->settings.rewrite_min, 2 * snapshot_bytes_);
  if (world_->sync_failed || world_->log_bytes < least || now() < rewrite_from_ || world_->rewriting.exchange(true))
    return;
  // One that fails half-way leaves a log file behind, for its parts have moved on: so there is more rest each time.
  rewrite_from_ = now() + rewrite_rest_;
  rewrite_rest_ = std::min(2 * rewrite_rest_, kRewriteRestMost);
  if (send(Name{kRewriter}, Rewrite{}) != Delivery::queued) world_->rewriting = false;
}

// One message, waited for so long. False: none came, or it was the end.
bool Log::receive_one(Bound bound) {
  return receive(
      bound, [&](Append&& append) { return take(std::move(append)), true; },
      [&](TakeStore& request, From<TakeStore> from) {
        from.reply(std::move(stores_[request.part]));
        return true;
      },
      [&](BeginNext&, From<BeginNext> from) {
        from.reply(begin_next());
        return true;
      },
      [&](PartMovesOn moves) {
        file_of_[moves.part] = files_.back().number;
        return true;
      },
      [&](DropOlder& request, From<DropOlder> from) {
        commit();
        while (files_.front().number < request.number && files_.front().pending.empty()) files_.pop_front();
        remove_older(files_.front().number);
        snapshot_bytes_ = request.snapshot_bytes;
        const bool dropped = files_.front().number == request.number;
        if (dropped) {
          rewrite_rest_ = kRewriteRest;
          rewrite_from_ = now() + kRewriteRest;
        }
        from.reply(dropped);
        return true;
      },
      [&](Exit exit) {
        end_ = exit.reason;
        return false;
      },
      [](Timeout) { return false; });
}

// How long a group may still wait to begin, or to grow (L5).
Bound Log::rest() {
  if (!waiting_.empty()) {
    if (!grow_until_) grow_until_ = now() + patience_;
    return waiting_.size() < expected_ ? Bound(*grow_until_) : Bound(0s);
  }
  if (group_ != 0) return 0s;
  if (world_->log_error != 0) return kRetry;
  if (world_->settings.sync == Sync::everysec && !idle()) return synced_ + 1s;
  return forever;
}

void Log::run() {
  trap_exit(true);
  while (!end_) {
    while (group_ < kGroupMost && receive_one(0s)) {
    }
    expected_ = released_ + waiting_.size();
    grow_until_.reset();
    while (!end_ && group_ < kGroupMost && receive_one(rest())) {
    }
    // Where waiting for more is in vain it is soon given up.
    const Duration most = std::min<Duration>(4 * sync_took_, kGrowMost);
    patience_ = waiting_.size() < expected_ ? patience_ / 2 : std::min(2 * patience_ + sync_took_ / 16, most);
    commit();
  }
  if (world_->settings.sync != Sync::no) sync();
  exit(*end_);
}

}  // namespace

void run_log(const std::shared_ptr<World>& world) { Log(world).run(); }

}  // namespace kv
