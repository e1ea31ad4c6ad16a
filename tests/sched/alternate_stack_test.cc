// AlternateStack: where a handler runs, and what is there before and after.
#include "sched/alternate_stack.h"

#include "tests/support/runtime_fixture.h"

#include <csignal>
#include <cstdint>
#include <pthread.h>
#include <thread>

namespace erlking::testing {
namespace {

volatile std::uintptr_t ran_at;
void note_place(int) {
  char here = 0;
  asm volatile("" : "+m"(here));
  ran_at = reinterpret_cast<std::uintptr_t>(&here);
}

// SIGUSR1 to the calling thread: where its handler's frame was.
std::uintptr_t place_of_handler() {
  struct sigaction action {
  }, before{};
  action.sa_handler = &note_place;
  action.sa_flags = SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, &before);
  ran_at = 0;
  pthread_kill(pthread_self(), SIGUSR1);
  sigaction(SIGUSR1, &before, nullptr);
  return ran_at;
}

bool is_in(std::uintptr_t place, const stack_t& stack) {
  const auto low = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
  return place >= low && place < low + stack.ss_size;
}

TEST(AlternateStackTest, HandlersRunOnItAndAfterwardsThereIsWhatWasBefore) {
  sched::AlternateStack stack;
  void* first = nullptr;
  const auto body = [&] {
    stack_t before{}, during{}, after{};
    sigaltstack(nullptr, &before);
    {
      const sched::AlternateStack::Use use(stack);
      ASSERT_TRUE(use.is_there());
      sigaltstack(nullptr, &during);
      EXPECT_EQ(during.ss_flags & SS_DISABLE, 0);
      EXPECT_GE(during.ss_size, 64u * 1024);
      EXPECT_NE(during.ss_sp, before.ss_sp);
#if !defined(__SANITIZE_ADDRESS__)  // with its fake stack a local lies on the heap
      EXPECT_TRUE(is_in(place_of_handler(), during));
#endif
    }
    sigaltstack(nullptr, &after);
    EXPECT_EQ(after.ss_flags, before.ss_flags);
    EXPECT_EQ(after.ss_sp, before.ss_sp);
    // Whoever comes next has the same memory.
    if (first == nullptr) first = during.ss_sp;
    EXPECT_EQ(during.ss_sp, first);
  };
  std::thread(body).join();
  std::thread(body).join();
}

struct AlternateStackOfWorkersTest : RuntimeTest, ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Every, AlternateStackOfWorkersTest, ::testing::Values("steal", "threads"));

TEST_P(AlternateStackOfWorkersTest, AHandlerDoesNotRunOnAProcessesStack) {
  options.scheduler = GetParam();
  run([] {
    stack_t stack{};
    sigaltstack(nullptr, &stack);
    ASSERT_EQ(stack.ss_flags & SS_DISABLE, 0);
    EXPECT_GE(stack.ss_size, 64u * 1024);
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT_TRUE(is_in(place_of_handler(), stack));
#endif
  });
}

}  // namespace
}  // namespace erlking::testing
