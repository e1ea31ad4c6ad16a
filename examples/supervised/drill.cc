#include "examples/supervised/drill.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string_view>

namespace supervised {

using namespace erlking;
using namespace std::chrono_literals;

void Witness::acknowledge(std::size_t client, std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  acknowledged_[client].push_back(number);
}

Witness::Numbers Witness::acknowledged() const {
  const std::lock_guard lock(mutex_);
  return acknowledged_;
}

void Witness::miss(const Record& record) {
  const std::lock_guard lock(mutex_);
  missed_.emplace(record.key, record.number);
}

std::size_t Witness::missed() const {
  const std::lock_guard lock(mutex_);
  return missed_.size();
}

namespace {

constexpr std::uint64_t kKeys = 8;  // of each client
constexpr auto kPace = 1ms;         // between a client's requests
constexpr auto kAttempt = 250ms;    // what a client waits for an answer before it asks again
constexpr auto kRequest = 30s;      // after which it gives the request up
constexpr auto kWhole = 30s;        // within which the tree must be whole again after a fault
constexpr auto kFault = 10ms;       // from fault to fault, at least
constexpr auto kGivingUp = 5s;      // within which a supervisor gives up whose child keeps ending
constexpr Duration kLook = 200us;   // between two looks whether somebody is there

std::uint64_t key_of(std::size_t client, std::uint64_t number) { return client * kKeys + number % kKeys; }

// As a client does: asks again, ever less often, until there is an answer or its patience is over.
template <class M>
std::optional<typename M::Reply> ask(Score& score, const M& request) {
  const auto until = now() + kRequest;
  for (Duration pause = 1ms;; pause = std::min<Duration>(2 * pause, 16ms)) {
    if (auto answer = call(Name{"listener"}, M(request), kAttempt)) {
      score.served.fetch_add(1, std::memory_order_relaxed);  // counts, read at the end
      return *answer;
    }
    if (now() >= until) {
      score.failed.fetch_add(1, std::memory_order_relaxed);
      return std::nullopt;
    }
    score.retried.fetch_add(1, std::memory_order_relaxed);
    sleep(pause);
  }
}

// Whoever reads a key gets no less than what was acknowledged before.
void read_back(Score& score, const Record& newest) {
  const auto number = ask(score, Get{newest.key});
  if (number && *number < newest.number) score.witness.miss(newest);
}

void client(const std::shared_ptr<Score>& score, std::size_t id) {
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(id + 1));
  std::array<std::uint64_t, kKeys> newest{};
  for (std::uint64_t number = 1;; ++number) {
    const Record record{key_of(id, number), number};
    if (ask(*score, Put{record})) {
      score->witness.acknowledge(id, number);
      newest[number % kKeys] = number;
    }
    sleep(kPace);
    const std::uint64_t which = random() % kKeys;
    read_back(*score, {key_of(id, which), newest[which]});
    sleep(kPace);
  }
}

struct Look {
  using Reply = bool;  // whether all is well
  bool reads = true;   // also through the tree
};

class Auditor : public Server {
 public:
  using Handles = Messages<Look>;
  Auditor(std::shared_ptr<World> world, std::shared_ptr<Score> score)
      : world_(std::move(world)), score_(std::move(score)) {}

  bool on(Look& look) {
    const Witness::Numbers numbers = score_->witness.acknowledged();
    const std::uint64_t repeated = audit(world_->journal, score_->witness);
    for (std::size_t id = 0; look.reads && id < kClients; ++id) {
      std::array<std::uint64_t, kKeys> newest{};
      for (const std::uint64_t number : numbers[id]) newest[number % kKeys] = number;
      for (std::uint64_t which = 0; which < kKeys; ++which) {
        read_back(*score_, {key_of(id, which), newest[which]});
      }
    }
    return repeated == 0 && score_->witness.missed() == 0;
  }

