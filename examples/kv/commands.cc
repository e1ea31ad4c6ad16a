#include "examples/kv/commands.h"

#include "examples/kv/glob.h"
#include "examples/kv/resp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <ctime>
#include <utility>
#include <vector>

namespace kv {

namespace {

constexpr std::string_view kWrongType = "WRONGTYPE Operation against a key holding the wrong kind of value";

void log_as_given(Call& c) {
  if (c.log != nullptr) add_command(*c.log, c.argv);
}
void log(Call& c, std::initializer_list<std::string_view> argv) {
  if (c.log != nullptr) add_command(*c.log, argv);
}

Entry* find(Call& c) { return c.store.find(c.argv[1], c.hash, c.now); }

template <class T>
T* held(Entry& entry) {
  if constexpr (std::is_same_v<T, std::string>) {
    return std::get_if<std::string>(&entry.value);
  } else {
    auto* const place = std::get_if<std::unique_ptr<T>>(&entry.value);
    return place == nullptr ? nullptr : place->get();
  }
}

// The value of the key: `entry` null if there is none; false, and an error replied, if it is of another type.
template <class T>
bool look(Call& c, Entry*& entry, T*& value) {
  entry = find(c);
  value = nullptr;
  if (entry == nullptr) return true;
  value = held<T>(*entry);
  if (value == nullptr) add_error(c.out, kWrongType);
  return value != nullptr;
}

// A change of a collection, made if it is not there: counts what it comes to hold.
template <class T>
class Change {
 public:
  Change(Call& c, Entry* entry) : store_(c.store) {
    if (entry == nullptr) {
      auto fresh = std::make_unique<T>();
      entry = &store_.add(c.argv[1], c.hash);
      entry->value = std::move(fresh);
    } else {
      store_.touch(*entry);
    }
    entry_ = entry;
    before_ = bytes_of(entry->value);
  }
  ~Change() { store_.changed(*entry_, before_); }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;
  T& operator*() noexcept { return *std::get<std::unique_ptr<T>>(entry_->value); }
  T* operator->() noexcept { return &**this; }

