#include "tools/bench/peer.h"

#include "tools/bench/machine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sstream>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace erlking::bench {

namespace fs = std::filesystem;

namespace {

constexpr base::Nanos kSecond = 1'000'000'000;
constexpr std::uint64_t kMoreProcesses = 100'000;  // than a workload has: the system's own
constexpr base::Nanos kStartLimit = 30 * kSecond;

struct Pipe {
  int read = -1, write = -1;
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read = ends[0];
    write = ends[1];
    return true;
  }
};

// Starts a program found on the PATH, in `folder`, with these ends as stdin and stdout (-1: as ours). It dies with us.
pid_t launch(const std::vector<std::string>& command, const fs::path& folder, int in, int out) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) ::signal(signal, SIG_DFL);
  if (in >= 0) ::dup2(in, STDIN_FILENO);
  if (out >= 0) ::dup2(out, STDOUT_FILENO);
  if (!folder.empty() && ::chdir(folder.c_str()) != 0) ::_exit(127);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

bool on_path(std::string_view program) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/bin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

// Empty: done. What the compiler says goes to stderr.
std::string compile(const std::vector<std::string>& command, const fs::path& folder) {
  const pid_t child = launch(command, folder, -1, STDERR_FILENO);
  if (child < 0) return fmt::format("{} cannot be started: {}", command[0], std::strerror(errno));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0
             ? ""
             : fmt::format("{} could not compile {}", command[0], folder.string());
}

// What it takes to have one peer.
struct Recipe {
  std::string_view compiler, source_folder, product;
  std::string_view package;
  std::vector<std::string_view> sources;
};

Recipe recipe_of(Contender which) {
  if (which == Contender::beam) return {"erlc", "erlang", "bench_peer.beam", "erlang-base", {"bench_peer.erl"}};
  return {"go", "go", "go_peer", "golang-go", {"main.go", "go.mod"}};
}

