// Ticket under the model: calls answered late, twice or not in time, and waits that a signal must end.
// clang-format off
#include "tests/model/mailbox_model.h"

#include "runtime/ticket.h"
// clang-format on

namespace erlking {
namespace {

using model::Candidate, model::Item, model::Model, model::Op, model::Receiver, model::require;
using Tickets = Ticket<Model>;

/// Two calls in a row on one ticket. Thread 1 answers both (or only the second, if not kAnswersFirst), thread 2 answers
/// the first a second time, thread 3 is the first one's timer.
template <bool kAnswersFirst>
struct Calls {
  static constexpr rl::thread_id_t kThreads = 4;

  Tickets ticket;
  model::Gate gate;
  Model::var<int> value;                                // the answer: call × 10 + who
  std::array<Model::atomic<std::uint64_t>, 2> request;  // the number, as the message carries it
  std::array<int, 2> answered{};                        // ghosts
  bool timed_out = false, rang = false;
  unsigned waits = 0;

  void thread(unsigned index) {
    switch (index) {
      case 0:
        return owner();
      case 1:
        if (kAnswersFirst) answer(0, 1);
        return answer(1, 1);
      case 2:
        return answer(0, 2);
      default:
        return timer();
    }
  }

  void owner() {
    for (int call = 0; call < 2; ++call) {
      const std::uint64_t number = ticket.begin();
      request[call].store(number, base::release);
      int got = 0;
      for (bool over = false; !over;) {
        if (ticket.arm(number)) {
          ++waits;
          gate.wait();
        }
        switch (ticket.state()) {
          case Tickets::done:
            got = value.get(), over = true;
            break;
          case Tickets::claim:
            got = spin(), over = true;
            break;
          default:  // woken: only by the first call's timer
            require(call == 0 && !timed_out, "a wake is the timer's, once");
            if (ticket.revoke(number))
              timed_out = over = true;
            else
              got = spin(), over = true;
        }
      }
      if (!(call == 0 && timed_out)) {
        require(got / 10 == call, "an answer is its own call's");
        require(answered[call] == 1, "one answer wins");
      } else {
        require(answered[0] == 0, "no answer after a timeout");
      }
    }
  }
  int spin() {
    while (ticket.state() != Tickets::done) Model::pause();
    return value.get();
  }
  void answer(int call, int who) {
    std::uint64_t number;
    while ((number = request[call].load(base::acquire)) == 0) Model::pause();
    const Tickets::Claim claim = ticket.claim_answer(number);
    if (claim == Tickets::Claim::lost) return;
    require(++answered[call] == 1, "one answerer wins");
    value.set(call * 10 + who);
    ticket.finish(number);
    if (claim == Tickets::Claim::won_armed) gate.ready();
  }
  void timer() {
    std::uint64_t number = 0;
    for (int tries = 0; tries < 5; ++tries) {
      if (number == 0) number = request[0].load(base::acquire);
      if (number != 0) {
        const Tickets::Look look = ticket.look(number);
        if (look == Tickets::Look::stale) return;
        if (look == Tickets::Look::is_armed && ticket.wake(number)) {
          rang = true;
          return gate.ready();
        }
      }
      Model::pause();
    }
  }
  void after() {
    require(gate.readied() == waits && gate.waits() == waits && gate.is_clear(), "one wake per wait");
    require(!timed_out || rang, "a timeout is the timer's");
    require(answered[1] == 1, "the second call is answered");
  }
};

/// A wait that signals and a timer may end: armed, then a look for signals; pushed, then a look at the ticket.
template <unsigned kSignallers, bool kTimer>
struct SignalledWait {
  static constexpr rl::thread_id_t kThreads = 1 + kSignallers + (kTimer ? 1 : 0);

  Tickets ticket;
  Receiver receiver{1};  // of signals only, and never parked
  model::Gate gate;
  std::array<Item, kSignallers> signals;
  Model::atomic<std::uint64_t> timed;
  unsigned waits = 0;