 private:
  Store& store_;
  Entry* entry_;
  std::size_t before_;
};

std::optional<std::int64_t> integer(Call& c, std::size_t at) {
  const auto value = to_integer(c.argv[at]);
  if (!value) add_error(c.out, error::kInteger);
  return value;
}

// The count of a pop; nothing: an error has been replied.
std::optional<std::size_t> count_at(Call& c, std::size_t at) {
  const auto value = to_integer(c.argv[at]);
  if (value && *value >= 0) return static_cast<std::size_t>(*value);
  add_error(c.out, error::kPositive);
  return std::nullopt;
}

// The instant a time to live leads to; nothing: it is out of range.
std::optional<std::int64_t> instant(std::int64_t amount, bool seconds, std::int64_t base) {
  if (seconds && __builtin_mul_overflow(amount, 1000, &amount)) return std::nullopt;
  if (__builtin_add_overflow(amount, base, &amount) || amount == Entry::kNever) return std::nullopt;
  return amount;
}

std::string expire_error(std::string_view name) {
  return "ERR invalid expire time in '" + std::string(name) + "' command";
}

// --- strings ---

void put_string(Call& c, Entry* entry, std::string_view value) {
  if (entry == nullptr) entry = &c.store.add(c.argv[1], c.hash);
  c.store.touch(*entry);
  const std::size_t before = bytes_of(entry->value);
  auto* const text = std::get_if<std::string>(&entry->value);
  constexpr std::size_t kSpare = 64;  // bytes that may stay unused beside a value's own
  if (text != nullptr && text->capacity() <= 2 * value.size() + kSpare) {
    *text = value;
  } else {
    entry->value = std::string(value);
  }
  c.store.changed(*entry, before);
}

void set(Call& c) {
  bool only_new = false, only_old = false, keep = false, seconds = false, absolute = false;
  std::string_view amount;
  for (std::size_t i = 3; i < c.argv.size(); ++i) {
    const std::string_view word = c.argv[i];
    const auto timed = [&](std::string_view name, bool in_seconds, bool at) {
      if (!same_word(word, name) || !amount.empty() || keep || i + 1 == c.argv.size()) return false;
      seconds = in_seconds;
      absolute = at;
      amount = c.argv[++i];
      return true;
    };
    if (same_word(word, "nx") && !only_old) {
      only_new = true;
    } else if (same_word(word, "xx") && !only_new) {
      only_old = true;
    } else if (same_word(word, "keepttl") && amount.empty()) {
      keep = true;
    } else if (!timed("ex", true, false) && !timed("px", false, false) && !timed("exat", true, true) &&
               !timed("pxat", false, true)) {
      return add_error(c.out, error::kSyntax);
    }
  }
  std::int64_t expires = Entry::kNever;
  if (amount.data() != nullptr) {
    const auto given = to_integer(amount);
    if (!given) return add_error(c.out, error::kInteger);
    const auto when = *given <= 0 ? std::nullopt : instant(*given, seconds, absolute ? 0 : c.now);
    if (!when) return add_error(c.out, expire_error("set"));
    expires = *when;
  }
  Entry* entry = find(c);
  if ((only_new && entry != nullptr) || (only_old && entry == nullptr)) return add_null(c.out);
  if (keep && entry != nullptr) expires = entry->expires;
  put_string(c, entry, c.argv[2]);
  if (entry == nullptr && expires != Entry::kNever) entry = c.store.find(c.argv[1], c.hash, 0);
  if (entry != nullptr) c.store.set_expiry(*entry, expires);
  if (expires == Entry::kNever) {
    log(c, {"SET", c.argv[1], c.argv[2]});
  } else {
    log(c, {"SET", c.argv[1], c.argv[2], "PXAT", std::to_string(expires)});
  }
  add_simple(c.out, "OK");
}

void get(Call& c) {
  Entry* entry;
  std::string* text;
  if (!look(c, entry, text)) return;
  entry == nullptr ? add_null(c.out) : add_bulk(c.out, *text);
}

void mget(Call& c) {  // one key; what is no string is not there
  Entry* const entry = find(c);
  const auto* const text = entry == nullptr ? nullptr : held<std::string>(*entry);
  text == nullptr ? add_null(c.out) : add_bulk(c.out, *text);
}

void mset(Call& c) {
  const auto all = c.argv;
  for (std::size_t i = 1; i < all.size(); i += 2) {
    const std::array<std::string_view, 3> one = {"SET", all[i], all[i + 1]};
    c.argv = one;
    c.hash = hash_of(one[1]);
    Entry* const entry = find(c);
    put_string(c, entry, one[2]);
    if (entry != nullptr) c.store.set_expiry(*entry, Entry::kNever);
    log_as_given(c);
  }
  add_simple(c.out, "OK");
}

void add_to_integer(Call& c, std::int64_t by) {
  Entry* entry;
  std::string* text;
  if (!look(c, entry, text)) return;
  const auto old = entry == nullptr ? std::optional<std::int64_t>(0) : to_integer(*text);
  if (!old) return add_error(c.out, error::kInteger);
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*old, by, &sum)) return add_error(c.out, "ERR increment or decrement would overflow");
  put_string(c, entry, std::to_string(sum));
  log_as_given(c);
  add_integer(c.out, sum);
}
void incr(Call& c) { add_to_integer(c, 1); }
void decr(Call& c) { add_to_integer(c, -1); }
void incrby(Call& c) {
  if (const auto by = integer(c, 2)) add_to_integer(c, *by);
}

