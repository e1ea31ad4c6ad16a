// The collecting goes level by level, so that when the time is short it is the lower ones that lack.
#include "runtime/tree.h"

#include "runtime/system.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <string_view>
#include <unordered_set>
#include <utility>

namespace erlking {

namespace {

using base::Nanos;
using State = ChildInfo::State;

// --- collecting ------------------------------------------------------------------------------------------------------

constexpr Nanos kLongest = 1'000'000'000;  // of one question (TR1)

class Walk {
 public:
  Walk(Process& self, const Bound& bound, const TreeLimits& limits)
      : system_(*self.system),
        limits_(limits),
        until_(bound.is_absolute() ? bound.ns() : base::after(system_.now(), bound.ns())) {}

  SupervisionTree collect() {
    SupervisionTree tree;
    tree.processes = system_.alive();
    const std::vector<Pid> roots = find_roots();
    tree.roots_total = roots.size();
    const std::size_t shown = std::min(roots.size(), room());
    tree.roots.resize(shown);
    shown_ += shown;
    std::deque<Waiting> waiting;
    for (std::size_t i = 0; i < shown; ++i) {
      tree.roots[i].pid = roots[i];
      tree.roots[i].type = ChildType::supervisor;
      seen_.insert(roots[i].id);
    }
    for (TreeNode& root : tree.roots) waiting.push_back({&root, 0});
    for (; !waiting.empty(); waiting.pop_front()) {
      auto& [node, depth] = waiting.front();
      look(*node);
      look_below(*node, depth);
      for (TreeNode& child : node->children) {  // they stay where they are
        if (child.pid) waiting.push_back({&child, depth + 1});
      }
    }
    return tree;
  }

 private:
  struct Waiting {
    TreeNode* node;
    std::size_t depth;
  };

  std::size_t room() const noexcept { return limits_.processes - std::min(limits_.processes, shown_); }

  // TR1.
  Duration share() const noexcept {
    const Nanos left = until_ - std::min(until_, system_.now());
    return Duration(std::min(left / 16, kLongest));
  }

  std::vector<Pid> find_roots() const {
    std::vector<Pid> roots;
    constexpr std::uint32_t kAtOnce = 1024;  // slots looked at between two safe points
    for (std::uint32_t i = 1; i < system_.table.used(); ++i) {
      if (i % kAtOnce == 0) yield();
      Process& process = system_.table.slot(i);
      if (!process.supervises.load(base::relaxed)) continue;  // relaxed: an outdated one is not open
      const Pid pid = process.pid();
      if (pid && process.mailbox.is_open(pid.id) && !detail::is_supervised(system_, process)) roots.push_back(pid);
    }
    return roots;
  }

  void look(TreeNode& node) const {
    Process& process = system_.process(node.pid);
    node.name = system_.registry.name_of(node.pid);
    node.mailbox_depth = process.mailbox.size();
    node.mailbox_bound = process.mailbox.bound();
    auto info = process_info(node.pid, share());
    if (!info) {
      const bool gone = info.error().kind == CallFailure::noproc;
      node.answer = gone ? TreeNode::Answer::gone : TreeNode::Answer::late;
      if (gone || !process.mailbox.is_open(node.pid.id)) node.mailbox_depth = node.mailbox_bound = 0;  // another's
      return;
    }
    node.answer = TreeNode::Answer::come;
    node.name = std::move(info->name);
    node.label = std::move(info->label);
    node.entry = std::move(info->entry);
    node.status = info->status;
    node.mailbox_depth = info->mailbox_depth;
    node.mailbox_bound = info->mailbox_bound;
    node.stack_used = info->stack_used;
    node.stack_bytes = info->stack_bytes;
  }

  // Only supervisors understand the question, whatever a child's spec says it is.
  void look_below(TreeNode& node, std::size_t depth) {
    const bool supervises = system_.process(node.pid).supervises.load(base::relaxed);  // relaxed: see find_roots()
    if (!supervises || node.answer == TreeNode::Answer::gone) return;
    const std::size_t most = depth < kTreeDepthMax ? std::min(limits_.children, room()) : 0;
    auto told = detail::survey(node.pid, most, share());
    if (!told) return;
    node.strategy = told->strategy;
    node.children_total = told->counts.specs;
    node.children.reserve(told->children.size());
    for (ChildInfo& info : told->children) {
      if (info.pid && !seen_.insert(info.pid.id).second) info.pid = {};  // a start may return anybody's pid
      TreeNode& child = node.children.emplace_back();
      child.id = std::move(info.id);
      child.pid = info.pid;
      child.type = info.type;
      child.state = info.state;
      child.restart = info.restart;
      child.restarts = info.restarts;
    }
    shown_ += node.children.size();
  }

