#include "examples/kv/connection.h"

#include "examples/kv/hub.h"
#include "examples/kv/info.h"
#include "examples/kv/log.h"
#include "examples/kv/part.h"
#include "examples/kv/pipeline.h"
#include "examples/kv/server.h"
#include "examples/kv/snapshot.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace kv {

using namespace erlking;
using namespace std::chrono_literals;

namespace {

constexpr auto kAnswer = 10min;  // for the parts; longer than the disk may take
constexpr auto kSlowPeer = 5min;
constexpr auto kNap = 5ms;  // until a subscriber may have read some of its replies
constexpr std::size_t kRead = 16 * 1024;
constexpr std::size_t kBatch = 256;             // requests at once
constexpr std::size_t kQueryMost = 1u << 30;    // bytes of one request
constexpr std::uint32_t kOutboxMailbox = 8192;  // messages

// Writes what it is sent.
void outbox(Socket socket, const std::shared_ptr<Backlog>& backlog) {
  for (bool good = true; good;) {
    receive(forever, [&](Deliver delivery) {
      if (delivery.text == nullptr) return void(good = false);  // its connection has ended
      good = socket.write(*delivery.text, kSlowPeer).has_value();
      backlog->bytes.fetch_sub(delivery.text->size(), std::memory_order_relaxed);  // relaxed: a count
    });
  }
  static_cast<void>(socket.shutdown(Side::both));  // for who reads from it, too
}

class Connection {
 public:
  Connection(World& world, Socket& socket)
      : world_(world), socket_(socket), pipeline_(std::make_shared<Pipeline>(world.settings.parts)) {
    for (std::size_t part = 0; part < world.settings.parts; ++part) {
      parts_.push_back(whereis(name_of_part(part)).value_or(Pid{}));
    }
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void run() {
    while (open_ && read() && handle_all()) {
    }
    // An end that is no fault does not reach it by the link.
    if (outbox_ && send(*outbox_, Deliver{nullptr}) != Delivery::queued) exit(*outbox_, reason::kill);
  }

 private:
  bool read();
  bool handle_all();
  void handle(std::size_t first);
  void handle_here(const Command& command, std::size_t first, std::size_t words);
  bool flush();
  bool ask_parts();
  bool write(std::string_view bytes);

  void ping(std::size_t first, std::size_t words);
  void subscribe(std::size_t first, std::size_t words);
  void unsubscribe(std::size_t first, std::size_t words);
  std::string confirmation(std::string_view what, const std::string* channel) const;
  bool begin_outbox();
  void shut_down(std::size_t first, std::size_t words);

  World& world_;
  Socket& socket_;
  std::shared_ptr<Pipeline> pipeline_;
  Parser parser_;
  std::vector<Pid> parts_;
  std::size_t under_way_ = 0;  // where the arguments of the request under way begin
  bool open_ = true;
  bool stuck_ = false;  // the parts have not answered: nothing is asked of them any more
  std::uint64_t counted_ = 0;
  // of a subscriber
  std::optional<Pid> outbox_;
  std::shared_ptr<Backlog> backlog_;
  std::vector<std::string> channels_;
};

bool Connection::read() {
  std::string& bytes = pipeline_->bytes;
  if (bytes.empty() && bytes.capacity() > 4 * kRead) bytes = {};  // it was used for something large
  if (pipeline_->arguments.empty() && pipeline_->arguments.capacity() > kRead) pipeline_->arguments = {};
  const std::size_t have = bytes.size();
  if (have >= kQueryMost) return false;
  // Of a large argument as much as has come already: who announces much and sends little costs little.
  const std::size_t missing = parser_.wanted() > have ? parser_.wanted() - have : 0;
  const std::size_t room = std::max(kRead, std::min(missing, have));
  bytes.resize_and_overwrite(have + room, [](char*, std::size_t size) { return size; });
  const std::uint32_t idle = world_.settings.idle_seconds;
  const bool may_be_silent = idle == 0 || !channels_.empty();
  const auto got =
      socket_.read(std::span(bytes).subspan(have), may_be_silent ? Bound(forever) : Bound(std::chrono::seconds(idle)));
  bytes.resize(have + got.value_or(0));
  return got && *got != 0;
}

bool Connection::handle_all() {
  Pipeline& pipeline = *pipeline_;
  for (;;) {
    const auto result = parser_.next(pipeline.bytes, pipeline.arguments);
    if (result == Parser::Result::request) {
      handle(std::exchange(under_way_, pipeline.arguments.size()));
      if (!open_) break;
      if (pipeline.size() < kBatch && pipeline.own().size() < 4 * kRead) continue;
      if (!flush()) return false;
      pipeline.arguments.clear();
      under_way_ = 0;
    } else if (result == Parser::Result::error) {
      add_error(pipeline.own(), "ERR " + parser_.error());
      pipeline.added();
      open_ = false;
      break;
    } else {  // what has come of the request under way stays
      if (!flush()) return false;
      pipeline.bytes.erase(0, parser_.taken());
      parser_.rebase(pipeline.arguments, std::exchange(under_way_, 0));
      return true;
    }
  }
  return flush() && open_;
}

void Connection::handle(std::size_t first) {
  Pipeline& pipeline = *pipeline_;
  const std::size_t words = pipeline.arguments.size() - first;
  if (words == 0) return;
  ++counted_;
  const auto refuse = [&](std::string_view error) {
    add_error(pipeline.own(), error);
    pipeline.added();
  };
  const std::string_view name = pipeline.word(first);
  const Command* const command = find_command(name);
  if (command == nullptr || command->where == Where::internal) {
    std::string error = "ERR unknown command '" + std::string(name.substr(0, 128)) + "', with args beginning with: ";
    std::string shown;
    for (std::size_t i = 1; i < words && shown.size() < 128; ++i) {
      shown += "'" + std::string(pipeline.word(first + i).substr(0, 128 - shown.size())) + "' ";
    }
    return refuse(error + shown);
  }
  if (!command->takes(words) || (command->step > 1 && (words - 1) % command->step != 0)) {
    return refuse(error::arity(command->name));
  }
  if (!channels_.empty() && command->here != Here::subscribe && command->here != Here::unsubscribe &&
      command->here != Here::ping && command->here != Here::quit) {
    return refuse("ERR Can't execute '" + std::string(command->name) +
                  "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context");
  }
  if (command->where == Where::here) return handle_here(*command, first, words);
  if (command->where == Where::parts && command->writes) {  // all of it or nothing
    if (const int broken = world_.log_error.load(std::memory_order_relaxed)) return refuse(error::misconf(broken));
    const std::uint64_t most = world_.settings.max_memory;
    if (command->grows && most != 0 && world_.memory.load(std::memory_order_relaxed) > most) {
      return refuse(error::kMemory);
    }
  }
  pipeline.add(*command, first, words);
}

void Connection::handle_here(const Command& command, std::size_t first, std::size_t words) {
  Pipeline& pipeline = *pipeline_;
  std::string& out = pipeline.own();
  const auto word = [&](std::size_t i) { return pipeline.word(first + i); };
  switch (command.here) {
    case Here::ping:
      return ping(first, words);
    case Here::echo:
      add_bulk(out, word(1));
      break;
    case Here::select: {
      const auto index = to_integer(word(1));
      if (!index) {
        add_error(out, error::kInteger);
      } else {
        *index == 0 ? add_simple(out, "OK") : add_error(out, "ERR DB index is out of range");
      }
      break;
    }
    case Here::quit:
      add_simple(out, "OK");
      open_ = false;
      break;
    case Here::command:
      reply_command(out, words, word);
      break;
    case Here::config:
      reply_config(out, world_, words, word);
      break;
    case Here::info:
      reply_info(out, world_, words > 1 ? word(1) : std::string_view());
      break;
    case Here::publish: {
      if (!flush()) return void(open_ = false);  // what came before is done before
      const auto reached = call(Name{kHub}, Publish{std::string(word(1)), std::string(word(2))}, kAnswer);
      reached ? add_integer(out, *reached) : add_error(out, "ERR the hub does not answer");
      break;
    }
    case Here::subscribe:
      return subscribe(first, words);
    case Here::unsubscribe:
      return unsubscribe(first, words);
    case Here::rewrite:
      if (world_.settings.dir.empty()) {
        add_error(out, "ERR nothing is kept: there is no --dir");
      } else if (!flush()) {
        return void(open_ = false);
      } else if (world_.rewriting.exchange(true)) {
        add_error(out, "ERR Background append only file rewriting already in progress");
      } else if (send(Name{kRewriter}, Rewrite{}) != Delivery::queued) {
        world_.rewriting = false;
        add_error(out, "ERR the rewriter is busy");
      } else {
        add_simple(out, "Background append only file rewriting started");
      }
      break;
    default:
      return shut_down(first, words);
  }
  pipeline.added();
}

void Connection::ping(std::size_t first, std::size_t words) {
  std::string& out = pipeline_->own();
  if (words > 2) {
    add_error(out, error::arity("ping"));
  } else if (!channels_.empty()) {
    add_array(out, 2);
    add_bulk(out, "pong");
    add_bulk(out, words == 2 ? pipeline_->word(first + 1) : std::string_view());
  } else {
    words == 2 ? add_bulk(out, pipeline_->word(first + 1)) : add_simple(out, "PONG");
  }
  pipeline_->added();
}

void Connection::shut_down(std::size_t first, std::size_t words) {
  bool forced = false;
  for (std::size_t i = 1; i < words; ++i) {
    const std::string_view word = pipeline_->word(first + i);
    const bool known = same_word(word, "save") || same_word(word, "now");
    const bool force = same_word(word, "nosave") || same_word(word, "force");
    forced = forced || force;
    if (known || force) continue;
    add_error(pipeline_->own(), error::kSyntax);
    return pipeline_->added();
  }
  if (world_.log_error != 0 && !forced) {
    add_error(pipeline_->own(), "ERR Errors trying to SHUTDOWN. Check logs.");
    return pipeline_->added();
  }
  open_ = flush();
  static_cast<void>(send(Name{kSteward}, Stop{}));
  open_ = false;
}

bool Connection::ask_parts() {
  Pipeline& pipeline = *pipeline_;
  std::size_t last = parts_.size(), asked = 0;
  for (std::size_t part = 0; part < parts_.size(); ++part) {
    if (pipeline.section(part).items.empty()) continue;
    last = part;
    ++asked;
  }
  if (asked == 0) return true;
  if (asked == 1) return call(parts_[last], Run{pipeline_}, kAnswer).has_value();
  std::vector<std::pair<std::size_t, RequestId<Run>>> sent;
  for (std::size_t part = 0; part < last; ++part) {
    if (!pipeline.section(part).items.empty()) sent.emplace_back(part, send_request(parts_[part], Run{pipeline_}));
  }
  bool good = call(parts_[last], Run{pipeline_}, kAnswer).has_value();
  for (auto& [part, request] : sent) {
    auto done = receive_response(std::move(request), kAnswer);
    if (!done && done.error().kind == CallFailure::full) {  // now wait for room
      good = call(parts_[part], Run{pipeline_}, kAnswer).has_value() && good;
    } else {
      good = done.has_value() && good;
    }
  }
  return good;
}

bool Connection::flush() {
  Pipeline& pipeline = *pipeline_;
  if (stuck_) return false;
  if (pipeline.size() == 0) return true;
  world_.commands.fetch_add(std::exchange(counted_, 0), std::memory_order_relaxed);  // relaxed: a count
  if (!ask_parts()) {                                                                // the parts may still be at it: P1
    stuck_ = true;
    return open_ = false;
  }
  const bool written = write(pipeline.finish());
  pipeline.clear();
  return written;
}

bool Connection::write(std::string_view bytes) {
  if (bytes.empty()) return true;
  if (!outbox_) return socket_.write(bytes, kSlowPeer).has_value();
  // relaxed: a count
  for (const auto until = now() + kSlowPeer;
       backlog_->bytes.load(std::memory_order_relaxed) > world_.settings.subscriber_buffer; sleep(kNap)) {
    if (now() >= until) return false;
  }
  backlog_->bytes.fetch_add(bytes.size(), std::memory_order_relaxed);  // relaxed: a count
  return send(*outbox_, Deliver{std::make_shared<const std::string>(bytes)}, kSlowPeer) == Delivery::queued;
}

bool Connection::begin_outbox() {
  if (outbox_) return true;
  auto twin = Socket::adopt(::dup(socket_.fd()));
  if (!twin) return false;
  backlog_ = std::make_shared<Backlog>();
  outbox_ = spawn_link({.mailbox = kOutboxMailbox}, outbox, *std::move(twin), backlog_);
  return true;
}

std::string Connection::confirmation(std::string_view what, const std::string* channel) const {
  std::string out;
  add_array(out, 3);
  add_bulk(out, what);
  channel == nullptr ? add_null(out) : add_bulk(out, *channel);
  add_integer(out, static_cast<std::int64_t>(channels_.size()));
  return out;
}

void Connection::subscribe(std::size_t first, std::size_t words) {
  if (!flush() || !begin_outbox()) return void(open_ = false);
  for (std::size_t i = 1; i < words; ++i) {
    std::string channel(pipeline_->word(first + i));
    const bool fresh = std::ranges::find(channels_, channel) == channels_.end();
    if (fresh) channels_.push_back(channel);
    auto text = std::make_shared<const std::string>(confirmation("subscribe", &channel));
    if (!fresh) {
      open_ = write(*text);
    } else if (!call(Name{kHub}, Subscribe{std::move(channel), *outbox_, backlog_, std::move(text)}, kAnswer)) {
      open_ = false;
    }
    if (!open_) return;
  }
}

void Connection::unsubscribe(std::size_t first, std::size_t words) {
  if (!flush()) return void(open_ = false);
  std::vector<std::string> wanted;
  for (std::size_t i = 1; i < words; ++i) wanted.emplace_back(pipeline_->word(first + i));
  if (words == 1) wanted = channels_;
  for (const std::string& channel : wanted) {
    if (std::erase(channels_, channel) != 0 && !call(Name{kHub}, Unsubscribe{channel, *outbox_}, kAnswer))
      open_ = false;
    pipeline_->own() += confirmation("unsubscribe", &channel);
  }
  if (wanted.empty()) pipeline_->own() += confirmation("unsubscribe", nullptr);
  pipeline_->added();
}

}  // namespace

void serve(const std::shared_ptr<World>& world, const std::shared_ptr<Client>& client) {
  static_cast<void>(client->socket.set_keep_alive(true, 300s));  // a Unix socket has none
  Connection(*world, client->socket).run();
}

}  // namespace kv
