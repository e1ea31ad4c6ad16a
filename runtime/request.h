// Requests that are sent now and whose answers are taken later, as OTP's gen_server:send_request: one, many, one to
// many (SEMANTICS 10.14, 10.15, 10.16).
//
//   RequestId<Get> id = send_request(store, Get{"k"});              // what call() would send; does not wait
//   if (auto answer = wait_response(id, 1s)) use(*answer);           // nothing: not yet; it may be asked again
//   auto answer = receive_response(std::move(id), 1s);               // as call(): too late is never
//   receive(forever, [](Tick) { … },
//           [&](Message m) { if (auto answer = check_response(m, id)) use(*answer); });
//
//   Requests<Get, int> asked;
//   for (int n = 0; n < 9; ++n) asked.add(send_request(stores[n], Get{"k"}), n);
//   while (auto next = wait_response(asked, 1s)) use(next->label, next->result);          // as they come
//   auto [replies, bad] = multi_call(stores, Get{"k"}, 1s);
//
// An id abandons its request when it is destroyed. The server still handles it; its answer goes nowhere. Nothing here
// needs a change in who answers: it has a From, as of a call. Of the process that sent the request: another one's id
// cannot be waited for, and destroyed by another process it abandons nothing.
//
//   Q1  The answer is a message, made with the request, and travels with it, in the From: so answering needs no memory.
//       As a call's reply it takes no place in the asker's mailbox, and is never refused.
//   Q2  It comes by an alias of kind `reply` (alias.h), which is active while the request is not answered: abandoned,
//       its answer is dropped as it is delivered; answered and not yet received, it is taken out of the mailbox.
//   Q3  There is exactly one: a From answers when it is dropped, and what cannot be delivered is answered at once. So
//       no monitor is needed.
//   Q4  While the alias is active the answer is not in the mailbox: who waits for it looks at no older message.
// An answer that was received as a Message and not given to check_response() is gone: to wait for it is in vain.
#pragma once

#include "runtime/call.h"
#include "runtime/receive.h"
#include "runtime/send.h"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <new>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace erlking {

/// What a request comes to: what call() would have returned.
template <Request M>
using Outcome = std::expected<typename M::Reply, CallError>;

namespace detail {

/// The alias of a request whose answer has not been taken (Q2).
class Pending {
 public:
  Pending() noexcept = default;
  /// Of the running process; throws std::bad_alloc.
  explicit Pending(Process& asker);
  Pending(Pending&& other) noexcept : asker_(other.asker_), ref_(std::exchange(other.ref_, 0)) {}
  Pending& operator=(Pending&& other) noexcept {
    Pending taken(std::move(other));
    std::swap(asker_, taken.asker_);
    std::swap(ref_, taken.ref_);
    return *this;
  }
  ~Pending() {
    if (ref_ != 0) abandon();
  }

  std::uint64_t ref() const noexcept { return ref_; }
  /// Its answer has been taken.
  void close() noexcept { ref_ = 0; }
  /// Throws std::logic_error unless it is a request of `process`.
  void require(const Process& process, const char* what) const;

 private:
  void abandon() noexcept;

  Pid asker_;
  std::uint64_t ref_ = 0;
};

/// Which answers are waited for.
struct Wanted {
  const void* who;
  bool (*has)(const void* who, std::uint64_t ref) noexcept;
};
/// Takes the oldest answer that is wanted, `from` there on; waits for one at most `bound`. Null: none came.
ItemPtr take_answer(Process& self, Item** from, Bound bound, Wanted wanted);
/// The same for one request. A safe point.
ItemPtr take_answer(const char* what, const Pending& request, const Bound& bound);
inline std::uint64_t ref_of_answer(Item& item) noexcept { return static_cast<AnswerHead*>(item.untyped_body())->ref; }

}  // namespace detail

