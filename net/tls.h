// TLS: a Socket whose bytes are encrypted on the way, by OpenSSL. Once connected or accepted it is read and written as
// any other; what differs is how one is made, and what its end means.
//
//   auto trust = tls::Context::client({});                                      // whom the system trusts
//   auto socket = tls::connect("example.org", 443, *trust, 5s);                 // a Socket
//
//   auto identity = tls::Context::server({.certificate_file = "chain.pem", .key_file = "key.pem"});
//   auto peer = tls::accept(*listener.accept(1h), *identity, 5s);               // a Socket
//
// TLS 1.2 and 1.3, no renegotiation. The end of the stream is read as such only if the peer has said it; if it just
// goes, read() fails with `reset`: somebody on the way may have cut the rest off. Handshakes take milliseconds and much
// stack: they are computed on spare threads (blocking.h).
#pragma once

#include "io/io.h"
#include "net/socket.h"
#include "runtime/bound.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace erlking::tls {

namespace detail {
struct ContextState;
}

/// Why there is no connection: an IoError, and what the library says of it.
struct Error : IoError {
  std::string why;  ///< "self-signed certificate"; may be empty

  /// In words, for a log.
  std::string to_string() const;
};

/// Files are PEM; an empty name is none.
struct ClientOptions {
  std::string ca_file = {};           ///< whom to trust; empty: whom the system trusts
  std::string certificate_file = {};  ///< with its chain, shown to a server that asks for it
  std::string key_file = {};          ///< the key to it
  bool verify = true;                 ///< false: whoever answers is trusted; for tests
};

/// Files are PEM.
struct ServerOptions {
  std::string certificate_file;     ///< with its chain
  std::string key_file;             ///< the key to it
  std::string client_ca_file = {};  ///< clients must show a certificate of one of these; empty: anybody may come
};

/// What one side has and whom it trusts. Made once, used for any number of connections, by any thread; copied freely.
class Context {
 public:
  /// Reads the files, so it waits for the disk; else a sentence saying which is wrong, and how.
  static std::expected<Context, std::string> client(const ClientOptions& options);
  static std::expected<Context, std::string> server(const ServerOptions& options);  ///< The same, of a server.

 private:
  friend std::expected<Socket, Error> secure(Socket, const Context&, std::string_view, Bound);
  explicit Context(std::shared_ptr<detail::ContextState> state) noexcept : state_(std::move(state)) {}

  std::shared_ptr<detail::ContextState> state_;
};

/// tcp::connect() and the handshake with `host`, whose certificate must be for that name, or number. Fails as
/// tcp::connect() does, and with untrusted and protocol. The bound is for all of it.
std::expected<Socket, Error> connect(std::string_view host, std::uint16_t port, const Context& context, Bound bound);
/// The server's part of the handshake with who has connected. Fails with untrusted, protocol, timed_out, reset,
/// cancelled; the connection is closed then. Call it in the process that serves the peer: a slow one is not to keep
/// others from being accepted.
std::expected<Socket, Error> accept(Socket socket, const Context& context, Bound bound);
/// Either, with a socket that is connected already, as when a conversation turns to TLS in its midst: invalid if bytes
/// have been read ahead. `host`: whose certificate a client wants; empty: that of anybody it trusts. Not for servers.
std::expected<Socket, Error> secure(Socket socket, const Context& context, std::string_view host, Bound bound);

/// Whether what goes through `socket` is encrypted.
bool is_secure(const Socket& socket) noexcept;
/// Whom the peer's certificate names, "CN=client,O=Example": nothing when it has shown none, or there is no TLS.
std::optional<std::string> peer_subject(const Socket& socket);
/// "TLSv1.3"; empty: no TLS.
std::string_view version(const Socket& socket) noexcept;

}  // namespace erlking::tls
