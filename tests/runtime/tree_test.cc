// The supervision tree as a value, as text and as JSON.
#include "tests/support/runtime_fixture.h"

#include <nlohmann/json.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace erlking::testing {
namespace {

using Strings = std::vector<std::string>;
using State = ChildInfo::State;
using Answer = TreeNode::Answer;

struct Crash {};
class Part : public Server {
 public:
  using Handles = Messages<Crash>;
  void on(Crash&) { exit(Reason("crashed")); }
};

ChildSpec part(std::string id, std::string name = {}) {
  return child<Part>(std::move(id), {.spawn = {.name = std::move(name)}});
}

Strings ids_of(const TreeNode& node) {
  Strings ids;
  for (const TreeNode& child : node.children) ids.push_back(child.id);
  return ids;
}

/// The only root there is.
TreeNode root_of(SupervisionTree tree) {
  EXPECT_EQ(tree.roots.size(), 1u);
  EXPECT_EQ(tree.roots_total, 1u);
  return tree.roots.empty() ? TreeNode{} : std::move(tree.roots.front());
}
TreeNode look(const TreeLimits& limits = {}) { return root_of(supervision_tree(10s, limits)); }
TreeNode look_within(Bound bound) { return root_of(supervision_tree(bound)); }

struct TreeTest : RuntimeTest {};

TEST_F(TreeTest, NoSupervisorsAreNoTree) {
  run([] {
    const SupervisionTree tree = supervision_tree(1s);
    EXPECT_TRUE(tree.roots.empty());
    EXPECT_GE(tree.processes, 1u);
    EXPECT_TRUE(to_text(tree).starts_with("no supervisors, ")) << to_text(tree);
  });
}

TEST_F(TreeTest, ShowsWhoSupervisesWhomInTheOrderOfTheStarts) {
  run([] {
    const Started sup = start_link(
        5s, {.name = "top"},
        {.strategy = rest_for_one,
         .children = {part("a", "first"), supervisor("below", {.strategy = one_for_all, .children = {part("b")}}),
                      child("c", {.restart = transient, .spawn = {.mailbox = 7}}, [] {
                        set_label("the third");
                        wait_forever();
                      })}});
    ASSERT_TRUE(sup.has_value());
    const auto all = which_children(*sup, 5s);
    for (const ChildInfo& info : *all) until_waiting(info.pid);
    const TreeNode top = look();
    EXPECT_EQ(top.pid, *sup);
    EXPECT_EQ(top.name, "top");
    EXPECT_EQ(top.type, ChildType::supervisor);
    EXPECT_EQ(top.strategy, rest_for_one);
    EXPECT_EQ(top.answer, Answer::come);
    ASSERT_EQ(ids_of(top), (Strings{"a", "below", "c"}));
    EXPECT_EQ(top.children_total, 3u);

    const TreeNode& a = top.children[0];
    EXPECT_EQ(a.pid, whereis("first"));
    EXPECT_EQ(a.name, "first");
    EXPECT_EQ(a.type, ChildType::worker);
    EXPECT_EQ(a.state, State::running);
    EXPECT_EQ(a.restart, permanent);
    EXPECT_EQ(a.answer, Answer::come);
    EXPECT_NE(a.entry.find("Part"), std::string::npos) << a.entry;
    EXPECT_FALSE(a.strategy.has_value());

    const TreeNode& below = top.children[1];
    EXPECT_EQ(below.strategy, one_for_all);
    EXPECT_EQ(ids_of(below), Strings{"b"});

    const TreeNode& c = top.children[2];
    EXPECT_EQ(c.label, "the third");
    EXPECT_EQ(c.restart, transient);
    EXPECT_EQ(c.mailbox_bound, 7u);
    EXPECT_EQ(c.status, Status::waiting);
    EXPECT_GT(c.stack_bytes, 0u);
  });
}

TEST_F(TreeTest, AMailboxShowsItsDepth) {
  run([] {
    const Started sup = start_link(5s, {.children = {child("deaf", {}, [] { wait_forever(); })}});
    const Pid deaf = which_child(*sup, "deaf", 5s)->pid;
    for (int i = 0; i < 5; ++i) send(deaf, Crash{});
    EXPECT_EQ(look().children.at(0).mailbox_depth, 5u);
  });
}

TEST_F(TreeTest, ShowsRestartsAndWhoDoesNotRun) {
  run([] {
    const Started sup =
        start_link(5s, {.intensity = {10, 1s},
                        .children = {part("crashes", "crashes"), part("ended"),
                                     child("waits", {.restart = permanent, .backoff = {.first = 1h, .most = 1h}},
                                           [] { receive(forever, [](Crash) { exit(Reason("crashed")); }); })}});
    ASSERT_TRUE(sup.has_value());
    ASSERT_TRUE(terminate_child(*sup, "ended", 5s).has_value());
    for (const char* const id : {"crashes", "waits"}) {
      const Pid pid = which_child(*sup, id, 5s)->pid;
      const MonitorRef ref = monitor(pid);
      send(pid, Crash{});
      await_down(ref);
    }
    while (which_child(*sup, "waits", 5s)->state != State::restarting) yield();
    while (which_child(*sup, "crashes", 5s)->restarts == 0) yield();
    const TreeNode top = look();
    ASSERT_EQ(top.children.size(), 3u);
    EXPECT_EQ(top.children[0].state, State::running);
    EXPECT_EQ(top.children[0].restarts, 1u);
    EXPECT_EQ(top.children[1].state, State::undefined);
    EXPECT_EQ(top.children[1].answer, Answer::none);
    EXPECT_FALSE(top.children[1].pid);
    EXPECT_EQ(top.children[2].state, State::restarting);
    EXPECT_FALSE(top.children[2].pid);
  });
}

TEST_F(TreeTest, RootsAreSupervisorsWhoseParentIsNone) {
  run([] {
    const auto root = [](std::string name) {
      return start_link(5s, {.name = std::move(name)}, {.children = {supervisor("below", {})}});
    };
    ASSERT_TRUE(root("one"));
    ASSERT_TRUE(root("two"));
    const SupervisionTree tree = supervision_tree(5s);
    ASSERT_EQ(tree.roots.size(), 2u);
    Strings names;
    for (const TreeNode& each : tree.roots) {
      names.push_back(each.name);
      EXPECT_EQ(ids_of(each), Strings{"below"});
    }
    std::ranges::sort(names);
    EXPECT_EQ(names, (Strings{"one", "two"}));
    const SupervisionTree one = supervision_tree(5s, {.processes = 1});
    EXPECT_EQ(one.roots.size(), 1u);
    EXPECT_EQ(one.roots_total, 2u);
    EXPECT_NE(to_text(one).find("… and 1 tree more"), std::string::npos) << to_text(one);
  });
}

TEST_F(TreeTest, OfManyChildrenTheFirstAreShownAndTheOthersCounted) {
  run([] {
    const Started sup =
        start_link(5s, {.strategy = simple_one_for_one, .children = {child<Part>("conn", {.restart = temporary})}});
    std::vector<Pid> pids;
    for (int i = 0; i < 300; ++i) pids.push_back(start_child(5s, *sup).value());
    const TreeNode all = look();
    EXPECT_EQ(all.children.size(), 100u);
    EXPECT_EQ(all.children_total, 300u);
    const TreeNode three = look({.children = 3});
    ASSERT_EQ(three.children.size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(three.children[i].pid, pids[i]);
    const TreeNode none = look({.children = 0});
    EXPECT_TRUE(none.children.empty());
    EXPECT_EQ(none.children_total, 300u);
    EXPECT_EQ(look({.processes = 11}).children.size(), 10u);
  });
}

TEST_F(TreeTest, ATreeIsNotLookedAtBeyondItsDepth) {
  run([] {
    SupervisorSpec spec = {};
    for (std::size_t i = 0; i < kTreeDepthMax + 5; ++i) spec = {.children = {supervisor("below", spec)}};
    ASSERT_TRUE(start_link(10s, spec).has_value());
    TreeNode top = look();
    std::size_t depth = 0;
    for (const TreeNode* node = &top; !node->children.empty(); node = &node->children[0]) ++depth;
    EXPECT_EQ(depth, kTreeDepthMax);
  });
}

// A start function may return the pid of whomever it likes.
TEST_F(TreeTest, WhoIsInTheTreeTwiceIsLookedAtOnce) {
  run([] {
    const Started sup = start_link(5s, {.children = {child("it", {}, [] { return Started(self()); }),
                                                     child("again", {}, [] { return Started(self()); })}});
    ASSERT_TRUE(sup.has_value());
    const TreeNode top = look();
    ASSERT_EQ(top.children.size(), 2u);
    for (const TreeNode& each : top.children) {
      EXPECT_FALSE(each.pid);
      EXPECT_EQ(each.answer, Answer::none);
    }
    unlink(*sup);
    const MonitorRef ref = monitor(*sup);
    exit(*sup, reason::kill);
    await_down(ref);
  });
}

TEST_F(TreeTest, ASupervisorThatIsBusyIsShownWithoutItsChildren) {
  run([] {
    trap_exit(true);
    const Pid starter = spawn_link([] {
      static_cast<void>(start_link(forever, {.name = "busy"}, {.children = {child("slow", {}, [] {
                                                                 sleep(1h);
                                                                 return Started(std::unexpect);
                                                               })}}));
    });
    while (!whereis("busy")) yield();
    until_waiting(*whereis("busy"));
    const TreeNode busy = look();
    EXPECT_EQ(busy.answer, Answer::come);
    EXPECT_FALSE(busy.strategy.has_value());
    EXPECT_NE(to_text({.roots = {busy}, .roots_total = 1}).find("… it does not tell"), std::string::npos);
    const MonitorRef ref = monitor(*whereis("busy"));
    exit(*whereis("busy"), reason::kill);
    await_down(ref);
    await_exit(starter);
  });
}

struct RealTreeTest : RuntimeTest {
  void SetUp() override {
    options.clock = ClockKind::real;
    options.workers = has_own_workers() ? 0 : 2;
    RuntimeTest::SetUp();
  }
};

TEST_F(RealTreeTest, WhoDoesNotAnswerIsShownAsSuchAndTheOthersAnswer) {
  run([] {
    trap_exit(true);
    std::atomic<bool> spins{false}, over{false};
    const auto spin = [&spins, &over] {
      spins.store(true);
      while (!over.load()) std::this_thread::yield();
      wait_forever();
    };
    const Started sup = start_link(
        5s, {.children = {part("before"), child("spins", {.spawn = {.name = "spins"}}, spin), part("after")}});
    while (!spins.load()) yield();
    const TreeNode top = look_within(10s);
    over.store(true);
    ASSERT_EQ(ids_of(top), (Strings{"before", "spins", "after"}));
    EXPECT_EQ(top.children[0].answer, Answer::come);
    EXPECT_EQ(top.children[1].answer, Answer::late);
    EXPECT_EQ(top.children[1].name, "spins");
    EXPECT_EQ(top.children[1].mailbox_bound, 1024u);
    EXPECT_EQ(top.children[2].answer, Answer::come);
    EXPECT_NE(to_text({.roots = {top}, .roots_total = 1}).find("no answer"), std::string::npos);
    const MonitorRef ref = monitor(*sup);
    exit(*sup, reason::shutdown);
    await_down(ref);
  });
}

TEST_F(RealTreeTest, ProcessesMayComeAndGoMeanwhile) {
  run([] {
    const Started sup = start_link(5s, {.name = "pool"},
                                   {.strategy = simple_one_for_one,
                                    .intensity = {1'000'000, 1s},
                                    .children = {child("short", {.restart = permanent}, [] { yield(); })}});
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(start_child(5s, *sup).has_value());
    for (int i = 0; i < 30; ++i) {
      const TreeNode top = look();
      EXPECT_EQ(top.children_total, 20u);
      for (const TreeNode& each : top.children) EXPECT_NE(each.answer, Answer::late);
    }
  });
}

TEST_F(RealTreeTest, AThreadAsksTheRuntime) {
  start([] {
    EXPECT_TRUE(start_link(5s, {.name = "top"}, {.children = {part("a")}}).has_value());
    wait_forever();
  });
  ASSERT_TRUE(drive([&] { return rt().whereis("top").has_value(); }));
  for (int i = 0; i < 3; ++i) {
    const auto tree = rt().tree(10s, {.children = 5});
    ASSERT_TRUE(tree.has_value()) << to_string(tree.error().kind);
    const TreeNode top = root_of(*tree);
    EXPECT_EQ(top.name, "top");
    EXPECT_EQ(ids_of(top), Strings{"a"});
  }
  EXPECT_TRUE(rt().stop());
  const auto late = rt().tree(10s);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().kind, CallFailure::refused);
}

TEST_F(RealTreeTest, AThreadIsToldWhenNoWorkerHasTime) {
  if (has_own_workers()) GTEST_SKIP() << "each process has its own";
  options.workers = 1;
  options.spare_workers = 0;  // else one goes on beside it
  std::atomic<bool> spins{false}, over{false};
  static_cast<void>(rt().spawn([&] {
    spins.store(true);
    while (!over.load()) std::this_thread::yield();
  }));
  while (!spins.load()) std::this_thread::yield();
  const auto tree = rt().tree(50ms);
  over.store(true);
  EXPECT_TRUE(drive([&] { return rt().processes() == 0; }));  // it looks at what is this test's
  ASSERT_FALSE(tree.has_value());
  EXPECT_EQ(tree.error().kind, CallFailure::timeout);
}

TreeNode node(std::string id, std::vector<TreeNode> children = {}) {
  TreeNode made;
  made.id = std::move(id);
  made.pid = Pid{1};
  made.answer = Answer::come;
  made.entry = "Part";
  made.mailbox_bound = 1024;
  made.restart = permanent;
  if (!children.empty()) {
    made.type = ChildType::supervisor;
    made.strategy = one_for_one;
    made.children_total = children.size();
    made.children = std::move(children);
  }
  return made;
}

std::size_t width_of(std::string_view line) {
  return static_cast<std::size_t>(
      std::ranges::count_if(line, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}
Strings lines_of(const std::string& text) {
  Strings lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(TreeTextTest, DrawsLinesToTheChildrenAndAlignsColumns) {
  TreeNode pool = node("pool", {node("x")});
  pool.children_total = 100'000;
  TreeNode root = node("", {node("a", {node("b"), node("c")}), std::move(pool)});
  root.name = "shop";
  const SupervisionTree tree{.roots = {root}, .roots_total = 1, .processes = 9};
  const Strings lines = lines_of(to_text(tree));
  ASSERT_EQ(lines.size(), 9u);
  EXPECT_EQ(lines[0], "1 tree, 9 processes alive");
  const std::size_t at = lines[1].find("pid");
  const Strings begins = {"child",   "shop",    "├─ a",    "│  ├─ b",
                          "│  └─ c", "└─ pool", "   ├─ x", "   └─ … and 99999 more"};
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const std::string& line = lines[i + 1];
    EXPECT_TRUE(line.starts_with(begins[i])) << line;
    if (i == 0 || i + 1 == begins.size()) continue;
    EXPECT_EQ(width_of(line.substr(0, line.find('<'))), at) << line;
  }
}

TEST(TreeTextTest, KeepsToTheWidth) {
  TreeNode wide = node(std::string(500, 'i'));
  wide.entry = std::string(500, 'e');
  wide.name = std::string(500, 'n');
  wide.label = "é" + std::string(500, 'l');
  const SupervisionTree tree{.roots = {node("", {wide, node("short")})}, .roots_total = 1, .processes = 2};
  for (const std::size_t width : {80u, 100u, 200u}) {
    for (const std::string& line : lines_of(to_text(tree, width))) EXPECT_LE(width_of(line), width) << line;
  }
}

const std::string kAnyBytes = [] {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  return all + "\xe2\x82\xac \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf \xe2\x82";
}();

TEST(TreeTextTest, ShowsNoControlCharacters) {
  TreeNode odd = node(kAnyBytes);
  odd.name = "\x1b[31mred\n";
  const std::string text = to_text({.roots = {node("", {odd})}, .roots_total = 1}, 5000);
  for (const std::string& line : lines_of(text)) {
    for (const char c : line) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }
  EXPECT_NE(text.find("\\x1b[31mred\\x0a"), std::string::npos) << text;
  EXPECT_NE(text.find("€ \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xc0\\xaf \\xe2\\x82"), std::string::npos) << text;
}

TEST(TreeJsonTest, IsValidWhateverTheNames) {
  TreeNode odd = node(kAnyBytes);
  odd.label = odd.entry = odd.name = kAnyBytes;
  TreeNode still = node("still");
  still.state = State::undefined;
  still.pid = {};
  still.answer = Answer::none;
  const SupervisionTree tree{.roots = {node("", {odd, still})}, .roots_total = 1, .processes = 3};
  const auto json = nlohmann::json::parse(to_json(tree));
  EXPECT_EQ(json["processes"], 3);
  const auto& root = json["roots"][0];
  EXPECT_EQ(root["strategy"], "one_for_one");
  EXPECT_EQ(root["children_total"], 2);
  EXPECT_EQ(root["children"][0]["mailbox_bound"], 1024);
  EXPECT_EQ(root["children"][0]["status"], "waiting");
  EXPECT_TRUE(root["children"][1]["status"].is_null());
  EXPECT_TRUE(root["children"][1]["pid"].is_null());
  EXPECT_EQ(root["children"][1]["state"], "undefined");
  EXPECT_FALSE(root["children"][1].contains("children"));
}

}  // namespace
}  // namespace erlking::testing
