#include "net/tls.h"

#include "base/assert.h"
#include "net/elsewhere.h"
#include "net/endpoint.h"
#include "runtime/self.h"
#include "runtime/system.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>
#include <type_traits>
#include <utility>

namespace erlking::tls {

using erlking::detail::Below, erlking::detail::elsewhere, erlking::detail::ip_endpoint;
using erlking::detail::system_of_caller;

namespace {

constexpr std::size_t kRecord = 16 * 1024;  // the most that TLS encrypts at once
constexpr std::size_t kAtOnce = 4 * kRecord;
constexpr std::size_t kChunk = 4096;  // read at once, on the process's stack

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using CtxPtr = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freed<SSL_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;

// What the library says of its last failure on this thread.
std::string last_fault() {
  const char* const words = ERR_reason_error_string(ERR_peek_last_error());
  std::string said = words != nullptr ? words : "";
  ERR_clear_error();
  return said;
}

std::unexpected<Error> refused(IoError error, std::string why = {}) {
  return std::unexpected(Error{error, std::move(why)});
}

// An SSL between two memory BIOs: it asks no descriptor and never waits.
struct Engine {
  SslPtr ssl;
  BIO* in = nullptr;   // ssl's
  BIO* out = nullptr;  // ssl's

  // Moves what is to be sent behind `to`.
  void drain(std::string& to) {
    while (const std::size_t n = BIO_ctrl_pending(out)) {
      const std::size_t before = to.size();
      to.resize(before + n);
      const int got = BIO_read(out, to.data() + before, static_cast<int>(std::min<std::size_t>(n, INT_MAX)));
      to.resize(before + static_cast<std::size_t>(std::max(got, 0)));
      if (got <= 0) return;
    }
  }
  void feed(const char* bytes, std::size_t n) {
    if (BIO_write(in, bytes, static_cast<int>(n)) != static_cast<int>(n)) throw std::bad_alloc();
  }
};

struct Step {
  enum class Outcome : std::uint8_t { done, wants_more, failed } outcome;
  IoFailure kind = IoFailure::protocol;
  std::string why;
};

Step handshake_step(Engine& engine) {
  ERR_clear_error();
  const int result = SSL_do_handshake(engine.ssl.get());
  if (result == 1) return {Step::Outcome::done, {}, {}};
  if (SSL_get_error(engine.ssl.get(), result) == SSL_ERROR_WANT_READ) return {Step::Outcome::wants_more, {}, {}};
  const long verified = SSL_get_verify_result(engine.ssl.get());
  if (verified != X509_V_OK) {
    ERR_clear_error();
    return {Step::Outcome::failed, IoFailure::untrusted, X509_verify_cert_error_string(verified)};
  }
  const bool shows_none = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE;
  return {Step::Outcome::failed, shows_none ? IoFailure::untrusted : IoFailure::protocol, last_fault()};
}

class Session final : public erlking::detail::Layer {
 public:
  explicit Session(std::shared_ptr<Engine> engine) noexcept : engine_(std::move(engine)) {}

  SSL* ssl() const noexcept { return engine_->ssl.get(); }

  std::expected<void, Error> handshake(Stream& below, const Bound& deadline) {
    for (;;) {
      // It owns the engine, too: should the bound pass, the thread ends the step, and nobody else touches it any more.
      auto step = elsewhere("handshake", deadline,
                            [engine = engine_]() -> std::expected<Step, int> { return handshake_step(*engine); });
      if (!step) return refused(step.error());
      engine_->drain(unsent_);
      const auto sent = flush(below, deadline);  // of a failure, too: it tells the peer why
      if (step->outcome == Step::Outcome::failed) {
        return refused(IoError{step->kind, 0, "handshake"}, std::move(step->why));
      }
      if (!sent) return refused(sent.error());
      if (step->outcome == Step::Outcome::done) return {};
      char chunk[kChunk];
      const auto got = Below::receive(below, chunk, sizeof chunk, deadline, "handshake");
      if (!got) return refused(got.error());
      if (*got == 0) return refused(IoError{IoFailure::reset, 0, "handshake"}, "the peer has left");
      engine_->feed(chunk, *got);
    }
  }

  std::expected<std::size_t, IoError> receive(Stream& below, char* into, std::size_t n, const Bound& bound,
                                              std::string_view operation) override {
    const Bound deadline = erlking::detail::deadline_of(system_of_caller(), bound);
    for (;;) {
      if (broken_) return std::unexpected(IoError{*broken_, 0, operation});
      ERR_clear_error();
      std::size_t got = 0;
      const int result = SSL_read_ex(ssl(), into, n, &got);
      if (result == 1) return got;
      const int why = SSL_get_error(ssl(), result);
      if (why == SSL_ERROR_ZERO_RETURN) return 0;
      if (why != SSL_ERROR_WANT_READ) {
        ERR_clear_error();
        broken_ = IoFailure::protocol;
        continue;
      }
      engine_->drain(unsent_);
      char chunk[kChunk];
      const auto more = receive_some(below, chunk, deadline, operation);
      if (!more) return more;
      if (*more == 0) {
        broken_ = IoFailure::reset;  // gone without saying that it was the end
        continue;
      }
      engine_->feed(chunk, *more);
    }
  }

