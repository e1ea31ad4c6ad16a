// TimerWord under the model: a place used twice while others cancel by old and new references, and an interval that is
// cancelled while it beats. What hangs on a timer is plain data, so that two owners of it are a race.
// clang-format off
#include "tests/model/model_sync.h"

#include "runtime/timer_word.h"
// clang-format on

namespace erlking::detail {
namespace {

using model::Candidate, model::Model, model::Op, model::require;
using Word = TimerWord<Model>;

/// Thread 0 arms a place twice, and fires; the others cancel both lives.
template <unsigned kCancellers>
struct Lives {
  static constexpr rl::thread_id_t kThreads = 1 + kCancellers;
  static constexpr std::uint32_t kLives = 2;

  Word word;
  Model::var<std::uint32_t> message;         // the life it is of; 0: taken
  Model::atomic<std::uint32_t> given_back;   // the cancelled life, as return_timer() gives it back
  std::array<unsigned, kLives + 1> ended{};  // ghosts

  void thread(unsigned index) {
    if (index != 0) {
      for (std::uint32_t life = 1; life <= kLives; ++life) {
        if (word.cancel(life) == Word::Cancel::won) {
          take(life);
          given_back.store(life, base::release);
        }
      }
      return;
    }
    word.init();
    for (std::uint32_t life = 1; life <= kLives; ++life) {
      require(word.generation() == life, "each life has its generation");
      message.set(life);
      word.arm(false, false);
      if (word.end()) {
        take(life);
        continue;
      }
      while (given_back.load(base::acquire) != life) Model::pause();
      word.put_away();
    }
  }
  void take(std::uint32_t life) {
    require(message.get() == life, "a reference takes its own timer's message");
    message.set(0);
    ++ended[life];
  }
  void after() {
    for (std::uint32_t life = 1; life <= kLives; ++life) require(ended[life] == 1, "sent or cancelled, once");
  }
};

/// Thread 0 sends two beats, thread 1 cancels.
struct Beats {
  static constexpr rl::thread_id_t kThreads = 2;

  Word word;
  Model::var<unsigned> source;  // changed by each beat
  unsigned sent = 0, seen = 0;  // ghosts
  bool cancelled = false, gone = false;

  void thread(unsigned index) {
    if (index != 0) {
      for (;;) {
        const Word::Cancel got = word.cancel(1);
        if (got == Word::Cancel::gone) return;
        if (got == Word::Cancel::won) break;
        Model::pause();
      }
      cancelled = true;
      seen = source.get();
      require(seen == sent + 1, "it sees what the beats have left");
      source.set(0);
      return;
    }
    source.set(1);
    word.init();
    word.arm(false, true);
    for (int beat = 0; beat < 2; ++beat) {
      if (!word.begin_beat()) return;
      require(!cancelled, "no beat after the answer");
      source.set(source.get() + 1);
      ++sent;
      word.end_beat();
    }
    gone = word.end();
  }
  void after() { require(cancelled != gone, "cancelled or over"); }
};

using OneCanceller = Lives<1>;
using TwoCancellers = Lives<2>;
constexpr Candidate kOne{"OneCanceller", model::explore<OneCanceller>},
    kTwo{"TwoCancellers", model::explore<TwoCancellers>}, kBeats{"Beats", model::explore<Beats>};

TEST(ModelTimerWord, EachLifeIsSentOrCancelledOnce) { EXPECT_TRUE(holds(model::explore<OneCanceller>(50'000))); }
TEST(ModelTimerWord, EachLifeIsSentOrCancelledOnceByTwo) { EXPECT_TRUE(holds(model::explore<TwoCancellers>(50'000))); }
TEST(ModelTimerWord, NoBeatFollowsTheCancelling) { EXPECT_TRUE(holds(model::explore<Beats>(50'000))); }

TEST(ModelTimerWordWeakened, Fails) {
  using base::acquire, base::relaxed, base::release;
  constexpr auto race = rl::test_result_data_race;
  for (const model::Control& control : {
           model::Control{kOne, "arm", Op::store, release, 1, relaxed, race},         // [timer-word] TM2
           model::Control{kOne, "cancel", Op::cas, acquire, 1, relaxed, race},        // [timer-word] TM2
           model::Control{kBeats, "end_beat", Op::store, release, 1, relaxed, race},  // [timer-word] TM3
       }) {
    EXPECT_TRUE(fails_as_expected(control, 20'000));
  }
}
TEST(ModelTimerWordWeakened, DISABLED_Sweep) { model::sweep({kOne, kTwo, kBeats}, 20'000); }

}  // namespace
}  // namespace erlking::detail
