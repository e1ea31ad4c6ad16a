// Requests whose answers are taken later: one, many, one to many (SEMANTICS 10.14–10.16).
#include "tests/support/runtime_fixture.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace erlking {
inline void PrintTo(const CallError& error, std::ostream* out) {
  *out << to_string(error.kind) << " " << error.why.to_string();
}
inline void PrintTo(NoResponse why, std::ostream* out) { *out << to_string(why); }

namespace testing {
namespace {

struct Ask {
  int number;
  using Reply = int;
};
/// A reply that is none by default, cannot be copied, and is aligned.
struct Parcel {
  explicit Parcel(int number) : content(std::make_unique<int>(number)) {}
  std::unique_ptr<int> content;
  alignas(64) std::array<char, 200> rest{};
};
struct Fetch {
  int number;
  using Reply = Parcel;
};
struct TellDeadline {
  using Reply = Clock::time_point;
};
struct Note {
  int number;
};

/// Answers so long after each request.
void answer_after(Duration pause) {
  for (;;) {
    receive(
        forever,
        [&](Ask& ask, From<Ask> from) {
          sleep(pause);
          from.reply(ask.number + 1);
        },
        [&](Fetch& fetch, From<Fetch> from) {
          sleep(pause);
          from.reply(Parcel(fetch.number + 1));
        },
        [](TellDeadline&, From<TellDeadline> from) { from.reply(from.deadline()); });
  }
}
/// Lets go of the first request, then waits for ever.
void drop_one() {
  receive(forever, [](Ask&, From<Ask>) {});
  wait_forever();
}
/// Answers in the order of these numbers, once it has them all.
void answer_in_order(std::vector<int> order) {
  std::map<int, From<Ask>> held;
  while (held.size() < order.size()) {
    receive(forever, [&](Ask& ask, From<Ask> from) { held[ask.number] = std::move(from); });
  }
  for (const int number : order) held[number].reply(number);
  wait_forever();
}
Pid dead() {
  const Monitored gone = spawn_monitor([] {});
  await_down(gone);
  return gone.pid;
}
std::unexpected<CallError> failed(CallFailure kind, Reason why = {}) {
  return std::unexpected(CallError{kind, std::move(why)});
}
/// What has come; nothing has: the test fails.
template <class M>
M taken(std::optional<M> answer) {
  EXPECT_TRUE(answer) << "not yet";
  return answer ? *std::move(answer) : M(failed(CallFailure::timeout));
}
/// Returns once what others have sent has been delivered here.
void let_answers_come() {
  sleep(1s);
  process_info(self(), 1s);
}
std::uint32_t aliases() { return process_info(self(), 1s)->aliases; }

struct RequestTest : RuntimeTest {};

TEST_F(RequestTest, Rule_10_14_TheAnswerIsTakenLater) {
  run([] {
    const Pid server = spawn_link([] { answer_after(0s); });
    RequestId<Ask> first = send_request(server, Ask{1}), second = send_request(server, Ask{2});
    EXPECT_NE(first.number(), second.number());
    EXPECT_EQ(call(server, Ask{3}, 1s), 4);  // handled in the order sent
    EXPECT_EQ(taken(wait_response(second, 1s)), 3);
    EXPECT_FALSE(second);
    EXPECT_TRUE(first);
    EXPECT_EQ(receive_response(std::move(first), 1s), 2);
    const auto parcel = receive_response(send_request(server, Fetch{7}), 1s);
    ASSERT_TRUE(parcel);
    EXPECT_EQ(*parcel->content, 8);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(aliases(), 0u);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_14_WaitingKeepsTheRequestAlive) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    RequestId<Ask> id = send_request(server, Ask{1});
    EXPECT_FALSE(wait_response(id, 0s));
    EXPECT_FALSE(wait_response(id, 300ms));
    EXPECT_FALSE(wait_response(id, now() + 300ms));
    EXPECT_EQ(taken(wait_response(id, forever)), 2);
    EXPECT_THROW(static_cast<void>(wait_response(id, 1s)), std::logic_error);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_14_ReceivingAbandonsItAtTheTimeout) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    EXPECT_EQ(receive_response(send_request(server, Ask{1}), 300ms), failed(CallFailure::timeout));
    EXPECT_EQ(receive_response(send_request(server, Ask{1}), 0s), failed(CallFailure::timeout));
    EXPECT_EQ(aliases(), 0u);
    sleep(10s);
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(call(server, Ask{3}, 5s), 4);  // it goes on
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_14_CheckTellsTheAnswerFromOtherMessages) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    RequestId<Ask> id = send_request(server, Ask{1}), other = send_request(server, Ask{5});
    RequestId<Fetch> parcel = send_request(server, Fetch{7});
    send(self(), Note{3});
    std::vector<std::string> seen;
    while (id || other || parcel) {
      Message message = receive(10s, [](Message any) { return any; });
      if (const auto answer = check_response(message, id)) {
        seen.push_back("id " + std::to_string(answer->value()));
        EXPECT_FALSE(message);
      } else if (const auto next = check_response(message, other)) {
        seen.push_back("other " + std::to_string(next->value()));
      } else if (const auto fetched = check_response(message, parcel)) {
        seen.push_back("parcel " + std::to_string(*fetched->value().content));
      } else {
        ASSERT_NE(message.get<Note>(), nullptr);
        seen.push_back("note");
      }
    }
    EXPECT_EQ(seen, (std::vector<std::string>{"note", "id 2", "other 6", "parcel 8"}));
    Message none;
    EXPECT_FALSE(check_response(none, id));
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_14_WhatFailsIsTheAnswer) {
  run([] {
    const Pid full = spawn_link({.mailbox = 1}, wait_forever);
    send(full, Note{1});
    EXPECT_EQ(receive_response(send_request(dead(), Ask{1}), 1s), failed(CallFailure::noproc));
    EXPECT_EQ(receive_response(send_request(Name{"nobody"}, Ask{1}), 1s), failed(CallFailure::noproc));
    EXPECT_EQ(receive_response(send_request(Pid{}, Ask{1}), 0s), failed(CallFailure::noproc));
    RequestId<Ask> refused = send_request(full, Ask{1});
    EXPECT_EQ(taken(wait_response(refused, 0s)), failed(CallFailure::full));
    EXPECT_EQ(process_info(full, 1s)->refused, 1u);
    {
      RequestId<Ask> nobody = send_request(dead(), Ask{1});
      Message message = receive(1s, [](Message any) { return any; });
      EXPECT_EQ(taken(check_response(message, nobody)), failed(CallFailure::noproc));
    }
    const Pid dropping = spawn_link(drop_one);
    EXPECT_EQ(receive_response(send_request(dropping, Ask{1}), 1s), failed(CallFailure::died));
    RequestId<Ask> in_mailbox = send_request(dropping, Ask{1});
    unlink(dropping);
    exit(dropping, Reason("shot"));
    EXPECT_EQ(taken(wait_response(in_mailbox, 1s)), failed(CallFailure::died, Reason("shot")));
    const Pid refusing = spawn([] {
      receive(1s, [](Ask&, From<Ask> from) { from.fail({CallFailure::refused, Reason("closed")}); });
    });
    EXPECT_EQ(receive_response(send_request(refusing, Ask{1}), 1s), failed(CallFailure::refused, Reason("closed")));
    unlink(full);
    exit(full, reason::kill);
    EXPECT_TRUE(mailbox_empty());
  });
}

TEST_F(RequestTest, Rule_10_14_AnIdThatIsDestroyedAbandonsItsRequest) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    { const RequestId<Fetch> unanswered = send_request(server, Fetch{1}); }
    EXPECT_EQ(aliases(), 0u);
    {
      const RequestId<Fetch> delivered = send_request(server, Fetch{1});
      send(self(), Note{1});
      sleep(10s);
      EXPECT_FALSE(mailbox_empty());
      EXPECT_EQ(process_info(self(), 1s)->aliases, 0u);
      send(self(), Note{2});
    }
    EXPECT_EQ(receive(0s, [](Note& note) { return note.number; }), 1);
    EXPECT_EQ(receive(0s, [](Note& note) { return note.number; }), 2);
    {
      RequestId<Fetch> replaced = send_request(server, Fetch{1});
      replaced = send_request(server, Fetch{2});
      const auto answer = wait_response(replaced, 10s);
      EXPECT_EQ(*answer->value().content, 3);
    }
    {
      std::vector<RequestId<Ask>> moved;
      for (int n = 0; n < 20; ++n) moved.push_back(send_request(server, Ask{n}));
      std::ranges::reverse(moved);
      EXPECT_EQ(taken(wait_response(moved.back(), 100s)), 1);
      EXPECT_EQ(taken(wait_response(moved.front(), 100s)), 20);
      sleep(100s);
    }
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(aliases(), 0u);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_14_OneToOneselfIsAMessageLikeAnyOther) {
  run([] {
    RequestId<Ask> id = send_request(self(), Ask{1});
    EXPECT_FALSE(wait_response(id, 1s));
    receive(0s, [](Ask& ask, From<Ask> from) { EXPECT_TRUE(from.reply(ask.number + 1)); });
    EXPECT_EQ(taken(wait_response(id, 0s)), 2);
    const RequestId<Ask> left_behind = send_request(self(), Ask{1});
  });
}

