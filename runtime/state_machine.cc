#include "runtime/state_machine.h"

#include "base/intrusive.h"
#include "runtime/system.h"
#include "runtime/timer.h"

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace erlking::detail {

namespace {

/// Events in order; owns them.
class EventList {
 public:
  EventList() noexcept = default;
  EventList(const EventList&) = delete;
  EventList& operator=(const EventList&) = delete;
  ~EventList() {
    while (Item* const item = pop_front()) drop_item(item);
  }

  bool empty() const noexcept { return first_ == nullptr; }
  std::uint32_t size() const noexcept { return size_; }
  void push_back(Item* item) noexcept {
    item->next = nullptr;
    *end_ = item;
    end_ = &item->next;
    ++size_;
  }
  /// Null: it is empty.
  Item* pop_front() noexcept {
    Item* const item = first_;
    if (item == nullptr) return nullptr;
    first_ = item->next;
    if (first_ == nullptr) end_ = &first_;
    --size_;
    return item;
  }
  /// All of `other` comes to the front, in its order.
  void prepend(EventList& other) noexcept {
    if (other.empty()) return;
    *other.end_ = first_;
    if (first_ == nullptr) end_ = other.end_;
    first_ = std::exchange(other.first_, nullptr);
    other.end_ = &other.first_;
    size_ += std::exchange(other.size_, 0);
  }

 private:
  Item* first_ = nullptr;
  Item** end_ = &first_;
  std::uint32_t size_ = 0;
};

/// What a timer of a machine delivers, as Expired: which timeout's time has come.
struct Tick {
  TimeoutKind kind;
  std::string name;
};

/// A timeout that runs, or is due.
struct Timing {
  ItemPtr event;                      // null: it does not run
  TimerRef timer;                     // that says when; none: it is due
  base::ListLink link;                // of those that are due
  const std::string* name = nullptr;  // of a named one
};

/// What a callback has said of a timeout.
struct TimeoutAsk {
  TimeoutVerb verb;
  TimeoutKind kind;
  std::string name;
  Bound when;
  ItemPtr event;
};

// The stamp of an inserted event, until it is postponed; a message's is a pid's.
constexpr std::uint64_t kInserted = 0, kPostponed = 1;

}  // namespace

class Agenda {
 public:
  bool empty() const noexcept {
    return events_.empty() && postponed.empty() && inserted.empty() && asks.empty() && event_.event == nullptr &&
           state_.event == nullptr && named_.empty();
  }
  std::uint32_t insertions() const noexcept { return inserted.size() + inserted_waiting_; }

  void retry_postponed() noexcept { events_.prepend(postponed); }
  void admit_inserted() noexcept {
    inserted_waiting_ += inserted.size();
    events_.prepend(inserted);
  }

  /// The next event; empty: none waits or is due.
  Message next() noexcept {
    if (Item* const item = events_.pop_front()) {
      if (item->stamp == kInserted) --inserted_waiting_;
      return Message(item);
    }
    Timing* const timing = due_.front();
    return timing == nullptr ? Message() : take(*timing);
  }
  /// The event of the timeout whose timer has fired; empty: the message is of one that is over (E6).
  Message expire(const Expired<Tick>& tick) noexcept {
    Timing* const timing = find(tick.message.kind, tick.message.name);
    return timing == nullptr || timing->timer != tick.timer ? Message() : take(*timing);
  }

  void cancel(TimeoutKind kind, const std::string& name = {}) noexcept {
    Timing* const timing = find(kind, name);
    if (timing == nullptr) return;
    Process& self = self_process();
    if (timing->timer) cancel_timer(*self.system, &self, timing->timer);
    take(*timing);  // and dropped
  }
  void carry_out(TimeoutAsk&& ask, std::uint32_t most) {
    if (ask.verb == TimeoutVerb::update) {
      Timing* const timing = find(ask.kind, ask.name);
      if (timing != nullptr && timing->timer) {
        timing->event.swap(ask.event);
        return;
      }
    }
    cancel(ask.kind, ask.name);
    if (ask.when.is_forever()) return;
    if (named_.size() >= most && ask.kind == TimeoutKind::named) exit(Reason("too_many_timeouts", ask.name));
    Timing& timing = place(ask.kind, ask.name);
    if (!ask.when.is_poll()) {
      Process& self = self_process();
      Tick tick{ask.kind, std::move(ask.name)};
      const auto timer =
          start_with<Expired<Tick>>(self, self.pid(), ask.when, TimerRef{}, tick, &Expired<Tick>::message);
      if (!timer) exit(reason::system_limit);
      timing.timer = *timer;
    } else {
      due_.push_back(timing);
    }
    timing.event = std::move(ask.event);
  }

  // What callbacks fill, and machines empty.
  EventList inserted;            // by the callbacks of this step
  std::vector<TimeoutAsk> asks;  // by the callbacks of this step, in order
  EventList postponed;

 private:
  Timing* find(TimeoutKind kind, const std::string& name) noexcept {
    if (kind == TimeoutKind::named) {
      const auto found = named_.find(name);
      return found == named_.end() ? nullptr : &found->second;
    }
    Timing& timing = kind == TimeoutKind::event ? event_ : state_;
    return timing.event == nullptr ? nullptr : &timing;
  }
  Timing& place(TimeoutKind kind, const std::string& name) {
    if (kind != TimeoutKind::named) return kind == TimeoutKind::event ? event_ : state_;
    const auto made = named_.try_emplace(name).first;
    made->second.name = &made->first;
    return made->second;
  }
  Message take(Timing& timing) noexcept {
    Message event(timing.event.release());
    timing.link.unlink();
    timing.timer = {};
    if (timing.name != nullptr) named_.erase(named_.find(*timing.name));
    return event;
  }

  EventList events_;  // that wait (E5)
  std::uint32_t inserted_waiting_ = 0;
  Timing event_, state_;
  std::map<std::string, Timing> named_;
  base::List<Timing, &Timing::link> due_;
};

namespace {

[[noreturn]] void out_of_place(const char* what, const char* why) {
  throw std::logic_error(std::string("erlking: ") + what + " called " + why);
}

}  // namespace

// Here and not inline: g++ 12 takes a pointer to a frame, stored in an object, for one that dangles.
Step::Step(Machine& m, Message& e) noexcept : machine(m), event(e) { machine.step_ = this; }
Step::~Step() { machine.step_ = nullptr; }

Machine::~Machine() { delete agenda_; }

Agenda& Machine::agenda() {
  if (agenda_ == nullptr) agenda_ = new Agenda;
  return *agenda_;
}

Step* Machine::require_on(const char* what, bool in_constructor) const {
  if (step_ == nullptr) {
    const bool constructing = require_behaviour(what).phase() == Behaviour::Phase::starting;
    if (!constructing || !in_constructor) out_of_place(what, "outside a callback that may");
  } else if (step_->entering) {
    out_of_place(what, "in enter(), which may only set timeouts, answer and stop");
  }
  return step_;
}

void Machine::postpone_this() {
  Step& step = *require_on("postpone");
  if (!step.event) out_of_place("postpone", "without the message that on_other() was given");
  if (step.event.kind() == MessageKind::call) out_of_place("postpone", "for a request without its From");
  step.postponed = true;
}

void Machine::postpone_this(Message&& given_back) {
  Step& step = *require_on("postpone");
  if (!given_back) out_of_place("postpone", "with a message that is empty");
  step.event = std::move(given_back);
  step.postponed = true;
}

void Machine::insert_event(Item* item, std::uint32_t most) {
  ItemPtr owned(item);
  require_on("next_event", true);
  Agenda& agenda = this->agenda();
  if (agenda.insertions() >= most) exit(Reason("too_many_events", item->type->name));
  agenda.inserted.push_back(owned.release());
}

void Machine::ask_timeout(TimeoutVerb verb, TimeoutKind kind, std::string_view name, const Bound& when, Item* event,
                          std::uint32_t most) {
  ItemPtr owned(event);
  if (step_ == nullptr || !step_->entering) require_on("a function for timeouts", true);
  if (verb == TimeoutVerb::cancel && agenda_ == nullptr) return;
  Agenda& agenda = this->agenda();
  if (agenda.asks.size() >= most) exit(Reason("too_many_timeouts", name));
  agenda.asks.push_back({verb, kind, std::string(name), when, std::move(owned)});
}

void Machine::take_message(Behaviour& behaviour, Message&& message, Handle handle) {
  if (const auto* const tick = message.get<Expired<Tick>>()) [[unlikely]] {
    Message event = agenda_ == nullptr ? Message() : agenda_->expire(*tick);
    if (!event) return;
    message = std::move(event);
  }
  handle(*this, behaviour, std::move(message));
  go_on(behaviour, handle);
}

void Machine::go_on(Behaviour& behaviour, Handle handle) {
  if (agenda_ == nullptr) return;
  while (!is_stopping(behaviour)) {
    Message event = agenda_->next();
    if (!event) {
      if (agenda_->empty()) delete std::exchange(agenda_, nullptr);
      return;
    }
    self_process().checkpoint();
    handle(*this, behaviour, std::move(event));
  }
}

void Machine::cancel_event_timeout_slow() noexcept { agenda_->cancel(TimeoutKind::event); }

void Machine::carry_out_slow(Step& step, bool changed, std::uint32_t most) {
  Agenda& agenda = this->agenda();
  if (step.postponed) {
    if (changed || agenda.postponed.size() < most) {
      Item* const item = step.event.release();
      item->stamp = kPostponed;
      agenda.postponed.push_back(item);
    } else if (step.refuse != nullptr) {
      step.refuse(step.event);
    } else {
      exit(Reason("too_many_postponed", step.event.type_name()));
    }
  }
  if (changed) {
    agenda.retry_postponed();
    agenda.cancel(TimeoutKind::state);
  }
  agenda.admit_inserted();
  for (TimeoutAsk& ask : std::exchange(agenda.asks, {})) agenda.carry_out(std::move(ask), most);
}

}  // namespace erlking::detail
