#include "net/stream.h"

#include "runtime/operation.h"
#include "runtime/system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace erlking {

using detail::failure;
using io::Code, io::Operation;

namespace {
constexpr std::size_t kMostAtOnce = 1u << 30;  // of one system call

// Why `operation` has come to `have` bytes only: what receive() gave, a failure or the end.
std::unexpected<IoError> cut_short(const std::expected<std::size_t, IoError>& got, std::string_view operation,
                                   std::size_t have) {
  IoError error = got ? IoError{.kind = IoFailure::end_of_stream} : got.error();
  error.operation = operation;
  error.transferred = have;
  return std::unexpected(error);
}
}  // namespace

namespace detail {

std::size_t ReadBuffer::take(char* to, std::size_t n) noexcept {
  n = std::min(n, size());
  if (n != 0) std::memcpy(to, bytes_.get() + begin_, n);
  drop(n);
  return n;
}

void ReadBuffer::drop(std::size_t n) noexcept {
  begin_ += n;
  if (begin_ == end_) reset();  // an idle connection keeps nothing
}

void ReadBuffer::reset() noexcept {
  bytes_.reset();
  if (limits_ != nullptr) limits_->give_bytes(capacity_);
  limits_ = nullptr;
  begin_ = end_ = capacity_ = 0;
}

// Counted in `limits` by the caller. What it holds begins at `begin` then.
void ReadBuffer::enlarge(std::size_t capacity, std::size_t begin, io::Limits* limits) {
  const std::size_t kept = size();
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  if (kept != 0) std::memcpy(larger.get() + begin, bytes_.get() + begin_, kept);
  reset();
  bytes_ = std::move(larger);
  capacity_ = capacity;
  limits_ = limits;
  begin_ = begin;
  end_ = begin + kept;
}

std::span<char> ReadBuffer::room(std::size_t n, io::Limits* limits) {
  const std::size_t kept = size();
  if (capacity_ < kept + n) {
    const std::size_t wanted = std::max(kept + n, 2 * capacity_);
    if (limits != nullptr && !limits->take_bytes(wanted)) return {};
    try {
      enlarge(wanted, 0, limits);
    } catch (...) {
      if (limits != nullptr) limits->give_bytes(wanted);
      throw;
    }
  } else if (capacity_ - end_ < n) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, kept);
    begin_ = 0;
    end_ = kept;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

void ReadBuffer::put_back(std::string_view bytes, io::Limits* limits) {
  if (begin_ < bytes.size()) {
    enlarge(bytes.size() + size(), bytes.size(), limits);
    if (limits != nullptr) limits->take_bytes_anyhow(capacity_);
  }
  begin_ -= bytes.size();
  if (!bytes.empty()) std::memcpy(bytes_.get() + begin_, bytes.data(), bytes.size());
}

}  // namespace detail

// Of an open pipe EBADF says that it is the other end.
int Stream::reason_of(std::int32_t result) const noexcept {
  return kind_ == Kind::pipe && result == -EBADF ? EINVAL : -result;
}

std::expected<std::size_t, IoError> Stream::receive(char* into, std::size_t n, const Bound& bound,
                                                    std::string_view operation) {
  if (layer_ != nullptr && is_open()) [[unlikely]]
    return layer_->receive(*this, into, n, bound, operation);
  return receive_below(into, n, bound, operation);
}

std::expected<std::size_t, IoError> Stream::receive_below(char* into, std::size_t n, const Bound& bound,
                                                          std::string_view operation) {
  if (!is_open()) return failure(EBADF, operation);
  Operation take(kind_ == Kind::socket ? Code::recv : Code::read, fd_.get(), into, std::min(n, kMostAtOnce));
  const std::int32_t got = detail::perform(take, bound);
  if (got < 0) return failure(reason_of(got), operation);
  return static_cast<std::size_t>(got);
}

std::expected<std::size_t, IoError> Stream::read(std::span<char> into, Bound bound) {
  if (into.empty()) return 0;
  if (buffer_.size() != 0) return buffer_.take(into.data(), into.size());
  return receive(into.data(), into.size(), bound, "read");
}

std::expected<void, IoError> Stream::read_exactly(std::span<char> into, Bound bound) {
  const Bound deadline = detail::deadline_of(detail::system_of_caller(), bound);
  std::size_t have = buffer_.take(into.data(), into.size());
  while (have < into.size()) {
    // Should the process be ended in here, what has come is lost with the socket.
    const auto got = receive(into.data() + have, into.size() - have, deadline, "read_exactly");
    if (got && *got != 0) {
      have += *got;
      continue;
    }
    buffer_.put_back({into.data(), have}, fd_.limits());
    return cut_short(got, "read_exactly", have);
  }
  return {};
}

std::expected<std::string, IoError> Stream::read_until(std::string_view delimiter, std::size_t limit, Bound bound) {
  constexpr std::size_t kStep = 4096;
  if (delimiter.empty()) return failure(EINVAL, "read_until");
  const Bound deadline = detail::deadline_of(detail::system_of_caller(), bound);
  for (std::size_t searched = 0;;) {
    const std::string_view have = buffer_.view();
    const std::size_t at = have.find(delimiter, searched);
    if (at != have.npos && at <= limit) {
      std::string found(have.substr(0, at));
      buffer_.drop(at + delimiter.size());
      return found;
    }
    if (at != have.npos || (have.size() >= delimiter.size() && have.size() - delimiter.size() >= limit)) {
      return std::unexpected(IoError{IoFailure::too_large, 0, "read_until", have.size()});
    }
    searched = have.size() < delimiter.size() ? 0 : have.size() - delimiter.size() + 1;
    const std::span<char> room = buffer_.room(kStep, fd_.limits());
    if (room.empty()) return failure(ENOBUFS, "read_until", buffer_.size());
    const auto got = receive(room.data(), room.size(), deadline, "read_until");
    if (!got || *got == 0) return cut_short(got, "read_until", buffer_.size());
    buffer_.fill(*got);
  }
}

std::expected<void, IoError> Stream::write(std::string_view bytes, Bound bound) {
  if (!is_open()) return failure(EBADF, "write");
  const Bound deadline = detail::deadline_of(detail::system_of_caller(), bound);
  return layer_ != nullptr ? layer_->write(*this, bytes, deadline) : write_below(bytes, deadline);
}

std::expected<void, IoError> Stream::write_below(std::string_view bytes, const Bound& deadline) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    const std::string_view rest = bytes.substr(sent, kMostAtOnce);
    Operation give(kind_ == Kind::socket ? Code::send : Code::write, fd_.get(), const_cast<char*>(rest.data()),
                   rest.size());  // is only read
    const std::int32_t result = detail::perform(give, deadline);
    if (result < 0) return failure(reason_of(result), "write", sent);
    sent += static_cast<std::size_t>(result);
  }
  return {};
}

void Stream::close() noexcept {
  if (layer_ != nullptr && is_open()) layer_->end(fd_.get());
  layer_.reset();
  buffer_.reset();  // counted where fd_ is
  fd_.reset();
}

}  // namespace erlking
