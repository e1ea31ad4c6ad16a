#include "tools/ask.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace erlking::tools {

namespace {

constexpr std::size_t kReplyMax = 256 << 20;
constexpr unsigned kGraceMs = 5000;  // beyond what the program was given, for its answer to arrive

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) ::close(fd_);
}

std::string ask(const std::string& path, const std::string& question, unsigned timeout_ms) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw Failure{fmt::format("{}: too long for a socket's path", path)};
  path.copy(address.sun_path, path.size());
  const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{static_cast<time_t>((timeout_ms + kGraceMs) / 1000 + 1), 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == ECONNREFUSED) throw Failure{fmt::format("{}: the program that made it has ended", path)};
    if (errno == ENOENT) throw Failure{fmt::format("{}: no such socket: is the program run with --ek-inspect?", path)};
    throw Failure{fmt::format("{}: {}", path, std::strerror(errno))};
  }
  if (::send(fd.get(), question.data(), question.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(question.size())) {
    throw Failure{fmt::format("{}: the program does not take the question", path)};
  }
  std::string reply;
  char bytes[65536];
  for (ssize_t n = 0; (n = ::recv(fd.get(), bytes, sizeof bytes, 0)) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Failure{fmt::format("{}: {}", path, errno == EAGAIN ? "no answer" : std::strerror(errno))};
    reply.append(bytes, static_cast<std::size_t>(n));
    if (reply.size() > kReplyMax) throw Failure{fmt::format("{}: too long an answer", path)};
  }
  constexpr std::string_view kError = "error: ";
  if (reply.empty()) throw Failure{fmt::format("{}: the program closed the connection without an answer", path)};
  if (reply.starts_with(kError)) throw Failure{reply.substr(kError.size(), reply.find('\n') - kError.size())};
  return reply;
}

int print_answer(const Question& question) {
  try {
    fmt::print("{}", ask(question.path, question.line, question.timeout_ms));
    return 0;
  } catch (const Failure& e) {
    fmt::print(stderr, "erlking {}: {}\n", question.command, e.what);
  }
  return 1;
}

}  // namespace erlking::tools
