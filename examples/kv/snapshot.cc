#include "examples/kv/snapshot.h"

#include "base/log.h"
#include "examples/kv/log.h"
#include "examples/kv/part.h"
#include "examples/kv/records.h"

#include <utility>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {
constexpr auto kPatience = 10min;  // for one operation of the disk
}

std::string snapshot_path(const std::string& folder, std::uint64_t number) {
  return folder + "/snapshot." + std::to_string(number);
}

std::expected<SnapshotWriter, IoError> SnapshotWriter::begin(std::string folder, std::uint64_t number,
                                                             std::size_t parts) {
  std::string name = snapshot_path(folder, number);
  auto file = File::open(name + ".new", {.read = false, .write = true, .create = true, .truncate = true}, kPatience);
  if (!file) return std::unexpected(file.error());
  SnapshotWriter writer(*std::move(file), std::move(folder), std::move(name));
  if (auto written = writer.write(file_head(parts)); !written) return std::unexpected(written.error());
  return writer;
}

std::expected<void, IoError> SnapshotWriter::write(std::string_view bytes) {
  auto written = file_.write_at(size_, bytes, kPatience);
  if (written) size_ += bytes.size();
  return written;
}

std::expected<void, IoError> SnapshotWriter::add(std::uint32_t part, std::string_view commands) {
  std::string record;
  add_record(record, part, commands);
  return write(record);
}

std::expected<std::uint64_t, IoError> SnapshotWriter::finish() {
  auto done = add(kEndPart, "");
  if (done) done = file_.sync(kPatience);
  if (done) done = file::rename(name_ + ".new", name_, kPatience);
  if (done) done = file::sync_directory(folder_, kPatience);
  if (!done) return std::unexpected(done.error());
  return size_;
}

void Rewriter::on(Rewrite&) {
  const auto done = rewrite();
  world_->rewriting = false;
  if (!done) base::log(base::Level::error, "kv", "the log was not rewritten: " + done.error());
}

std::expected<void, std::string> Rewriter::rewrite() {
  const auto failed = [](std::string what) { return std::unexpected(std::move(what)); };
  // These, and not who has their names then: after a restart that would be others, who know nothing of a dump.
  const Pid log = whereis(kLog).value_or(Pid{});
  std::vector<Pid> parts;
  for (std::uint32_t part = 0; part < world_->settings.parts; ++part) {
    parts.push_back(whereis(name_of_part(part)).value_or(Pid{}));
  }
  const auto number = call(log, BeginNext{}, kPatience);
  if (!number || *number == 0) return failed("no new log file");
  auto done = write_snapshot(*number, log, parts);
  if (!done) {
    static_cast<void>(file::remove(snapshot_path(world_->settings.dir, *number) + ".new", kPatience));
    for (const Pid part : parts) static_cast<void>(call(part, DumpSome{.end = true}, kPatience));
  }
  return done;
}

std::expected<void, std::string> Rewriter::write_snapshot(std::uint64_t number, Pid log,
                                                          const std::vector<Pid>& parts) {
  const auto failed = [](std::string what) { return std::unexpected(std::move(what)); };
  auto writer = SnapshotWriter::begin(world_->settings.dir, number, world_->settings.parts);
  if (!writer) return failed(writer.error().to_string());
  for (std::uint32_t part = 0; part < parts.size(); ++part) {
    for (bool first = true, more = true; more; first = false) {
      auto piece = call(parts[part], DumpSome{.begin = first}, kPatience);
      if (!piece) return failed(name_of_part(part) + " does not answer");
      more = piece->more;
      if (piece->commands.empty()) continue;
      if (auto added = writer->add(part, piece->commands); !added) return failed(added.error().to_string());
    }
  }
  const auto size = writer->finish();
  if (!size) return failed(size.error().to_string());
  const auto dropped = call(log, DropOlder{number, *size}, kPatience);
  if (!dropped || !*dropped) return failed("older files are still there");
  return {};
}

}  // namespace kv
