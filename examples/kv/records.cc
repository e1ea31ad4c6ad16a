#include "examples/kv/records.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <zlib.h>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {

constexpr char kMagic[8] = {'E', 'K', 'K', 'V', 'L', 'O', 'G', '2'};
struct Head {
  char magic[8];
  std::uint32_t parts;
  std::uint32_t check;  // of what is before it
};
struct RecordHead {
  std::uint32_t check;  // of what follows
  std::uint32_t part;
  std::uint64_t size;  // of the commands
};
static_assert(sizeof(Head) == 16 && sizeof(RecordHead) == 16);

std::uint32_t check_of(const void* bytes, std::size_t size, std::uint32_t before = 0) noexcept {
  return static_cast<std::uint32_t>(::crc32_z(before, static_cast<const Bytef*>(bytes), size));
}
std::uint32_t check_of(const RecordHead& head, std::string_view commands) noexcept {
  return check_of(commands.data(), commands.size(), check_of(&head.part, sizeof head - sizeof head.check));
}

constexpr auto kPatience = 10min;  // for one read
constexpr std::size_t kBlock = 1u << 20;

// Reads a file from its beginning, in blocks.
class Input {
 public:
  explicit Input(File& file) noexcept : file_(file) {}
  // The next bytes, until the next call; shorter: the file ends.
  std::expected<std::string_view, IoError> next(std::size_t size) {
    if (buffer_.size() - begin_ < size) {
      buffer_.erase(0, begin_);
      begin_ = 0;
      std::size_t have = buffer_.size();
      const std::size_t wanted = std::max(size, kBlock);
      buffer_.resize(wanted);
      while (have < size) {
        const auto got = file_.read_at(at_, std::span(buffer_).subspan(have), kPatience);
        if (!got) return std::unexpected(got.error());
        if (*got == 0) break;
        have += *got;
        at_ += *got;
      }
      buffer_.resize(have);
    }
    const auto found = std::string_view(buffer_).substr(begin_, size);
    begin_ += found.size();
    return found;
  }

 private:
  File& file_;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::uint64_t at_ = 0;
};

}  // namespace

std::string file_head(std::size_t parts) {
  Head head{{}, static_cast<std::uint32_t>(parts), 0};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.check = check_of(&head, offsetof(Head, check));
  return {reinterpret_cast<const char*>(&head), sizeof head};
}

void add_record(std::string& out, std::uint32_t part, std::string_view commands) {
  RecordHead head{0, part, commands.size()};
  head.check = check_of(head, commands);
  out.append(reinterpret_cast<const char*>(&head), sizeof head);
  out += commands;
}

std::expected<Read, IoError> read_records(File& file, const std::function<void(std::uint32_t, std::string&)>& each) {
  const auto status = file.status(kPatience);
  if (!status) return std::unexpected(status.error());
  Read read{.size = status->size};
  Input input(file);
  Head head;
  auto got = input.next(sizeof head);
  if (!got) return std::unexpected(got.error());
  if (got->size() < sizeof head) return read;
  std::memcpy(&head, got->data(), sizeof head);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || head.check != check_of(&head, offsetof(Head, check))) {
    return read;
  }
  read.parts = head.parts;
  read.good = sizeof head;
  for (std::string commands;;) {
    RecordHead record;
    got = input.next(sizeof record);
    if (!got) return std::unexpected(got.error());
    if (got->size() < sizeof record) return read;
    std::memcpy(&record, got->data(), sizeof record);
    if (record.size > read.size - read.good - sizeof record) return read;
    got = input.next(record.size);
    if (!got) return std::unexpected(got.error());
    if (got->size() < record.size || check_of(record, *got) != record.check) return read;
    commands = *got;
    read.good += sizeof record + record.size;
    read.ended = record.part == kEndPart;
    if (!read.ended) each(record.part, commands);
  }
}

}  // namespace kv
