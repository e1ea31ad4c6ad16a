#include "tools/bench/store.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace erlking::bench {

namespace fs = std::filesystem;

namespace {

constexpr unsigned kConnections = 50;
constexpr auto kNap = std::chrono::milliseconds(5);
constexpr int kNaps = 2'000;   // until it answers
constexpr int kEndNaps = 400;  // until it has ended

// A port that nobody listens at, for one who cannot be asked which it chose.
std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  const bool good = fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 &&
                    ::getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size) == 0;
  if (fd >= 0) ::close(fd);
  return good ? ntohs(at.sin_port) : 0;
}

// Empty: there is none in PATH.
std::string found(const std::string& program) {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), folder.size() + 1));
    const std::string file = fmt::format("{}/{}", folder, program);
    if (::access(file.c_str(), X_OK) == 0) return file;
  }
  return {};
}

std::unexpected<Failure> missing(std::string_view what) {
  return std::unexpected(Failure{fmt::format("needs {}", what), true});
}

// A folder for a log; empty: it cannot be made.
std::string make_folder() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "erlking-bench-XXXXXX").string();
  return ::mkdtemp(path.data()) != nullptr ? path : std::string();
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

}  // namespace

std::expected<std::unique_ptr<Store>, Failure> Store::start(std::vector<std::string> command, std::string folder,
                                                            std::uint16_t port) {
  std::unique_ptr<Store> made(new Store);
  made->port_ = port;
  made->folder_ = std::move(folder);
  if (port == 0) return std::unexpected(Failure{"no port is free"});
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  for (const int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_WRONLY, 0);
  }
  const int fault = ::posix_spawn(&made->pid_, command[0].c_str(), &quiet, nullptr, arguments.data(), ::environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (fault != 0) {
    made->pid_ = -1;
    return std::unexpected(Failure{fmt::format("{}: {}", command[0], std::strerror(fault))});
  }
  for (int naps = 0; !made->answers(); ++naps) {
    const bool ended = ::waitpid(made->pid_, nullptr, WNOHANG) == made->pid_;
    if (ended) made->pid_ = -1;
    if (ended || naps == kNaps) return std::unexpected(Failure{fmt::format("{} does not start", command[0])});
    std::this_thread::sleep_for(kNap);
  }
  return made;
}

bool Store::answers() const {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port_);
  const bool good = fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  if (fd >= 0) ::close(fd);
  return good;
}

std::expected<std::unique_ptr<Store>, Failure> Store::kv(const std::vector<std::string>& flags, bool always) {
  std::error_code error;
  const fs::path kv = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path() / "examples" / "kv";
  if (::access(kv.c_str(), X_OK) != 0) return missing("examples/kv, built beside it");
  const std::uint16_t port = free_port();
  std::vector<std::string> command = {kv.string(), "--port", std::to_string(port)};
  command.insert(command.end(), flags.begin(), flags.end());
  std::string folder = always ? make_folder() : std::string();
  if (always && folder.empty()) return std::unexpected(Failure{"no folder for a log"});
  if (always) command.insert(command.end(), {"--dir", folder, "--appendfsync", "always"});
  return start(std::move(command), std::move(folder), port);
}

std::expected<std::unique_ptr<Store>, Failure> Store::redis(bool always) {
  const std::string redis = found("redis-server");
  if (redis.empty()) return missing("redis-server");
  const std::uint16_t port = free_port();
  std::vector<std::string> command = {redis, "--port", std::to_string(port), "--save", ""};
  std::string folder = always ? make_folder() : std::string();
  if (always && folder.empty()) return std::unexpected(Failure{"no folder for a log"});
  if (always) command.insert(command.end(), {"--appendonly", "yes", "--appendfsync", "always", "--dir", folder});
  return start(std::move(command), std::move(folder), port);
}

Store::~Store() {
  if (pid_ > 0) {
    ::kill(pid_, SIGTERM);
    for (int naps = 0; ::waitpid(pid_, nullptr, WNOHANG) == 0; ++naps) {
      if (naps == kEndNaps) ::kill(pid_, SIGKILL);
      std::this_thread::sleep_for(kNap);
    }
  }
  std::error_code error;
  if (!folder_.empty()) fs::remove_all(folder_, error);
}

Result Store::run(std::uint64_t requests, unsigned pipeline, base::Nanos limit) const {
  if (found("redis-benchmark").empty()) return missing("redis-benchmark (Debian's package redis-tools)");
  const std::string command = fmt::format(
      "exec timeout {} redis-benchmark -p {} -c {} -n {} -P {} -t {} --csv 2>/dev/null",
      std::max<base::Nanos>(1, limit / 1'000'000'000), port_, kConnections,
      std::max<std::uint64_t>(requests / kCommands.size(), kConnections), pipeline, fmt::join(kCommands, ","));
  std::FILE* const out = ::popen(command.c_str(), "re");
  if (out == nullptr) return std::unexpected(Failure{fmt::format("redis-benchmark: {}", std::strerror(errno))});
  // "GET","54745.00",…: requests a second.
  Outcome outcome{{}, "natural"};
  char line[512];
  while (std::fgets(line, sizeof line, out) != nullptr) {
    char name[32];
    double rate = 0;
    if (std::sscanf(line, "\"%31[^\"]\",\"%lf\"", name, &rate) != 2 || !(rate > 0)) continue;
    outcome.figures.push_back({"ns_per_" + lower(name), 1e9 / rate});
  }
  const int status = ::pclose(out);
  if (status != 0 || outcome.figures.size() != kCommands.size()) {
    return std::unexpected(Failure{fmt::format("redis-benchmark ended with status {} and {} of {} figures", status,
                                               outcome.figures.size(), kCommands.size())});
  }
  return outcome;
}

}  // namespace erlking::bench
