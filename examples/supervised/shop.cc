#include "examples/supervised/shop.h"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <utility>

namespace supervised {

using namespace erlking;
using namespace std::chrono_literals;

std::string_view to_string(Role role) noexcept {
  constexpr std::array<std::string_view, kRoles> names = {"storage",  "front",  "pool",  "upkeep",  "writer", "cache",
                                                          "listener", "worker", "meter", "sampler", "steward"};
  return names[index(role)];
}

std::string name_of(Role role, std::size_t instance) {
  const std::string name(to_string(role));
  return instances(role) == 1 ? name : name + '-' + std::to_string(instance + 1);
}

namespace {

constexpr auto kPatience = 1s;         // the longest one process of the shop waits for another
constexpr auto kSampling = 20ms;       // between two looks at the meter
constexpr std::uint32_t kQueue = 256;  // requests that wait for one process

// No sanitizer looks here: it would end the program for what the runtime contains.
#define SUPERVISED_FAULT __attribute__((noinline, no_sanitize("address", "undefined")))

SUPERVISED_FAULT int read_null() {
  const volatile int* nowhere = nullptr;
  asm volatile("" : "+r"(nowhere));  // the compiler is not to know
  return *nowhere;
}

SUPERVISED_FAULT int descend(int depth) {
  volatile char frame[500];
  frame[depth % 500] = static_cast<char>(depth);
  return depth == 0 ? 0 : descend(depth - 1) + frame[depth % 500];
}

void fail(Failing how) {
  switch (how) {
    case Failing::exits:
      exit(Reason("injected"));
    case Failing::throws:
      throw std::runtime_error("an injected fault");
    case Failing::null:
      read_null();
      return;
    case Failing::overflow:
      descend(1'000'000'000);
  }
}
void fail(const Fault& fault) { fail(fault.how); }

}  // namespace

void Trap::set(Pid victim, Point point, Failing how) noexcept {
  victim_.store(0, std::memory_order_relaxed);  // relaxed, all but two: the victim's release is looked at first
  point_.store(point, std::memory_order_relaxed);
  how_.store(how, std::memory_order_relaxed);
  victim_.store(victim.id, std::memory_order_release);
}

void Trap::pass(Point point) {
  const std::uint64_t victim = victim_.load(std::memory_order_acquire);
  if (victim == 0 || victim != self().id || point != point_.load(std::memory_order_relaxed)) return;
  victim_.store(0, std::memory_order_relaxed);
  fail(how_.load(std::memory_order_relaxed));
}

namespace {

struct Rebuild {};

// A request on its way: whoever ends with it in hand, or in its mailbox, has the caller told.
template <class M>
struct Job {
  M request;
  From<M> from;
};

class Cache : public Server {
 public:
  using Handles = Messages<Rebuild, Get, Put, Fault>;
  explicit Cache(std::shared_ptr<World> world) : world_(std::move(world)) { continue_with(Rebuild{}); }

  void on(Rebuild&) {
    world_->journal.read([&](const Record& record) { newest_[record.key] = record.number; });
  }
  std::uint64_t on(Get& get) {
    const auto found = newest_.find(get.key);
    world_->trap.pass(Point::cache_get);
    return found == newest_.end() ? 0 : found->second;
  }
  bool on(Put& put) {  // what waited while the journal was read may be older than what was read
    world_->trap.pass(Point::cache_put);
    std::uint64_t& number = newest_[put.record.key];
    number = std::max(number, put.record.number);
    return true;
  }
  void on(Fault& fault) { fail(fault); }

 private:
  std::shared_ptr<World> world_;
  Table newest_;
};

class Writer : public Server {
 public:
  using Handles = Messages<Rebuild, Put, Fault>;
  explicit Writer(std::shared_ptr<World> world) : world_(std::move(world)) { continue_with(Rebuild{}); }

  void on(Rebuild&) {
    records_ = world_->journal.read([&](const Record& record) { newest_[record.key] = record.number; });
  }
  bool on(Put& put) {
    world_->trap.pass(Point::writer_asked);
    std::uint64_t& newest = newest_[put.record.key];
    if (put.record.number > newest) {  // else it is asked again, or late: it lies there
      world_->journal.append(records_, put.record);
      ++records_;
      newest = put.record.number;
    }
    world_->trap.pass(Point::writer_wrote);
    // A cache that is not there, or dies of this, has a successor that reads the journal, and so finds it.
    const auto seen = call(Name{"cache"}, Put{put.record}, kPatience);
    if (!seen && seen.error().kind != CallFailure::noproc && seen.error().kind != CallFailure::died) {
      exit(Reason("cache", to_string(seen.error().kind)));
    }
    return true;
  }
  void on(Fault& fault) { fail(fault); }

 private:
  std::shared_ptr<World> world_;
  Table newest_;
  std::uint64_t records_ = 0;
};

struct Done {};  // a request

class Meter : public Server {
 public:
  explicit Meter(std::shared_ptr<World> world) : world_(std::move(world)) {}

  struct Count {
    using Reply = std::uint64_t;
  };
  using Handles = Messages<Done, Count, Fault>;
  void on(Done&) {
    world_->trap.pass(Point::meter);
    ++count_;
  }
  std::uint64_t on(Count&) { return count_; }
  void on(Fault& fault) { fail(fault); }

