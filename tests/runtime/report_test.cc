// Reports: what they say of a crash, a supervisor's child, a start; as text and as JSON; the limit, the hook, the file
// (SEMANTICS 9.5, 10.12).
#include "tests/support/runtime_fixture.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace erlking::testing {

// Not in the anonymous namespace: a backtrace can name it.
[[noreturn, gnu::noinline]] void fail_far_below(const char* what) { throw std::runtime_error(what); }

namespace {

using nlohmann::json;

struct Put {
  std::string key;
};
std::string describe(const Put& put) { return "Put " + put.key; }
struct Get {
  std::string key;
  using Reply = int;
};
std::string describe(const Get& get) { return "Get " + get.key; }
struct Plain {};
struct Unlucky {};
std::string describe(const Unlucky&) { throw std::runtime_error("describe"); }
struct Stop {
  Reason why;
};
struct Next {
  bool fails = true;
};
struct Idle {};
struct AbortIt {};

int described_states = 0;

class Store : public Server {
 public:
  using Handles = Messages<Put, Get, Plain, Unlucky, Stop, Next, Idle, Timeout, AbortIt>;
  Store() = default;
  explicit Store(bool fails) {
    if (fails) fail_far_below("no start");
  }
  void on(Put& put) {
    ++puts_;
    if (put.key == "bad") fail_far_below("bad key");
  }
  int on(Get& get) {
    if (get.key == "exit") exit(Reason("disk_full", "/var"));
    if (get.key == "leave") exit(reason::shutdown);
    return puts_;
  }
  void on(Plain) { fail_far_below("plain"); }
  void on(Unlucky) { fail_far_below("unlucky"); }
  void on(const Stop& stopping) { stop(stopping.why); }
  void on(Next next) {
    if (next.fails) fail_far_below("continued");
    continue_with(Next{});
  }
  void on(Idle) { timeout_after(1ms); }
  void on(Timeout) { fail_far_below("idle"); }
  void on(AbortIt) {
    struct Bomb {
      ~Bomb() { fail_far_below("in a destructor"); }
    } bomb;
  }
  friend std::string describe(const Store& store) {
    ++described_states;
    return std::to_string(store.puts_) + " puts";
  }

 private:
  int puts_ = 0;
};

/// One whose object cannot be destroyed.
class Doomsday : public Server {
 public:
  using Handles = Messages<Stop>;
  ~Doomsday() noexcept { fail_far_below("in the object's destructor"); }
  void on(const Stop& stopping) { stop(stopping.why); }
};

class ReportTest : public RuntimeTest {
 protected:
  void SetUp() override {
    RuntimeTest::SetUp();
    described_states = 0;
  }
  void TearDown() override {
    RuntimeTest::TearDown();
    base::set_log_level(base::Level::info);
    for (const std::string& file : files_) std::filesystem::remove(file);
  }
  /// Collects what is reported; before rt().
  void hook() {
    options.report_hook = [this](const erlking::Report& report) {
      std::lock_guard lock(mutex_);
      taken_.push_back(report);
    };
  }
  std::vector<erlking::Report> taken() {
    std::lock_guard lock(mutex_);
    return taken_;
  }
  template <class Kind>
  std::vector<Kind> taken_of() {
    std::vector<Kind> of_kind;
    for (const erlking::Report& report : taken()) {
      if (const auto* const is = std::get_if<Kind>(&report)) of_kind.push_back(*is);
    }
    return of_kind;
  }
  /// The one crash there was.
  CrashReport the_crash() {
    const auto crashes = taken_of<CrashReport>();
    EXPECT_EQ(crashes.size(), 1u);
    return crashes.empty() ? CrashReport{} : crashes.front();
  }
  /// A file of this test's, removed at its end.
  std::string file() {
    files_.push_back((std::filesystem::temp_directory_path() /
                      ("erlking_report_" + std::to_string(::getpid()) + '_' + std::to_string(files_.size())))
                         .string());
    return files_.back();
  }
  static std::vector<std::string> lines_of(const std::string& path) {
    std::vector<std::string> lines;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  }

