// What the lock-free structures are checked with: Sync = Model puts relacy's atomics and race-detecting plain data
// under the very source that ships; explore() and exhaust() run a World over it through many schedules and stale loads.
//
//   World      a struct with kThreads, thread(unsigned index) and after(); built afresh for each execution, zero-filled
//   explore    random schedules; an execution's number is its seed
//   exhaust    every schedule, or all with few switches
//   Weakening  one site of one function runs with a weaker order: the negative control of everything above
//
// A failure prints relacy's history; each of its lines names the line of the shipped header it happened at.
// Include this header first. Everything is single-threaded: relacy's threads are fibres. Not for sanitizers.
#pragma once

#undef _FORTIFY_SOURCE  // relacy jumps between stacks

#if !defined(EK_DEBUG)
#define EK_DEBUG  // the structures' own invariants are part of what is checked
#endif

// Relacy comes last: it redefines much by macros, which are taken back below as far as they hurt.
// clang-format off
#include "base/assert.h"
#include "base/atomic.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <new>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#pragma push_macro("assert")
#pragma push_macro("errno")
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <relacy/relacy.hpp>
#pragma GCC diagnostic pop
#pragma pop_macro("errno")
#pragma pop_macro("assert")
#undef $
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
// clang-format on

namespace erlking::model {

using Location = std::source_location;

// --- sites and their weakening ---

enum class Op : std::uint8_t { load, store, rmw, cas, cas_failure, fence };

/// One operation of one line, with the order written there.
struct Site {
  const char* file = "";
  unsigned line = 0;
  const char* function = "";  // as the compiler prints it
  Op op = Op::load;
  std::memory_order order = base::relaxed;
};

/// Runs one site with another order. `relaxed` for a fence: no fence.
class Weakening {
 public:
  static constexpr std::size_t kMaxSites = 96;

  std::memory_order order(Op op, std::memory_order order, const Location& at) {
    if (!recording_ && !active_) [[likely]]
      return order;
    if (recording_) record(op, order, at);
    if (active_ && at.line() == target_.line && op == target_.op && order == target_.order &&
        std::strcmp(at.file_name(), target_.file) == 0) {
      return to_;
    }
    return order;
  }

  void begin_recording() { recording_ = true, count_ = 0; }
  void end_recording();  // sorts by file and line
  void begin(const Site& target, std::memory_order to) { active_ = true, target_ = target, to_ = to; }
  void end() { active_ = false; }

  std::size_t count() const { return count_; }
  const Site& operator[](std::size_t i) const { return sites_[i]; }

 private:
  void record(Op op, std::memory_order order, const Location& at);

  bool recording_ = false, active_ = false;
  std::memory_order to_ = base::relaxed;
  Site target_;
  std::size_t count_ = 0;
  std::array<Site, kMaxSites> sites_;  // no vector: it fills while relacy owns the heap
};
inline Weakening weakening;

/// "push_message" out of what the compiler calls it.
std::string short_name(const char* function);
const char* name(Op op);
const char* name(std::memory_order order);

// --- Sync ---

inline rl::debug_info info(const Location& at) {
  return {at.function_name(), at.file_name(), static_cast<unsigned>(at.line())};
}

inline rl::memory_order relacy_order(std::memory_order order) {
  switch (order) {
    case base::relaxed:
      return rl::mo_relaxed;
    case base::acquire:
      return rl::mo_acquire;
    case base::release:
      return rl::mo_release;
    case base::acq_rel:
      return rl::mo_acq_rel;
    default:
      return rl::mo_seq_cst;
  }
}

/// Fails the execution at hand; does not return to it.
inline void require(bool holds, const char* what, const Location& at = Location::current()) {
  if (!holds) [[unlikely]]
    rl::ctx().fail_test(what, rl::test_result_user_assert_failed, info(at));
}

/// Watches one atomic word, so that a World can say what each thread last read of it, and what it was worth.
struct Watch {
  static constexpr unsigned kMaxChanges = 64, kMaxThreads = 8;

  const void* word = nullptr;
  unsigned writer = 0;      // the thread whose `ghost` belongs to a change it makes
  std::uint32_t ghost = 0;  // what `writer` has done so far, kept by the World
  unsigned changes = 0;
  std::array<std::uint64_t, kMaxChanges> value{};
  std::array<std::uint32_t, kMaxChanges> known{};  // ghost at the writer's last change up to that one
  std::array<std::uint64_t, kMaxThreads> last_read{};