  void thread(unsigned index) {
    if (index == 0) return owner();
    if (index > kSignallers) return timer();
    Item& signal = signals[index - 1];
    signal.fill(static_cast<int>(index) - 1, 1, true, Receiver::kId);
    require(receiver.signal(signal) == Push::queued, "it is not in a receive");
    if (ticket.wake_any()) gate.ready();
  }
  void owner() {
    unsigned seen = 0;
    while (seen < kSignallers) {
      const std::uint64_t number = ticket.begin();
      timed.store(number, base::release);
      require(ticket.arm(number), "nobody answers this one");
      if (!receiver.box.has_signal_seq_cst() || !ticket.disarm(number)) {
        ++waits;
        gate.wait();
      }
      require(ticket.revoke(number), "a wake, like a disarm, leaves it open");
      bool any = false;
      for (Item* item = receiver.box.take(&any); item != nullptr; item = item->next, ++seen) {
        require(any && item->signal.get(), "signals only");
      }
    }
  }
  void timer() {
    for (int tries = 0; tries < 3; ++tries) {
      const std::uint64_t number = timed.load(base::acquire);
      if (number != 0 && ticket.wake(number)) return gate.ready();
      Model::pause();
    }
  }
  void after() { require(gate.readied() == waits && gate.is_clear(), "one wake per wait"); }
};

constexpr Candidate kCalls{"Calls<true>", model::explore<Calls<true>>},
    kSlow{"Calls<false>", model::explore<Calls<false>>},
    kSignal{"SignalledWait<1>", model::explore<SignalledWait<1, false>>},
    kSignals{"SignalledWait<2,timer>", model::explore<SignalledWait<2, true>>};

TEST(ModelTicket, AnsweredCallsGetTheirOwnAnswers) { EXPECT_TRUE(holds(model::explore<Calls<true>>(50'000))); }
TEST(ModelTicket, ALateAnswerDoesNotReachTheNextCall) { EXPECT_TRUE(holds(model::explore<Calls<false>>(50'000))); }
TEST(ModelTicket, ASignalEndsTheWaitInAnySchedule) {
  EXPECT_TRUE(holds_throughout(model::exhaust<SignalledWait<1, false>>(1'000'000)));
}
TEST(ModelTicket, SignalsEndTheWaitWithFewSwitches) {
  EXPECT_TRUE(holds_throughout(model::exhaust<SignalledWait<2, false>>(1'000'000, 3)));
}
TEST(ModelTicket, SignalsAndATimerEndTheWait) { EXPECT_TRUE(holds(model::explore<SignalledWait<2, true>>(50'000))); }

TEST(ModelTicketWeakened, Fails) {
  using base::acq_rel, base::acquire, base::relaxed, base::release, base::seq_cst;
  constexpr auto race = rl::test_result_data_race, lost = rl::test_result_deadlock;
  for (const model::Control& control : {
           model::Control{kCalls, "finish", Op::store, release, 1, relaxed, race},              // [ticket-done]
           model::Control{kCalls, "state", Op::load, acquire, 1, relaxed, race},                // [ticket-done]
           model::Control{kSignal, "change", Op::cas, seq_cst, 1, acq_rel, lost},               // [ticket-armed]
           model::Control{kSignal, "wake_any", Op::load, seq_cst, 1, acquire, lost},            // [ticket-armed]
           model::Control{kSignal, "push_signal", Op::cas, seq_cst, 1, acq_rel, lost},          // [ticket-armed]
           model::Control{kSignal, "has_signal_seq_cst", Op::load, seq_cst, 1, acquire, lost},  // [ticket-armed]
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelTicketWeakened, DISABLED_Sweep) { model::sweep({kCalls, kSlow, kSignal, kSignals}, 50'000); }

}  // namespace
}  // namespace erlking
