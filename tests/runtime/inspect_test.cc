// The socket at which a running program tells its supervision tree. These tests use the real clock: they wait for
// bytes.
#include "tests/support/runtime_fixture.h"

#include <cerrno>
#include <cstring>
#include <dirent.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

namespace erlking::testing {
namespace {

class Part : public Server {
 public:
  using Handles = Messages<Drain>;
  void on(Drain&) {}
};

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

/// One end of a connection.
class Client {
 public:
  explicit Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const sockaddr_un address = address_of(path);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { ::close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return connected_; }
  void write(std::string_view bytes) const { ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  void end_writing() const { ::shutdown(fd_, SHUT_WR); }
  /// Everything until the other side ends.
  std::string read() const {
    std::string all;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(fd_, bytes, sizeof bytes, 0)) > 0;) all.append(bytes, static_cast<std::size_t>(n));
    return all;
  }

 private:
  int fd_;
  bool connected_;
};

std::string ask(const std::string& path, std::string_view question) {
  const Client client(path);
  if (!client.connected()) return std::strerror(errno);
  client.write(question);
  return client.read();
}

/// A socket file at which nobody listens.
void leave_socket(const std::string& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = address_of(path);
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd, 1), 0);
  ::close(fd);
}

class InspectTest : public RuntimeTest {
 protected:
  void SetUp() override {
    options.clock = ClockKind::real;
    char folder[] = "/tmp/inspect_test_XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    folder_ = folder;
    options.inspect = path();
    RuntimeTest::SetUp();
  }
  void TearDown() override {
    RuntimeTest::TearDown();
    EXPECT_FALSE(std::filesystem::exists(path()));
    std::filesystem::remove_all(folder_);
  }
  std::string path() const { return folder_ + "/socket"; }
  std::string folder() const { return folder_; }

