#include "runtime/flight_record.h"

#include "io/io.h"
#include "runtime/flight_word.h"
#include "runtime/process_table.h"
#include "runtime/system.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <limits>
#include <span>
#include <sys/uio.h>
#include <type_traits>
#include <unistd.h>
#include <unordered_map>

extern "C" {
extern __thread erlking::Core* ek_thread_core __attribute__((tls_model("initial-exec")));
}

namespace erlking {

using base::Nanos;
using sched::Flight;
using sched::FlightKind;

namespace detail {

static_assert(kFlightPidTurn == ProcessTable::kSlotBits && sched::kFlightKindBits == ProcessTable::kTagBits);

namespace {

// What follows takes no memory and no lock: it runs in signal handlers.

constexpr std::string_view kHappenings[] = {"run",      "begin",   "spawn",   "exit",  "killed",
                                            "send",     "refused", "receive", "reply", "timer",
                                            "io_begin", "io_end",  "steal",   "sleep", "wake"};
constexpr std::string_view kCodes[] = {"recv",      "send",         "accept",          "connect", "read",     "write",
                                       "poll",      "send_message", "receive_message", "read_at", "write_at", "sync",
                                       "sync_data", "call"};
static_assert(std::size(kCodes) == static_cast<std::size_t>(io::Code::call) + 1);
static_assert(std::size(kHappenings) == static_cast<std::size_t>(Happening::wake) + 1);

constexpr std::size_t kTextWords = 3, kTextBytes = 7;

// An event as it lies in a ring: names are where they were.
struct RawEvent {
  Nanos at = 0;
  Happening what{};
  Pid process, other;
  const void* type = nullptr;   // a TypeInfo
  const void* start = nullptr;  // a Start
  std::array<char, kTextWords * kTextBytes> text{};
  std::size_t text_size = 0;
  std::int64_t value = 0;
  std::uint32_t detail = 0;  // of an operation its code; of a steal the victim
};

// The words of a ring from number `from` on; how long a mark's time lasts at the end is not known: at most a tick.
struct Window {
  std::span<const std::uint64_t> words;
  unsigned tag;
  Nanos marked_at;  // of the ring's last mark, should none be in sight
  Nanos now;
};

std::uint64_t kind_of_word(std::uint64_t word) noexcept { return word & sched::kFlightKindMask; }
bool is_kind(std::uint64_t word, FlightWord kind) noexcept {
  return kind_of_word(word) == static_cast<std::uint64_t>(kind);
}
bool is_kind(std::uint64_t word, FlightKind kind) noexcept {
  return kind_of_word(word) == static_cast<std::uint64_t>(kind);
}
bool is_mark(std::uint64_t word) noexcept {
  return is_kind(word, FlightKind::tick) || is_kind(word, FlightKind::sleep) || is_kind(word, FlightKind::wake);
}
std::uint64_t value_of(std::uint64_t word) noexcept { return word >> sched::kFlightKindBits; }
Nanos time_of(std::uint64_t mark) noexcept { return static_cast<Nanos>(value_of(mark)); }
const void* pointer_of(std::uint64_t word) noexcept {
  return reinterpret_cast<const void*>(static_cast<std::uintptr_t>(word & ~sched::kFlightKindMask));
}

// Times of words between two marks (F3).
class Times {
 public:
  explicit Times(const Window& window) noexcept : window_(window) {
    const auto* const first = std::ranges::find_if(window.words, is_mark).base();
    from_ = first == end() ? window.marked_at : time_of(*first);
    look_for_next(0);
  }
  // Of the word at `i`, asked in order.
  Nanos at(std::size_t i) noexcept {
    if (i >= next_) {
      from_ = to_;
      begin_ = next_;
      look_for_next(next_ + 1);
    }
    const auto part = static_cast<Nanos>(i - begin_),
               whole = static_cast<Nanos>(std::max<std::size_t>(next_ - begin_, 1));
    return from_ + (to_ - from_) / whole * part;
  }