void append(Call& c) {
  Entry* entry;
  std::string* text;
  if (!look(c, entry, text)) return;
  if (entry == nullptr) {
    put_string(c, nullptr, c.argv[2]);
    add_integer(c.out, static_cast<std::int64_t>(c.argv[2].size()));
  } else {
    if (text->size() + c.argv[2].size() > Parser::kBulkMost) {
      return add_error(c.out, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    }
    c.store.touch(*entry);
    const std::size_t before = text->size();
    text->append(c.argv[2]);
    c.store.changed(*entry, before);
    add_integer(c.out, static_cast<std::int64_t>(text->size()));
  }
  log_as_given(c);
}

void strlen_(Call& c) {
  Entry* entry;
  std::string* text;
  if (look(c, entry, text)) add_integer(c.out, entry == nullptr ? 0 : static_cast<std::int64_t>(text->size()));
}

// --- keys ---

void del(Call& c) {
  std::int64_t gone = 0;
  for (const std::string_view key : c.argv.subspan(1)) {
    if (Entry* const entry = c.store.find(key, hash_of(key), c.now)) {
      c.store.erase(*entry);
      ++gone;
    }
  }
  if (gone != 0) log_as_given(c);
  add_integer(c.out, gone);
}

void exists(Call& c) {
  std::int64_t found = 0;
  for (const std::string_view key : c.argv.subspan(1)) found += c.store.find(key, hash_of(key), c.now) != nullptr;
  add_integer(c.out, found);
}

void expire(Call& c) {
  bool nx = false, xx = false, gt = false, lt = false;
  for (const std::string_view word : c.argv.subspan(3)) {
    if (same_word(word, "nx")) {
      nx = true;
    } else if (same_word(word, "xx")) {
      xx = true;
    } else if (same_word(word, "gt")) {
      gt = true;
    } else if (same_word(word, "lt")) {
      lt = true;
    } else {
      return add_error(c.out, "ERR Unsupported option " + std::string(word));
    }
  }
  if (nx && (xx || gt || lt)) {
    return add_error(c.out, "ERR NX and XX, GT or LT options at the same time are not compatible");
  }
  if (gt && lt) return add_error(c.out, "ERR GT and LT options at the same time are not compatible");
  const auto amount = integer(c, 2);
  if (!amount) return;
  const auto when = instant(*amount, true, c.now);
  if (!when) return add_error(c.out, expire_error("expire"));
  Entry* const entry = find(c);
  const bool timed = entry != nullptr && entry->expires != Entry::kNever;
  if (entry == nullptr || (nx && timed) || (xx && !timed) || (gt && (!timed || *when <= entry->expires)) ||
      (lt && timed && *when >= entry->expires)) {
    return add_integer(c.out, 0);
  }
  if (*when <= c.now) {
    c.store.erase(*entry);
    log(c, {"DEL", c.argv[1]});
  } else {
    c.store.touch(*entry);
    c.store.set_expiry(*entry, *when);
    log(c, {"PEXPIREAT", c.argv[1], std::to_string(*when)});
  }
  add_integer(c.out, 1);
}

void pexpireat(Call& c) {
  const auto when = to_integer(c.argv[2]);
  if (Entry* const entry = find(c); entry != nullptr && when) c.store.set_expiry(*entry, *when);
}

void reply_ttl(Call& c, std::int64_t unit) {
  const Entry* const entry = find(c);
  if (entry == nullptr) return add_integer(c.out, -2);
  if (entry->expires == Entry::kNever) return add_integer(c.out, -1);
  add_integer(c.out, (entry->expires - c.now + unit / 2) / unit);
}
void ttl(Call& c) { reply_ttl(c, 1000); }
void pttl(Call& c) { reply_ttl(c, 1); }

void dbsize(Call& c) { add_integer(c.out, static_cast<std::int64_t>(c.store.size())); }

void flushall(Call& c) {
  if (c.argv.size() > 2 || (c.argv.size() == 2 && !same_word(c.argv[1], "async") && !same_word(c.argv[1], "sync"))) {
    return add_error(c.out, error::kSyntax);
  }
  c.store.clear();
  log(c, {"FLUSHALL"});
  add_simple(c.out, "OK");
}

// The cursor as this part goes by it is in c.hash; the reply's is for Pipeline to complete, so it comes alone first.
void scan(Call& c) {
  std::int64_t count = 10;
  std::string_view pattern = "*", type;
  for (std::size_t i = 2; i < c.argv.size(); i += 2) {
    if (i + 1 == c.argv.size()) return add_error(c.out, error::kSyntax);
    if (same_word(c.argv[i], "count")) {
      const auto given = integer(c, i + 1);
      if (!given) return;
      if (*given < 1) return add_error(c.out, error::kSyntax);
      count = *given;
    } else if (same_word(c.argv[i], "match")) {
      pattern = c.argv[i + 1];
    } else if (same_word(c.argv[i], "type")) {
      type = c.argv[i + 1];
    } else {
      return add_error(c.out, error::kSyntax);
    }
  }
  std::vector<std::string_view> found;
  std::int64_t buckets = count > INT64_MAX / 10 ? INT64_MAX : 10 * count;
  std::uint64_t cursor = c.hash;
  std::int64_t seen = 0;
  do {
    cursor = c.store.scan(cursor, [&](const Entry& entry) {
      ++seen;
      if (entry.expires <= c.now || (!type.empty() && !same_word(type, to_string(type_of(entry.value))))) return;
      if (pattern == "*" || matches(pattern, entry.key)) found.push_back(entry.key);
    });
  } while (cursor != 0 && --buckets != 0 && seen < count);
  c.hash = cursor;
  add_array(c.out, found.size());
  for (const std::string_view key : found) add_bulk(c.out, key);
}

// --- lists ---

void push(Call& c, bool front) {
  Entry* entry;
  List* list;
  if (!look(c, entry, list)) return;
  Change<List> change(c, entry);
  for (const std::string_view item : c.argv.subspan(2)) {
    front ? void(change->items.emplace_front(item)) : void(change->items.emplace_back(item));
    change->bytes += item.size() + sizeof(std::string);
  }
  log_as_given(c);
  add_integer(c.out, static_cast<std::int64_t>(change->items.size()));
}
void lpush(Call& c) { push(c, true); }
void rpush(Call& c) { push(c, false); }

void pop(Call& c, bool front) {
  if (c.argv.size() > 3) return add_error(c.out, error::arity(front ? "lpop" : "rpop"));
  const bool many = c.argv.size() == 3;
  const auto count = many ? count_at(c, 2) : 1;
  if (!count) return;
  Entry* entry;
  List* list;
  if (!look(c, entry, list)) return;
  if (entry == nullptr) return many ? add_null_array(c.out) : add_null(c.out);
  const std::size_t n = std::min(*count, list->items.size());
  if (many) add_array(c.out, n);
  if (n == 0) return;
  {
    Change<List> change(c, entry);
    for (std::size_t i = 0; i < n; ++i) {
      const std::string& item = front ? change->items.front() : change->items.back();
      add_bulk(c.out, item);
      change->bytes -= item.size() + sizeof(std::string);
      front ? change->items.pop_front() : change->items.pop_back();
    }
  }
  if (list->items.empty()) c.store.erase(*entry);
  log_as_given(c);
}
void lpop(Call& c) { pop(c, true); }
void rpop(Call& c) { pop(c, false); }

void lrange(Call& c) {
  const auto from = integer(c, 2);
  if (!from) return;
  const auto to = integer(c, 3);
  if (!to) return;
  Entry* entry;
  List* list;
  if (!look(c, entry, list)) return;
  const auto size = static_cast<std::int64_t>(entry == nullptr ? 0 : list->items.size());
  const std::int64_t first = std::max<std::int64_t>(*from < 0 ? *from + size : *from, 0);
  const std::int64_t last = std::min(*to < 0 ? *to + size : *to, size - 1);
  if (first > last) return add_array(c.out, 0);
  add_array(c.out, static_cast<std::size_t>(last - first + 1));
  const auto begin = list->items.begin();
  for (auto at = begin + first; at != begin + last + 1; ++at) add_bulk(c.out, *at);
}

// --- sets ---

void sadd(Call& c) {
  Entry* entry;
  Set* set;
  if (!look(c, entry, set)) return;
  Change<Set> change(c, entry);
  std::int64_t added = 0;
  for (const std::string_view member : c.argv.subspan(2)) added += change->add(member);
  if (added != 0) log_as_given(c);
  add_integer(c.out, added);
}

void srem(Call& c) {
  Entry* entry;
  Set* set;
  if (!look(c, entry, set) || entry == nullptr) return;
  {
    Change<Set> change(c, entry);
    for (const std::string_view member : c.argv.subspan(2)) change->remove(member);
  }
  if (set->size() == 0) c.store.erase(*entry);
}

void sismember(Call& c) {
  Entry* entry;
  Set* set;
  if (look(c, entry, set)) add_integer(c.out, entry != nullptr && set->contains(c.argv[2]) ? 1 : 0);
}

void spop(Call& c) {
  if (c.argv.size() > 3) return add_error(c.out, error::kSyntax);
  const bool many = c.argv.size() == 3;
  const auto count = many ? count_at(c, 2) : 1;
  if (!count) return;
  Entry* entry;
  Set* set;
  if (!look(c, entry, set)) return;
  if (entry == nullptr) return many ? add_array(c.out, 0) : add_null(c.out);
  const std::size_t n = std::min(*count, set->size());
  if (many) add_array(c.out, n);
  if (n == 0) return;
  std::vector<std::string> taken;
  {
    Change<Set> change(c, entry);
    for (std::size_t i = 0; i < n; ++i) {
      taken.push_back(change->draw(c.random));
      add_bulk(c.out, taken.back());
      change->remove(taken.back());
    }
  }
  if (set->size() == 0) c.store.erase(*entry);
  std::vector<std::string_view> words = {"SREM", c.argv[1]};
  words.insert(words.end(), taken.begin(), taken.end());
  if (c.log != nullptr) add_command(*c.log, words);
}

// --- hashes ---

void hset(Call& c) {
  if (c.argv.size() % 2 != 0) return add_error(c.out, error::arity("hset"));
  Entry* entry;
  Fields* fields;
  if (!look(c, entry, fields)) return;
  Change<Fields> change(c, entry);
  std::int64_t added = 0;
  for (std::size_t i = 2; i < c.argv.size(); i += 2) {
    auto at = change->values.find(c.argv[i]);
    if (at == change->values.end()) {
      at = change->values.try_emplace(std::string(c.argv[i])).first;
      change->bytes += c.argv[i].size() + kMemberCost;
      ++added;
    }
    change->bytes += c.argv[i + 1].size() - at->second.size();
    at->second = c.argv[i + 1];
  }
  log_as_given(c);
  add_integer(c.out, added);
}

void hget(Call& c) {
  Entry* entry;
  Fields* fields;
  if (!look(c, entry, fields)) return;
  if (entry == nullptr) return add_null(c.out);
  const auto at = fields->values.find(c.argv[2]);
  at == fields->values.end() ? add_null(c.out) : add_bulk(c.out, at->second);
}

void hgetall(Call& c) {
  Entry* entry;
  Fields* fields;
  if (!look(c, entry, fields)) return;
  if (entry == nullptr) return add_array(c.out, 0);
  add_array(c.out, 2 * fields->values.size());
  for (const auto& [field, value] : fields->values) {
    add_bulk(c.out, field);
    add_bulk(c.out, value);
  }
}

// --- rankings ---

void zadd(Call& c) {
  bool nx = false, xx = false, gt = false, lt = false, ch = false, incr = false;
  std::size_t first = 2;
  const std::array<std::pair<std::string_view, bool*>, 6> options = {
      {{"nx", &nx}, {"xx", &xx}, {"gt", &gt}, {"lt", &lt}, {"ch", &ch}, {"incr", &incr}}};
  for (; first < c.argv.size(); ++first) {
    const auto at = std::ranges::find_if(options, [&](const auto& o) { return same_word(o.first, c.argv[first]); });
    if (at == options.end()) break;
    *at->second = true;
  }
  const std::size_t words = c.argv.size() - first;
  if (words == 0 || words % 2 != 0) return add_error(c.out, error::kSyntax);
  if (nx && xx) return add_error(c.out, "ERR XX and NX options at the same time are not compatible");
  if ((gt && nx) || (lt && nx) || (gt && lt)) {
    return add_error(c.out, "ERR GT, LT, and/or NX options at the same time are not compatible");
  }
  if (incr && words > 2) return add_error(c.out, "ERR INCR option supports a single increment-element pair");
  std::vector<double> scores;
  for (std::size_t i = first; i < c.argv.size(); i += 2) {
    const auto score = to_number(c.argv[i]);
    if (!score) return add_error(c.out, "ERR value is not a valid float");
    scores.push_back(*score);
  }
  Entry* entry;
  Ranking* ranking;
  if (!look(c, entry, ranking)) return;
  if (entry == nullptr && xx) return incr ? add_null(c.out) : add_integer(c.out, 0);
  std::int64_t added = 0, updated = 0;
  std::optional<double> result;
  Change<Ranking> change(c, entry);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::string_view member = c.argv[first + 2 * i + 1];
    double score = scores[i];
    if (const auto old = change->score_of(member)) {
      if (incr) score += *old;
      if (std::isnan(score)) return add_error(c.out, "ERR resulting score is not a number (NaN)");
      if (nx || (gt && score <= *old) || (lt && score >= *old)) continue;
      if (score != *old) ++updated;
    } else if (xx) {
      continue;
    } else {
      ++added;
    }
    result = score;
    change->put(member, score);
  }
  if (added + updated != 0) log_as_given(c);
  if (!incr) return add_integer(c.out, ch ? added + updated : added);
  result ? add_bulk(c.out, to_text(*result)) : add_null(c.out);
}

