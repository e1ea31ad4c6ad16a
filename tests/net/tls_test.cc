// TLS: what goes through, who is trusted, every way it ends.
#include "tests/support/net_fixture.h"

#include <array>
#include <cstdio>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace erlking::testing {
namespace {

// --- certificates ----------------------------------------------------------------------------------------------------

struct Identity {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  ~Identity() {
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
};

void extend(X509* certificate, int kind, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// A certificate of `name`, signed by `issuer`, or by itself; valid for `days`.
void make(Identity& made, const char* name, const char* hosts, const Identity* issuer, long days = 1) {
  made.key = EVP_EC_gen("P-256");
  made.certificate = X509_new();
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), ++serial);
  X509_set_version(made.certificate, 2);
  X509_gmtime_adj(X509_getm_notBefore(made.certificate), -2 * 86'400L);
  X509_gmtime_adj(X509_getm_notAfter(made.certificate), days * 86'400L);
  X509_NAME* const subject = X509_get_subject_name(made.certificate);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(made.certificate, issuer != nullptr ? X509_get_subject_name(issuer->certificate) : subject);
  X509_set_pubkey(made.certificate, made.key);
  extend(made.certificate, NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (hosts != nullptr) extend(made.certificate, NID_subject_alt_name, hosts);
  ASSERT_GT(X509_sign(made.certificate, issuer != nullptr ? issuer->key : made.key, EVP_sha256()), 0);
}

class TlsTest : public NetTest {
 protected:
  void SetUp() override {
    std::string made_at = (std::filesystem::temp_directory_path() / "erlking-tls-XXXXXX").string();
    ASSERT_NE(::mkdtemp(made_at.data()), nullptr);
    folder_ = made_at;
    make(ca_, "test authority", nullptr, nullptr);
    make(other_ca_, "another authority", nullptr, nullptr);
    save("ca", ca_);
    save("other_ca", other_ca_);
    identity("server", "DNS:localhost,IP:127.0.0.1", ca_);
    identity("client", nullptr, ca_);
    NetTest::SetUp();
  }
  void TearDown() override {
    NetTest::TearDown();
    std::filesystem::remove_all(folder_);
  }
  void identity(const char* name, const char* hosts, const Identity& issuer, long days = 1) {
    Identity made;
    make(made, name, hosts, &issuer, days);
    save(name, made);
  }
  void save(const std::string& name, const Identity& identity) {
    std::FILE* const certificate = std::fopen(pem(name).c_str(), "w");
    PEM_write_X509(certificate, identity.certificate);
    std::fclose(certificate);
    std::FILE* const key = std::fopen(pem(name + "_key").c_str(), "w");
    PEM_write_PrivateKey(key, identity.key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(key);
  }
  std::string pem(const std::string& name) const { return folder_ / (name + ".pem"); }

  tls::Context server(const std::string& name = "server", const std::string& client_ca = {}) {
    auto made = tls::Context::server({.certificate_file = pem(name),
                                      .key_file = pem(name + "_key"),
                                      .client_ca_file = client_ca.empty() ? "" : pem(client_ca)});
    EXPECT_TRUE(made) << made.error();
    return *made;
  }
  tls::Context client(tls::ClientOptions wanted = {}) {
    if (wanted.ca_file.empty()) wanted.ca_file = pem("ca");
    auto made = tls::Context::client(wanted);
    EXPECT_TRUE(made) << made.error();
    return *made;
  }

  Identity ca_, other_ca_;

 private:
  std::filesystem::path folder_;
};
INSTANTIATE_TEST_SUITE_P(Every, TlsTest, every_place(), name_of_place);

constexpr std::size_t kStack = 256 * 1024;  // OpenSSL in an instrumented build

// Serves one peer in a process of its own; what it ended with is its exit reason.
template <class F>
std::uint16_t serve(const tls::Context& context, F body) {
  auto listener = tcp::listen({});
  EXPECT_TRUE(listener);
  const std::uint16_t port = listener->local()->port;
  spawn({.stack = kStack}, [listener = *std::move(listener), context, body]() mutable {
    auto peer = listener.accept(60s);
    ASSERT_TRUE(peer);
    auto secured = tls::accept(*std::move(peer), context, 60s);
    body(secured);
  });
  return port;
}
using Outcome = std::expected<Socket, tls::Error>;

void echo(Outcome& peer) {
  ASSERT_TRUE(peer) << peer.error().to_string();
  while (auto line = peer->read_until("\n", 1'000'000, 60s)) {
    if (!peer->write(*line + "\n", 60s)) return;
  }
}

// --- what goes through -----------------------------------------------------------------------------------------------

TEST_P(TlsTest, ASecureSocketIsReadAndWrittenAsAnyOther) {
  run([this] {
    const std::uint16_t port = serve(server(), echo);
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket) << socket.error().to_string();
    EXPECT_TRUE(tls::is_secure(*socket));
    EXPECT_EQ(tls::version(*socket), "TLSv1.3");
    EXPECT_EQ(tls::peer_subject(*socket), "CN=server");
    for (int i = 0; i < 20; ++i) {
      const std::string text = "line " + std::to_string(i);
      ASSERT_TRUE(socket->write(text + "\n", 60s));
      EXPECT_EQ(socket->read_until("\n", 1000, 60s), text);
    }
    ASSERT_TRUE(socket->write(std::array<std::string_view, 3>{"12", "", "3456\n"}, 60s));
    char got[3];
    ASSERT_TRUE(socket->read_exactly(got, 60s));
    EXPECT_EQ(std::string_view(got, 3), "123");
    EXPECT_EQ(socket->read(got, 60s), 3u);
    EXPECT_EQ(std::string_view(got, 3), "456");
    EXPECT_EQ(socket->peer()->port, port);

    const std::string path = "/tmp/ek-tls-test-" + std::to_string(::getpid());
    auto file = File::open(path, {.write = true, .create = true, .truncate = true}, 60s);
    ASSERT_TRUE(file && file->write_at(0, "not this, from a file\n", 60s));
    ::unlink(path.c_str());
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "");  // of the line before
    ASSERT_TRUE(socket->send_file(*file, 10, 12, 60s));
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "from a file");
    EXPECT_EQ(socket->send_file(*file, 22, 1, 60s).error().kind, IoFailure::end_of_stream);
  });
}

TEST_P(TlsTest, AnActiveReadsAndWritesThroughIt) {
  run([this] {
    static constexpr std::size_t kSize = 1'000'003;
    // The peer reads nothing before it has written all.
    const std::uint16_t port = serve(server(), [](Outcome& peer) {
      ASSERT_TRUE(peer);
      ASSERT_TRUE(peer->write(std::string(kSize, 'a'), 60s));
      std::string got(kSize, ' ');
      ASSERT_TRUE(peer->read_exactly(got, 60s));
      EXPECT_TRUE(got == std::string(kSize, 'b'));
    });
    auto socket = tls::connect("127.0.0.1", port, client(), 60s);
    ASSERT_TRUE(socket) << socket.error().to_string();
    auto active = Active::start(*std::move(socket), {.credit = 5'000});
    ASSERT_TRUE(active);
    EXPECT_TRUE(active->write(std::string(kSize, 'b'), 60s));
    std::size_t got = 0;
    for (bool going = true; going;) {
      receive(
          60s, [&](Active::Data& data) { got += data.bytes.size(); },
          [&](Active::Passive) { EXPECT_TRUE(active->add_credit(5'000)); },
          [&](Active::Ended& end) {
            EXPECT_FALSE(end.error) << end.error->to_string();
            going = false;
          });
    }
    EXPECT_EQ(got, kSize);
  });
}

TEST_P(TlsTest, ManyBytesInBothDirections) {
  run([this] {
    static constexpr std::size_t kSize = 1'000'003;
    const std::uint16_t port = serve(server(), [](Outcome& peer) {
      ASSERT_TRUE(peer);
      std::string got(kSize, ' ');
      ASSERT_TRUE(peer->read_exactly(got, 60s));
      ASSERT_TRUE(peer->write(got, 60s));
    });
    auto socket = tls::connect("127.0.0.1", port, client(), 60s);
    ASSERT_TRUE(socket) << socket.error().to_string();
    std::string sent(kSize, ' ');
    for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 7 / 3);
    ASSERT_TRUE(socket->write(sent, 60s));
    std::string got(kSize, ' ');
    ASSERT_TRUE(socket->read_exactly(got, 60s));
    EXPECT_TRUE(got == sent);
    EXPECT_EQ(socket->read(std::span(got), 60s), 0u) << "the peer has said that it was all";
  });
}

TEST_P(TlsTest, ItMovesToAnotherProcess) {
  run([this] {
    const std::uint16_t port = serve(server(), echo);
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket);
    const Monitored other = spawn_monitor({.stack = kStack}, [] {
      receive(60s, [](Socket& mine) {
        ASSERT_TRUE(mine.write("over there\n", 60s));
        EXPECT_EQ(mine.read_until("\n", 100, 60s), "over there");
      });
    });
    EXPECT_EQ(send(other.pid, *std::move(socket)), Delivery::queued);
    EXPECT_EQ(await_down(other), reason::normal);
  });
}

// --- who is trusted --------------------------------------------------------------------------------------------------

TEST_P(TlsTest, OnlyWhoIsTrustedAndForThatName) {
  identity("elsewhere", "DNS:example.org", ca_);
  identity("old", "DNS:localhost", ca_, -1);
  identity("stranger", "DNS:localhost", other_ca_);
  run([this] {
    for (const char* const name : {"elsewhere", "old", "stranger"}) {
      const std::uint16_t port = serve(server(name), [](Outcome& peer) {
        if (peer) {  // it may be done before the client has looked at the certificate
          char byte;
          EXPECT_FALSE(peer->read(std::span(&byte, 1), 60s).value_or(0));
        }
      });
      const auto socket = tls::connect("localhost", port, client(), 60s);
      ASSERT_FALSE(socket) << name;
      EXPECT_EQ(socket.error(), IoFailure::untrusted) << name << ": " << socket.error().to_string();
      EXPECT_FALSE(socket.error().why.empty());
    }
    const std::uint16_t port = serve(server("stranger"), echo);
    EXPECT_TRUE(tls::connect("localhost", port, client({.verify = false}), 60s)) << "if it is told to";
  });
}

TEST_P(TlsTest, AServerMayWantToKnowItsClients) {
  run([this] {
    const auto greet = [](Outcome& peer) {
      ASSERT_TRUE(peer) << peer.error().to_string();
      EXPECT_TRUE(peer->write(tls::peer_subject(*peer).value_or("nobody") + "\n", 60s));
    };
    auto known = tls::connect("localhost", serve(server("server", "ca"), greet),
                              client({.certificate_file = pem("client"), .key_file = pem("client_key")}), 60s);
    ASSERT_TRUE(known) << known.error().to_string();
    EXPECT_EQ(known->read_until("\n", 100, 60s), "CN=client");

    const auto refuse = [](Outcome& peer) {
      ASSERT_FALSE(peer);
      EXPECT_EQ(peer.error(), IoFailure::untrusted) << peer.error().to_string();
    };
    auto unknown = tls::connect("localhost", serve(server("server", "ca"), refuse), client(), 60s);
    if (unknown) {  // with TLS 1.3 the client is done before the server has seen that there is no certificate
      char byte;
      const auto got = unknown->read(std::span(&byte, 1), 60s);
      ASSERT_FALSE(got);
      EXPECT_TRUE(got.error() == IoFailure::protocol || got.error() == IoFailure::reset) << got.error().to_string();
    }
  });
}

TEST_P(TlsTest, FilesThatWillNotDoAreNamed) {
  EXPECT_NE(tls::Context::client({.ca_file = "/no/such.pem"}).error().find("'/no/such.pem'"), std::string::npos);
  EXPECT_FALSE(tls::Context::client({.ca_file = pem("ca"), .certificate_file = pem("client")}));
  EXPECT_FALSE(tls::Context::server({.certificate_file = "", .key_file = ""}));
  const auto mixed = tls::Context::server({.certificate_file = pem("server"), .key_file = pem("client_key")});
  ASSERT_FALSE(mixed);
  EXPECT_NE(mixed.error().find("client_key"), std::string::npos) << mixed.error();
}

// --- how it ends -----------------------------------------------------------------------------------------------------

TEST_P(TlsTest, AnEndThatNobodyHasSaidIsAReset) {
  run([this] {
    const std::uint16_t port = serve(server(), [](Outcome& peer) {
      ASSERT_TRUE(peer);
      ASSERT_TRUE(peer->write("half of\n", 60s));
      EXPECT_EQ(::shutdown(peer->fd(), SHUT_RDWR), 0) << "cut off below TLS";
    });
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket);
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "half of");
    char byte;
    EXPECT_EQ(failure_of(socket->read(std::span(&byte, 1), 60s)), IoFailure::reset);
    EXPECT_EQ(failure_of(socket->read(std::span(&byte, 1), 60s)), IoFailure::reset) << "and stays one";
  });
}

TEST_P(TlsTest, ShutdownSaysTheEndAndStillReads) {
  run([this] {
    const std::uint16_t port = serve(server(), [](Outcome& peer) {
      ASSERT_TRUE(peer);
      std::string all;
      char got[100];
      while (const auto n = peer->read(got, 60s).value_or(0)) all.append(got, n);
      EXPECT_TRUE(peer->write("got " + all + "\n", 60s));
    });
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket);
    ASSERT_TRUE(socket->write("this", 60s));
    ASSERT_TRUE(socket->shutdown(Side::write));
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "got this");
  });
}

TEST_P(TlsTest, WhoDoesNotSpeakTlsIsAnError) {
  run([this] {
    const std::uint16_t port = serve(server(), [](Outcome& peer) {
      ASSERT_FALSE(peer);
      EXPECT_EQ(peer.error(), IoFailure::protocol) << peer.error().to_string();
    });
    auto plain = tcp::connect("localhost", port, 60s);
    ASSERT_TRUE(plain);
    ASSERT_TRUE(plain->write("GET / HTTP/1.0\r\n\r\n", 60s));
    std::string rest(1000, ' ');
    while (plain->read(std::span(rest), 60s).value_or(0) != 0) {
    }
  });
}

TEST_P(TlsTest, ABoundEndsAHandshakeAndARead) {
  run([this] {
    auto listener = tcp::listen({});
    ASSERT_TRUE(listener);
    const auto never = tls::connect("localhost", listener->local()->port, client(), 50ms);
    ASSERT_FALSE(never);
    EXPECT_EQ(never.error(), IoFailure::timed_out) << never.error().to_string();

    const std::uint16_t port = serve(server(), echo);
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket);
    char byte;
    EXPECT_EQ(failure_of(socket->read(std::span(&byte, 1), 20ms)), IoFailure::timed_out);
    ASSERT_TRUE(socket->write("still there\n", 60s));
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "still there");
  });
}