 private:
  std::shared_ptr<World> world_;
  std::uint64_t count_ = 0;
};

void sampler(const std::shared_ptr<World>& world) {
  for (std::uint64_t last = 0;;) {
    const auto count = call(Name{"meter"}, Meter::Count{}, kPatience);
    if (!count) exit(Reason("meter", to_string(count.error().kind)));
    const std::uint64_t since = *count - last;
    last = *count;
    world->trap.pass(Point::sampler);
    if (since > world->busiest.load(std::memory_order_relaxed)) {  // it alone writes; nothing goes by it
      world->busiest.store(since, std::memory_order_relaxed);
    }
    receive(
        kSampling, [](Fault fault) { fail(fault); }, [](Timeout) {});
  }
}

template <class M>
void work(World& world, Job<M>& job, std::string_view whom) {
  world.trap.pass(Point::worker_asks);
  auto answer = call(Name{whom}, std::move(job.request), job.from.deadline());
  world.trap.pass(Point::worker_answered);
  if (answer) {
    job.from.reply(*answer);
  } else {
    job.from.fail(answer.error());
  }
  world.trap.pass(Point::worker_done);
  send(Name{"meter"}, Done{});  // one that is not there counts nothing
}

void worker(const std::shared_ptr<World>& world) {
  for (;;) {
    receive(
        forever, [&](Job<Put>& job) { work(*world, job, "writer"); },
        [&](Job<Get>& job) { work(*world, job, "cache"); }, [](Fault fault) { fail(fault); });
  }
}

class Listener : public Server {
 public:
  using Handles = Messages<Put, Get, Fault>;
  explicit Listener(std::shared_ptr<World> world) : world_(std::move(world)) {}
  void on(Put& put, From<Put> from) { hand_on(put, std::move(from)); }
  void on(Get& get, From<Get> from) { hand_on(get, std::move(from)); }
  void on(Fault& fault) { fail(fault); }

 private:
  // To the next worker in turn that is there and has room.
  template <class M>
  void hand_on(M& request, From<M> from) {
    Job<M> job{request, std::move(from)};
    world_->trap.pass(Point::listener);
    Delivery became = Delivery::noproc;
    for (std::size_t i = 0; i < kWorkers && became != Delivery::queued; ++i) {
      next_ = (next_ + 1) % kWorkers;
      became = send(Name{name_of(Role::worker, next_)}, std::move(job));
    }
    if (became == Delivery::queued) return;
    job.from.fail(CallError{became == Delivery::full ? CallFailure::full : CallFailure::noproc, {}});
  }

  std::shared_ptr<World> world_;
  std::size_t next_ = 0;
};

void steward(const std::string& until) {
  const MonitorRef over = monitor(Name{until});
  for (bool open = true; open;) {
    receive(forever, when([&](const Down& down) { return down.ref == over; }, [&](const Down&) { open = false; }),
            [](Fault fault) { fail(fault); });
  }
}

// The same child, each start that succeeds counted.
ChildSpec counted(Role role, const std::shared_ptr<World>& world, ChildSpec spec) {
  spec.start = [role, world, start = spec.start, options = spec.options] {
    Started made = start(options, {});
    if (made) world->starts[index(role)].fetch_add(1, std::memory_order_relaxed);  // a count, read at the end
    return made;
  };
  return spec;
}

ChildOptions options_of(Role role, std::size_t instance = 0) {
  ChildOptions options{.shutdown = 2s, .spawn = {.name = name_of(role, instance), .mailbox = kQueue}};
  if (supervises(role)) {
    // The children of one that was killed may not be gone yet, nor their names be free: then it does not start.
    options.shutdown = forever;
    options.backoff = {.first = 1ms, .most = 20ms, .forget = 100ms};
  }
  return options;
}

}  // namespace

Supervisor::Spec shop(std::shared_ptr<World> world, std::string until) {
  const auto serve = [&]<class S>(std::in_place_type_t<S>, Role role, auto... arguments) {
    return counted(role, world, child<S>(std::string(to_string(role)), options_of(role), std::move(arguments)...));
  };
  const auto branch = [&](Role role, Strategy strategy, std::vector<ChildSpec> children) {
    return counted(role, world,
                   supervisor(std::string(to_string(role)),
                              {.strategy = strategy, .intensity = {kIntensity, 1s}, .children = std::move(children)},
                              options_of(role)));
  };

  std::vector<ChildSpec> workers;
  for (std::size_t i = 0; i < kWorkers; ++i) {
    workers.push_back(
        counted(Role::worker, world, child(name_of(Role::worker, i), options_of(Role::worker, i), worker, world)));
  }
  ChildOptions stewards = options_of(Role::steward);
  stewards.restart = transient;
  stewards.significant = true;
  return {.strategy = one_for_one,
          .intensity = {500, 1s},  // a drill makes no more than 100 faults a second, each with few restarts here
          .auto_shutdown = AutoShutdown::any_significant,
          .children = {
              branch(Role::storage, rest_for_one,
                     {serve(std::in_place_type<Writer>, Role::writer, world),
                      serve(std::in_place_type<Cache>, Role::cache, world)}),
              branch(Role::front, one_for_one,
                     {branch(Role::pool, one_for_one, std::move(workers)),
                      serve(std::in_place_type<Listener>, Role::listener, world)}),
              branch(Role::upkeep, one_for_all,
                     {serve(std::in_place_type<Meter>, Role::meter, world),
                      counted(Role::sampler, world, child("sampler", options_of(Role::sampler), sampler, world))}),
              counted(Role::steward, world, child("steward", stewards, steward, until)),
          }};
}

}  // namespace supervised
