#include "tools/tree.h"

#include "tools/ask.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <spawn.h>
#include <stdexcept>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace erlking::tools {

namespace {

using Json = nlohmann::json;

constexpr int kDrawingMs = 60'000;  // that dot may take

std::size_t terminal_width() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 100;
  return std::clamp<std::size_t>(size.ws_col, 80, 10'000);
}

// --- drawing ---------------------------------------------------------------------------------------------------------

// For an HTML-like label; at most `most` characters.
std::string label_text(std::string_view text, std::size_t most = 48) {
  std::string shown;
  std::size_t characters = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) != 0x80 && ++characters > most) return shown + "…";
    if (c == '&') {
      shown += "&amp;";
    } else if (c == '<') {
      shown += "&lt;";
    } else if (c == '>') {
      shown += "&gt;";
    } else if (c == '"') {
      shown += "&quot;";
    } else if (byte < 0x20 || byte == 0x7f) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += c;
    }
  }
  return shown;
}

struct Look {
  std::string_view state, fill, line;
};

Look look_of(const Json& node) {
  const std::string state = node["state"], answer = node["answer"];
  if (state == "restarting") return {"restarting", "#ffe0b0", "#c26a00"};
  if (state == "undefined") return {"undefined", "#eeeeee", "#777777"};
  if (answer == "late") return {"no answer", "#ffd3d3", "#b00020"};
  if (answer == "gone") return {"ended", "#eeeeee", "#777777"};
  if (answer == "none") return {"elsewhere", "#ffffff", "#777777"};
  if (node["status"] == "running") return {"running", "#d5e5ff", "#1f5fbf"};
  return {"waiting", "#dff3df", "#2e7d32"};
}

// Writes a graph in the language of dot.
class Drawing {
 public:
  std::string draw(const Json& tree) {
    out_ =
        "digraph tree {\n"
        "rankdir=LR; ordering=out; nodesep=0.12; ranksep=0.45; splines=true; bgcolor=white;\n"
        "node [fontname=\"Helvetica,Arial,sans-serif\", fontsize=10, shape=box, margin=\"0.12,0.05\"];\n"
        "edge [color=\"#888888\", arrowhead=none, tailport=e, headport=w];\n";
    for (const Json& root : tree["roots"]) add(root, "");
    const std::size_t total = tree["roots_total"], shown = tree["roots"].size();
    if (total > shown) note(fmt::format("… and {} more trees", total - shown), "");
    if (total == 0) note("no supervisors", "");
    return out_ + "}\n";
  }

 private:
  std::string next() { return fmt::format("n{}", ++nodes_); }

  void edge(const std::string& from, const std::string& to, std::string_view style) {
    if (!from.empty()) out_ += fmt::format("{} -> {} [style={}];\n", from, to, style);
  }

  void note(const std::string& text, const std::string& parent) {
    const std::string me = next();
    out_ += fmt::format("{} [shape=plaintext, fontcolor=\"#555555\", label=<{}>];\n", me, label_text(text));
    edge(parent, me, "dotted");
  }

  void add(const Json& node, const std::string& parent) {
    const std::string me = next();
    const bool supervisor = node["type"] == "supervisor" || node.contains("strategy");
    const Look look = look_of(node);
    const std::string name = node["name"], label = node["label"];
    std::string id = node["id"];
    if (id.empty()) id = name.empty() ? "root" : name;

    std::string text = fmt::format("<b>{}</b>", label_text(id));
    if (!name.empty() && name != id) text += fmt::format(" “{}”", label_text(name));
    if (!node["pid"].is_null())
      text += fmt::format("  <font color=\"#555555\">{}</font>", label_text(std::string(node["pid"])));
    const bool told = supervisor && node.contains("strategy") && !node["strategy"].is_null();
    const std::string what = told         ? std::string(node["strategy"])
                             : supervisor ? "supervisor"
                                          : std::string(node["entry"]);
    if (!what.empty()) text += "<br/>" + label_text(what);
    if (!label.empty()) text += fmt::format("<br/><i>{}</i>", label_text(label));
    text += fmt::format("<br/><font color=\"{}\"><b>{}</b></font>", look.line, look.state);
    const std::uint64_t depth = node["mailbox_depth"], bound = node["mailbox_bound"], restarts = node["restarts"];
    const bool full = bound != 0 && depth >= bound - bound / 5;
    if (full) {
      text += fmt::format(", <font color=\"#b00020\"><b>mailbox {}/{}</b></font>", depth, bound);
    } else if (bound != 0) {
      text += fmt::format(", mailbox {}/{}", depth, bound);
    }
    if (restarts != 0) text += fmt::format(", {} restart{}", restarts, restarts == 1 ? "" : "s");
    out_ += fmt::format("{} [style=\"filled{}\", penwidth={}, fillcolor=\"{}\", color=\"{}\", label=<{}>];\n", me,
                        supervisor ? "" : ",rounded", supervisor ? 2 : 1, look.fill, look.line, text);
    edge(parent, me, "solid");
    if (!node.contains("children")) return;
    for (const Json& child : node["children"]) add(child, me);
    if (!told) return note("it does not tell its children", me);
    const std::size_t total = node["children_total"], shown = node["children"].size();
    if (total > shown) note(fmt::format("… and {} more", total - shown), me);
  }