 private:
  std::mutex mutex_;
  std::vector<erlking::Report> taken_;
  std::vector<std::string> files_;
};

/// What a server says of its end when it gets `message`.
template <class M>
Reason crash(M message) {
  const auto store = start_monitor<Store>(5s, {.name = "store"});
  EXPECT_TRUE(store);
  send(store->pid, std::move(message));
  return await_down(*store);
}

// --- when ------------------------------------------------------------------------------------------------------------

TEST_F(ReportTest, Rule_9_5_AbnormalEndsOfItsOwnAreReported) {
  hook();
  run([] {
    await_down(spawn_monitor([] { fail_far_below("thrown"); }));
    await_down(spawn_monitor([] { exit(Reason("disk_full", "/var")); }));
    await_down(spawn_monitor([] { receive(1ms, [](Plain) {}); }));
    await_down(spawn_monitor([] { exit(reason::kill); }));
    struct Fails {
      void handle(Message) { fail_far_below("handler"); }
    };
    const auto handler = spawn_handler_monitor(Fails{});
    send(handler.pid, Plain{});
    await_down(handler);
  });
  std::vector<std::string> reasons;
  for (const CrashReport& report : taken_of<CrashReport>()) reasons.push_back(report.reason.to_string());
  EXPECT_EQ(reasons, (std::vector<std::string>{"exception: std::runtime_error: thrown", "{disk_full, /var}", "timeout",
                                               "kill", "exception: std::runtime_error: handler"}));
  EXPECT_TRUE(reports().empty()) << "the hook has them";
}

TEST_F(ReportTest, Rule_10_12_OrderlyEndsAreNot) {
  hook();
  run([] {
    for (const Reason& why : {reason::normal, reason::shutdown, Reason::shutdown("moving")}) {
      await_down(spawn_monitor([why] { exit(why); }));
      EXPECT_TRUE(sys::stop(*erlking::start<Store>(5s, {}), why, 5s));
      crash(Stop{why});
    }
    const auto store = start_monitor<Store>(5s, {});
    (void)call(store->pid, Get{"leave"}, 1s);
    await_down(*store);
  });
  EXPECT_TRUE(taken().empty());
  EXPECT_EQ(described_states, 0);
}

TEST_F(ReportTest, Rule_9_5_WhatASignalEndsIsNotReportedAgain) {
  hook();
  run([] {
    const auto first = spawn_monitor([] {
      spawn_link(wait_forever);
      spawn_link([] { spawn_link(wait_forever), wait_forever(); });
      EXPECT_TRUE(start_link<Store>(5s, {}));
      fail_far_below("the first");
    });
    await_down(first);
    sleep(1ms);
    const auto shot = spawn_monitor(wait_forever);
    exit(shot.pid, Reason("shot"));
    await_down(shot);
    await_down(spawn_monitor([] { exit(self(), Reason("oneself")); }));
    const auto store = start_monitor<Store>(5s, {});
    exit(store->pid, reason::kill);
    await_down(*store);
  });
  EXPECT_EQ(the_crash().reason.what(), "the first");
}

TEST_F(ReportTest, Rule_10_12_ABehaviourThatEndsWithItsParentIsReportedIfThatIsAbnormal) {
  struct Trapping : Server {
    using Handles = Messages<Plain>;
    Trapping() { trap_exit(true); }
    void on(Plain) {}
  };
  hook();
  run([] {
    const auto parent = spawn_monitor([] {
      EXPECT_TRUE(start_link<Trapping>(5s, {.name = "trapping"}));
      exit(Reason::shutdown("in order"));
    });
    await_down(parent);
    while (whereis("trapping")) sleep(1ms);
    const auto bad = spawn_monitor([] {
      EXPECT_TRUE(start_link<Trapping>(5s, {.name = "trapping"}));
      exit(Reason("bad"));
    });
    await_down(bad);
    while (whereis("trapping")) sleep(1ms);
  });
  const auto crashes = taken_of<CrashReport>();
  ASSERT_EQ(crashes.size(), 2u);
  EXPECT_EQ(crashes[0].process.name, "");
  EXPECT_EQ(crashes[1].process.name, "trapping");
  EXPECT_EQ(crashes[1].reason, Reason("bad"));
  ASSERT_TRUE(crashes[1].last_message);
  EXPECT_EQ(crashes[1].last_message->type, "erlking::Exit");
}

TEST_F(ReportTest, AStartThatFailsIsReportedOnce) {
  hook();
  run([] { EXPECT_FALSE(erlking::start<Store>(5s, {}, true)); });
  const CrashReport crash = the_crash();
  EXPECT_EQ(crash.reason.what(), "no start");
  EXPECT_FALSE(crash.last_message);
  EXPECT_FALSE(crash.state) << "there is no object";
}

// --- what ------------------------------------------------------------------------------------------------------------

TEST_F(ReportTest, ACrashTellsWhoWhyAndWhence) {
  hook();
  Pid parent, grandparent, who;
  run([&] {
    grandparent = self();
    const auto middle = spawn_monitor({.name = "middle"}, [&] {
      parent = self();
      const auto child = spawn_monitor({.name = "child"}, [&] {
        who = self();
        set_label("shard 3");
        send(self(), Plain{});
        sleep(1ms);
        fail_far_below("torn");
      });
      await_down(child);
    });
    await_down(middle);
  });
  const CrashReport crash = the_crash();
  EXPECT_EQ(crash.process, (ReportedProcess{who, "child"}));
  EXPECT_EQ(crash.label, "shard 3");
  EXPECT_NE(crash.entry.find("lambda"), std::string::npos) << crash.entry;
  EXPECT_EQ(crash.reason.what(), "torn");
  EXPECT_NE(crash.reason.report().find("fail_far_below"), std::string::npos);
  ASSERT_GE(crash.ancestors.size(), 2u);
  EXPECT_EQ(crash.ancestors[0], (ReportedProcess{parent, "middle"}));
  EXPECT_EQ(crash.ancestors[1], (ReportedProcess{grandparent, ""}));
  EXPECT_FALSE(crash.last_message);
  EXPECT_FALSE(crash.state);

  const std::string text = to_text(crash);
  EXPECT_TRUE(text.starts_with(to_string(who) + " child(shard 3) crashed in ")) << text;
  EXPECT_NE(text.find(": exception: std::runtime_error: torn\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    ancestors: " + to_string(parent) + " middle, " + to_string(grandparent)),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n    at "), std::string::npos) << text;

  const json fields = json::parse(to_json(crash));
  EXPECT_EQ(fields["kind"], "crash");
  EXPECT_EQ(fields["level"], "error");
  EXPECT_EQ(fields["pid"], to_string(who));
  EXPECT_EQ(fields["name"], "child");
  EXPECT_EQ(fields["label"], "shard 3");
  EXPECT_EQ(fields["entry"], crash.entry);
  EXPECT_EQ(fields["reason"]["name"], "exception");
  EXPECT_EQ(fields["reason"]["type"], "std::runtime_error");
  EXPECT_EQ(fields["reason"]["what"], "torn");
  EXPECT_EQ(fields["reason"]["text"], "exception: std::runtime_error: torn");
  EXPECT_GE(fields["reason"]["frames"].size(), 2u);
  EXPECT_EQ(fields["ancestors"][0], (json{{"pid", to_string(parent)}, {"name", "middle"}}));
  EXPECT_EQ(fields["mailbox_depth"], crash.mailbox_depth);
  EXPECT_EQ(fields["last_message"], nullptr);
  EXPECT_EQ(fields["state"], nullptr);
  const std::string time = fields["time"];
  EXPECT_EQ(time.size(), std::string("2026-01-31T23:59:59.123456Z").size());
  EXPECT_EQ(time.back(), 'Z');
}

TEST_F(ReportTest, Rule_10_12_AServersLastMessageAndStateAreShown) {
  hook();
  run([] {
    const auto store = start_monitor<Store>(5s, {.name = "store"});
    for (const char* key : {"a", "b", "bad"}) send(store->pid, Put{key});
    EXPECT_EQ(await_down(*store).what(), "bad key");
  });
  const CrashReport crash = the_crash();
  ASSERT_TRUE(crash.last_message && crash.state);
  EXPECT_TRUE(crash.last_message->type.ends_with("::Put")) << crash.last_message->type;
  EXPECT_EQ(crash.last_message->text, "Put bad");
  EXPECT_TRUE(crash.state->type.ends_with("::Store")) << crash.state->type;
  EXPECT_EQ(crash.state->text, "3 puts");
  const std::string text = to_text(crash);
  EXPECT_NE(text.find("\n    last message: " + crash.last_message->type + ": Put bad\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n    state: " + crash.state->type + ": 3 puts\n"), std::string::npos) << text;
  const json fields = json::parse(to_json(crash));
  EXPECT_EQ(fields["last_message"]["type"], crash.last_message->type);
  EXPECT_EQ(fields["last_message"]["text"], "Put bad");
  EXPECT_EQ(fields["state"]["text"], "3 puts");
}

TEST_F(ReportTest, TheLastMessageIsTheOneThatEndedIt) {
  hook();
  run([] {
    crash(Plain{});
    crash(Unlucky{});
    crash(Stop{Reason("enough")});
    crash(Next{false});
    crash(Idle{});
    const auto store = start_monitor<Store>(5s, {});
    EXPECT_EQ(call(store->pid, Get{"exit"}, 1s).error().why, Reason("disk_full", "/var"));
    await_down(*store);
    EXPECT_TRUE(sys::stop(*erlking::start<Store>(5s, {}), Reason("from outside"), 5s));
  });
  std::vector<std::string> last;
  for (const CrashReport& report : taken_of<CrashReport>()) {
    EXPECT_TRUE(report.state);
    std::string said = report.last_message ? report.last_message->type : "none";
    said.erase(0, said.rfind("::") == said.npos ? 0 : said.rfind("::") + 2);
    last.push_back(report.last_message && !report.last_message->text.empty() ? said + '/' + report.last_message->text
                                                                             : said);
  }
  EXPECT_EQ(last, (std::vector<std::string>{"Plain", "Unlucky/(describe() threw)", "Stop", "Next", "Timeout",
                                            "Get/Get exit", "none"}));
}

TEST_F(ReportTest, ACrashInADestructorIsReported) {
  may_leak = true;
  hook();
  run([] {
    EXPECT_EQ(crash(AbortIt{}).what(), "in a destructor");
    await_down(spawn_monitor([] {
      struct Bomb {
        ~Bomb() { fail_far_below("on the stack"); }
      } bomb;
    }));
    const auto doomsday = start_monitor<Doomsday>(5s, {});
    send(doomsday->pid, Stop{reason::normal});
    await_down(*doomsday);
  });
  const auto crashes = taken_of<CrashReport>();
  ASSERT_EQ(crashes.size(), 3u);
  EXPECT_EQ(crashes[0].reason.what(), "in a destructor");
  EXPECT_FALSE(crashes[0].last_message) << "it went with the stack";
  ASSERT_TRUE(crashes[0].state);
  EXPECT_EQ(crashes[0].state->text, "0 puts");
  EXPECT_EQ(crashes[1].reason.what(), "on the stack");
  EXPECT_EQ(crashes[2].reason.what(), "in the object's destructor");
  EXPECT_FALSE(crashes[2].state) << "half destroyed";
}

TEST_F(ReportTest, AncestorsAreBoundedAndEndWithTheFirstThatIsDead) {
  hook();
  run([] {
    struct Chain {
      static void go(int left) {
        if (left == 0) fail_far_below("deep");
        await_down(spawn_monitor([left] { go(left - 1); }));
      }
    };
    Chain::go(20);
    const Pid me = self();
    spawn([me] {
      spawn([me] {
        sleep(5ms);
        const auto monitored = spawn_monitor([] { fail_far_below("orphan"); });
        await_down(monitored);
        send(me, Plain{});
      });
    });
    receive(1s, [](Plain) {});
  });
  const auto crashes = taken_of<CrashReport>();
  ASSERT_EQ(crashes.size(), 2u);
  EXPECT_EQ(crashes[0].ancestors.size(), 16u);
  EXPECT_EQ(crashes[1].ancestors.size(), 2u) << "its parent, and whose parent that was, which is dead";
}

TEST_F(ReportTest, AnyBytesMakeValidJsonAndPrintableText) {
  hook();
  run([] {
    await_down(spawn_monitor([] { fail_far_below("a\"b\\c\n\x01\xff\xc3\x28 \xed\xa0\x80 \xe2\x82\xac"); }));
    await_down(spawn_monitor([] {
      set_label("\xfe\n");
      exit(Reason("\x80", "\n{"));
    }));
  });
  for (const CrashReport& crash : taken_of<CrashReport>()) {
    const std::string line = to_json(crash);
    EXPECT_EQ(line.find('\n'), line.npos);
    EXPECT_TRUE(json::accept(line)) << line;
    const std::string text = to_text(crash);
    EXPECT_EQ(text.find('\x01'), text.npos);
    for (std::size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
      EXPECT_EQ(text.compare(at, 5, "\n    "), 0) << "nobody can forge a line: " << text;
    }
  }
  const auto crashes = taken_of<CrashReport>();
  ASSERT_EQ(crashes.size(), 2u);
  const std::string what = json::parse(to_json(crashes[0]))["reason"]["what"];
  EXPECT_TRUE(what.starts_with("a\"b\\c\n\x01\xef\xbf\xbd")) << what;
  EXPECT_TRUE(what.ends_with("\xe2\x82\xac")) << what;
}

// --- supervisors -----------------------------------------------------------------------------------------------------

SupervisorReport failure(SupervisorContext context) {
  return {
      .supervisor = {Pid{1}, "sup"},
      .context = context,
      .reason = Reason("disk_full"),
      .child = {
          .id = "store", .pid = Pid{2}, .restart = "permanent", .shutdown = "5000", .type = "worker", .restarts = 3}};
}

/// Gives a report to the runtime of the calling process.
template <class R>
void say(R of_kind) {
  erlking::report(*self_process().system, std::move(of_kind));
}

TEST_F(ReportTest, SupervisorReports) {
  hook();
  run([] {
    say(failure(SupervisorContext::child_terminated));
    SupervisorReport failed = failure(SupervisorContext::start_error);
    failed.child.pid = {};
    say(failed);
  });
  const auto all = taken_of<SupervisorReport>();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(to_text(all[0]), to_string(Pid{1}) + " sup: child_terminated of store: disk_full\n    child: store " +
                                 to_string(Pid{2}) + ", permanent, shutdown 5000, worker, restarts so far: 3");
  const json fields = json::parse(to_json(all[0]));
  EXPECT_EQ(fields["kind"], "supervisor");
  EXPECT_EQ(fields["level"], "error");
  EXPECT_EQ(fields["supervisor"], (json{{"pid", to_string(Pid{1})}, {"name", "sup"}}));
  EXPECT_EQ(fields["context"], "child_terminated");
  EXPECT_EQ(fields["reason"]["text"], "disk_full");
  EXPECT_EQ(fields["child"], (json{{"id", "store"},
                                   {"pid", to_string(Pid{2})},
                                   {"restart", "permanent"},
                                   {"shutdown", "5000"},
                                   {"type", "worker"},
                                   {"restarts", 3}}));
  EXPECT_EQ(json::parse(to_json(all[1]))["child"]["pid"], nullptr);
  EXPECT_EQ(to_string(SupervisorContext::shutdown_error), "shutdown_error");
  EXPECT_EQ(to_string(SupervisorContext::shutdown), "shutdown");
}

TEST_F(ReportTest, ProgressIsReportedFromTheLevelDebugOn) {
  hook();
  run([] {
    const ProgressReport started{{Pid{1}, "sup"}, "store", Pid{2}, "Store"};
    System& system = *self_process().system;
    EXPECT_FALSE(wants_report(system, ReportKind::progress));
    say(started);
    base::set_log_level(base::Level::debug);
    EXPECT_TRUE(wants_report(system, ReportKind::progress));
    say(started);
  });
  const auto all = taken_of<ProgressReport>();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(to_text(all[0]), to_string(Pid{1}) + " sup: started store as " + to_string(Pid{2}) + ", Store");
  const json fields = json::parse(to_json(all[0]));
  EXPECT_EQ(fields["kind"], "progress");
  EXPECT_EQ(fields["level"], "debug");
  EXPECT_EQ(fields["supervisor"]["name"], "sup");
  EXPECT_EQ(fields["child"], (json{{"id", "store"}, {"pid", to_string(Pid{2})}}));
  EXPECT_EQ(fields["started"], "Store");
}

// --- the limit -------------------------------------------------------------------------------------------------------

TEST_F(ReportTest, ACrashLoopIsLimitedAndWhatIsLeftOutIsCounted) {
  options.reports_per_second = 5;
  hook();
  run([] {
    const auto crash = [](int times) {
      for (int i = 0; i < times; ++i) {
        const auto store = start_monitor<Store>(5s, {});
        send(store->pid, Put{"bad"});
        await_down(*store);
      }
    };
    crash(100);
    say(failure(SupervisorContext::shutdown));  // another kind, another limit
    sleep(1s);
    crash(3);
    sleep(3s);
    crash(8);
  });
  std::vector<std::string> kinds;
  for (const erlking::Report& report : taken()) {
    if (const auto* const left_out = std::get_if<LeftOut>(&report)) {
      EXPECT_EQ(left_out->kind, ReportKind::crash);
      kinds.push_back(std::to_string(left_out->count));
    } else {
      kinds.push_back(std::holds_alternative<CrashReport>(report) ? "c" : "s");
    }
  }
  EXPECT_EQ(kinds,
            (std::vector<std::string>{"c", "c", "c", "c", "c", "s", "95", "c", "c", "c", "c", "c", "c", "c", "c"}));
  EXPECT_EQ(described_states, 13) << "nothing is described in vain";
  EXPECT_TRUE(rt().stop());
  const auto left_out = taken_of<LeftOut>();
  ASSERT_EQ(left_out.size(), 2u);
  EXPECT_EQ(left_out[1].count, 3u) << "told at the end";
  EXPECT_EQ(to_text(left_out[1]), "3 crash reports were left out: more than Options::reports_per_second");
  const json fields = json::parse(to_json(left_out[1]));
  EXPECT_EQ(fields["kind"], "left_out");
  EXPECT_EQ(fields["of"], "crash");
  EXPECT_EQ(fields["count"], 3);
}

TEST_F(ReportTest, TheLimitIsExactWhenManyAskAtOnce) {
  options.reports_per_second = 100;
  hook();
  std::vector<std::thread> threads;
  Runtime& runtime = rt();
  std::atomic<System*> system{nullptr};
  ASSERT_TRUE(runtime.spawn_wait(forever, {}, [&] { system = self_process().system; }));
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) erlking::report(*system.load(), failure(SupervisorContext::shutdown));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(taken_of<SupervisorReport>().size(), 100u);
  EXPECT_TRUE(runtime.stop());
  ASSERT_EQ(taken_of<LeftOut>().size(), 1u);
  EXPECT_EQ(taken_of<LeftOut>()[0].count, 3900u);
}

// --- where to --------------------------------------------------------------------------------------------------------

TEST_F(ReportTest, NothingIsMadeBelowTheLevel) {
  hook();
  base::set_log_level(base::Level::off);
  run([] {
    EXPECT_FALSE(wants_report(*self_process().system, ReportKind::crash));
    EXPECT_EQ(crash(Put{"bad"}).what(), "bad key");
    say(failure(SupervisorContext::shutdown));
  });
  EXPECT_TRUE(taken().empty());
  EXPECT_EQ(described_states, 0);
}

TEST_F(ReportTest, AHookThatThrowsLeavesTheReportToTheLog) {
  options.report_hook = [](const erlking::Report&) { throw std::runtime_error("no"); };
  run([] { EXPECT_EQ(crash(Put{"bad"}).what(), "bad key"); });
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_EQ(reports()[0].level, base::Level::error);
  EXPECT_EQ(reports()[0].component, "crash");
  EXPECT_NE(reports()[0].text.find("bad key"), std::string::npos);
}

TEST_F(ReportTest, AHookMaySend) {
  Pid listener;
  options.report_hook = [&](const erlking::Report& report) {
    if (const auto* const is = std::get_if<CrashReport>(&report)) send(listener, Put{std::string(is->reason.what())});
  };
  run([&] {
    listener = self();
    crash(Put{"bad"});
    EXPECT_EQ(receive(
                  1s, [](Put& put) { return put.key; }, [](Timeout) { return std::string("none"); }),
              "bad key");
  });
}

TEST_F(ReportTest, TheLogGetsJsonIfThatIsTheFormat) {
  options.report_format = "json";
  run([] { crash(Put{"bad"}); });
  ASSERT_EQ(reports().size(), 1u);
  EXPECT_EQ(json::parse(reports()[0].text)["last_message"]["text"], "Put bad");
}

TEST_F(ReportTest, StderrGetsJsonLinesWithoutAPrefix) {
  base::set_log_sink(nullptr);
  options.report_format = "json";
  ::testing::internal::CaptureStderr();
  run([] { crash(Put{"bad"}); });
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(json::accept(text)) << text;
  EXPECT_TRUE(text.ends_with('\n'));
}

TEST_F(ReportTest, StderrGetsTextWithItsDetailsBelow) {
  base::set_log_sink(nullptr);
  ::testing::internal::CaptureStderr();
  run([] { crash(Put{"bad"}); });
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find(" error crash: "), std::string::npos) << text;
  EXPECT_NE(text.find("\n    last message: "), std::string::npos) << text;
}