/// One request, whose answer has not been taken; see the head of this file. Move-only.
template <Request M>
class RequestId {
 public:
  /// No request.
  RequestId() noexcept = default;
  /// For send_request().
  explicit RequestId(detail::Pending pending) noexcept : pending_(std::move(pending)) {}

  /// Whether its answer can still be taken: it has been neither taken nor moved away.
  explicit operator bool() const noexcept { return pending_.ref() != 0; }
  /// A number no other request of this runtime has; 0: no request.
  std::uint64_t number() const noexcept { return pending_.ref(); }

  /// For the functions below.
  const detail::Pending& pending() const noexcept { return pending_; }
  /// Takes the answer out of its message: the request is over.
  Outcome<M> close(detail::Answer<M>& answer) noexcept {
    pending_.close();
    return std::move(answer.value);
  }

 private:
  detail::Pending pending_;
};

namespace detail {
/// Both ends of a request of the running process, whom the caller sends the second one. Throws std::bad_alloc.
template <Request M>
std::pair<RequestId<M>, From<M>> open_request(Process& self, base::Nanos gives_up) {
  Pending pending(self);
  Item* const answer = make_item<Answer<M>>(self.pid().id, AnswerHead{pending.ref()});
  answer->set_flags(Item::kAnswer);
  return {RequestId<M>(std::move(pending)), From<M>(ReplyTo{&self, ReplyTo::by_message(answer), gives_up})};
}
}  // namespace detail

/// Sends a request and does not wait: neither for the answer nor for room. What stands in its way (`noproc`, `full`) is
/// its answer. `gives_up`: what From::deadline() tells whoever answers. To oneself: it is a message like any other.
/// Throws std::bad_alloc, and then has sent nothing. A safe point, as the others here.
template <Request M>
RequestId<M> send_request(const To& address, M request, Clock::time_point gives_up = Clock::time_point::max()) {
  Process& self = require_process("send_request");
  self.checkpoint();
  const auto [to, stamp] = address.target(*self.system);
  Process& target = self.system->process(to);
  auto [id, from] = detail::open_request<M>(self, base::to_nanos(gives_up));
  Item* const item = detail::make_item<detail::Called<M>>(stamp, std::move(request), std::move(from));
  const Push push = detail::push_from(self, target, item, to);
  if (push >= Push::full) [[unlikely]] {
    const bool full = detail::delivery_of(push, target) == Delivery::full;
    item->body<detail::Called<M>>()->from.fail({full ? CallFailure::full : CallFailure::noproc, {}});
    detail::drop_item(item);
  }
  return std::move(id);
}

/// Waits for the answer at most `bound`. Nothing: it has not come, and the request goes on. Throws std::logic_error if
/// `id` is no request of the caller.
template <Request M>
std::optional<Outcome<M>> wait_response(RequestId<M>& id, Bound bound) {
  const detail::ItemPtr item = detail::take_answer("wait_response", id.pending(), bound);
  if (item == nullptr) return std::nullopt;
  return id.close(*item->body<detail::Answer<M>>());
}

/// The same, and then the request is abandoned: `timeout`, for good.
template <Request M>
Outcome<M> receive_response(RequestId<M> id, Bound bound) {
  const detail::ItemPtr item = detail::take_answer("receive_response", id.pending(), bound);
  if (item == nullptr) return std::unexpected(CallError{CallFailure::timeout, {}});
  return id.close(*item->body<detail::Answer<M>>());
}

/// What `message`, which the caller has received, says if it is the answer; it is then used up. Nothing: it is not, and
/// is as it was.
template <Request M>
std::optional<Outcome<M>> check_response(Message& message, RequestId<M>& id) noexcept {
  auto* const answer = message.get<detail::Answer<M>>();
  if (answer == nullptr || answer->ref != id.number()) return std::nullopt;
  const Message used = std::move(message);
  return id.close(*answer);
}

// --- many ------------------------------------------------------------------------------------------------------------