  std::string out_;
  std::size_t nodes_ = 0;
};

// Runs dot: `graph` in, the picture into `to`.
void run_dot(const std::string& graph, int to) {
  const Fd in(::memfd_create("tree", MFD_CLOEXEC));
  for (std::size_t at = 0; at < graph.size();) {
    const ssize_t n = ::write(in.get(), graph.data() + at, graph.size() - at);
    if (n < 0) throw Failure{fmt::format("no memory to draw in: {}", std::strerror(errno))};
    at += static_cast<std::size_t>(n);
  }
  ::lseek(in.get(), 0, SEEK_SET);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
  std::string words[] = {"dot", "-Tsvg"};
  char* const argv[] = {words[0].data(), words[1].data(), nullptr};
  pid_t dot = -1;
  const int error = ::posix_spawnp(&dot, "dot", &actions, nullptr, argv, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == ENOENT) throw Failure{"--svg needs the program dot: install Graphviz (Debian's package graphviz)"};
  if (error != 0) throw Failure{fmt::format("dot cannot be started: {}", std::strerror(error))};
  const Fd watch(static_cast<int>(::syscall(SYS_pidfd_open, dot, 0)));
  pollfd ended{watch.get(), POLLIN, 0};
  int ready = 0;
  while ((ready = ::poll(&ended, 1, kDrawingMs)) < 0 && errno == EINTR) {
  }
  if (ready == 0) ::kill(dot, SIGKILL);
  int status = 0;
  while (::waitpid(dot, &status, 0) < 0 && errno == EINTR) {
  }
  if (ready == 0) throw Failure{"dot takes too long: --children says how much is drawn"};
  if (status != 0) throw Failure{"dot failed"};
}

// Written aside and moved into place, so that a failure leaves what was there.
void write_svg(const std::string& graph, const std::string& file) {
  const std::string aside = fmt::format("{}.{}", file, ::getpid());
  const Fd out(::open(aside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (out.get() < 0) throw Failure{fmt::format("{}: {}", file, std::strerror(errno))};
  try {
    run_dot(graph, out.get());
    std::filesystem::rename(aside, file);
  } catch (...) {
    ::unlink(aside.c_str());
    throw;
  }
}

}  // namespace

int run_tree(const TreeArguments& given) {
  try {
    const bool json = given.json || given.svg;
    const std::string question = fmt::format("tree {}children {} timeout {} width {}\n", json ? "json " : "",
                                             given.children, given.timeout_ms, terminal_width());
    const std::string reply = ask(given.path, question, given.timeout_ms);
    if (given.svg) {
      write_svg(Drawing().draw(Json::parse(reply)), *given.svg);
    } else {
      fmt::print("{}", reply);
    }
    return 0;
  } catch (const Failure& e) {
    fmt::print(stderr, "erlking tree: {}\n", e.what);
  } catch (const Json::exception&) {
    fmt::print(stderr, "erlking tree: {}: the answer is no supervision tree\n", given.path);
  } catch (const std::filesystem::filesystem_error& e) {
    fmt::print(stderr, "erlking tree: {}: {}\n", *given.svg, e.code().message());
  }
  return 1;
}

}  // namespace erlking::tools
