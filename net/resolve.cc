#include "net/resolve.h"

#include "net/elsewhere.h"
#include "net/endpoint.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <netdb.h>
#include <utility>

namespace erlking {

namespace {

using Addresses = std::vector<std::string>;

// What getaddrinfo answers, as an errno.
int reason_of(int fault) noexcept {
  switch (fault) {
    case EAI_AGAIN:
      return EHOSTUNREACH;
    case EAI_MEMORY:
      return ENOMEM;
    case EAI_SYSTEM:
      return errno != 0 ? errno : EIO;
    default:
      return EIO;
  }
}

// None: there is no such host.
std::expected<Addresses, int> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  errno = 0;
  const int fault = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (fault == EAI_NONAME || fault == EAI_NODATA || fault == EAI_ADDRFAMILY) return Addresses{};
  if (fault != 0) return std::unexpected(reason_of(fault));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &::freeaddrinfo);
  Addresses addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    detail::Endpoint endpoint;
    if (at->ai_addrlen > sizeof endpoint.storage) continue;
    std::copy_n(reinterpret_cast<const char*>(at->ai_addr), at->ai_addrlen, reinterpret_cast<char*>(endpoint.get()));
    endpoint.size = at->ai_addrlen;
    std::string address = detail::shown(endpoint).address;
    if (std::ranges::find(addresses, address) == addresses.end()) addresses.push_back(std::move(address));
  }
  return addresses;
}

}  // namespace

std::expected<Addresses, IoError> resolve(std::string host, Bound bound) {
  const std::unexpected<IoError> nobody(IoError{IoFailure::no_such_host, 0, "resolve"});
  if (host != "localhost" && detail::ip_endpoint(host, 0)) return Addresses{std::move(host)};
  if (host.empty() || host.find('\0') != host.npos) return nobody;
  auto found = detail::elsewhere("resolve", bound, [host = std::move(host)] { return look_up(host); });
  if (found && found->empty()) return nobody;
  return found;
}

}  // namespace erlking