  void read(const void* at, std::uint64_t v) {
    if (at == word) [[unlikely]]
      last_read[rl::thread_index()] = v;
  }
  void changed(const void* at, std::uint64_t v) {
    if (at != word || changes == kMaxChanges) [[likely]]
      return;
    known[changes] = rl::thread_index() == writer ? ghost : changes == 0 ? 0 : known[changes - 1];
    value[changes++] = v;
  }
};
inline Watch watch;

struct Model {
  template <class T>
  class atomic {
   public:
    atomic() : atomic(T{}) {}
    atomic(T value) : cell_(value) {}  // NOLINT: as std::atomic's
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    T load(std::memory_order order, const Location& at = Location::current()) const {
      const T value = cell_.load(relacy_order(weakening.order(Op::load, order, at)), info(at));
      watch.read(this, bits(value));
      return value;
    }
    void store(T value, std::memory_order order, const Location& at = Location::current()) {
      cell_.store(value, relacy_order(weakening.order(Op::store, order, at)), info(at));
      watch.changed(this, bits(value));
    }
    T exchange(T value, std::memory_order order, const Location& at = Location::current()) {
      const T old = cell_.exchange(value, relacy_order(weakening.order(Op::rmw, order, at)), info(at));
      watch.changed(this, bits(value));
      return old;
    }
    T fetch_add(T value, std::memory_order order, const Location& at = Location::current()) {
      const T old = cell_.fetch_add(value, relacy_order(weakening.order(Op::rmw, order, at)), info(at));
      watch.changed(this, bits(static_cast<T>(old + value)));
      return old;
    }

    bool compare_exchange_strong(T& expected, T wanted, std::memory_order success, std::memory_order failure,
                                 const Location& at = Location::current()) {
      return compare_exchange<false>(expected, wanted, success, failure, at);
    }
    bool compare_exchange_weak(T& expected, T wanted, std::memory_order success, std::memory_order failure,
                               const Location& at = Location::current()) {
      return compare_exchange<true>(expected, wanted, success, failure, at);
    }
    bool compare_exchange_strong(T& expected, T wanted, std::memory_order order,
                                 const Location& at = Location::current()) {
      return compare_exchange<false>(expected, wanted, order, failure_of(order), at);
    }
    bool compare_exchange_weak(T& expected, T wanted, std::memory_order order,
                               const Location& at = Location::current()) {
      return compare_exchange<true>(expected, wanted, order, failure_of(order), at);
    }

   private:
    static std::uint64_t bits(T value) {
      if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<std::uint64_t>(value);
      else
        return static_cast<std::uint64_t>(value);
    }
    static std::memory_order failure_of(std::memory_order order) {
      return order == base::acq_rel ? base::acquire : order == base::release ? base::relaxed : order;
    }

    template <bool kSpurious>
    bool compare_exchange(T& expected, T wanted, std::memory_order success, std::memory_order failure,
                          const Location& at) {
      success = weakening.order(Op::cas, success, at);
      failure = weakening.order(Op::cas_failure, failure, at);
      // relacy, like C++11, wants the failure no stronger than the success: a fence makes up for it
      const bool acquire_after = failure != base::relaxed && (success == base::relaxed || success == base::release);
      if (acquire_after) failure = base::relaxed;
      if (failure == base::seq_cst && success != base::seq_cst) failure = base::acquire;
      const bool won = cell_.compare_exchange(rl::bool_t<kSpurious>(), expected, wanted, relacy_order(success),
                                              relacy_order(failure), info(at));
      if (won) {
        watch.changed(this, bits(wanted));
      } else {
        if (acquire_after) rl::atomic_thread_fence(rl::mo_acquire, info(at));
        watch.read(this, bits(expected));
      }
      return won;
    }

    rl::atomic<T> cell_;
  };

  template <class T>
  class var {
   public:
    var() : cell_(T{}) {}
    explicit var(T value) : cell_(value) {}
    T get(const Location& at = Location::current()) const { return cell_(info(at)).load(); }
    void set(T value, const Location& at = Location::current()) { cell_(info(at)).store(value); }

   private:
    rl::var<T> cell_;
  };

  static void fence(const Location& at = Location::current()) {
    if (weakening.order(Op::fence, base::seq_cst, at) == base::seq_cst)
      rl::atomic_thread_fence(rl::mo_seq_cst, info(at));
  }
  static void light_fence(const Location& at = Location::current()) { fence(at); }  // what the pair promises together
  static void heavy_fence(const Location& at = Location::current()) { fence(at); }
  static void pause(const Location& at = Location::current()) { rl::ctx().yield(1, info(at)); }
};

// --- parts of Worlds ---

/// A process's way through the run queue: ready() puts it in (once: K1), wait() is its switch away. Releases, acquires.
class Gate {
 public:
  void ready(const Location& at = Location::current()) {
    rl::context& c = rl::ctx();
    require(cell_.fetch_add(1, rl::mo_release, info(at)) == 0, "made ready twice", at);
    ++readied_;
    cell_.wake(c, 1, info(at));  // no scheduling point since the addition
  }
  void wait(const Location& at = Location::current()) {
    rl::context& c = rl::ctx();
    while (cell_.debug_value() == 0) {
      rl::thread_info_base* const me = c.threadx_;
      const rl::timestamp_t last_yield = me->last_yield_;
      cell_.wait(c, false, false, info(at));
      me->last_yield_ = last_yield;  // a sleep makes nothing visible by itself
    }
    cell_.fetch_sub(1, rl::mo_acquire, info(at));
    ++waits_;
  }
  unsigned readied() const { return readied_; }
  unsigned waits() const { return waits_; }
  bool is_clear() const { return cell_.debug_value() == 0; }

