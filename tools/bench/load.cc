#include "tools/bench/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

namespace erlking::bench {

using base::monotonic_now;
using base::Nanos;

namespace {

constexpr int kEvents = 128;
constexpr Nanos kMore = 1'000'000'000;  // than the child gives itself, for its answer
constexpr std::size_t kTimesBytes = Load::kMostRequests * sizeof(std::int64_t);

enum class Kind : std::uint8_t { echo, open, close };
struct Order {
  Kind kind;
  std::uint16_t port = 0;
  std::uint32_t connections = 0;
  std::uint64_t requests = 0;  // beside the first of each connection
  Nanos limit = 0;
};
struct Report {
  Nanos spent = 0;
  char why[128] = "";  // empty: it went well
};

struct Connection {
  int fd = -1;
  std::size_t received = 0;  // of the answer
  Nanos asked = 0;
};

// What the child does. A fault is told by `why_`, the first of them.
class Generator {
 public:
  explicit Generator(std::int64_t* times) : times_(times), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  void obey(int link) {
    Order order;
    while (read_all(link, &order, sizeof order)) {
      Report report;
      if (order.kind == Kind::close) {
        close_all();
      } else {
        why_.clear();
        until_ = monotonic_now() + order.limit;
        const bool good = connect_all(order.port, order.connections) && exchange(order.connections, nullptr);
        const Nanos t0 = monotonic_now();
        if (good && order.requests != 0) exchange(order.requests, times_);
        report.spent = monotonic_now() - t0;
        if (order.kind == Kind::echo || !why_.empty()) close_all();
        std::snprintf(report.why, sizeof report.why, "%s", why_.c_str());
      }
      if (::write(link, &report, sizeof report) != static_cast<ssize_t>(sizeof report)) return;
    }
  }

 private:
  bool fail(std::string why) {
    if (why_.empty()) why_ = std::move(why);
    return false;
  }
  bool fail(std::string_view what, int code) { return fail(fmt::format("{}: {}", what, std::strerror(code))); }

  void close_all() {
    for (const Connection& connection : connections_) ::close(connection.fd);
    connections_.clear();
  }

  bool connect_all(std::uint16_t port, std::uint32_t count) {
    close_all();
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connections_.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd < 0) return fail("socket", errno);
      connections_.push_back({fd});
      const timeval patience{5, 0};
      const int on = 1;
      if (::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
          ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
          ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
          ::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        return fail("connect", errno);
      }
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) return fail("epoll_ctl", errno);
    }
    return true;
  }

  bool ask(Connection& connection, Nanos now) {
    connection.received = 0;
    connection.asked = now;
    const ssize_t sent = ::send(connection.fd, request_.data(), request_.size(), MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(request_.size())) return true;
    return sent < 0 ? fail("send", errno) : fail("send: not all of a request was taken");
  }

  // One request under way on each connection, until so many are answered; `times` takes how long each took.
  bool exchange(std::uint64_t requests, std::int64_t* times) {
    std::uint64_t asked = 0, answered = 0;
    for (Connection& connection : connections_) {
      if (asked == requests) break;
      if (!ask(connection, monotonic_now())) return false;
      ++asked;
    }
    while (answered < requests) {
      std::array<epoll_event, kEvents> events;
      const int n = ::epoll_wait(epoll_, events.data(), kEvents, 0);
      if (n <= 0 && monotonic_now() > until_) return fail("not all requests were answered in time");
      for (int i = 0; i < n; ++i) {
        Connection& connection = connections_[events[static_cast<std::size_t>(i)].data.u64];
        std::array<char, kEchoBytes> answer;
        const ssize_t got = ::recv(connection.fd, answer.data(), kEchoBytes - connection.received, 0);
        if (got == 0) return fail("the server has closed a connection");
        if (got < 0 && errno == EAGAIN) continue;
        if (got < 0) return fail("recv", errno);
        connection.received += static_cast<std::size_t>(got);
        if (connection.received < kEchoBytes) continue;
        const Nanos now = monotonic_now();
        if (times != nullptr) times[answered] = now - connection.asked;
        ++answered;
        if (asked == requests) continue;
        if (!ask(connection, now)) return false;
        ++asked;
      }
    }
    return true;
  }

  std::int64_t* const times_;
  const int epoll_;
  const std::array<char, kEchoBytes> request_{};
  std::vector<Connection> connections_;
  std::string why_;
  Nanos until_ = 0;
};

std::expected<Report, std::string> obeyed(Child& child, const Order& order) {
  Report report;
  if (!child.tell(&order, sizeof order) || !child.hear(&report, sizeof report, order.limit + kMore)) {
    return std::unexpected(std::string("the load generator does not answer"));
  }
  if (report.why[0] != '\0') return std::unexpected(std::string("load: ") + report.why);
  return report;
}

}  // namespace

std::expected<std::unique_ptr<Load>, std::string> Load::start() {
  void* const memory =
      ::mmap(nullptr, kTimesBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return std::unexpected(std::string("no memory for times: ") + std::strerror(errno));
  std::unique_ptr<Load> load(new Load);
  load->times_ = static_cast<std::int64_t*>(memory);
  auto child = Child::start([times = load->times_](int link) { Generator(times).obey(link); });
  if (!child) return std::unexpected(child.error());
  load->child_ = std::move(*child);
  return load;
}

Load::~Load() { ::munmap(times_, kTimesBytes); }

std::expected<Load::Echoed, std::string> Load::echo(std::uint16_t port, std::uint64_t requests, Nanos limit) {
  requests = std::clamp<std::uint64_t>(requests, kEchoConnections, kMostRequests);
  const auto report = obeyed(*child_, {Kind::echo, port, kEchoConnections, requests, limit});
  if (!report) return std::unexpected(report.error());
  return Echoed{static_cast<double>(report->spent) / static_cast<double>(requests),
                std::vector<std::int64_t>(times_, times_ + requests)};
}

std::expected<void, std::string> Load::open(std::uint16_t port, std::uint32_t connections, Nanos limit) {
  const auto report = obeyed(*child_, {Kind::open, port, connections, 0, limit});
  if (!report) return std::unexpected(report.error());
  return {};
}

void Load::close() { static_cast<void>(obeyed(*child_, {.kind = Kind::close, .limit = kMore})); }

}  // namespace erlking::bench