 private:
  std::shared_ptr<World> world_;
  std::shared_ptr<Score> score_;
};

// Who is killed again and again until a supervisor gives up.
Role victim_of(Role supervisor) {
  switch (supervisor) {
    case Role::storage:
      return Role::cache;
    case Role::front:
      return Role::listener;
    case Role::upkeep:
      return Role::sampler;
    default:
      return Role::worker;
  }
}

// Where a process of that role passes while it is under load.
std::vector<Point> points_of(Role role) {
  switch (role) {
    case Role::writer:
      return {Point::writer_asked, Point::writer_wrote};
    case Role::cache:
      return {Point::cache_put, Point::cache_get};
    case Role::listener:
      return {Point::listener};
    case Role::worker:
      return {Point::worker_asks, Point::worker_answered, Point::worker_done};
    case Role::meter:
      return {Point::meter};
    case Role::sampler:
      return {Point::sampler};
    default:
      return {};
  }
}

constexpr std::size_t index(Strike strike) noexcept { return static_cast<std::size_t>(strike); }

// What the drill's process does to the tree. Where the tree does not do its part, that process ends.
class Injector {
 public:
  Injector(World& world, Score& score, const Plan& plan)
      : world_(world),
        score_(score),
        random_(plan.seed),
        strikes_(index(plan.memory ? Strike::overwhelm : Strike::null)) {}

  bool chance(std::uint64_t one_in) { return random_() % one_in == 0; }

  // All roles, in a new order.
  std::array<Role, kRoles> round() {
    std::array<Role, kRoles> roles;
    for (std::size_t i = 0; i < kRoles; ++i) {
      roles[i] = static_cast<Role>(i);
      std::swap(roles[i], roles[random_() % (i + 1)]);
    }
    return roles;
  }

  // Returns when a process of that role has ended of it.
  void strike(Role role) {
    const std::string name = some(role);
    const std::string child = some(victim_of(role));
    Strike how = static_cast<Strike>(random_() % strikes_);
    if (supervises(role)) how = chance(4) ? Strike::overwhelm : Strike::kill;
    for (;;) {
      const Pid pid = await(name);
      const MonitorRef ref = monitor(pid);
      const Reason why = how == Strike::overwhelm ? overwhelm(pid, ref, child) : deliver(how, role, pid, ref);
      if (why == reason::noproc) continue;  // it was gone already, with its supervisor perhaps
      ++score_.faults[index(role)];
      ++score_.strikes[index(how == Strike::overwhelm && why.is_abnormal() ? Strike::kill : how)];
      return;
    }
  }

  // Returns when every process of the tree is there.
  void await_whole() {
    const auto until = now() + kWhole;
    for (;;) {
      std::string missing;
      for (std::size_t i = 0; i < kRoles; ++i) {
        const auto role = static_cast<Role>(i);
        for (std::size_t k = 0; k < instances(role); ++k) {
          if (!whereis(name_of(role, k))) missing = name_of(role, k);
        }
      }
      if (missing.empty()) return;
      if (now() >= until) give_up(missing + " has not come back");
      sleep(kLook);
    }
  }

  [[noreturn]] void give_up(std::string why) {
    score_.trouble = std::move(why);
    exit(Reason("trouble", *score_.trouble));
  }

 private:
  std::string some(Role role) { return name_of(role, random_() % instances(role)); }

  Pid await(const std::string& name) {
    for (const auto until = now() + kWhole;;) {
      if (const auto pid = whereis(name)) return *pid;
      if (now() >= until) give_up(name + " has not come back");
      sleep(kLook);
    }
  }

  // Nothing: it has not ended within the bound.
  std::optional<Reason> await_down(MonitorRef ref, Bound bound) {
    return receive(bound,
                   when([&](const Down& down) { return down.ref == ref; },
                        [](const Down& down) -> std::optional<Reason> { return down.reason; }),
                   [](Timeout) -> std::optional<Reason> { return std::nullopt; });
  }

  Reason kill(Pid pid, MonitorRef ref) {
    exit(pid, reason::kill);
    if (const auto why = await_down(ref, kWhole)) return *why;
    give_up("a process cannot be killed");
  }

  Reason deliver(Strike how, Role role, Pid pid, MonitorRef ref) {
    if (how == Strike::kill) return kill(pid, ref);
    if (how == Strike::signal) {
      exit(pid, Reason("injected"));
    } else {
      fail(pid, role, how);
    }
    if (const auto why = await_down(ref, kWhole)) return *why;
    give_up("a process outlived a fault");
  }