// A write that a slow reader holds up: what counts as transferred arrives, once, whatever is written after it.
TEST_P(TlsTest, AWriteThatTimesOutCanGoOnWhereItStopped) {
  run([this] {
    static constexpr std::size_t kSize = 8'000'000;
    const Pid me = self();
    const std::uint16_t port = serve(server(), [me](Outcome& peer) {
      ASSERT_TRUE(peer);
      send(me, self());
      receive(60s, [](int) {});
      std::size_t have = 0;
      bool right = true;
      std::string got(100'000, ' ');
      while (const auto n = peer->read(std::span(got), 60s).value_or(0)) {
        for (std::size_t i = 0; i < n; ++i) right = right && got[i] == static_cast<char>((have + i) % 251);
        have += n;
      }
      EXPECT_EQ(have, kSize);
      EXPECT_TRUE(right);
      EXPECT_TRUE(peer->write("all\n", 60s));
    });
    auto socket = tls::connect("localhost", port, client(), 60s);
    ASSERT_TRUE(socket);
    std::string all(kSize, ' ');
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i % 251);
    const Pid reader = receive(60s, [](Pid pid) { return pid; });
    const auto stuck = socket->write(all, 100ms);
    ASSERT_FALSE(stuck);
    EXPECT_EQ(stuck.error(), IoFailure::timed_out);
    ASSERT_LT(stuck.error().transferred, kSize);
    send(reader, 1);
    ASSERT_TRUE(socket->write(std::string_view(all).substr(stuck.error().transferred), 60s));
    ASSERT_TRUE(socket->shutdown(Side::write));
    EXPECT_EQ(socket->read_until("\n", 100, 60s), "all");
  });
}

TEST_P(TlsTest, KilledAtAnyTimeNothingIsLeft) {
  const int rounds = static_cast<int>(scaled(40));
  run([&] {
    const tls::Context mine = client(), theirs = server();
    for (int i = 0; i < rounds; ++i) {
      const Monitored victim = spawn_monitor({.stack = kStack}, [&] {
        auto listener = tcp::listen({});
        ASSERT_TRUE(listener);
        const std::uint16_t port = listener->local()->port;
        const Pid peer = spawn_link({.stack = kStack}, [&mine, port] {
          auto socket = tls::connect("localhost", port, mine, forever);
          char got[1000];
          while (socket && socket->read(got, forever).value_or(0) != 0) {
          }
        });
        static_cast<void>(peer);
        auto socket = tls::accept(*listener->accept(forever), theirs, forever);
        while (socket && socket->write(std::string(20'000, 'x'), forever)) {
        }
      });
      sleep(std::chrono::microseconds(i * 211));
      exit(victim.pid, reason::kill);
      EXPECT_EQ(await_down(victim), reason::killed);
    }
    while (rt().processes() > 2) sleep(1ms);
  });
}

}  // namespace
}  // namespace erlking::testing