/// Why many requests gave no answer.
enum class NoResponse : std::uint8_t {
  no_request,  ///< none of them is unanswered
  no_reply,    ///< the message is none of their answers
  timeout,     ///< none came within the bound
};
/// Its name, as above.
std::string_view to_string(NoResponse why) noexcept;

/// One of many answers.
template <Request M, class Label>
struct Response {
  Outcome<M> result;  ///< what the request came to
  Label label;        ///< what it was added with
};

/// What becomes of a request in a collection whose answer is given out.
enum class Answered : bool {
  removed,  ///< it is forgotten
  kept,     ///< size() and to_list() still know it
};

/// Requests of one process whose answers are taken as they come, each with a label.
template <Request M, std::copy_constructible Label>
class Requests {
 public:
  Requests() = default;
  Requests(Requests&& other) noexcept
      : entries_(std::move(other.entries_)), unanswered_(std::exchange(other.unanswered_, 0)) {}
  Requests& operator=(Requests&& other) noexcept {
    Requests taken(std::move(other));
    entries_.swap(taken.entries_);
    std::swap(unanswered_, taken.unanswered_);
    return *this;
  }

  /// Adds one that is unanswered: one that is not, such as one that has been added before, throws std::logic_error.
  void add(RequestId<M> id, Label label) {
    if (!id) throw std::logic_error("erlking: what is added to Requests is no request, or has been added before");
    const std::uint64_t number = id.number();
    entries_.try_emplace(number, std::move(id), std::move(label));
    ++unanswered_;
  }
  /// How many there are.
  std::size_t size() const noexcept { return entries_.size(); }
  /// Their numbers (RequestId::number()) and labels, in no order.
  std::vector<std::pair<std::uint64_t, Label>> to_list() const {
    std::vector<std::pair<std::uint64_t, Label>> all;
    all.reserve(size());
    for (const auto& [number, entry] : entries_) all.emplace_back(number, entry.label);
    return all;
  }
  /// Abandons all.
  void clear() noexcept {
    entries_.clear();
    unanswered_ = 0;
  }

  /// For the functions below.
  bool has_unanswered() const noexcept { return unanswered_ != 0; }
  /// Those whose answers are waited for (one that has been answered never is again).
  detail::Wanted wanted() const noexcept {
    return {this, [](const void* who, std::uint64_t number) noexcept {
              return static_cast<const Requests*>(who)->entries_.contains(number);
            }};
  }
  /// What `message` holds, if it answers one of them; else null.
  detail::Answer<M>* answer_in(Message& message) const noexcept {
    auto* const answer = message.get<detail::Answer<M>>();
    return answer != nullptr && entries_.contains(answer->ref) ? answer : nullptr;
  }
  /// Takes the answer to one of them.
  Response<M, Label> close(detail::Answer<M>& answer, Answered then) {
    const auto at = entries_.find(answer.ref);
    Entry& entry = at->second;
    --unanswered_;
    Outcome<M> result = entry.id.close(answer);
    if (then == Answered::kept) return {std::move(result), entry.label};
    Response<M, Label> response{std::move(result), std::move(entry.label)};
    entries_.erase(at);
    return response;
  }

 private:
  struct Entry {
    RequestId<M> id;
    Label label;
  };
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::size_t unanswered_ = 0;
};

/// Waits at most `bound` for the answer to any of them; of those that have come the oldest. `timeout`: all go on.
template <Request M, class Label>
std::expected<Response<M, Label>, NoResponse> wait_response(Requests<M, Label>& requests, Bound bound,
                                                            Answered then = Answered::removed) {
  Process& self = require_process("wait_response");
  self.checkpoint();
  if (!requests.has_unanswered()) return std::unexpected(NoResponse::no_request);
  const detail::ItemPtr item = detail::take_answer(self, &self.inbox_head, bound, requests.wanted());
  if (item == nullptr) return std::unexpected(NoResponse::timeout);
  return requests.close(*item->body<detail::Answer<M>>(), then);
}

