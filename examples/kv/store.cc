#include "examples/kv/store.h"

#include <bit>
#include <utility>

namespace kv {

namespace {

constexpr std::size_t kFewest = 16;  // buckets
constexpr std::size_t kStep = 2;     // buckets an operation moves

std::uint64_t reversed(std::uint64_t bits) noexcept {
  bits = __builtin_bswap64(bits);
  bits = ((bits >> 4) & 0x0f0f0f0f0f0f0f0fu) | ((bits & 0x0f0f0f0f0f0f0f0fu) << 4);
  bits = ((bits >> 2) & 0x3333333333333333u) | ((bits & 0x3333333333333333u) << 2);
  return ((bits >> 1) & 0x5555555555555555u) | ((bits & 0x5555555555555555u) << 1);
}

// The cursor after `cursor` in the order of reversed indices below mask + 1.
std::uint64_t next_of(std::uint64_t cursor, std::uint64_t mask) noexcept {
  return reversed(reversed(cursor | ~mask) + 1);
}

}  // namespace

Store::Store() { now_.heads.resize(kFewest); }

Store::~Store() {
  drain([](std::unique_ptr<Entry>) {});
}

Entry** Store::place_of(std::uint64_t hash) noexcept {
  if (!before_.heads.empty()) {
    const std::size_t old = hash & before_.mask();
    if (old >= moved_) return &before_.heads[old];
  }
  return &now_.heads[hash & now_.mask()];
}

Entry** Store::link_to(const Entry& entry) noexcept {
  Entry** at = place_of(entry.hash);
  while (*at != &entry) at = &(*at)->next;
  return at;
}

void Store::move_some(std::size_t buckets) {
  if (before_.heads.empty()) return;
  for (; buckets != 0 && moved_ != before_.heads.size(); --buckets) {
    Entry* entry = std::exchange(before_.heads[moved_++], nullptr);
    while (entry != nullptr) {
      Entry* const next = entry->next;
      Entry*& head = now_.heads[entry->hash & now_.mask()];
      entry->next = std::exchange(head, entry);
      entry = next;
    }
  }
  if (moved_ == before_.heads.size()) before_.heads = {};
}

void Store::grow_if_full() {
  move_some(kStep);
  if (size_ < now_.heads.size() || !before_.heads.empty()) return;
  Buckets larger;
  larger.heads.resize(2 * now_.heads.size());
  before_ = std::exchange(now_, std::move(larger));
  moved_ = 0;
}

void Store::link(Entry& entry) noexcept {
  Entry** const at = place_of(entry.hash);
  entry.next = std::exchange(*at, &entry);
  ++size_;
  bytes_ += kCost + entry.key.size() + bytes_of(entry.value);
  if (entry.expires != Entry::kNever) ++expiring_;
}

std::unique_ptr<Entry> Store::unlink(Entry** link) noexcept {
  std::unique_ptr<Entry> entry(*link);
  *link = entry->next;
  --size_;
  bytes_ -= kCost + entry->key.size() + bytes_of(entry->value);
  if (entry->expires != Entry::kNever) --expiring_;
  return entry;
}

Entry* Store::find(std::string_view key, std::uint64_t hash, std::int64_t now) {
  for (Entry* entry = *place_of(hash); entry != nullptr; entry = entry->next) {
    if (entry->hash != hash || entry->key != key) continue;
    if (entry->expires > now) [[likely]]
      return entry;
    if (on_expired) on_expired(key);
    erase(*entry);
    return nullptr;
  }
  return nullptr;
}

Entry& Store::add(std::string_view key, std::uint64_t hash) {
  grow_if_full();
  auto entry = std::make_unique<Entry>();
  entry->hash = hash;
  entry->key = key;
  entry->dumped = dump_;
  link(*entry);
  return *entry.release();
}

void Store::set_expiry(Entry& entry, std::int64_t when) noexcept {
  expiring_ += (when != Entry::kNever) - (entry.expires != Entry::kNever);
  entry.expires = when;
}

void Store::erase(Entry& entry) {
  touch(entry);
  unlink(link_to(entry));
}

void Store::clear() {
  dump_on(SIZE_MAX);
  drain([](std::unique_ptr<Entry>) {});
}

void Store::adopt(std::unique_ptr<Entry> entry) {
  grow_if_full();
  link(*entry.release());
}

void Store::drain(const std::function<void(std::unique_ptr<Entry>)>& to) {
  for (Buckets* buckets : {&before_, &now_}) {
    for (Entry*& head : buckets->heads) {
      while (head != nullptr) to(unlink(&head));
    }
  }
  before_.heads = {};
  if (now_.heads.size() != kFewest) now_.heads = std::vector<Entry*>(kFewest);
}

std::uint64_t Store::scan(std::uint64_t cursor, const std::function<void(Entry&)>& visit) const {
  const auto all = [&](const Buckets& buckets, std::uint64_t index) {
    for (Entry* entry = buckets.heads[index & buckets.mask()]; entry != nullptr; entry = entry->next) visit(*entry);
  };
  if (before_.heads.empty()) {
    all(now_, cursor);
    return next_of(cursor, now_.mask());
  }
  const std::uint64_t small = before_.mask(), large = now_.mask();
  all(before_, cursor);
  do {  // what the small one's bucket is split into
    all(now_, cursor);
    cursor = next_of(cursor, large);
  } while ((cursor & (small ^ large)) != 0);
  return cursor;
}

void Store::sweep(std::int64_t now, std::size_t most) {
  std::vector<Entry*> gone;
  while (expiring_ != gone.size() && most-- != 0) {
    swept_ = scan(swept_, [&](Entry& entry) {
      if (entry.expires <= now) gone.push_back(&entry);
    });
    if (swept_ == 0) break;
  }
  for (Entry* entry : gone) {
    if (on_expired) on_expired(entry->key);
    erase(*entry);
  }
}

void Store::dump(Entry& entry) {
  entry.dumped = dump_;
  write_(entry, dumped_);
}

void Store::begin_dump() {
  ++dump_;
  dumping_ = true;
  dump_cursor_ = 0;
  dumped_ = {};
}

void Store::end_dump() noexcept {
  dumping_ = false;
  dumped_ = {};
}

void Store::dump_on(std::size_t bytes) {
  while (dumping_ && dumped_.size() < bytes) {
    dump_cursor_ = scan(dump_cursor_, [&](Entry& entry) { touch(entry); });
    if (dump_cursor_ == 0) dumping_ = false;
  }
}

bool Store::dump_some(std::string& out, std::size_t bytes) {
  dump_on(bytes);
  out += std::exchange(dumped_, {});
  return dumping_;
}

}  // namespace kv