 private:
  static constexpr Nanos kTick = 20'000;
  const std::uint64_t* end() const noexcept { return window_.words.data() + window_.words.size(); }
  void look_for_next(std::size_t i) noexcept {
    while (i < window_.words.size() && !is_mark(window_.words[i])) ++i;
    next_ = i;
    to_ = i < window_.words.size() ? time_of(window_.words[i]) : std::max(from_, std::min(window_.now, from_ + kTick));
  }

  const Window& window_;
  std::size_t begin_ = 0, next_ = 0;
  Nanos from_ = 0, to_ = 0;
};

// Calls visit(RawEvent) for each event that begins in the window, oldest first.
template <class Visit>
void for_each_event(const Window& window, Visit&& visit) noexcept(noexcept(visit(RawEvent{}))) {
  Times times(window);
  Pid running;
  const std::span words = window.words;
  for (std::size_t i = 0; i < words.size();) {
    RawEvent event;
    const std::uint64_t word = words[i];
    event.at = times.at(i);
    ++i;
    event.process = running;
    const auto pid = [&] { return flight_pid(word, window.tag); };
    bool known = true;
    switch (kind_of_word(word)) {
      case static_cast<std::uint64_t>(FlightKind::sleep):
      case static_cast<std::uint64_t>(FlightKind::wake):
        event.what = is_kind(word, FlightKind::sleep) ? Happening::sleep : Happening::wake;
        event.process = running = {};
        break;
      case static_cast<std::uint64_t>(FlightKind::steal):
        event.what = Happening::steal;
        event.process = {};
        event.value = static_cast<std::int64_t>(value_of(word) >> 16);
        event.detail = static_cast<std::uint32_t>(value_of(word) & 0xffff);
        break;
      case static_cast<std::uint64_t>(FlightWord::run):
      case static_cast<std::uint64_t>(FlightWord::begin):
        event.what = is_kind(word, FlightWord::run) ? Happening::run : Happening::begin;
        event.process = running = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::spawn):
        event.what = Happening::spawn;
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::exit):
        event.what = Happening::exit;
        event.process = pid();
        running = {};
        break;
      case static_cast<std::uint64_t>(FlightWord::killed):
        event.what = Happening::killed;
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::send):
        event.what = Happening::send;
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::refused):
        event.what = Happening::refused;
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::reply):
        event.what = Happening::reply;
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::timer):
        event.what = Happening::timer;
        event.process = {};
        event.other = pid();
        break;
      case static_cast<std::uint64_t>(FlightWord::receive):
        event.what = Happening::receive;
        event.type = pointer_of(word);
        break;
      case static_cast<std::uint64_t>(FlightWord::io_begin):
      case static_cast<std::uint64_t>(FlightWord::io_end): {
        const bool begins = is_kind(word, FlightWord::io_begin);
        event.what = begins ? Happening::io_begin : Happening::io_end;
        event.detail = static_cast<std::uint32_t>(value_of(word) >> 32 & 0x1f);
        event.value = begins ? static_cast<std::int64_t>(value_of(word) >> 37)
                             : static_cast<std::int32_t>(static_cast<std::uint32_t>(value_of(word)));
        break;
      }
      default:  // a tick; the rest of an event that the window has cut in two
        known = false;
    }
    for (std::size_t texts = 0; i < words.size() && texts < kTextWords; ++i) {
      if (is_kind(words[i], FlightWord::type)) {
        event.type = pointer_of(words[i]);
      } else if (is_kind(words[i], FlightWord::start)) {
        event.start = pointer_of(words[i]);
      } else if (is_kind(words[i], FlightWord::text)) {
        const std::uint64_t bytes = value_of(words[i]);
        for (std::size_t k = 0; k < kTextBytes; ++k) {
          const char c = static_cast<char>(bytes >> 8 * k);
          if (c != '\0') event.text[event.text_size++] = c;
        }
        ++texts;
      } else {
        break;
      }
    }
    if (known) visit(event);
  }
}

