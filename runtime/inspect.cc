#include "runtime/inspect.h"

#include "base/clock.h"
#include "runtime/runtime.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <poll.h>
#include <span>
#include <stdexcept>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace erlking::detail {

namespace {

using base::Nanos;

constexpr std::size_t kClients = 8;
constexpr std::size_t kLineMax = 256;           // bytes of a question
constexpr Nanos kPatience = 5'000'000'000;      // for the question to come, and for the answer to be taken
constexpr Nanos kWithoutFiles = 100'000'000;    // until the next look, when the process has no descriptor left
constexpr std::size_t kProcessesMax = 100'000;  // of one answer
constexpr std::size_t kEventsMax = 100'000;
constexpr std::size_t kWidthMax = 10'000;
constexpr std::size_t kTimeoutMaxMs = 60'000;

class Fd {
 public:
  explicit Fd(int fd = -1) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// --- the socket ------------------------------------------------------------------------------------------------------

[[noreturn]] void fail(const std::string& path, std::string_view what) {
  throw std::runtime_error(fmt::format("erlking: inspect: {}: {}", path, what));
}

// IN3. A lock that is not to be had is done without.
Fd lock_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  Fd fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (int i = 0; fd.get() >= 0 && i < 1000 && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return fd;
}

Fd new_socket(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) fail(path, std::strerror(errno));
  return fd;
}

// Whether somebody listens at the socket there.
bool is_live(const std::string& path, const sockaddr_un& address) {
  const Fd probe = new_socket(path);
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno != ECONNREFUSED;
}

Fd listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    throw std::invalid_argument(fmt::format("erlking: inspect must be a path of at most {} bytes, not {}",
                                            sizeof address.sun_path - 1, path.size()));
  }
  path.copy(address.sun_path, path.size());
  const Fd lock = lock_folder(path);
  Fd fd = new_socket(path);
  if (::fchmod(fd.get(), 0600) != 0) fail(path, std::strerror(errno));  // the file is made with it
  const auto bind_it = [&] { return ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0; };
  if (!bind_it()) {
    struct stat there {};
    if (errno != EADDRINUSE) fail(path, std::strerror(errno));
    if (::lstat(path.c_str(), &there) == 0 && !S_ISSOCK(there.st_mode)) fail(path, "is there, and is no socket");
    if (is_live(path, address)) fail(path, "another program answers there");
    if (::unlink(path.c_str()) != 0 || !bind_it()) fail(path, std::strerror(errno));
  }
  if (::listen(fd.get(), 16) != 0) {
    const int why = errno;
    ::unlink(path.c_str());
    fail(path, std::strerror(why));
  }
  return fd;
}

// --- questions -------------------------------------------------------------------------------------------------------

constexpr std::string_view kHelp =
    "tree [json] [children N] [processes N] [width N] [timeout MS]\n"
    "  the supervision tree, as text or as JSON; N children of each supervisor (100), N processes in all (10000),\n"
    "  lines of at most N characters (100), within so many milliseconds (1000)\n"
    "memory [json] [processes N] [timeout MS]\n"
    "  for which processes the most bytes of messages wait, as text or as JSON; N of them (10), within so many\n"
    "  milliseconds (1000)\n"
    "flight [json] [events N]\n"
    "  what the workers did last, as text or as JSON: the latest N events (100)\n"
    "help\n"
    "  this\n";

std::string error(std::string_view what) { return fmt::format("error: {}\n", what); }

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = line.find_first_not_of(" \t\r", at)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

struct Limit {
  std::string_view word;
  std::size_t least, most, value;
};

// What is said after the question. An error's text; empty: understood.
std::string read_words(const std::vector<std::string_view>& words, std::span<Limit> limits, bool& json) {
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "json") {
      json = true;
      continue;
    }
    const auto limit = std::ranges::find(limits, words[i], &Limit::word);
    if (limit == limits.end()) return error(fmt::format("{}: unknown word; help tells", words[0]));
    const std::string_view number = ++i < words.size() ? words[i] : "";
    const auto [end, wrong] = std::from_chars(number.data(), number.data() + number.size(), limit->value);
    if (wrong != std::errc() || end != number.data() + number.size() || limit->value < limit->least ||
        limit->value > limit->most) {
      return error(fmt::format("{}: {} must be {} to {}", words[0], limit->word, limit->least, limit->most));
    }
  }
  return {};
}

std::string no_answer(const CallError& why, std::size_t timeout_ms) {
  switch (why.kind) {
    case CallFailure::timeout:
      return error(fmt::format("no worker has had time to answer within {} ms", timeout_ms));
    case CallFailure::no_memory:
      return error("no memory, or no process left, to answer with");
    default:
      return error("the program is coming to its end");
  }
}