void zpopmin(Call& c) {
  if (c.argv.size() > 3) return add_error(c.out, error::kSyntax);
  const auto count = c.argv.size() == 3 ? count_at(c, 2) : 1;
  if (!count) return;
  Entry* entry;
  Ranking* ranking;
  if (!look(c, entry, ranking)) return;
  const std::size_t n = entry == nullptr ? 0 : std::min(*count, ranking->size());
  add_array(c.out, 2 * n);
  if (n == 0) return;
  {
    Change<Ranking> change(c, entry);
    for (std::size_t i = 0; i < n; ++i) {
      const auto [score, member] = *change->order().begin();
      add_bulk(c.out, member);
      add_bulk(c.out, to_text(score));
      change->remove(member);
    }
  }
  if (ranking->size() == 0) c.store.erase(*entry);
  log_as_given(c);
}

// --- the table ---

constexpr Command on_key(std::string_view name, int arity, void (*run)(Call&), bool writes = false,
                         bool grows = false) {
  return {name, arity, Where::part, run, writes, grows, 1, 1, 1};
}
constexpr Command on_keys(std::string_view name, int arity, void (*run)(Call&), bool writes, std::uint8_t step,
                          Merge merge, bool grows = false) {
  return {name, arity, Where::parts, run, writes, grows, 1, step, -1, merge};
}
constexpr Command of_connection(std::string_view name, int arity, Here here) {
  return {.name = name, .arity = arity, .where = Where::here, .run = nullptr, .here = here};
}