TEST_F(ReportTest, AFileGetsJsonLinesAndIsAppendedTo) {
  options.report_format = "json";
  options.report_file = file();
  std::ofstream(options.report_file) << "{}\n";
  run([] {
    crash(Put{"bad"});
    say(failure(SupervisorContext::shutdown));
  });
  const auto lines = lines_of(options.report_file);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], "{}");
  EXPECT_EQ(json::parse(lines[1])["kind"], "crash");
  EXPECT_EQ(json::parse(lines[2])["context"], "shutdown");
  EXPECT_TRUE(reports().empty()) << "the file has them";
}

TEST_F(ReportTest, AFileGetsTextWithTimeAndLevel) {
  options.report_file = file();
  run([] { crash(Put{"bad"}); });
  const auto lines = lines_of(options.report_file);
  ASSERT_GE(lines.size(), 3u);
  EXPECT_NE(lines[0].find("Z error crash: "), std::string::npos) << lines[0];
  EXPECT_TRUE(lines[1].starts_with("    last message: ")) << lines[1];
}

// --- options ---------------------------------------------------------------------------------------------------------

std::string refusal(const Options& options) {
  try {
    Runtime runtime(options);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "none";
}

TEST_F(ReportTest, OptionsThatCannotBeAreRefusedWithAReason) {
  const auto with = [&](auto change) {
    Options changed = options;
    change(changed);
    return refusal(changed);
  };
  EXPECT_EQ(with([](Options& o) { o.report_format = "xml"; }), "erlking: report_format must be text or json, not xml");
  EXPECT_EQ(with([](Options& o) { o.reports_per_second = 0; }),
            "erlking: reports_per_second must be 1 to 1000000, not 0");
  EXPECT_EQ(with([](Options& o) { o.reports_per_second = 1'000'001; }),
            "erlking: reports_per_second must be 1 to 1000000, not 1000001");
  const std::string text = with([](Options& o) { o.report_file = "/proc/none/reports"; });
  EXPECT_TRUE(text.starts_with("erlking: report_file /proc/none/reports: ")) << text;
  EXPECT_NE(text.find("No such file"), std::string::npos) << text;
}

TEST_F(ReportTest, OptionsAreReadFromTheCommandLine) {
  const auto parse = [](std::vector<std::string> words) {
    words.insert(words.begin(), "program");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int argc = static_cast<int>(words.size());
    return Options::parse(argc, argv.data());
  };
  const auto read =
      parse({"--ek-report-format=json", "--ek-report-file", "reports.jsonl", "--ek-reports-per-second=7"});
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->report_format, "json");
  EXPECT_EQ(read->report_file, "reports.jsonl");
  EXPECT_EQ(read->reports_per_second, 7u);
  EXPECT_NE(parse({"--ek-report-format=xml"}).error().find("xml"), std::string::npos);
  EXPECT_FALSE(parse({"--ek-reports-per-second=0"}));
  EXPECT_NE(Options::help().find("--ek-report-file"), std::string::npos);
}

// --- an end that is not clean ----------------------------------------------------------------------------------------

// In a process of its own: what never stops outlives the runtime.
TEST_F(ReportTest, OfManyThatDoNotStopAFewAreNamed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto stop_in_vain = [&] {
    int lines = 0;
    bool counted = false;
    base::set_log_sink([&](base::Level, std::string_view, std::string_view text) {
      ++lines;
      counted |= text.starts_with("20 processes did not stop in 20 ms") && text.ends_with(" and 10 more");
    });
    options.workers = 1;
    options.spare_workers = 0;  // else some of the others have theirs, too
    options.stop = 20ms;
    options.clock = ClockKind::real;
    Runtime runtime(options);
    static std::atomic<int> spinning{0};
    const int most = has_own_workers() ? 20 : 1;  // the others never have their turn
    for (int i = 0; i < 20; ++i) {
      (void)runtime.spawn([] {
        for (++spinning; spinning != 0;) {
        }
      });
    }
    while (spinning != most) std::this_thread::yield();
    const bool clean = runtime.stop();
    std::_Exit(!clean && lines == 2 && counted ? 0 : clean ? 100 : lines + 1);
  };
  EXPECT_EXIT(stop_in_vain(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace erlking::testing