// What a module that has been unloaded said is not read but asked for.
bool read_memory(void* to, const void* from, std::size_t bytes) noexcept {
  const iovec here{to, bytes}, there{const_cast<void*>(from), bytes};
  const int kept = errno;
  const bool read = ::process_vm_readv(::getpid(), &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes);
  errno = kept;
  return read;
}

template <class T>
std::string_view copy_name(const void* at, std::span<char> room) noexcept {
  alignas(T) std::byte copy[sizeof(T)];
  static_assert(std::is_trivially_copyable_v<T>);
  if (!read_memory(copy, at, sizeof(T))) return "?";
  const std::string_view name = reinterpret_cast<const T*>(copy)->name;
  const std::size_t size = std::min(name.size(), room.size());
  return read_memory(room.data(), name.data(), size) ? std::string_view(room.data(), size) : "?";
}

// Of the event, copied into `room` as far as it fits, or a constant.
std::string_view name_of_event(const RawEvent& event, std::span<char> room) noexcept {
  if (event.type != nullptr) return copy_name<TypeInfo>(event.type, room);
  if (event.start != nullptr) return copy_name<Start>(event.start, room);
  if (event.what == Happening::io_begin || event.what == Happening::io_end)
    return event.detail < std::size(kCodes) ? kCodes[event.detail] : "?";
  if (event.what == Happening::steal) {
    constexpr std::string_view kFrom = "from w";
    std::copy(kFrom.begin(), kFrom.end(), room.data());
    std::size_t size = kFrom.size();
    for (std::uint32_t unit = 10'000; unit != 0; unit /= 10) {
      if (event.detail >= unit || unit == 1) room[size++] = static_cast<char>('0' + event.detail / unit % 10);
    }
    return {room.data(), size};
  }
  const std::size_t size = std::min(event.text_size, room.size());
  std::copy_n(event.text.data(), size, room.data());
  return {room.data(), size};
}