constexpr std::array kCommands = {
    on_key("append", 3, append, true, true),
    on_key("decr", 2, decr, true, true),
    on_key("expire", -3, expire, true),
    on_key("get", 2, get),
    on_key("hget", 3, hget),
    on_key("hgetall", 2, hgetall),
    on_key("hset", -4, hset, true, true),
    on_key("incr", 2, incr, true, true),
    on_key("incrby", 3, incrby, true, true),
    on_key("lpop", -2, lpop, true),
    on_key("lpush", -3, lpush, true, true),
    on_key("lrange", 4, lrange),
    on_key("pttl", 2, pttl),
    on_key("rpop", -2, rpop, true),
    on_key("rpush", -3, rpush, true, true),
    on_key("sadd", -3, sadd, true, true),
    on_key("set", -3, set, true, true),
    on_key("sismember", 3, sismember),
    on_key("spop", -2, spop, true),
    on_key("strlen", 2, strlen_),
    on_key("ttl", 2, ttl),
    on_key("zadd", -4, zadd, true, true),
    on_key("zpopmin", -2, zpopmin, true),
    on_keys("del", -2, del, true, 1, Merge::sum),
    on_keys("exists", -2, exists, false, 1, Merge::sum),
    on_keys("mget", -2, mget, false, 1, Merge::array),
    on_keys("mset", -3, mset, true, 2, Merge::first, true),
    Command{.name = "dbsize", .arity = 1, .where = Where::all, .run = dbsize, .merge = Merge::sum},
    Command{
        .name = "flushall", .arity = -1, .where = Where::all, .run = flushall, .writes = true, .merge = Merge::first},
    Command{.name = "scan", .arity = -2, .where = Where::cursor, .run = scan},
    of_connection("bgrewriteaof", 1, Here::rewrite),
    of_connection("command", -1, Here::command),
    of_connection("config", -2, Here::config),
    of_connection("echo", 2, Here::echo),
    of_connection("info", -1, Here::info),
    of_connection("ping", -1, Here::ping),
    of_connection("publish", 3, Here::publish),
    of_connection("quit", -1, Here::quit),
    of_connection("select", 2, Here::select),
    of_connection("shutdown", -1, Here::shutdown),
    of_connection("subscribe", -2, Here::subscribe),
    of_connection("unsubscribe", -1, Here::unsubscribe),
    Command{.name = "pexpireat", .arity = 3, .where = Where::internal, .run = pexpireat, .writes = true},
    Command{.name = "srem", .arity = -3, .where = Where::internal, .run = srem, .writes = true},
};

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr std::size_t kSlots = 128;
constexpr std::size_t slot_of(std::string_view name) noexcept {
  std::size_t hash = name.size();
  for (const char c : name) hash = hash * 31 + static_cast<unsigned char>(lower(c));
  return hash % kSlots;
}
constexpr auto kIndex = [] {
  std::array<std::uint8_t, kSlots> index{};  // 0: none, else one more than the row
  for (std::size_t row = 0; row < kCommands.size(); ++row) {
    std::size_t slot = slot_of(kCommands[row].name);
    while (index[slot] != 0) slot = (slot + 1) % kSlots;
    index[slot] = static_cast<std::uint8_t>(row + 1);
  }
  return index;
}();

}  // namespace

