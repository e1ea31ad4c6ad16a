#include "examples/kv/pipeline.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace kv {

namespace {

constexpr std::size_t kKept = 64 * 1024;  // bytes of a buffer that are kept for later

// Words of a request, on the stack if they are few.
class Words {
 public:
  explicit Words(std::size_t most) {
    if (most > few_.size()) many_.resize(most);
    words_ = many_.empty() ? few_.data() : many_.data();
  }
  void push(std::string_view word) noexcept { words_[size_++] = word; }
  std::span<const std::string_view> all() const noexcept { return {words_, size_}; }

 private:
  std::array<std::string_view, 8> few_;
  std::vector<std::string_view> many_;
  std::string_view* words_;
  std::size_t size_ = 0;
};

}  // namespace

void Pipeline::add(const Command& command, std::size_t first, std::size_t words) {
  Item item{&command, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(words)};
  const auto index = static_cast<std::uint32_t>(items_.size());
  const auto give = [&](std::size_t part) { sections_[part].items.push_back(index); };
  switch (command.where) {
    case Where::part:
      item.hash = hash_of(word(first + 1));
      item.part = static_cast<std::uint32_t>(part_of(item.hash, parts_));
      give(item.part);
      break;
    case Where::parts:
      for (std::size_t i = 1; i < words; i += command.step) {
        auto& items = sections_[part_of(hash_of(word(first + i)), parts_)].items;
        if (items.empty() || items.back() != index) items.push_back(index);
      }
      break;
    case Where::all:
      for (std::size_t part = 0; part < parts_; ++part) give(part);
      break;
    case Where::cursor: {
      std::uint64_t cursor = 0;
      const std::string_view text = word(first + 1);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cursor);
      if (error != std::errc() || end != text.data() + text.size()) {
        add_error(own(), "ERR invalid cursor");
        return added();
      }
      item.part = static_cast<std::uint32_t>(cursor % parts_);
      item.hash = cursor / parts_;
      give(item.part);
      break;
    }
    default:
      return;
  }
  items_.push_back(item);
}

void Pipeline::added() {
  Section& section = sections_[parts_];
  section.ends.push_back(section.out.size());
  items_.push_back({.part = static_cast<std::uint32_t>(parts_)});
}

void Pipeline::run(std::size_t part, const Item& item, Call& call) {
  Section& section = sections_[part];
  const Command& command = *item.command;
  Words words(item.words);
  const auto run_words = [&] {
    call.argv = words.all();
    command.run(call);
    section.ends.push_back(call.out.size());
  };
  if (command.where != Where::parts) {
    for (std::size_t i = 0; i < item.words; ++i) words.push(word(item.first + i));
    call.hash = item.hash;
    if (command.where != Where::cursor) return run_words();
    std::string reply;
    Call scan{call.store, call.random, reply, nullptr, call.now, words.all(), item.hash};
    command.run(scan);
    if (reply.front() != '-') {
      const std::uint64_t next = scan.hash != 0 ? scan.hash * parts_ + part : part + 1 != parts_ ? part + 1 : 0;
      add_array(call.out, 2);
      add_bulk(call.out, std::to_string(next));
    }
    call.out += reply;
    section.ends.push_back(call.out.size());
    return;
  }
  words.push(word(item.first));
  for (std::size_t i = 1; i < item.words; i += command.step) {
    const std::uint64_t hash = hash_of(word(item.first + i));
    if (part_of(hash, parts_) != part) continue;
    for (std::size_t j = 0; j < command.step; ++j) words.push(word(item.first + i + j));
    if (command.merge != Merge::array) continue;
    const std::array<std::string_view, 2> one = {word(item.first), word(item.first + i)};
    call.argv = one;
    call.hash = hash;
    command.run(call);
    section.ends.push_back(call.out.size());
  }
  if (command.merge != Merge::array) run_words();
}

std::string_view Pipeline::finish() {
  std::size_t used = 0, only = 0;
  bool plain = true;
  for (std::size_t part = 0; part < sections_.size(); ++part) {
    if (sections_[part].ends.empty()) continue;
    ++used;
    only = part;
    plain = plain && sections_[part].lost == 0;
  }
  plain = plain && std::ranges::all_of(items_, [](const Item& item) {
            return item.command == nullptr || item.command->merge == Merge::none || item.command->merge == Merge::first;
          });
  if (used == 0) return {};
  if (used == 1 && plain) return sections_[only].out;

  std::vector<std::string> lost(sections_.size());
  std::vector<std::size_t> next(sections_.size());  // of each section, the reply that comes next
  const auto take = [&](std::size_t part, const Command* command) -> std::string_view {
    const Section& section = sections_[part];
    const std::size_t at = next[part]++;
    const std::size_t begin = at == 0 ? 0 : section.ends[at - 1];
    if (section.lost != 0 && command != nullptr && command->writes) {
      if (lost[part].empty()) add_error(lost[part], error::misconf(section.lost));
      return lost[part];
    }
    return std::string_view(section.out).substr(begin, section.ends[at] - begin);
  };
  merged_.clear();
  for (const Item& item : items_) {
    const Command* const command = item.command;
    if (command == nullptr || (command->where != Where::parts && command->where != Where::all)) {
      merged_ += take(item.part, command);
      continue;
    }
    std::vector<std::string_view> replies;
    if (command->merge == Merge::array) {
      for (std::size_t i = 1; i < item.words; ++i) {
        replies.push_back(take(part_of(hash_of(word(item.first + i)), parts_), command));
      }
      add_array(merged_, replies.size());
      for (const std::string_view reply : replies) merged_ += reply;
      continue;
    }
    std::vector<bool> concerned(parts_, command->where == Where::all);
    for (std::size_t i = 1; command->where == Where::parts && i < item.words; i += command->step) {
      concerned[part_of(hash_of(word(item.first + i)), parts_)] = true;
    }
    for (std::size_t part = 0; part < parts_; ++part) {
      if (concerned[part]) replies.push_back(take(part, command));
    }
    const auto bad = std::ranges::find_if(replies, [](std::string_view reply) { return reply.starts_with('-'); });
    if (bad != replies.end() || command->merge == Merge::first) {
      merged_ += bad != replies.end() ? *bad : replies.front();
      continue;
    }
    std::int64_t sum = 0;
    for (const std::string_view reply : replies) {
      std::int64_t number = 0;
      std::from_chars(reply.data() + 1, reply.data() + reply.size(), number);
      sum += number;
    }
    add_integer(merged_, sum);
  }
  return merged_;
}

void Pipeline::clear() {
  const auto empty = [](std::string& buffer) { buffer.capacity() > kKept ? void(buffer = {}) : buffer.clear(); };
  items_.clear();
  for (Section& section : sections_) {
    if (section.ends.empty() && section.items.empty()) continue;
    section.items.clear();
    section.ends.clear();
    empty(section.out);
    section.lost = 0;
  }
  empty(merged_);
}

}  // namespace kv
