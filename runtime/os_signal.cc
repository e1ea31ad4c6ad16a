#include "runtime/os_signal.h"

#include "base/atomic.h"
#include "base/mutex.h"

#include <atomic>
#include <cerrno>
#include <csignal>

namespace erlking::detail {

namespace {

constexpr int kPlaces = 64, kSignals = 64;

struct Place {
  std::atomic<std::uint64_t> signals{0};  // 0: empty; the rest is written before it [signal-place]
  std::atomic<unsigned> inside{0};        // handlers that look at it [signal-place]
  OsSignalHook::Call call = nullptr;
  std::intptr_t data = 0;
  std::uint64_t owner = 0;  // under the mutex
};

// Never destroyed: a handler may run as the program ends.
Place places[kPlaces];
base::Mutex mutex;
struct sigaction before[kSignals + 1];

void on_signal(int number) {
  const int saved = errno;
  for (Place& place : places) {
    place.inside.fetch_add(1, base::seq_cst);  // [signal-place] S1
    if ((place.signals.load(base::seq_cst) & OsSignalHook::bit(number)) != 0) place.call(number, place.data);
    place.inside.fetch_sub(1, base::seq_cst);
  }
  errno = saved;
}

// Those that some place has; under the mutex.
std::uint64_t hooked() noexcept {
  std::uint64_t signals = 0;
  for (const Place& place : places) signals |= place.signals.load(base::relaxed);  // relaxed: under the mutex
  return signals;
}

template <class Visit>
void for_each_of(std::uint64_t signals, Visit&& visit) {
  for (int number = 1; number <= kSignals; ++number) {
    if ((signals & OsSignalHook::bit(number)) != 0) visit(number);
  }
}

}  // namespace

bool OsSignalHook::is_allowed(int number) noexcept {
  switch (number) {
    case SIGKILL:
    case SIGSTOP:
    case SIGSEGV:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGTRAP:
    case SIGSYS:
    case SIGABRT:
    case SIGURG:  // sched/hand_over.h
      return false;
    default:
      return number >= 1 && number <= SIGRTMAX && (number < 32 || number >= SIGRTMIN);
  }
}

std::expected<OsSignalHook, int> OsSignalHook::add(std::uint64_t signals, Call call, std::intptr_t data,
                                                   std::uint64_t owner) {
  const base::MutexLock lock(mutex);
  int empty = -1;
  for (int i = 0; i < kPlaces; ++i) {
    const std::uint64_t has = places[i].signals.load(base::relaxed);  // relaxed: under the mutex
    if (has == 0) {
      empty = i;
    } else if (owner != 0 && places[i].owner == owner) {
      signals &= ~has;
    }
  }
  if (signals == 0) return OsSignalHook();
  if (empty < 0) return std::unexpected(EAGAIN);
  const std::uint64_t added = signals & ~hooked();
  Place& place = places[empty];
  place.call = call;
  place.data = data;
  place.owner = owner;
  place.signals.store(signals, base::seq_cst);  // [signal-place]
  struct sigaction action {};
  action.sa_handler = &on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for_each_of(added, [&](int number) { sigaction(number, &action, &before[number]); });
  return OsSignalHook(empty);
}

OsSignalHook::~OsSignalHook() {
  if (place_ < 0) return;
  Place& place = places[place_];
  const base::MutexLock lock(mutex);
  std::uint64_t others = 0;
  for (const Place& other : places) {
    if (&other != &place) others |= other.signals.load(base::relaxed);  // relaxed: under the mutex
  }
  // First of all: one that comes in between would be nobody's.
  const std::uint64_t has = place.signals.load(base::relaxed);
  for_each_of(has & ~others, [](int number) { sigaction(number, &before[number], nullptr); });
  place.signals.store(0, base::seq_cst);  // [signal-place] S1
  for (unsigned turn = 0; place.inside.load(base::seq_cst) != 0; ++turn) base::pause_or_yield(turn);  // [signal-place]
}

}  // namespace erlking::detail
