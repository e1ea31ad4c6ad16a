#include "io/error.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace erlking {

namespace {

IoFailure failure_of(int code) noexcept {
  switch (code) {
    case ETIME:
    case ETIMEDOUT:
      return IoFailure::timed_out;
    case EBADF:
    case ENOTCONN:
    case ESHUTDOWN:
      return IoFailure::closed;
    case ECONNREFUSED:
      return IoFailure::refused;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
      return IoFailure::reset;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
      return IoFailure::unreachable;
    case EADDRINUSE:
      return IoFailure::address_in_use;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
    case EDESTADDRREQ:
      return IoFailure::bad_address;
    case ENOENT:
    case ENOTDIR:
    case ENODEV:
    case ENXIO:
      return IoFailure::not_found;
    case EEXIST:
    case ENOTEMPTY:
      return IoFailure::exists;
    case EACCES:
    case EPERM:
    case EROFS:
      return IoFailure::not_permitted;
    case EMSGSIZE:
    case E2BIG:
    case EFBIG:
    case ENAMETOOLONG:
    case EOVERFLOW:
      return IoFailure::too_large;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
      return IoFailure::limit;
    case ENOMEM:
      return IoFailure::no_memory;
    case ENOSPC:
    case EDQUOT:
      return IoFailure::no_space;
    case EBUSY:
    case EALREADY:
    case ETXTBSY:
      return IoFailure::busy;
    case EINVAL:
    case EISCONN:
    case EISDIR:
    case ENOTSOCK:
    case ESPIPE:
    case EOPNOTSUPP:
    case EPROTONOSUPPORT:
    case EPROTOTYPE:
    case ENOPROTOOPT:
    case ELOOP:
    case ENOSYS:
      return IoFailure::invalid;
    case ECANCELED:
      return IoFailure::cancelled;
    default:
      return IoFailure::failed;
  }
}

std::string_view in_words(IoFailure kind) noexcept {
  switch (kind) {
    case IoFailure::timed_out:
      return "it took longer than the bound";
    case IoFailure::end_of_stream:
      return "the peer has ended its side";
    case IoFailure::closed:
      return "it is not open";
    case IoFailure::refused:
      return "nobody listens there";
    case IoFailure::reset:
      return "the peer has gone";
    case IoFailure::unreachable:
      return "no way leads there";
    case IoFailure::no_such_host:
      return "there is no such host";
    case IoFailure::address_in_use:
      return "the address is taken";
    case IoFailure::bad_address:
      return "no such address here";
    case IoFailure::not_found:
      return "no such file";
    case IoFailure::exists:
      return "there is one already";
    case IoFailure::not_permitted:
      return "not permitted";
    case IoFailure::too_large:
      return "more than the limit";
    case IoFailure::limit:
      return "no descriptors or buffers left (ulimit -n, --ek-max-descriptors, --ek-max-io-bytes)";
    case IoFailure::no_memory:
      return "no memory left";
    case IoFailure::no_space:
      return "the disk is full";
    case IoFailure::untrusted:
      return "the peer's certificate is not trusted";
    case IoFailure::protocol:
      return "the peer does not keep to the protocol";
    case IoFailure::busy:
      return "another process waits on it";
    case IoFailure::invalid:
      return "it cannot be done with this descriptor";
    case IoFailure::not_owner:
      return "it belongs to another process";
    case IoFailure::cancelled:
      return "the process is ending";
    case IoFailure::failed:
      break;
  }
  return "it failed";
}

}  // namespace

std::string_view to_string(IoFailure kind) noexcept {
  switch (kind) {
    case IoFailure::timed_out:
      return "timed_out";
    case IoFailure::end_of_stream:
      return "end_of_stream";
    case IoFailure::closed:
      return "closed";
    case IoFailure::refused:
      return "refused";
    case IoFailure::reset:
      return "reset";
    case IoFailure::unreachable:
      return "unreachable";
    case IoFailure::no_such_host:
      return "no_such_host";
    case IoFailure::address_in_use:
      return "address_in_use";
    case IoFailure::bad_address:
      return "bad_address";
    case IoFailure::not_found:
      return "not_found";
    case IoFailure::exists:
      return "exists";
    case IoFailure::not_permitted:
      return "not_permitted";
    case IoFailure::too_large:
      return "too_large";
    case IoFailure::limit:
      return "limit";
    case IoFailure::no_memory:
      return "no_memory";
    case IoFailure::no_space:
      return "no_space";
    case IoFailure::untrusted:
      return "untrusted";
    case IoFailure::protocol:
      return "protocol";
    case IoFailure::busy:
      return "busy";
    case IoFailure::invalid:
      return "invalid";
    case IoFailure::not_owner:
      return "not_owner";
    case IoFailure::cancelled:
      return "cancelled";
    case IoFailure::failed:
      break;
  }
  return "failed";
}

IoError IoError::of(int code, std::string_view operation, std::size_t transferred) noexcept {
  return {.kind = failure_of(code), .code = code, .operation = operation, .transferred = transferred};
}

std::string IoError::to_string() const {
  std::string text = fmt::format("{}{}{}", operation, operation.empty() ? "" : ": ", in_words(kind));
  if (code != 0 && code != ETIME) text += fmt::format(" ({})", std::generic_category().message(code));
  return text;
}

}  // namespace erlking