  // What has been encrypted counts as transferred: it goes out before anything else.
  std::expected<void, IoError> write(Stream& below, std::string_view bytes, const Bound& deadline) override {
    std::size_t taken = 0;
    for (;;) {
      if (auto sent = flush(below, deadline); !sent) {
        sent.error().transferred = taken;
        return sent;
      }
      if (taken == bytes.size()) return {};
      if (broken_) return std::unexpected(IoError{*broken_, 0, "write", taken});
      for (std::size_t end = std::min(bytes.size(), taken + kAtOnce); taken < end;) {
        const std::string_view record = bytes.substr(taken, std::min(kRecord, end - taken));
        ERR_clear_error();
        std::size_t done = 0;
        if (SSL_write_ex(ssl(), record.data(), record.size(), &done) != 1) {
          ERR_clear_error();
          broken_ = IoFailure::protocol;
          break;
        }
        taken += done;
      }
      engine_->drain(unsent_);
    }
  }

  // What has come and is not decrypted, too: it makes no descriptor ready. If that is no whole record the next read
  // finds so, and then SSL has it.
  std::size_t buffered() const noexcept override {
    return static_cast<std::size_t>(SSL_pending(ssl())) + BIO_ctrl_pending(engine_->in);
  }

  void end(int fd) noexcept override {
    if (std::exchange(ended_, true)) return;
    try {
      ERR_clear_error();
      if (!broken_) static_cast<void>(SSL_shutdown(ssl()));
      ERR_clear_error();
      engine_->drain(unsent_);
    } catch (const std::bad_alloc&) {
      return;  // the peer takes it for a reset
    }
    static_cast<void>(::send(fd, unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
    unsent_.clear();
  }

 private:
  // Receives, while what is due may still have to go out: a peer that reads nothing before it has written must not keep
  // us from reading, nor one that waits for what is due.
  std::expected<std::size_t, IoError> receive_some(Stream& below, std::span<char> into, const Bound& deadline,
                                                   std::string_view operation) {
    constexpr Bound kNow = std::chrono::seconds(0);
    constexpr Duration kTurn = std::chrono::milliseconds(10);
    for (;;) {
      auto sent = flush(below, kNow);
      if (sent) return Below::receive(below, into.data(), into.size(), deadline, operation);
      if (sent.error() != IoFailure::timed_out) return std::unexpected(sent.error());
      auto got = Below::receive(below, into.data(), into.size(), kNow, operation);
      if (got || got.error() != IoFailure::timed_out) return got;
      const Clock::time_point turn = now() + kTurn;
      const bool last = !deadline.is_forever() && base::to_time_point(deadline.ns()) <= turn;
      sent = flush(below, last ? deadline : Bound(turn));
      if (!sent && sent.error() != IoFailure::timed_out) return std::unexpected(sent.error());
      if (!sent && last) return got;
    }
  }

  // Sends what is due. Failing, the rest stays.
  std::expected<void, IoError> flush(Stream& below, const Bound& deadline) {
    if (unsent_.empty()) return {};
    auto sent = Below::write(below, unsent_, deadline);
    if (sent) {
      unsent_ = {};  // an idle connection keeps nothing
    } else {
      unsent_.erase(0, sent.error().transferred);
      sent.error().transferred = 0;
    }
    return sent;
  }

  std::shared_ptr<Engine> engine_;
  std::string unsent_;
  std::optional<IoFailure> broken_;
  bool ended_ = false;
};

Session* session_of(const Socket& socket) noexcept { return static_cast<Session*>(Below::layer(socket)); }

std::unexpected<std::string> wrong(std::string_view what, const std::string& file) {
  return std::unexpected(fmt::format("{} '{}': {}", what, file, last_fault()));
}

std::expected<void, std::string> take_identity(SSL_CTX* ctx, const std::string& certificate, const std::string& key) {
  if (certificate.empty() != key.empty()) {
    return std::unexpected("a certificate and a key are given both or neither");
  }
  if (certificate.empty()) return {};
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(ctx, certificate.c_str()) != 1) return wrong("certificate", certificate);
  if (SSL_CTX_use_PrivateKey_file(ctx, key.c_str(), SSL_FILETYPE_PEM) != 1) return wrong("key", key);
  return {};
}

CtxPtr new_ctx(const SSL_METHOD* method) {
  ERR_clear_error();
  CtxPtr ctx(SSL_CTX_new(method));
  if (ctx == nullptr) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(ctx.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(ctx.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(ctx.get(), SSL_MODE_RELEASE_BUFFERS);
  return ctx;
}

}  // namespace

struct detail::ContextState {
  CtxPtr ctx;
  bool server;
};

std::string Error::to_string() const {
  return why.empty() ? IoError::to_string() : fmt::format("{} ({})", IoError::to_string(), why);
}

std::expected<Context, std::string> Context::client(const ClientOptions& options) {
  CtxPtr ctx = new_ctx(TLS_client_method());
  if (options.verify) {
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER, nullptr);
    const bool loaded = options.ca_file.empty() ? SSL_CTX_set_default_verify_paths(ctx.get()) == 1
                                                : SSL_CTX_load_verify_file(ctx.get(), options.ca_file.c_str()) == 1;
    if (!loaded) return wrong("trusted certificates", options.ca_file);
  }
  if (auto taken = take_identity(ctx.get(), options.certificate_file, options.key_file); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  return Context(std::make_shared<detail::ContextState>(std::move(ctx), false));
}

std::expected<Context, std::string> Context::server(const ServerOptions& options) {
  CtxPtr ctx = new_ctx(TLS_server_method());
  if (options.certificate_file.empty()) return std::unexpected("a server needs a certificate and its key");
  if (auto taken = take_identity(ctx.get(), options.certificate_file, options.key_file); !taken) {
    return std::unexpected(std::move(taken.error()));
  }
  if (!options.client_ca_file.empty()) {
    if (SSL_CTX_load_verify_file(ctx.get(), options.client_ca_file.c_str()) != 1) {
      return wrong("trusted certificates", options.client_ca_file);
    }
    SSL_CTX_set_verify(ctx.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    constexpr unsigned char kSessions[] = "erlking";
    SSL_CTX_set_session_id_context(ctx.get(), kSessions, sizeof kSessions - 1);
  }
  return Context(std::make_shared<detail::ContextState>(std::move(ctx), true));
}

std::expected<Socket, Error> secure(Socket socket, const Context& context, std::string_view host, Bound bound) {
  const Bound deadline = erlking::detail::deadline_of(system_of_caller(), bound);
  if (!socket.is_open()) return refused(IoError::of(EBADF, "handshake"));
  if (socket.buffered() != 0 || is_secure(socket)) return refused(IoError::of(EINVAL, "handshake"));
  auto engine = std::make_shared<Engine>();
  engine->ssl.reset(SSL_new(context.state_->ctx.get()));
  BioPtr in(BIO_new(BIO_s_mem())), out(BIO_new(BIO_s_mem()));
  if (engine->ssl == nullptr || in == nullptr || out == nullptr) throw std::bad_alloc();
  engine->in = in.get();
  engine->out = out.get();
  SSL* const ssl = engine->ssl.get();
  SSL_set_bio(ssl, in.release(), out.release());
  if (context.state_->server) {
    SSL_set_accept_state(ssl);
  } else {
    SSL_set_connect_state(ssl);
    if (const std::string name(host); !name.empty()) {
      const bool number = name != "localhost" && ip_endpoint(name, 0).has_value();
      const bool set = number
                           ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str()) == 1
                           : SSL_set1_host(ssl, name.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
      if (!set) return refused(IoError{IoFailure::bad_address, 0, "handshake"}, last_fault());
    }
  }
  auto session = std::make_unique<Session>(std::move(engine));
  if (auto done = session->handshake(socket, deadline); !done) return std::unexpected(std::move(done.error()));
  Below::set_layer(socket, std::move(session));
  return socket;
}

std::expected<Socket, Error> connect(std::string_view host, std::uint16_t port, const Context& context, Bound bound) {
  const Bound deadline = erlking::detail::deadline_of(system_of_caller(), bound);
  auto socket = tcp::connect(host, port, deadline);
  if (!socket) return refused(socket.error());
  return secure(*std::move(socket), context, host, deadline);
}

std::expected<Socket, Error> accept(Socket socket, const Context& context, Bound bound) {
  return secure(std::move(socket), context, {}, bound);
}

bool is_secure(const Socket& socket) noexcept { return session_of(socket) != nullptr; }

std::optional<std::string> peer_subject(const Socket& socket) {
  const Session* const session = session_of(socket);
  if (session == nullptr) return std::nullopt;
  const X509Ptr certificate(SSL_get1_peer_certificate(session->ssl()));
  if (certificate == nullptr) return std::nullopt;
  const BioPtr text(BIO_new(BIO_s_mem()));
  if (text == nullptr ||
      X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate.get()), 0, XN_FLAG_RFC2253) < 0) {
    throw std::bad_alloc();
  }
  std::string subject(BIO_ctrl_pending(text.get()), '\0');
  BIO_read(text.get(), subject.data(), static_cast<int>(subject.size()));
  return subject;
}

std::string_view version(const Socket& socket) noexcept {
  const Session* const session = session_of(socket);
  return session != nullptr ? SSL_get_version(session->ssl()) : std::string_view();
}

}  // namespace erlking::tls