const Command* find_command(std::string_view name) noexcept {
  for (std::size_t slot = slot_of(name); kIndex[slot] != 0; slot = (slot + 1) % kSlots) {
    const Command& row = kCommands[kIndex[slot] - 1u];
    if (same_word(row.name, name)) return &row;
  }
  return nullptr;
}

std::span<const Command> all_commands() noexcept { return kCommands; }

bool same_word(std::string_view a, std::string_view b) noexcept {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

void add_command(std::string& out, std::span<const std::string_view> argv) {
  add_array(out, argv.size());
  for (const std::string_view word : argv) add_bulk(out, word);
}
void add_command(std::string& out, std::initializer_list<std::string_view> argv) {
  add_command(out, std::span(argv.begin(), argv.size()));
}

void write_entry(const Entry& entry, std::string& out) {
  constexpr std::size_t kAtOnce = 128;  // words of one command
  std::vector<std::string_view> words;
  const auto flush = [&] {
    if (words.size() > 2) add_command(out, words);
    words.resize(2);
  };
  const auto add = [&](std::initializer_list<std::string_view> more) {
    words.insert(words.end(), more);
    if (words.size() >= kAtOnce) flush();
  };
  const auto begin = [&](std::string_view name) { words = {name, entry.key}; };
  switch (type_of(entry.value)) {
    case Type::string:
      begin("SET");
      add({std::get<std::string>(entry.value)});
      break;
    case Type::list:
      begin("RPUSH");
      for (const auto& item : std::get<std::unique_ptr<List>>(entry.value)->items) add({item});
      break;
    case Type::set:
      begin("SADD");
      for (const auto* member : std::get<std::unique_ptr<Set>>(entry.value)->members()) add({*member});
      break;
    case Type::hash:
      begin("HSET");
      for (const auto& [field, value] : std::get<std::unique_ptr<Fields>>(entry.value)->values) add({field, value});
      break;
    case Type::zset:
      for (const auto& [score, member] : std::get<std::unique_ptr<Ranking>>(entry.value)->order()) {
        add_command(out, {"ZADD", entry.key, to_text(score), member});
      }
      break;
  }
  if (!words.empty()) flush();
  if (entry.expires != Entry::kNever) add_command(out, {"PEXPIREAT", entry.key, std::to_string(entry.expires)});
}

std::int64_t wall_ms() {
  std::timespec now{};
  static_cast<void>(std::timespec_get(&now, TIME_UTC));
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

std::string error::arity(std::string_view name) {
  return "ERR wrong number of arguments for '" + std::string(name) + "' command";
}

std::string error::misconf(int code) {
  return std::string("MISCONF Errors writing to the AOF file: ") + std::strerror(code);
}

}  // namespace kv