 private:
  rl::atomic<unsigned> cell_{0};
  unsigned readied_ = 0, waits_ = 0;  // ghosts
};

/// A wake that may come early, late or twice: a futex, an eventfd.
class Bell {
 public:
  void ring(const Location& at = Location::current()) {
    cell_.fetch_add(1, rl::mo_release, info(at));
    ++rung_;
    cell_.wake(rl::ctx(), 1, info(at));
  }
  void wait(const Location& at = Location::current()) {
    rl::context& c = rl::ctx();
    while (cell_.debug_value() == 0) {
      rl::thread_info_base* const me = c.threadx_;
      const rl::timestamp_t last_yield = me->last_yield_;
      cell_.wait(c, false, false, info(at));
      me->last_yield_ = last_yield;
    }
    cell_.exchange(0, rl::mo_acquire, info(at));
  }
  unsigned rung() const { return rung_; }

 private:
  rl::atomic<unsigned> cell_{0};
  unsigned rung_ = 0;
};

class Lock {
 public:
  void lock(const Location& at = Location::current()) { mutex_.lock(info(at)); }
  void unlock(const Location& at = Location::current()) { mutex_.unlock(info(at)); }

 private:
  rl::mutex mutex_;
};

/// An intrusive link that is checked for races and still reads like a pointer.
template <class T>
class Link {
 public:
  Link& operator=(T* to) { return to_.set(to), *this; }
  operator T*() const { return to_.get(); }  // NOLINT: it stands for a pointer

 private:
  Model::var<T*> to_;
};

// --- runs ---

/// Random schedules of varying restlessness: an execution switches at every step, or at one in 2, 4, 8, 16.
template <rl::thread_id_t kThreads>
class RandomScheduler : public rl::scheduler<RandomScheduler<kThreads>, rl::scheduler_thread_info, kThreads> {
  using Base = rl::scheduler<RandomScheduler<kThreads>, rl::scheduler_thread_info, kThreads>;

 public:
  using shared_context_t = typename Base::shared_context_t;
  struct task_t {};

  RandomScheduler(rl::test_params& params, shared_context_t& shared, rl::thread_id_t dynamic)
      : Base(params, shared, dynamic) {}

  rl::thread_id_t iteration_begin_impl() {
    state_ = this->iter_ * 0x9e3779b97f4a7c15u;
    mask_ = (1u << next() % 5) - 1;
    return any();
  }
  bool iteration_end_impl() { return this->iter_ == this->params_.iteration_count; }
  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned yield) {
    reason = rl::unpark_reason_normal;
    const bool can_stay = this->thread_->state_ == rl::thread_state_running;
    if (can_stay && yield == 0 && (next() & mask_) != 0) return this->thread_->index_;
    rl::thread_id_t chosen = any();
    while (can_stay && yield != 0 && this->running_threads_count > 1 && chosen == this->thread_->index_) chosen = any();
    return chosen;
  }
  unsigned rand_impl(unsigned limit, rl::sched_type) { return next() % limit; }
  rl::iteration_t iteration_count_impl() { return this->params_.iteration_count; }
  void get_state_impl(std::ostream&) {}
  void set_state_impl(std::istream&) {}
  void on_thread_block(rl::thread_id_t, bool) {}
  void thread_finished_impl() {}
  void purge_blocked_threads() {}

 private:
  unsigned next() {  // splitmix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<unsigned>(z >> 33);
  }
  rl::thread_id_t any() { return this->running_threads[next() % static_cast<unsigned>(this->running_threads_count)]; }

  std::uint64_t state_ = 0;
  unsigned mask_ = 0;
};

inline bool search_is_complete;  // the last exhaust() came to its end