  const System& system_;
  const TreeLimits limits_;
  const Nanos until_;
  std::size_t shown_ = 0;
  std::unordered_set<std::uint64_t> seen_;
};

// --- text ------------------------------------------------------------------------------------------------------------

// Bytes of the well-formed UTF-8 character that `text` begins with; 0: there is none.
std::size_t character(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t bytes = first >= 0xc2 && first < 0xe0   ? 2
                            : (first & 0xf0) == 0xe0        ? 3
                            : first >= 0xf0 && first < 0xf5 ? 4
                                                            : 0;
  if (bytes == 0 || bytes > text.size()) return 0;
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xf0 && at(1) < 0x90);
  const bool outside = (first == 0xed && at(1) >= 0xa0) || (first == 0xf4 && at(1) >= 0x90);
  return overlong || outside ? 0 : bytes;
}

// What may be shown on a terminal.
std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    std::size_t bytes = character(text);
    const auto first = static_cast<unsigned char>(text[0]);
    const bool control =
        first < 0x20 || first == 0x7f || (bytes == 2 && first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0);
    if (bytes == 0 || control) {
      bytes = std::max<std::size_t>(bytes, 1);
      for (std::size_t i = 0; i < bytes; ++i) shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[i]));
    } else {
      shown += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return shown;
}

// Characters, as columns of a terminal; `text` is printable.
std::size_t width_of(std::string_view text) noexcept {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// At most `width` characters of it.
std::string cut(const std::string& text, std::size_t width) {
  if (width_of(text) <= width) return text;
  std::size_t end = 0;
  for (std::size_t i = 0; i + 1 < width; ++i) end += character(std::string_view(text).substr(end));
  return text.substr(0, end) + "…";
}

std::string size_text(std::size_t bytes) {
  return bytes < 10'240 ? fmt::format("{} B", bytes) : fmt::format("{} KiB", bytes / 1024);
}

enum Column : std::uint8_t { kChild, kPid, kRuns, kNamed, kState, kMailbox, kRestarts, kStack, kColumns };
constexpr std::array<std::string_view, kColumns> kHeads = {"child", "pid",     "runs",     "name",
                                                           "state", "mailbox", "restarts", "stack"};
constexpr std::array<Column, 3> kFlexible = {kChild, kRuns, kNamed};
constexpr std::array<Column, 3> kRight = {kMailbox, kRestarts, kStack};
constexpr std::size_t kComfortable = 12, kLeast = 5;  // widths of a flexible column that is made narrower

using Row = std::array<std::string, kColumns>;

std::string state_text(const TreeNode& node) {
  if (node.state != State::running) return node.state == State::restarting ? "restarting" : "undefined";
  switch (node.answer) {
    case TreeNode::Answer::come:
      return node.status == Status::waiting ? "waiting" : "running";
    case TreeNode::Answer::late:
      return "no answer";
    case TreeNode::Answer::gone:
      return "ended";
    case TreeNode::Answer::none:
      break;
  }
  return "elsewhere";
}

Row row_of(const TreeNode& node, const std::string& indent, bool root) {
  Row row;
  const std::string& id = root ? (node.name.empty() ? "root" : node.name) : node.id;
  row[kChild] = indent + printable(id);
  if (node.pid) row[kPid] = to_string(node.pid);
  row[kRuns] = node.strategy                        ? std::string(to_string(*node.strategy))
               : node.type == ChildType::supervisor ? "supervisor"
                                                    : printable(node.entry);
  row[kNamed] = printable(node.name);
  if (!node.label.empty()) row[kNamed] += (node.name.empty() ? "" : " ") + ("“" + printable(node.label) + "”");
  row[kState] = state_text(node);
  if (node.mailbox_bound != 0) row[kMailbox] = fmt::format("{}/{}", node.mailbox_depth, node.mailbox_bound);
  if (!root) row[kRestarts] = std::to_string(node.restarts);
  if (node.stack_used != 0) row[kStack] = size_text(node.stack_used);
  return row;
}

void add_rows(std::vector<Row>& rows, const TreeNode& node, const std::string& before, const std::string& below,
              bool root) {
  rows.push_back(row_of(node, before, root));
  const std::size_t more = node.children_total - std::min(node.children_total, node.children.size());
  const bool untold = node.type == ChildType::supervisor && node.answer == TreeNode::Answer::come && !node.strategy;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const bool last = i + 1 == node.children.size() && more == 0;
    add_rows(rows, node.children[i], below + (last ? "└─ " : "├─ "), below + (last ? "   " : "│  "), false);
  }
  if (more != 0) rows.push_back({below + fmt::format("└─ … and {} more", more)});
  if (untold) rows.push_back({below + "└─ … it does not tell"});
}

std::string plural(std::uint64_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : what.ends_with('s') ? "es" : "s");
}