  void fail(Pid pid, Role role, Strike how) {
    const auto failing = static_cast<Failing>(index(how) - index(Strike::exits));
    const std::vector<Point> points = points_of(role);
    const std::size_t which = failing < Failing::null ? points.size() : random_() % (points.size() + 1);
    if (which < points.size()) {
      world_.trap.set(pid, points[which], failing);
    } else {
      send(pid, Fault{failing}, kWhole);
    }
  }

  // Kills its child whenever there is one. Does that not help, it is killed.
  Reason overwhelm(Pid supervisor, MonitorRef ref, const std::string& child) {
    Pid last;
    for (const auto until = now() + kGivingUp; now() < until;) {
      const auto pid = whereis(child);
      if (pid && *pid != last) exit(last = *pid, reason::kill);
      if (const auto why = await_down(ref, kLook)) return *why;
    }
    return kill(supervisor, ref);
  }

  World& world_;
  Score& score_;
  std::mt19937_64 random_;
  std::size_t strikes_;  // of those that are no supervisors'
};

}  // namespace

std::uint64_t audit(const Journal& journal, Witness& witness) {
  const Witness::Numbers acknowledged = witness.acknowledged();  // before the journal is read
  std::array<std::vector<bool>, kClients> written;
  Table newest;
  std::uint64_t repeated = 0;
  journal.read([&](const Record& record) {
    std::vector<bool>& of_client = written.at(record.key / kKeys);
    if (of_client.size() <= record.number) of_client.resize(2 * record.number + 1);
    of_client[record.number] = true;
    if (std::exchange(newest[record.key], record.number) >= record.number) ++repeated;
  });
  for (std::size_t id = 0; id < kClients; ++id) {
    for (const std::uint64_t number : acknowledged[id]) {
      if (number >= written[id].size() || !written[id][number]) witness.miss({key_of(id, number), number});
    }
  }
  return repeated;
}

namespace {

void run_drill(const std::shared_ptr<World>& world, const std::shared_ptr<Score>& score, const Plan& plan) {
  Injector injector(*world, *score, plan);
  injector.await_whole();
  const Started auditor = start_link<Auditor>(kWhole, {}, world, score);
  if (!auditor) injector.give_up("no auditor");
  std::vector<Pid> clients;
  for (std::size_t id = 0; id < kClients; ++id) clients.push_back(spawn_link(client, score, id));

  const auto end = now() + plan.most;
  std::uint64_t faults = 0;
  const auto look = [&](bool whole) {
    if (whole) injector.await_whole();
    const auto well = call(*auditor, Look{.reads = whole}, 2 * kRequest);
    ++score->audits;
    if (!well) injector.give_up("the auditor: " + std::string(to_string(well.error().kind)));
    if (!*well) injector.give_up("an acknowledged write was lost, or one was written twice");
  };
  while (faults < plan.faults && now() < end) {
    for (const Role role : injector.round()) {
      if (faults == plan.faults || now() >= end) break;
      const auto next = now() + kFault;
      injector.strike(role);
      ++faults;
      look(!injector.chance(4));  // now and then the next strikes while the tree repairs itself
      if (faults % 100 == 0) {
        std::printf("%6llu faults, %llu requests served, %zu acknowledged writes lost\n",
                    static_cast<unsigned long long>(faults),
                    static_cast<unsigned long long>(score->served.load(std::memory_order_relaxed)),
                    score->witness.missed());
        std::fflush(stdout);
      }
      sleep(next);
    }
  }
  look(true);
  for (const Pid client : clients) {
    unlink(client);
    exit(client, reason::shutdown);
  }
  score->finished = true;
}

}  // namespace

void drill(const std::shared_ptr<World>& world, const std::shared_ptr<Score>& score, const Plan& plan) {
  spawn_monitor(run_drill, world, score, plan);
  receive(forever, [&](const Down& down) {
    if (down.reason.is_abnormal() && !score->trouble) score->trouble = "the drill ended: " + down.reason.to_string();
  });
}

}  // namespace supervised