/// Depth first through every choice; at most context_bound switches away from a thread that could go on.
template <rl::thread_id_t kThreads>
class Search
    : public rl::tree_search_scheduler<Search<kThreads>, rl::tree_search_scheduler_thread_info<kThreads>, kThreads> {
  using Base = rl::tree_search_scheduler<Search<kThreads>, rl::tree_search_scheduler_thread_info<kThreads>, kThreads>;

 public:
  using shared_context_t = typename Base::shared_context_t;
  using thread_info_t = typename Base::thread_info_t;

  Search(rl::test_params& params, shared_context_t& shared, rl::thread_id_t dynamic) : Base(params, shared, dynamic) {}

  rl::thread_id_t iteration_begin_impl() {
    remaining_ = this->params_.context_bound;
    return Base::iteration_begin_impl();
  }
  bool iteration_end_impl() {
    search_is_complete = Base::iteration_end_impl();
    return search_is_complete || this->iter_ == this->params_.iteration_count;
  }
  bool can_switch(thread_info_t&) { return remaining_ != 0; }
  void on_switch(thread_info_t& from) {
    if (from.state_ == rl::thread_state_running) --remaining_;
  }
  double iteration_count_approx() { return static_cast<double>(this->params_.iteration_count); }

 private:
  unsigned remaining_ = 0;
};

template <class World>
struct Suite : rl::test_suite<Suite<World>, World::kThreads> {
  // Items must lie on 64-byte boundaries; relacy keeps the suite where malloc put it.
  alignas(64) static inline std::byte storage[sizeof(World)];
  World* world = nullptr;

  void before() {
    watch = {};
    std::memset(storage, 0, sizeof storage);
    world = ::new (static_cast<void*>(storage)) World();
  }
  void thread(unsigned index) { world->thread(index); }
  void after() {
    world->after();
    world->~World();
  }
};

struct Outcome {
  rl::test_result_e result = rl::test_result_success;
  std::uint64_t executions = 0;  // done; on a failure: its number, which is the seed
  double seconds = 0;
  bool complete = false;
  std::string history;

  bool passed() const { return result == rl::test_result_success; }
  const char* what() const { return rl::test_result_str(result); }
};

double seconds_now();
/// ERLKING_MODEL_FIRST: the number of the first execution (a seed to replay); ERLKING_MODEL_FACTOR: times as many.
std::uint64_t first_execution();
std::uint64_t factor();

template <class World, template <rl::thread_id_t> class Scheduler>
Outcome run(rl::scheduler_type_e type, std::uint64_t first, std::uint64_t last, unsigned switches, bool with_history) {
  using Test = Suite<World>;
  rl::ostringstream output, progress, state;  // relacy's allocator: the streams outlive its heap
  rl::test_params params;
  params.search_type = type;
  params.context_bound = switches;
  params.iteration_count = last;
  params.output_stream = &output;
  params.progress_stream = &progress;
  rl::ostringstream initial;
  initial << first << " ";
  if (type == rl::random_scheduler_type) params.initial_state = initial.str();
  search_is_complete = false;
  const double start = seconds_now();
  Outcome outcome;
  outcome.result = rl::run_test<Test, Scheduler<World::kThreads>>(params, state, false);
  outcome.seconds = seconds_now() - start;
  outcome.complete = search_is_complete;
  outcome.executions = params.stop_iteration;
  if (!outcome.passed() && with_history) {
    rl::ostringstream again;
    params.initial_state = state.str();  // the failing execution
    params.collect_history = true;
    rl::run_test<Test, Scheduler<World::kThreads>>(params, again, true);
    outcome.history = output.str().c_str();
  }
  return outcome;
}

template <class World>
Outcome explore(std::uint64_t executions, bool with_history = true) {
  const std::uint64_t first = first_execution();
  return run<World, RandomScheduler>(rl::random_scheduler_type, first, first + executions * factor() - 1, 0,
                                     with_history);
}

/// At most `limit` executions; complete says whether that was all.
template <class World>
Outcome exhaust(std::uint64_t limit, unsigned switches = 1000) {
  return run<World, Search>(rl::fair_full_search_scheduler_type, 1, limit, switches, true);
}

testing::AssertionResult holds(const Outcome& outcome);
/// holds, and that was all there is.
testing::AssertionResult holds_throughout(const Outcome& outcome);

/// Which World a structure's sites are weakened under.
struct Candidate {
  const char* name;
  Outcome (*run)(std::uint64_t executions, bool with_history);
};

/// The `nth` site (from 1, by line) of `function` that does `op` with `order`, made `to`: what the World says.
struct Control {
  Candidate world;
  const char* function;
  Op op;
  std::memory_order order;
  unsigned nth;
  std::memory_order to;
  rl::test_result_e expected;
};
testing::AssertionResult fails_as_expected(const Control& control, std::uint64_t executions);

/// Every site of every candidate with every weaker order, as a table on stdout: slow, for the README.
void sweep(std::initializer_list<Candidate> candidates, std::uint64_t executions);

}  // namespace erlking::model