  void start_tree() {
    start([] {
      EXPECT_TRUE(start_link(5s, {.name = "shop"}, {.children = {child<Part>("store", {}), child<Part>("till", {})}})
                      .has_value());
      wait_forever();
    });
    ASSERT_TRUE(drive([&] { return rt().whereis("shop").has_value(); }));
  }
  /// What making a runtime with these options says.
  std::string refusal(const Options& with) {
    try {
      Runtime runtime(with);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  }

 private:
  std::string folder_;
};

TEST_F(InspectTest, TellsTheTreeAsTextAndAsJson) {
  start_tree();
  const std::string text = ask(path(), "tree timeout 20000\n");
  EXPECT_TRUE(text.starts_with("1 tree, ")) << text;
  for (const char* const part : {"shop", "├─ store", "└─ till", "one_for_one", "waiting", "0/1024"})
    EXPECT_NE(text.find(part), text.npos) << part << " is not in\n" << text;
  const std::string json = ask(path(), "tree json children 1 timeout 20000\n");
  EXPECT_TRUE(json.starts_with("{") && json.ends_with("}\n")) << json;
  EXPECT_NE(json.find("\"children_total\": 2"), json.npos) << json;
  EXPECT_EQ(json.find("till"), json.npos) << json;
}

TEST_F(InspectTest, TellsWhoHoldsTheMemory) {
  const Pid pid = *rt().spawn({.name = "sink"}, wait_forever);
  ASSERT_EQ(rt().send(pid, std::string(5'000, 'x')), Delivery::queued);
  const std::string text = ask(path(), "memory timeout 20000\n");
  for (const char* const part : {"1 messages wait", "sink", " B  "}) EXPECT_NE(text.find(part), text.npos) << text;
  const std::string json = ask(path(), "memory json processes 1 timeout 20000\n");
  EXPECT_NE(json.find("\"mailbox_depth\": 1"), json.npos) << json;
  EXPECT_EQ(ask(path(), "memory processes 0\n"), "error: memory: processes must be 1 to 1000\n");
}

TEST_F(InspectTest, TheSocketIsThisUsersAloneAndGoesWithTheRuntime) {
  ASSERT_EQ(rt().processes(), 0u);
  struct stat there {};
  ASSERT_EQ(::lstat(path().c_str(), &there), 0);
  EXPECT_TRUE(S_ISSOCK(there.st_mode));
  EXPECT_EQ(there.st_mode & 0777, 0600u);
  EXPECT_TRUE(rt().stop());
  EXPECT_NE(::lstat(path().c_str(), &there), 0);
}

TEST_F(InspectTest, SomebodyElsesFileIsLeftAlone) {
  ASSERT_EQ(rt().processes(), 0u);
  ::unlink(path().c_str());
  std::ofstream(path()) << "mine";
  EXPECT_TRUE(rt().stop());
  EXPECT_TRUE(std::filesystem::exists(path()));
  std::filesystem::remove(path());
}

TEST_F(InspectTest, HelpAndMistakesAreAnswered) {
  ASSERT_EQ(rt().processes(), 0u);
  EXPECT_TRUE(ask(path(), "help\n").starts_with("tree ["));
  EXPECT_TRUE(ask(path(), "  tree \t width 80 \r\n").starts_with("no supervisors"));
  for (const char* const bad :
       {"\n", "trees\n", "tree nonsense\n", "tree width\n", "tree width 79\n", "tree width 80x\n", "tree children -1\n",
        "tree timeout 0\n", "tree timeout 99999999999999999999999\n", "help me\n", "GET / HTTP/1.1\r\n\r\n"}) {
    const std::string reply = ask(path(), bad);
    EXPECT_TRUE(reply.starts_with("error: ") && reply.ends_with("\n")) << bad << reply;
  }
}

TEST_F(InspectTest, RubbishIsRefusedAndTheNextIsServed) {
  ASSERT_EQ(rt().processes(), 0u);
  EXPECT_TRUE(ask(path(), std::string(100'000, 'x')).starts_with("error: too long"));
  EXPECT_TRUE(ask(path(), std::string(200, '\0') + "\xff\xfe\n").starts_with("error: "));
  EXPECT_TRUE(ask(path(), "help\n").starts_with("tree ["));
}

TEST_F(InspectTest, AQuestionMayComeInPiecesOrEndWithTheConnection) {
  ASSERT_EQ(rt().processes(), 0u);
  const Client pieces(path());
  for (const char c : std::string_view("help\n")) {
    pieces.write({&c, 1});
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_TRUE(pieces.read().starts_with("tree ["));
  const Client ended(path());
  ended.write("help");
  ended.end_writing();
  EXPECT_TRUE(ended.read().starts_with("tree ["));
}

TEST_F(InspectTest, ClientsMayVanish) {
  start_tree();
  for (int i = 0; i < 50; ++i) {
    Client client(path());
    ASSERT_TRUE(client.connected());
    if (i % 3 != 0) client.write("tree\n");
    if (i % 3 == 2) client.end_writing();
  }
  EXPECT_NE(ask(path(), "tree timeout 20000\n").find("store"), std::string::npos);
}

TEST_F(InspectTest, ManyAtOnceAreAllServed) {
  start_tree();
  std::vector<std::future<std::string>> replies;
  for (int i = 0; i < 24; ++i) {
    replies.push_back(std::async(std::launch::async, [this] { return ask(path(), "tree timeout 20000\n"); }));
  }
  for (auto& reply : replies) EXPECT_NE(reply.get().find("store"), std::string::npos);
}

TEST_F(InspectTest, TheEndWaitsForNoClient) {
  start_tree();
  const Client silent(path());
  const Client asks(path());
  asks.write("tree json timeout 60000\n");  // and never reads
  std::vector<std::unique_ptr<Client>> crowd;
  for (int i = 0; i < 12; ++i) crowd.push_back(std::make_unique<Client>(path()));
  EXPECT_TRUE(rt().stop());
  silent.read();  // ends
}

TEST_F(InspectTest, TheEndWaitsForNoTree) {
  auto over = std::make_shared<std::atomic<bool>>(false);
  auto spins = std::make_shared<std::atomic<bool>>(false);
  start_tree();
  static_cast<void>(rt().spawn([over, spins] {
    static_cast<void>(start_link(forever, {.children = {child("spins", {}, [over, spins] {
                                             spins->store(true);
                                             while (!over->load()) std::this_thread::yield();
                                           })}}));
    wait_forever();
  }));
  while (!spins->load()) std::this_thread::sleep_for(1ms);
  const Client asks(path());
  asks.write("tree timeout 60000\n");
  auto stopped = std::async(std::launch::async, [this] { return rt().stop(); });
  EXPECT_NE(asks.read(), "nothing");  // an answer or none, but an end: before the one who spins has come to it
  over->store(true);
  EXPECT_TRUE(stopped.get());
}

TEST_F(InspectTest, ASocketLeftOverIsReplaced) {
  leave_socket(path());
  ASSERT_EQ(rt().processes(), 0u);
  EXPECT_TRUE(ask(path(), "help\n").starts_with("tree ["));
}

TEST_F(InspectTest, ALiveSocketIsAnError) {
  ASSERT_EQ(rt().processes(), 0u);
  const std::string why = refusal(options);
  EXPECT_NE(why.find(path() + ": another program answers there"), why.npos) << why;
  EXPECT_TRUE(ask(path(), "help\n").starts_with("tree ["));  // still
}

TEST_F(InspectTest, WhatCannotBeASocketIsAnError) {
  ASSERT_EQ(rt().processes(), 0u);
  Options bad = options;
  bad.inspect = folder() + "/file";
  std::ofstream(bad.inspect) << "text";
  EXPECT_NE(refusal(bad).find("is no socket"), std::string::npos) << refusal(bad);
  EXPECT_TRUE(std::filesystem::exists(bad.inspect));
  bad.inspect = folder() + "/none/socket";
  EXPECT_NE(refusal(bad).find(std::strerror(ENOENT)), std::string::npos) << refusal(bad);
  bad.inspect = folder() + "/" + std::string(120, 'x');
  EXPECT_NE(refusal(bad).find("at most 107 bytes"), std::string::npos) << refusal(bad);
  bad.inspect = folder() + "/manual";
  bad.clock = ClockKind::manual;
  EXPECT_NE(refusal(bad).find("real clock"), std::string::npos) << refusal(bad);
  EXPECT_FALSE(std::filesystem::exists(bad.inspect));
}

TEST_F(InspectTest, ItIsAnOption) {
  ASSERT_EQ(rt().processes(), 0u);
  std::string words[] = {"program", "--ek-inspect=/run/it", "rest"};
  char* argv[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};
  int argc = 3;
  const auto parsed = Options::parse(argc, argv);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->inspect, "/run/it");
  EXPECT_EQ(argc, 2);
  EXPECT_NE(Options::help().find("--ek-inspect"), std::string::npos);
}

}  // namespace
}  // namespace erlking::testing