// A line in the making, of at most so many bytes.
class Line {
 public:
  void add(std::string_view text, std::size_t width = 0) noexcept {
    for (const char c : text) put(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
    for (std::size_t i = text.size(); i < width; ++i) put(' ');
  }
  void add(std::uint64_t number, std::size_t digits = 1, std::size_t width = 0) noexcept {
    char reversed[20];
    std::size_t n = 0;
    for (; number != 0 || n < digits; number /= 10) reversed[n++] = static_cast<char>('0' + number % 10);
    for (std::size_t i = n; i < width; ++i) put(' ');
    while (n != 0) put(reversed[--n]);
  }
  void add(std::int64_t number) noexcept {
    if (number < 0) put('-');
    add(number < 0 ? ~static_cast<std::uint64_t>(number) + 1 : static_cast<std::uint64_t>(number));
  }
  void add(Pid pid, std::size_t width = 0) noexcept {
    const std::size_t before = size_;
    if (pid) {
      put('<');
      add(pid.id >> ProcessTable::kSlotBits & ((1u << ProcessTable::kTagBits) - 1));
      put('.');
      add(pid.id & ProcessTable::kSlotMask);
      put('.');
      add(pid.id >> (ProcessTable::kSlotBits + ProcessTable::kTagBits));
      put('>');
    } else {
      put('-');
    }
    while (size_ < before + width && size_ < kRoom) put(' ');
  }
  void put(char c) noexcept {
    if (size_ < kRoom) bytes_[size_++] = c;
  }
  // With its end; without what blanks there are before.
  std::string_view done() noexcept {
    while (size_ != 0 && bytes_[size_ - 1] == ' ') --size_;
    bytes_[size_] = '\n';
    return {bytes_, size_ + 1};
  }

 private:
  static constexpr std::size_t kRoom = 250;
  char bytes_[kRoom + 1];
  std::size_t size_ = 0;
};

constexpr std::size_t kNameMost = 100;  // of a line

// What a line says; `name` and what else as in FlightEvent.
void describe(Line& line, Nanos ago, unsigned worker, Happening what, Pid process, Pid other, std::string_view name,
              std::int64_t value) noexcept {
  const auto micros = static_cast<std::uint64_t>(std::max<Nanos>(ago, 0) / 1000);
  line.put('-');
  line.add(micros / 1'000'000);
  line.put('.');
  line.add(micros % 1'000'000, 6);
  line.add(" w");
  line.add(std::uint64_t{worker});
  line.add(worker < 10 ? "   " : worker < 100 ? "  " : " ");
  line.add(process, 16);
  line.put(' ');
  line.add(kHappenings[static_cast<std::size_t>(what)], 9);
  if (other) {
    line.add(other);
    line.put(' ');
  }
  line.add(name.substr(0, kNameMost));
  if (name.size() > kNameMost) line.add("…");
  if (what == Happening::io_begin) {
    line.add(" of ");
    line.add(value);
  } else if (what == Happening::io_end || what == Happening::steal) {
    line.add(": ");
    line.add(value);
  }
}

// --- of all runtimes -------------------------------------------------------------------------------------------------

// Who tells announces it (seq_cst) and then looks which runtimes there are; who ends takes itself out (seq_cst) and
// waits until nobody tells [flights].
std::atomic<const System*> systems[64];
std::atomic<int> telling{0};

constexpr std::size_t kTold = 32;        // events of each worker
constexpr unsigned kWorkersTold = 64;    // of each runtime
constexpr std::size_t kWordsTold = 256;  // that those events are in

void write_all(int fd, std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

// The last words of a ring, as many as there is room for.
std::span<const std::uint64_t> last_words(const Flight& flight, std::span<std::uint64_t> room) noexcept {
  if (flight.size() == 0) return {};
  const std::uint64_t end = flight.count();
  const std::uint64_t begin = end - std::min<std::uint64_t>({end, flight.size(), room.size()});
  for (std::uint64_t i = begin; i != end; ++i) room[i - begin] = flight.word(i);
  const std::uint64_t kept = std::clamp(flight.first_kept(), begin, end);
  return std::span<const std::uint64_t>(room).subspan(kept - begin, end - kept);
}

void tell_worker(int fd, const System& system, const sched::Worker& worker, Nanos now) noexcept {
  std::uint64_t room[kWordsTold];
  const Window window{last_words(worker.flight(), room), static_cast<unsigned>(system.tag), worker.flight().marked_at(),
                      now};
  std::size_t events = 0;
  for_each_event(window, [&](const RawEvent&) noexcept { ++events; });
  for_each_event(window, [&](const RawEvent& event) noexcept {
    if (events-- > kTold) return;
    char name[kNameMost + 1];
    Line line;
    describe(line, now - event.at, worker.index(), event.what, event.process, event.other, name_of_event(event, name),
             event.value);
    write_all(fd, line.done());
  });
}

void tell_system(int fd, const System& system, Nanos now) noexcept {
  const sched::Scheduler& scheduler = *system.scheduler;
  const sched::Worker* const own = ek_thread_core;  // first: it is most likely what it is about
  unsigned told = 0, left = 0;
  for (unsigned turn = 0; turn < 2; ++turn) {
    for (unsigned i = 0; i < scheduler.size(); ++i) {
      const sched::Worker& worker = scheduler.worker(i);
      if ((&worker == own) != (turn == 0) || worker.flight().size() == 0 || worker.flight().count() == 0) continue;
      if (told == kWorkersTold) {
        ++left;
        continue;
      }
      if (told++ == 0) write_all(fd, "erlking: flight recorder, the last of each worker, oldest first:\n");
      tell_worker(fd, system, worker, now);
    }
  }
  if (left == 0) return;
  Line line;
  line.add("and of ");
  line.add(std::uint64_t{left});
  line.add(" more workers");
  write_all(fd, line.done());
}

}  // namespace

void add_flights(const System& system) noexcept { systems[system.tag].store(&system, base::seq_cst); }  // [flights]

void remove_flights(const System& system) noexcept {
  systems[system.tag].store(nullptr, base::seq_cst);  // [flights]
  for (unsigned turns = 0; telling.load(base::seq_cst) != 0; ++turns) base::pause_or_yield(turns);
}

void tell_flights_at_abort() noexcept {
  static std::atomic<bool> told{false};
  if (!told.exchange(true, base::relaxed)) tell_all_flights(STDERR_FILENO);  // relaxed: nothing is published
}

// --- on demand -------------------------------------------------------------------------------------------------------

FlightRecord flight_record_of(const System& system, std::size_t most) {
  FlightRecord record;
  const Nanos now = base::monotonic_now();
  record.taken = base::to_time_point(now);
  std::unordered_map<const void*, std::string> names;
  std::vector<char> text(1000);
  std::vector<std::uint64_t> room;
  const sched::Scheduler& scheduler = *system.scheduler;
  for (unsigned i = 0; i < scheduler.size(); ++i) {
    const Flight& flight = scheduler.worker(i).flight();
    room.resize(flight.size());
    const Window window{last_words(flight, room), static_cast<unsigned>(system.tag), flight.marked_at(), now};
    std::size_t events = 0;
    for_each_event(window, [&](const RawEvent&) noexcept { ++events; });
    for_each_event(window, [&](const RawEvent& event) noexcept(false) {
      if (events-- > most) return;
      const void* const key = event.type != nullptr ? event.type : event.start;
      std::string name;
      if (key == nullptr) {
        name = name_of_event(event, text);
      } else {
        const auto [known, made] = names.try_emplace(key);
        if (made) known->second = name_of_event(event, text);
        name = known->second;
      }
      const Nanos at = std::min(event.at, now);  // what came while this looked is no later than it
      record.events.push_back(
          {base::to_time_point(at), i, event.what, event.process, event.other, std::move(name), event.value});
    });
  }
  std::ranges::stable_sort(record.events, {}, &FlightEvent::at);
  if (record.events.size() > most) {
    record.events.erase(record.events.begin(), record.events.end() - static_cast<std::ptrdiff_t>(most));
  }
  return record;
}

}  // namespace detail