TEST_F(RequestTest, AnswersTakeNoPlaceInTheMailboxAndKeepTheirOrderWithMessages) {
  run([] {
    const Pid me = self();
    set_mailbox_bound(1);
    const Pid server = spawn_link([me] {
      for (int n = 0; n < 5; ++n) {
        receive(forever, [&](Ask& ask, From<Ask> from) {
          if (ask.number == 2) send(me, Note{2});
          from.reply(ask.number);
        });
      }
    });
    std::vector<RequestId<Ask>> asked;
    for (int n = 0; n < 5; ++n) asked.push_back(send_request(server, Ask{n}));
    let_answers_come();
    const ProcessInfo info = *process_info(me, 1s);
    EXPECT_EQ(info.mailbox_depth, 1u);
    EXPECT_EQ(info.refused, 0u);
    std::vector<int> order;
    for (int n = 0; n < 6; ++n) {
      Message message = receive(0s, [](Message any) { return any; });
      if (message.get<Note>() != nullptr) order.push_back(100);
      for (RequestId<Ask>& id : asked) {
        if (const auto answer = check_response(message, id)) order.push_back(answer->value());
      }
    }
    EXPECT_EQ(order, (std::vector{0, 1, 100, 2, 3, 4}));
    unlink(server);
  });
}