/// The same, but `timeout` abandons all.
template <Request M, class Label>
std::expected<Response<M, Label>, NoResponse> receive_response(Requests<M, Label>& requests, Bound bound,
                                                               Answered then = Answered::removed) {
  auto response = wait_response(requests, bound, then);
  if (!response && response.error() == NoResponse::timeout) requests.clear();
  return response;
}

/// What `message`, which the caller has received, says if it answers one of them; it is then used up. Else it is as it
/// was.
template <Request M, class Label>
std::expected<Response<M, Label>, NoResponse> check_response(Message& message, Requests<M, Label>& requests,
                                                             Answered then = Answered::removed) {
  if (!requests.has_unanswered()) return std::unexpected(NoResponse::no_request);
  auto* const answer = requests.answer_in(message);
  if (answer == nullptr) return std::unexpected(NoResponse::no_reply);
  const Message used = std::move(message);
  return requests.close(*answer, then);
}

namespace detail {
/// For several waits, beginning now, that are bound by `bound` together.
inline Bound bound_of_all(Process& self, Bound bound) noexcept {
  if (self.in_call) bound = within_call(self, bound);
  return bound.is_poll() ? bound : deadline_of(*self.system, bound);
}
}  // namespace detail

// --- one to many -----------------------------------------------------------------------------------------------------

/// Something that lists whom to send to: Pids, Names, Aliases, or To.
template <class R>
concept Targets = std::ranges::input_range<R> && std::convertible_to<std::ranges::range_reference_t<R>, To> &&
    std::copy_constructible<std::ranges::range_value_t<R>>;

/// What a multi_call() comes to; both in the order of its targets.
template <class Target, Request M>
struct MultiReply {
  std::vector<std::pair<Target, typename M::Reply>> replies;  ///< who has answered, and what
  std::vector<std::pair<Target, CallError>> bad;              ///< who has not, and why; `timeout`: not in time
};

/// Sends a copy of `request` to each and waits for the answers at most `bound` in all; later ones are dropped.
template <Targets R, Request M>
requires std::copy_constructible<M> MultiReply<std::ranges::range_value_t<R>, M> multi_call(R&& targets,
                                                                                            const M& request,
                                                                                            Bound bound) {
  using Target = std::ranges::range_value_t<R>;
  Process& self = require_process("multi_call");
  const Bound until = detail::bound_of_all(self, bound);
  const Clock::time_point gives_up = base::to_time_point(detail::exact_deadline(self, until));
  std::vector<std::pair<Target, Outcome<M>>> all;
  Requests<M, std::size_t> asked;
  for (auto&& target : targets) {
    CallFailure kind = CallFailure::timeout;
    const To to = target;
    if (to.target(*self.system).pid == self.pid()) {
      kind = CallFailure::calling_self;
    } else {
      try {
        asked.add(send_request(to, M(request), gives_up), all.size());
      } catch (const std::bad_alloc&) {
        kind = CallFailure::no_memory;
      }
    }
    all.emplace_back(target, std::unexpected(CallError{kind, {}}));
  }
  while (auto next = receive_response(asked, until)) all[next->label].second = std::move(next->result);
  MultiReply<Target, M> made;
  for (auto& [target, result] : all) {
    if (result) {
      made.replies.emplace_back(std::move(target), *std::move(result));
    } else {
      made.bad.emplace_back(std::move(target), std::move(result).error());
    }
  }
  return made;
}

/// Sends a copy of `message` to each, and does not wait; how many mailboxes took it. Throws std::bad_alloc.
template <Targets R, Sendable T>
requires std::copy_constructible<T> std::size_t abcast(R&& targets, const T& message) {
  std::size_t queued = 0;
  for (auto&& target : targets) queued += send(target, T(message)) == Delivery::queued ? 1 : 0;
  return queued;
}

}  // namespace erlking