// --- JSON ------------------------------------------------------------------------------------------------------------

using Json = nlohmann::ordered_json;

std::string_view to_string(TreeNode::Answer answer) noexcept {
  constexpr std::array<std::string_view, 4> names = {"none", "come", "late", "gone"};
  return names[static_cast<std::size_t>(answer)];
}
std::string_view to_string(State state) noexcept {
  constexpr std::array<std::string_view, 3> names = {"undefined", "running", "restarting"};
  return names[static_cast<std::size_t>(state)];
}

template <class T>
Json or_null(bool known, T&& value) {
  return known ? Json(std::forward<T>(value)) : Json();
}

Json json_of(const TreeNode& node) {
  const bool answered = node.answer == TreeNode::Answer::come;
  Json json = {
      {"id", node.id},
      {"pid", or_null(bool(node.pid), erlking::to_string(node.pid))},
      {"type", erlking::to_string(node.type)},
      {"state", to_string(node.state)},
      {"restart", node.restart ? Json(erlking::to_string(*node.restart)) : Json()},
      {"restarts", node.restarts},
      {"answer", to_string(node.answer)},
      {"name", node.name},
      {"label", node.label},
      {"entry", node.entry},
      {"status", or_null(answered, node.status == Status::waiting ? "waiting" : "running")},
      {"mailbox_depth", node.mailbox_depth},
      {"mailbox_bound", node.mailbox_bound},
      {"stack_used", node.stack_used},
      {"stack_bytes", node.stack_bytes},
  };
  if (node.type != ChildType::supervisor && !node.strategy) return json;
  json["strategy"] = node.strategy ? Json(erlking::to_string(*node.strategy)) : Json();
  json["children_total"] = or_null(node.strategy.has_value(), node.children_total);
  Json& children = json["children"] = Json::array();
  for (const TreeNode& child : node.children) children.push_back(json_of(child));
  return json;
}

}  // namespace

SupervisionTree supervision_tree(Bound bound, const TreeLimits& limits) {
  Process& self = require_process("supervision_tree");
  self.checkpoint();
  return Walk(self, bound, limits).collect();
}

std::string to_text(const SupervisionTree& tree, std::size_t width) {
  const std::string alive = plural(tree.processes, "process") + " alive\n";
  if (tree.roots_total == 0) return "no supervisors, " + alive;
  std::vector<Row> rows = {{}};
  std::ranges::copy(kHeads, rows[0].begin());
  for (const TreeNode& root : tree.roots) add_rows(rows, root, "", "", true);
  if (tree.roots_total > tree.roots.size()) {
    rows.push_back({fmt::format("… and {} more", plural(tree.roots_total - tree.roots.size(), "tree"))});
  }

  std::array<std::size_t, kColumns> widths{};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t k = 0; k < kColumns; ++k) {
      const bool counts = i != 0 && !(rows[i][kPid].empty() && rows[i][kState].empty());  // not heads, nor "… more"
      if (counts) widths[k] = std::max(widths[k], width_of(rows[i][k]));
    }
  }
  std::size_t total = 0;
  for (std::size_t k = 0; k < kColumns; ++k) {
    if (widths[k] != 0) widths[k] = std::max(widths[k], width_of(kHeads[k]));
    if (widths[k] != 0) total += widths[k] + 2;
  }
  const auto narrow = [&](std::size_t least) {  // the widest gives way
    for (; total > width + 2; --total) {
      std::size_t& widest = widths[*std::ranges::max_element(kFlexible, {}, [&](Column k) { return widths[k]; })];
      if (widest <= least) return;
      --widest;
    }
  };
  narrow(kComfortable);
  if (total > width + 2 && widths[kStack] != 0) total -= std::exchange(widths[kStack], 0) + 2;
  narrow(kLeast);

  std::string text = fmt::format("{}, {}\n", plural(tree.roots_total, "tree"), alive.substr(0, alive.size() - 1));
  for (const Row& row : rows) {
    std::string line;
    const bool note = &row != &rows[0] && row[kPid].empty() && row[kState].empty();
    for (std::size_t k = 0; k < kColumns && !note; ++k) {
      if (widths[k] == 0) continue;
      const std::string cell = cut(row[k], widths[k]);
      const std::string room(widths[k] - width_of(cell), ' ');
      const bool right = std::ranges::find(kRight, static_cast<Column>(k)) != kRight.end();
      line += (right ? room + cell : cell + room) + "  ";
    }
    if (note) line = cut(row[kChild], width);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  return text;
}

std::string to_json(const SupervisionTree& tree) {
  Json json = {{"processes", tree.processes}, {"roots_total", tree.roots_total}, {"roots", Json::array()}};
  for (const TreeNode& root : tree.roots) json["roots"].push_back(json_of(root));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace erlking
