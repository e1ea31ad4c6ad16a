// `epoll`: tries the system call; when it would wait, waits until the descriptor is ready and tries again. Descriptors
// must be non-blocking, or a call may wait for what somebody else has taken in between.
//
//   E1  A descriptor is watched for one operation in each direction at most; a second one ends with EBUSY.
//   E2  It is armed for one event (EPOLLONESHOT), for what its operations wait for; what others left armed is found
//       without an operation, and disregarded.
//   E3  A closed descriptor leaves the set by itself, and its number may come back: so a MOD that finds nothing becomes
//       an ADD, and the reverse; and what waited for the closed one ends with EBADF.
// Cost of a wait: one epoll_ctl, a share of an epoll_wait, and the call once more.
#include "io/driver.h"
#include "io/syscalls.h"
#include "io/wake_fd.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <vector>

namespace erlking::io {

using base::Nanos;

namespace {

constexpr std::uint64_t kWake = ~std::uint64_t{0};
constexpr int kEvents = 256;

class EpollDriver final : public Driver {
 public:
  explicit EpollDriver(Rouse rouse) noexcept : Driver(rouse), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0 || !wake_.ok()) return;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = kWake}};
    ok_ = ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_.get(), &event) == 0;
  }
  ~EpollDriver() override {
    if (epoll_ >= 0) ::close(epoll_);
  }
  bool ok() const noexcept { return ok_; }

  std::string_view name() const noexcept override { return "epoll"; }
  bool does_files() const noexcept override { return false; }  // a file is always ready, and then waits

  bool attempt(Operation& operation) noexcept override {
    if (operation.code > Code::read_at) return false;
    operation.result = operation.code == Code::read_at ? read_cached(operation) : call(operation);
    return operation.result != -EAGAIN;
  }
  void poll() noexcept override {
    begin();
    if (waiting_ != 0) collect(0);
  }
  void sleep(Nanos timeout) noexcept override { collect(timeout); }
  void wake() noexcept override { wake_.wake(); }

 private:
  // What waits for a descriptor (E1), and for what it is armed in the set (E2).
  struct Watch {
    Operation *in = nullptr, *out = nullptr;
    bool added = false;
  };

  void begin() noexcept {
    take_requests();
    while (Operation* const operation = take_from_batch()) {
      const std::int32_t result = call(*operation);
      if (result != -EAGAIN) {
        end(*operation, result);
      } else {
        watch(*operation);
      }
    }
    while (Operation* const operation = next_to_cancel()) {
      if (!operation->done.load(base::relaxed)) {  // relaxed: only this thread stores it
        Operation*& place = place_of(watches_[static_cast<std::size_t>(operation->fd)], *operation);
        place = nullptr;
        --waiting_;
        end(*operation, -ECANCELED);
      }
      cancel_seen(*operation);
    }
  }

  static Operation*& place_of(Watch& watch, const Operation& operation) noexcept {
    return waits_for(operation) == POLLIN ? watch.in : watch.out;
  }

  void watch(Operation& operation) noexcept {
    const auto fd = static_cast<std::size_t>(operation.fd);
    if (fd >= watches_.size()) {
      try {
        watches_.resize(fd + 1 + fd / 2);
      } catch (const std::bad_alloc&) {
        return end(operation, -ENOMEM);
      }
    }
    drop_closed(operation.fd);
    Operation*& place = place_of(watches_[fd], operation);
    if (place != nullptr) return end(operation, -EBUSY);  // E1
    place = &operation;
    ++waiting_;
    if (const int fault = arm(operation.fd); fault != 0) {
      place = nullptr;
      --waiting_;
      end(operation, -fault);
    }
  }

  static epoll_event wanted_of(const Watch& watch, int fd) noexcept {
    epoll_event event{.events = EPOLLONESHOT, .data = {.u64 = static_cast<std::uint64_t>(fd)}};
    if (watch.in != nullptr) event.events |= EPOLLIN | EPOLLRDHUP;
    if (watch.out != nullptr) event.events |= EPOLLOUT;
    return event;
  }

  // What waits for a file that has been closed meanwhile, whose number is another's now: ends (E3).
  void drop_closed(int fd) noexcept {
    Watch& watch = watches_[static_cast<std::size_t>(fd)];
    if (!watch.added || (watch.in == nullptr && watch.out == nullptr)) return;
    epoll_event event = wanted_of(watch, fd);
    if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) == 0 || errno != ENOENT) return;
    watch.added = false;
    for (Operation** const place : {&watch.in, &watch.out}) {
      if (*place != nullptr) finish_waiting(*place, -EBADF);
    }
  }

  // 0, or errno.
  int arm(int fd) noexcept {
    Watch& watch = watches_[static_cast<std::size_t>(fd)];
    epoll_event event = wanted_of(watch, fd);
    for (int attempts = 0; attempts < 2; ++attempts) {
      if (::epoll_ctl(epoll_, watch.added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) == 0) {
        watch.added = true;
        return 0;
      }
      if (errno != ENOENT && errno != EEXIST) return errno;
      watch.added = errno == EEXIST;  // E3
    }
    return errno;
  }

  void collect(Nanos timeout) noexcept {
    epoll_event events[kEvents];
    const int n = wait(events, timeout);
    for (int i = 0; i < n; ++i) {
      if (events[i].data.u64 == kWake) {
        wake_.clear();
      } else {
        look(static_cast<int>(events[i].data.u64), events[i].events);
      }
    }
  }

  // How many events there are; negative: none.
  int wait(epoll_event* events, Nanos timeout) noexcept {
    if (exact_) {
      timespec limit{};
      if (timeout != base::kForever) {
        limit.tv_sec = static_cast<time_t>(timeout / 1'000'000'000);
        limit.tv_nsec = static_cast<long>(timeout % 1'000'000'000);
      }
      const int n = ::epoll_pwait2(epoll_, events, kEvents, timeout == base::kForever ? nullptr : &limit, nullptr);
      if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
      exact_ = false;  // before Linux 5.11, or forbidden: in whole milliseconds from now on, and rather late than early
    }
    constexpr Nanos kMilli = 1'000'000, kMost = 1'000'000'000;
    const Nanos rounded = timeout == base::kForever ? -1 : std::min((timeout + kMilli - 1) / kMilli, kMost);
    return ::epoll_wait(epoll_, events, kEvents, static_cast<int>(rounded));
  }

  // Something has happened at `fd`: tries again what waits for it.
  void look(int fd, std::uint32_t events) noexcept {
    constexpr std::uint32_t kBoth = EPOLLERR | EPOLLHUP;
    retry(fd, (events & (EPOLLIN | EPOLLRDHUP | kBoth)) != 0, &Watch::in);
    retry(fd, (events & (EPOLLOUT | kBoth)) != 0, &Watch::out);
    Watch& watch = watches_[static_cast<std::size_t>(fd)];
    if (watch.in == nullptr && watch.out == nullptr) return;
    const int fault = arm(fd);
    if (fault == 0) return;
    for (Operation** const place : {&watch.in, &watch.out}) {
      if (*place != nullptr) finish_waiting(*place, -fault);
    }
  }
  void retry(int fd, bool ready, Operation* Watch::*place) noexcept {
    Operation*& waiting = watches_[static_cast<std::size_t>(fd)].*place;
    if (!ready || waiting == nullptr) return;
    const std::int32_t result = waiting->code == Code::connect ? connected(fd) : call(*waiting);
    if (result != -EAGAIN) finish_waiting(waiting, result);
  }
  void finish_waiting(Operation*& place, std::int32_t result) noexcept {
    Operation& operation = *place;
    place = nullptr;
    --waiting_;
    end(operation, result);
  }

  const int epoll_;
  WakeFd wake_;
  bool ok_ = false;
  bool exact_ = true;           // the system has waits in nanoseconds
  std::vector<Watch> watches_;  // by descriptor
  std::uint64_t waiting_ = 0;   // operations in watches_
};

}  // namespace

std::unique_ptr<Driver> make_epoll_driver(Rouse rouse) noexcept {
  try {
    auto driver = std::make_unique<EpollDriver>(rouse);
    if (driver->ok()) return driver;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
  return nullptr;
}

}  // namespace erlking::io