TEST_F(RequestTest, AnAnswerMayComeWhileTheAskerIsInACall) {
  run([] {
    const Pid quick = spawn_link([] { answer_after(1s); }), slow = spawn_link([] { answer_after(5s); });
    RequestId<Ask> id = send_request(quick, Ask{1});
    EXPECT_EQ(call(slow, Ask{7}, 10s), 8);
    EXPECT_EQ(taken(wait_response(id, 0s)), 2);
    id = send_request(slow, Ask{1});
    EXPECT_EQ(call(quick, Ask{7}, 500ms), failed(CallFailure::timeout));
    EXPECT_EQ(taken(wait_response(id, 10s)), 2);
    EXPECT_TRUE(mailbox_empty());
    for (const Pid server : {quick, slow}) {
      unlink(server);
      exit(server, reason::kill);
    }
  });
}

TEST_F(RequestTest, TheAskersEndLeavesNothing) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    for (const bool waits : {false, true}) {
      const Monitored asker = spawn_monitor([server, waits] {
        RequestId<Fetch> id = send_request(server, Fetch{1}), other = send_request(server, Fetch{2});
        RequestId<Fetch> ready = send_request(dead(), Fetch{2});
        if (!waits) return;
        static_cast<void>(wait_response(id, forever));
        static_cast<void>(wait_response(id = send_request(server, Fetch{2}), forever));
      });
      if (waits) {
        sleep(3s);
        until_waiting(asker.pid);
        exit(asker.pid, reason::kill);
      }
      EXPECT_EQ(await_down(asker), waits ? reason::killed : reason::normal);
    }
    sleep(10s);
    const auto answered = std::make_shared<std::optional<bool>>();
    const Pid late = spawn_link([answered] {
      receive(forever, [&](Ask&, From<Ask> from) {
        sleep(1s);
        *answered = from.reply(1);
      });
    });
    await_down(spawn_monitor([late] { const RequestId<Ask> id = send_request(late, Ask{1}); }));
    sleep(10s);
    EXPECT_EQ(*answered, false);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, AnIdBelongsToItsProcess) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    RequestId<Ask> id = send_request(server, Ask{1});
    const std::uint64_t number = id.number();
    const Monitored other = spawn_monitor([id = std::move(id)]() mutable {
      EXPECT_THROW(static_cast<void>(wait_response(id, 1s)), std::logic_error);
      Requests<Ask, int> asked;
      asked.add(std::move(id), 1);
      EXPECT_EQ(wait_response(asked, 2s).error(), NoResponse::timeout);
    });
    EXPECT_EQ(await_down(other), reason::normal);
    EXPECT_THROW(static_cast<void>(wait_response(id, 1s)), std::logic_error);
    EXPECT_NE(number, 0u);
    EXPECT_EQ(flush(), 1u);  // it abandoned nothing
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, TheServerIsToldADeadlineIfThereIsOne) {
  run([] {
    const Pid server = spawn_link([] { answer_after(0s); });
    EXPECT_EQ(receive_response(send_request(server, TellDeadline{}), 1s), Clock::time_point::max());
    const Clock::time_point until = now() + 3s;
    EXPECT_EQ(receive_response(send_request(server, TellDeadline{}, until), 1s), until);
    EXPECT_EQ(multi_call(std::vector{server}, TellDeadline{}, until).replies.at(0).second, until);
    EXPECT_EQ(multi_call(std::vector{server}, TellDeadline{}, forever).replies.at(0).second, Clock::time_point::max());
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, AnInactiveAliasAnswersDied) {
  run([] {
    const Monitored server = spawn_monitor([me = self()] {
      const Alias address = alias();
      send(me, Alias(address));
      receive(forever, [](Ask& ask, From<Ask> from) { from.reply(ask.number); });
      unalias(address);
      wait_forever();
    });
    const Alias address = receive(1s, [](Alias given) { return given; });
    EXPECT_EQ(receive_response(send_request(address, Ask{1}), 1s), 1);
    EXPECT_EQ(receive_response(send_request(address, Ask{1}), 1s), failed(CallFailure::died));
    exit(server.pid, reason::kill);
    await_down(server);
  });
}

/// A server that asks others, and answers when they have.
class Relay : public Server {
 public:
  struct Both {
    using Reply = int;
  };
  using Handles = Messages<Both>;
  Relay(Pid first, Pid second) : first_(first), second_(second) {}
  void on(Both&, From<Both> from) {
    from_ = std::move(from);
    asked_.add(send_request(first_, Ask{10}), 1);
    asked_.add(send_request(second_, Ask{20}), 2);
  }
  void on_other(Message message) {
    const auto answer = check_response(message, asked_);
    if (!answer) return;
    sum_ += answer->result.value_or(-1000) * answer->label;
    if (asked_.size() == 0) from_.reply(std::exchange(sum_, 0));
  }

 private:
  Pid first_, second_;
  From<Both> from_;
  Requests<Ask, int> asked_;
  int sum_ = 0;
};

TEST_F(RequestTest, AServerAnswersAndAsks) {
  run([] {
    const Pid quick = spawn_link([] { answer_after(1s); }), slow = spawn_link([] { answer_after(5s); });
    const Started relay = start_link<Relay>(5s, {}, quick, slow);
    RequestId<Relay::Both> id = send_request(*relay, Relay::Both{});
    EXPECT_FALSE(wait_response(id, 3s));
    EXPECT_EQ(taken(wait_response(id, 3s)), 11 + 42);
    id = send_request(*relay, Relay::Both{});
    yield();
    sys::stop(*relay, reason::normal, 1s);  // with requests under way
    EXPECT_EQ(taken(wait_response(id, 1s)), failed(CallFailure::died));
    sleep(10s);
    for (const Pid server : {quick, slow}) {
      unlink(server);
      exit(server, reason::kill);
    }
  });
}

// --- many ------------------------------------------------------------------------------------------------------------

TEST_F(RequestTest, Rule_10_15_AnswersOfManyComeByArrival) {
  run([] {
    const Pid server = spawn_link(answer_in_order, std::vector{3, 1, 2});
    Requests<Ask, std::string> asked;
    EXPECT_EQ(wait_response(asked, 1s).error(), NoResponse::no_request);
    EXPECT_EQ(receive_response(asked, 1s).error(), NoResponse::no_request);
    Message message = (send(self(), Note{1}), receive(0s, [](Message any) { return any; }));
    EXPECT_EQ(check_response(message, asked).error(), NoResponse::no_request);
    std::map<std::uint64_t, std::string> listed;
    for (const int number : {1, 2, 3}) {
      RequestId<Ask> id = send_request(server, Ask{number});
      listed[id.number()] = std::to_string(number);
      asked.add(std::move(id), std::to_string(number));
    }
    EXPECT_EQ(asked.size(), 3u);
    const auto list = asked.to_list();
    EXPECT_EQ((std::map<std::uint64_t, std::string>(list.begin(), list.end())), listed);
    EXPECT_EQ(check_response(message, asked).error(), NoResponse::no_reply);
    EXPECT_NE(message.get<Note>(), nullptr);
    let_answers_come();
    std::string order;
    while (const auto next = wait_response(asked, 1s)) {
      EXPECT_EQ(std::to_string(next->result.value()), next->label);
      order += next->label;
    }
    EXPECT_EQ(order, "312");
    EXPECT_EQ(asked.size(), 0u);
    EXPECT_TRUE(mailbox_empty());
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_15_WhatIsNoRequestCannotBeAdded) {
  run([] {
    const Pid server = spawn_link([] { answer_after(0s); });
    Requests<Ask, int> asked;
    RequestId<Ask> id = send_request(server, Ask{1});
    asked.add(std::move(id), 1);
    EXPECT_THROW(asked.add(std::move(id), 2), std::logic_error);  // the same twice
    RequestId<Ask> over = send_request(server, Ask{1});
    EXPECT_TRUE(wait_response(over, 1s));
    EXPECT_THROW(asked.add(std::move(over), 2), std::logic_error);
    EXPECT_EQ(asked.size(), 1u);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_15_AnEntryMayBeKept) {
  run([] {
    const Pid server = spawn_link(answer_in_order, std::vector{2, 1});
    Requests<Ask, int> asked;
    for (const int number : {1, 2}) asked.add(send_request(server, Ask{number}), number);
    const auto first = wait_response(asked, 1s, Answered::kept);
    EXPECT_EQ(first->label, 2);
    EXPECT_EQ(asked.size(), 2u);
    EXPECT_EQ(asked.to_list().size(), 2u);
    Message message = receive(1s, [](Message any) { return any; });
    EXPECT_EQ(check_response(message, asked, Answered::kept)->label, 1);
    EXPECT_EQ(asked.size(), 2u);
    EXPECT_EQ(wait_response(asked, forever).error(), NoResponse::no_request);
    Requests<Ask, int> moved = std::move(asked);
    EXPECT_EQ(moved.size(), 2u);
    unlink(server);
    exit(server, reason::kill);
  });
}

TEST_F(RequestTest, Rule_10_15_WaitingAbandonsNoneReceivingAll) {
  run([] {
    const Pid server = spawn_link([] { answer_after(1s); });
    const auto ask = [server] {
      Requests<Ask, int> asked;
      for (int number = 0; number < 3; ++number) asked.add(send_request(server, Ask{number}), number);
      return asked;
    };
    Requests<Ask, int> asked = ask();
    EXPECT_EQ(wait_response(asked, 0s).error(), NoResponse::timeout);
    EXPECT_EQ(wait_response(asked, 500ms).error(), NoResponse::timeout);
    EXPECT_EQ(asked.size(), 3u);
    const Clock::time_point until = now() + 2s;  // one for them all
    EXPECT_EQ(receive_response(asked, until)->label, 0);
    EXPECT_EQ(receive_response(asked, until)->label, 1);
    EXPECT_EQ(receive_response(asked, until).error(), NoResponse::timeout);
    EXPECT_EQ(now(), std::max(now(), until));
    EXPECT_EQ(asked.size(), 0u);
    EXPECT_EQ(receive_response(asked, until).error(), NoResponse::no_request);
    sleep(10s);
    EXPECT_TRUE(mailbox_empty());
    asked = ask();
    asked = ask();  // the first three are abandoned
    EXPECT_EQ(wait_response(asked, 10s)->label, 0);
    sleep(10s);
    asked.clear();
    EXPECT_TRUE(mailbox_empty());
    EXPECT_EQ(aliases(), 0u);
    unlink(server);
    exit(server, reason::kill);
  });
}

// --- one to many -----------------------------------------------------------------------------------------------------

TEST_F(RequestTest, Rule_10_16_AMultiCallTellsWhoAnsweredAndWhoDidNot) {
  run([] {
    const Pid quick = spawn_link([] { answer_after(0s); }), slow = spawn_link([] { answer_after(5s); });
    const Pid dying = spawn([] { receive(forever, [](Ask&, From<Ask>) { exit(Reason("no_more")); }); });
    const Pid full = spawn_link({.mailbox = 1}, wait_forever);
    const Pid gone = dead();
    send(full, Note{1});
    register_name("quick", quick);
    const auto [replies, bad] = multi_call(std::vector<Pid>{slow, quick, gone, dying, full, self(), quick}, Ask{1}, 1s);
    EXPECT_EQ(replies, (std::vector<std::pair<Pid, int>>{{quick, 2}, {quick, 2}}));
    EXPECT_EQ(bad, (std::vector<std::pair<Pid, CallError>>{{slow, {CallFailure::timeout, {}}},
                                                           {gone, {CallFailure::noproc, {}}},
                                                           {dying, {CallFailure::died, Reason("no_more")}},
                                                           {full, {CallFailure::full, {}}},
                                                           {self(), {CallFailure::calling_self, {}}}}));
    sleep(10s);
    EXPECT_TRUE(mailbox_empty());  // the late one is dropped
    EXPECT_EQ(aliases(), 0u);
    const auto by_name = multi_call(std::array{To(Name{"quick"}), To(Name{"nobody"}), To(slow)}, Ask{4}, 1min);
    ASSERT_EQ(by_name.replies.size(), 2u);
    EXPECT_EQ(by_name.replies[0].second, 5);
    EXPECT_EQ(by_name.bad.size(), 1u);
    EXPECT_TRUE(multi_call(std::vector<Pid>{}, Ask{4}, forever).replies.empty());
    const auto at_once = multi_call(std::vector{slow, quick}, Ask{4}, 0s);
    EXPECT_EQ(at_once.replies.size() + at_once.bad.size(), 2u);
    ASSERT_FALSE(at_once.bad.empty());
    EXPECT_EQ(at_once.bad[0], (std::pair{slow, CallError{CallFailure::timeout, {}}}));
    sleep(10s);
    EXPECT_TRUE(mailbox_empty());
    for (const Pid server : {quick, slow, full}) {
      unlink(server);
      exit(server, reason::kill);
    }
  });
}

TEST_F(RequestTest, Rule_10_16_AbcastSendsToEachAndDoesNotWait) {
  run([] {
    std::vector<Pid> targets{dead()};
    for (int n = 0; n < 3; ++n) {
      targets.push_back(spawn_link([me = self()] { receive(forever, [&](Note note) { send(me, Note{note}); }); }));
    }
    EXPECT_EQ(abcast(targets, Note{4}), 3u);
    for (int n = 0; n < 3; ++n) EXPECT_EQ(receive(1s, [](Note note) { return note.number; }), 4);
  });
}

TEST_F(RequestTest, WhileACallIsHandledWaitsEndWithIt) {
  class Between : public Server {
   public:
    using Handles = Messages<Ask>;
    explicit Between(Pid slow) : slow_(slow) {}
    int on(Ask& ask) {
      const auto before = now();
      RequestId<Ask> id = send_request(slow_, Ask{1});
      if (ask.number == 0) static_cast<void>(wait_response(id, 1h));
      if (ask.number == 1) multi_call(std::vector{slow_}, Ask{1}, 1h);
      last_ = static_cast<int>((now() - before) / 1s);
      return last_;
    }
    int last_ = -1;

   private:
    Pid slow_;
  };
  run([] {
    const Pid never = spawn_link(wait_forever);
    const Started between = start_link<Between>(5s, {}, never);
    for (const int how : {0, 1}) {
      static_cast<void>(call(*between, Ask{how}, 3s));
      const auto state = sys::get_state<Between>(*between, 1s);
      EXPECT_GE(state->last_, 2);
      EXPECT_LE(state->last_, 4);
    }
    unlink(never);
    exit(never, reason::kill);
    sys::stop(*between, reason::normal, 1s);
  });
}

// --- all at once -----------------------------------------------------------------------------------------------------

struct RequestStressTest : RuntimeMatrixTest {};
INSTANTIATE_TEST_SUITE_P(Every, RequestStressTest, every_setting(), name_of_setting);

// Askers that wait, give up, abandon and are killed; servers that answer, drop and are killed. Every answer is the
// right one, and nothing is left (the fixture looks).
TEST_P(RequestStressTest, EveryRequestIsAnsweredOnceOrAbandoned) {
  run([] {
    constexpr int kServers = 4, kAskers = 16, kRounds = 60;
    std::vector<Pid> servers;
    const auto serve = [](unsigned seed) {
      std::minstd_rand random(seed);
      std::vector<std::pair<int, From<Ask>>> held;
      for (;;) {
        receive(forever, [&](Ask& ask, From<Ask> from) {
          switch (random() % 4) {
            case 0:
              held.emplace_back(ask.number, std::move(from));
              break;
            case 1:
              return;  // dropped
            default:
              from.reply(ask.number + 1);
          }
          if (held.size() < 3) return;
          for (auto& [number, kept] : held) kept.reply(number + 1);
          held.clear();
        });
      }
    };
    for (unsigned n = 0; n < kServers; ++n) servers.push_back(spawn({.mailbox = 8}, serve, n + 1));
    const auto ask = [servers](unsigned seed) {
      std::minstd_rand random(seed);
      const auto is_right = [](int number, const Outcome<Ask>& result) {
        if (result ? *result != number + 1 : result.error().kind == CallFailure::calling_self) exit(Reason("wrong"));
      };
      for (int round = 0; round < kRounds; ++round) {
        Requests<Ask, int> asked;
        for (int n = 0; n < 5; ++n) asked.add(send_request(servers[random() % kServers], Ask{n}), n);
        RequestId<Ask> one = send_request(servers[random() % kServers], Ask{100});
        for (unsigned n = random() % 6; n > 0; --n) {
          const auto next = random() % 2 == 0 ? wait_response(asked, 100us) : receive_response(asked, 100us);
          if (next) is_right(next->label, next->result);
        }
        if (const auto answer = wait_response(one, std::chrono::microseconds(random() % 200))) is_right(100, *answer);
        const auto all = multi_call(servers, Ask{7}, 200us);
        for (const auto& [server, reply] : all.replies) is_right(7, reply);
        if (all.replies.size() + all.bad.size() != kServers) exit(Reason("lost"));
        if (random() % 8 == 0) static_cast<void>(call(servers[0], Ask{9}, 100us));
      }
      if (process_info(self(), 10s)->aliases != 0 || !mailbox_empty()) exit(Reason("left_over"));
    };
    std::vector<Monitored> askers;
    for (unsigned n = 0; n < kAskers; ++n) askers.push_back(spawn_monitor(ask, n + 100));
    std::minstd_rand random(7);
    for (unsigned n = 0; n < kAskers / 4; ++n) {
      sleep(std::chrono::microseconds(random() % 500));
      exit(askers[random() % kAskers].pid, reason::kill);
    }
    exit(servers[1], reason::kill);
    for (const Monitored& asker : askers) {
      const Reason why = await_down(asker);
      EXPECT_TRUE(why == reason::normal || why == reason::killed) << why.report();
    }
    for (const Pid server : servers) exit(server, reason::kill);
  });
}

}  // namespace
}  // namespace testing
}  // namespace erlking