// Makes `cache`/product if it is missing or older than a source.
std::string make(Contender which, const fs::path& sources, const fs::path& cache) {
  const Recipe recipe = recipe_of(which);
  const fs::path folder = sources / recipe.source_folder;
  const fs::path product = cache / recipe.product;
  std::error_code error;
  bool stale = !fs::exists(product, error);
  for (const std::string_view source : recipe.sources) {
    if (!fs::exists(folder / source, error))
      return fmt::format("no {} (--peers-dir tells where)", (folder / source).string());
    stale = stale || fs::last_write_time(folder / source, error) >= fs::last_write_time(product, error);
  }
  if (!stale) return "";
  // Made aside and moved into place: another bench may be doing the same.
  const fs::path aside = cache / fmt::format("making-{}", ::getpid());
  fs::create_directories(aside, error);
  std::string why;
  if (which == Contender::beam) {
    why = compile({"erlc", "-o", aside.string(), (folder / "bench_peer.erl").string()}, folder);
  } else {
    if (std::getenv("HOME") == nullptr && std::getenv("GOCACHE") == nullptr) {
      ::setenv("GOCACHE", (cache / "go-build").c_str(), 1);
    }
    why = compile({"go", "build", "-buildvcs=false", "-o", (aside / recipe.product).string(), "."}, folder);
  }
  if (why.empty()) {
    fs::rename(aside / recipe.product, product, error);
    if (error) why = fmt::format("cannot write {}: {}", product.string(), error.message());
  }
  fs::remove_all(aside, error);
  return why;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

std::string_view value_of(std::string_view word, std::string_view key) {
  return word.starts_with(key) && word.substr(key.size()).starts_with('=') ? word.substr(key.size() + 1)
                                                                           : std::string_view{};
}

// "12,34" → 12, 34.
bool read_points(const std::string& text, std::vector<double>& points) {
  for (const char* at = text.c_str();;) {
    char* end = nullptr;
    points.push_back(std::strtod(at, &end));
    if (end == at) return false;
    if (*end == '\0') return true;
    if (*end != ',') return false;
    at = end + 1;
  }
}

bool usable_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  return ::access(folder.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

std::expected<fs::path, std::string> peer_cache() {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  const fs::path folder = executable.parent_path();
  if (!error && folder.filename() != "bin" && usable_folder(folder / "peers")) return folder / "peers";
  const char* const xdg = std::getenv("XDG_CACHE_HOME");
  const char* const home = std::getenv("HOME");
  fs::path cache;
  if (xdg != nullptr && *xdg == '/') {
    cache = fs::path(xdg) / "erlking";
  } else if (home != nullptr && *home == '/') {
    cache = fs::path(home) / ".cache" / "erlking";
  }
  if (!cache.empty() && usable_folder(cache)) return cache;
  std::string name = (fs::temp_directory_path(error) / "erlking-peers-XXXXXX").string();
  if (::mkdtemp(name.data()) != nullptr) return name;
  return std::unexpected(std::string("no folder to compile the peers into"));
}

std::vector<std::string_view> echo_kinds(Contender which) {
  if (which == Contender::beam) return {"passive", "once", "hundred"};
  return {"blocking"};
}

std::expected<std::unique_ptr<Peer>, std::string> Peer::start(Contender which, unsigned workers,
                                                              const fs::path& sources, const fs::path& cache,
                                                              std::uint64_t processes) {
  const Recipe recipe = recipe_of(which);
  for (const std::string_view program :
       {recipe.compiler, which == Contender::beam ? std::string_view("erl") : recipe.compiler}) {
    if (!on_path(program)) {
      return std::unexpected(
          fmt::format("--vs {}: no {} on the PATH (Debian's package: {})", to_string(which), program, recipe.package));
    }
  }
  if (std::string why = make(which, sources, cache); !why.empty()) {
    return std::unexpected(fmt::format("--vs {}: {}", to_string(which), why));
  }

  const std::string n = std::to_string(workers);
  std::vector<std::string> command =
      which == Contender::beam ? std::vector<std::string>{"erl", "+S",           n + ":" + n, "+Bd",        "-noshell",
                                                          "-pa", cache.string(), "-s",        "bench_peer", "main"}
                               : std::vector<std::string>{(cache / recipe.product).string(), "-procs", n};
  if (which == Contender::beam && processes != 0) {
    command.insert(command.begin() + 1, {"+P", std::to_string(processes + kMoreProcesses)});
  }
  ::setenv("HOME", "/", 0);  // erl will not start without
  Pipe in, out;
  if (!in.open() || !out.open()) return std::unexpected(std::string("no pipe: ") + std::strerror(errno));
  std::unique_ptr<Peer> peer(new Peer);
  peer->workers_ = workers;
  peer->pid_ = launch(command, {}, in.read, out.write);
  ::close(in.read);
  ::close(out.write);
  peer->to_ = in.write;
  peer->from_ = out.read;
  if (peer->pid_ < 0) return std::unexpected(fmt::format("--vs {}: cannot be started", to_string(which)));
  kill_on_signals(peer->pid_);
  const auto line = peer->read_line(kStartLimit);
  if (!line) return std::unexpected(fmt::format("--vs {}: does not start: {}", to_string(which), line.error()));
  const auto words = words_of(*line);  // ready beam OTP-25/erts-13.1.5 jit=yes schedulers=2
  if (words.size() < 5 || words[0] != "ready" || words[1] != to_string(which) ||
      value_of(words[4], "schedulers") != n) {
    return std::unexpected(fmt::format("--vs {}: it says '{}' instead of being ready", to_string(which), *line));
  }
  peer->version_ = words[2];
  peer->jit_ = value_of(words[3], "jit") == "yes";
  return peer;
}

Peer::~Peer() {
  if (to_ >= 0) ::close(to_);  // end of file: it quits
  if (from_ >= 0) ::close(from_);
  if (pid_ <= 0) return;
  for (int nap = 0; nap < 50; ++nap) {
    if (::waitpid(pid_, nullptr, WNOHANG) != 0) {
      forget_child(pid_);
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  forget_child(pid_);
}

std::expected<std::string, std::string> Peer::read_line(base::Nanos limit) {
  const base::Nanos until = base::monotonic_now() + limit;
  for (;;) {
    if (const std::size_t end = pending_.find('\n'); end != pending_.npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    const base::Nanos left = until - base::monotonic_now();
    if (left <= 0) return std::unexpected(fmt::format("no answer within {} s", limit / kSecond));
    pollfd ready{from_, POLLIN, 0};
    const int n = ::poll(&ready, 1, static_cast<int>(std::min<base::Nanos>(left / 1'000'000 + 1, 1'000'000)));
    if (n < 0 && errno != EINTR) return std::unexpected(std::string(std::strerror(errno)));
    if (n <= 0) continue;
    char bytes[4096];
    const ssize_t got = ::read(from_, bytes, sizeof bytes);
    if (got == 0) return std::unexpected(std::string("it has ended"));
    if (got > 0) pending_.append(bytes, static_cast<std::size_t>(got));
  }
}

std::expected<std::vector<std::string>, Failure> Peer::ask(std::string_view name, std::string command,
                                                           base::Nanos limit) {
  command += '\n';
  if (::write(to_, command.data(), command.size()) != static_cast<ssize_t>(command.size())) {
    return std::unexpected(Failure{"it has ended"});
  }
  const auto line = read_line(limit);
  if (!line) return std::unexpected(Failure{line.error()});
  auto words = words_of(*line);
  if (words.size() > 2 && words[0] == "error") {
    return std::unexpected(
        Failure{line->substr(line->find(words[1]) + words[1].size() + 1), words[2] == "unsupported"});
  }
  if (words.size() < 3 || words[0] != "result" || words[1] != name)
    return std::unexpected(Failure{"unexpected answer: " + *line});
  return words;
}

std::expected<std::uint16_t, Failure> Peer::serve(std::string_view kind, base::Nanos limit) {
  const auto words = ask("serve", fmt::format("serve 1 kind={}", kind), limit);
  if (!words) return std::unexpected(words.error());
  const int port = std::atoi(std::string(value_of((*words)[2], "port")).c_str());
  if (port < 1 || port > UINT16_MAX) return std::unexpected(Failure{"it says no port"});
  return static_cast<std::uint16_t>(port);
}

std::expected<void, Failure> Peer::stop_serving(base::Nanos limit) {
  if (const auto words = ask("stop", "stop 1", limit); !words) return std::unexpected(words.error());
  return {};
}

Result Peer::run(const Case& which, std::uint64_t n, base::Nanos limit) {
  if (n == 0) return std::unexpected(Failure{"unsupported", true});
  const std::string_view name = which.workload->name;
  std::string command = fmt::format("{} {}", name, n);
  if (which.workload->is_latency()) {
    command += fmt::format(" rate={} mode={}", which.rate, which.busy ? "busy" : "parked");
  }
  if (which.workload->once) command += fmt::format(" rest={}", rest_of(n).count() / 1'000'000);
  const auto answer = ask(name, std::move(command), limit);
  if (!answer) return std::unexpected(answer.error());
  const std::vector<std::string>& words = *answer;
  const auto unexpected = [&] {
    return std::unexpected(Failure{fmt::format("unexpected answer: {}", fmt::join(words, " "))});
  };
  Outcome outcome;
  outcome.placement = which.workload->place == Place::apart && workers_ > 1 ? "apart" : "natural";
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string::npos) continue;
    const std::string key = words[i].substr(0, equals), value = words[i].substr(equals + 1);
    if (key == "where") {
      outcome.placement = value;
      continue;
    }
    if (key == "curve") {
      if (outcome.figures.empty() || !read_points(value, outcome.figures.front().curve)) {
        return unexpected();
      }
      continue;
    }
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0') return unexpected();
    outcome.figures.push_back({metric_name(which, key == "p999" ? "p99.9" : key), number});
  }
  return outcome;
}

}  // namespace erlking::bench