std::string answer_tree(Runtime& runtime, const std::vector<std::string_view>& words) {
  Limit limits[] = {{"children", 0, kProcessesMax, 100},
                    {"processes", 1, kProcessesMax, 10'000},
                    {"width", 80, kWidthMax, 100},
                    {"timeout", 1, kTimeoutMaxMs, 1000}};
  bool json = false;
  if (std::string wrong = read_words(words, limits, json); !wrong.empty()) return wrong;
  const auto tree = runtime.tree(std::chrono::milliseconds(limits[3].value),
                                 {.children = limits[0].value, .processes = limits[1].value});
  if (!tree) return no_answer(tree.error(), limits[3].value);
  return json ? to_json(*tree) : to_text(*tree, limits[2].value);
}

std::string answer_memory(Runtime& runtime, const std::vector<std::string_view>& words) {
  Limit limits[] = {{"processes", 1, kMemoryHoldersMax, 10}, {"timeout", 1, kTimeoutMaxMs, 1000}};
  bool json = false;
  if (std::string wrong = read_words(words, limits, json); !wrong.empty()) return wrong;
  const auto holders = runtime.holders(std::chrono::milliseconds(limits[1].value), limits[0].value);
  if (!holders) return no_answer(holders.error(), limits[1].value);
  return json ? to_json(*holders) : to_text(*holders);
}

// Asks no process: it answers also when all workers are stuck.
std::string answer_flight(Runtime& runtime, const std::vector<std::string_view>& words) {
  Limit limits[] = {{"events", 1, kEventsMax, 100}};
  bool json = false;
  if (std::string wrong = read_words(words, limits, json); !wrong.empty()) return wrong;
  if (runtime.options().flight_recorder == 0) return error("the flight recorder is off: --ek-flight-recorder=on");
  const FlightRecord record = runtime.flight_record(limits[0].value);
  return json ? to_json(record) : to_text(record);
}

std::string answer(Runtime& runtime, std::string_view line) {
  const auto words = words_of(line);
  if (!words.empty() && words[0] == "tree") return answer_tree(runtime, words);
  if (!words.empty() && words[0] == "memory") return answer_memory(runtime, words);
  if (!words.empty() && words[0] == "flight") return answer_flight(runtime, words);
  if (words.size() == 1 && words[0] == "help") return std::string(kHelp);
  return error("unknown question; help tells what there is");
}

// --- clients ---------------------------------------------------------------------------------------------------------

struct Client {
  Fd fd;
  Nanos until;             // IN1
  std::string line = {};   // of the question
  std::string reply = {};  // what is left of it; empty: the question has not come
};

// What can be read or written now. False: it is done with.
bool serve(Runtime& runtime, Client& client) {
  if (client.reply.empty()) {
    char bytes[kLineMax];
    const ssize_t n = ::recv(client.fd.get(), bytes, sizeof bytes, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    client.line.append(bytes, static_cast<std::size_t>(n));
    const std::size_t end = client.line.find('\n');
    if (end == client.line.npos && n == 0 && client.line.empty()) return false;
    if (std::min(end, client.line.size()) > kLineMax) {
      client.reply = error("too long a question");
    } else if (end != client.line.npos || n == 0) {
      client.reply = answer(runtime, std::string_view(client.line).substr(0, end));
    } else {
      return true;
    }
    client.until = base::after(base::monotonic_now(), kPatience);
  }
  const ssize_t n = ::send(client.fd.get(), client.reply.data(), client.reply.size(), MSG_NOSIGNAL);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  client.reply.erase(0, static_cast<std::size_t>(n));
  if (!client.reply.empty()) client.until = base::after(base::monotonic_now(), kPatience);
  return !client.reply.empty();
}

void serve_all(Runtime& runtime, int listener, int end) {
  std::vector<Client> clients;
  clients.reserve(kClients);
  std::vector<pollfd> fds;
  Nanos accepts_from = 0;
  for (;;) {
    const Nanos now = base::monotonic_now();
    const bool accepts = clients.size() < kClients && now >= accepts_from;
    Nanos until = accepts || clients.size() == kClients ? base::kForever : accepts_from;
    fds = {{end, POLLIN, 0}, {accepts ? listener : -1, POLLIN, 0}};
    for (const Client& client : clients) {
      fds.push_back({client.fd.get(), static_cast<short>(client.reply.empty() ? POLLIN : POLLOUT), 0});
      until = std::min(until, client.until);
    }
    const int timeout_ms =
        until == base::kForever ? -1 : static_cast<int>(std::max<Nanos>(until - now, 0) / 1'000'000 + 1);
    if (::poll(fds.data(), fds.size(), timeout_ms) < 0) continue;
    if (fds[0].revents != 0) return;
    for (std::size_t i = clients.size(); i-- != 0;) {  // from the end, as some leave
      bool stays = true;
      if (fds[2 + i].revents != 0) {
        try {
          stays = serve(runtime, clients[i]);
        } catch (const std::bad_alloc&) {  // this answer is too much
          stays = false;
        }
      } else {
        stays = base::monotonic_now() < clients[i].until;
      }
      if (!stays) clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (fds[1].revents == 0) continue;
    Fd fd(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd.get() >= 0) {
      clients.push_back({std::move(fd), base::after(base::monotonic_now(), kPatience)});
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      accepts_from = base::after(base::monotonic_now(), kWithoutFiles);
    }
  }
}

}  // namespace

Inspector::Inspector(Runtime& runtime, const std::string& path)
    : runtime_(runtime), path_(std::filesystem::absolute(path).string()) {
  Fd end(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (end.get() < 0) fail(path, std::strerror(errno));
  listener_ = listen_at(path).release();
  end_ = end.release();
  struct stat made {};
  if (::lstat(path_.c_str(), &made) == 0) inode_ = made.st_ino;
}

Inspector::~Inspector() {
  const std::uint64_t one = 1;
  while (::write(end_, &one, sizeof one) < 0 && errno == EINTR) {
  }
  thread_.join();
  struct stat there {};  // perhaps somebody has put another file there
  if (::lstat(path_.c_str(), &there) == 0 && there.st_ino == inode_) ::unlink(path_.c_str());  // IN3
  ::close(listener_);
  ::close(end_);
}

void Inspector::start() {
  if (!thread_.start("ek-inspect", &run, this)) fail(path_, "the system gives no thread to answer with");
}

void* Inspector::run(void* self) {
  const Inspector& inspector = *static_cast<Inspector*>(self);
  serve_all(inspector.runtime_, inspector.listener_, inspector.end_);
  return nullptr;
}

}  // namespace erlking::detail