void tell_all_flights(int fd) noexcept {
  const int kept = errno;
  detail::telling.fetch_add(1, base::seq_cst);  // [flights]
  const Nanos now = base::monotonic_now();
  for (const auto& each : detail::systems) {
    if (const System* const system = each.load(base::seq_cst)) detail::tell_system(fd, *system, now);
  }
  detail::telling.fetch_sub(1, base::seq_cst);
  errno = kept;
}

std::string_view to_string(Happening happening) noexcept {
  const auto index = static_cast<std::size_t>(happening);
  return index < std::size(detail::kHappenings) ? detail::kHappenings[index] : "unknown";
}

std::string to_text(const FlightRecord& record) {
  std::string text = fmt::format("{} event{}\n", record.events.size(), record.events.size() == 1 ? "" : "s");
  for (const FlightEvent& event : record.events) {
    detail::Line line;
    detail::describe(line, (record.taken - event.at).count(), event.worker, event.what, event.process, event.other,
                     event.name, event.value);
    text += line.done();
  }
  return text;
}

std::string to_json(const FlightRecord& record) {
  using Json = nlohmann::ordered_json;
  Json events = Json::array();
  const auto pid = [](Pid who) { return who ? Json(to_string(who)) : Json(nullptr); };
  for (const FlightEvent& event : record.events) {
    events.push_back({{"ago_ns", (record.taken - event.at).count()},
                      {"worker", event.worker},
                      {"event", to_string(event.what)},
                      {"process", pid(event.process)},
                      {"other", pid(event.other)},
                      {"name", event.name},
                      {"value", event.value}});
  }
  const Json all = {{"taken_ns", base::to_nanos(record.taken)}, {"events", std::move(events)}};
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace erlking
