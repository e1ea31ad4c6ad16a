// `uring`: operations go to the kernel's ring, all that have gathered by one call, and come back by another, or by
// none. Descriptors must be blocking: a non-blocking one answers EAGAIN where it should wait.
//
//   G1  The ring is its worker's, which may go on with another thread (sched/hand_over.h): so neither SINGLE_ISSUER nor
//       DEFER_TASKRUN, and no registered descriptor of the ring. A completion is made by the thread that began the
//       operation as it enters the kernel, if only for a clock tick (COOP_TASKRUN): one that computes on is interrupted
//       by none. TASKRUN_FLAG says, without a call, whether there are any. A thread that ends would cancel what it has
//       begun: those of workers do not end before their rings.
//   G2  A cancellation is put in line behind the operation it is for, and before all that start later: it meets no
//       other at the same address. Its own completion says nothing; the operation's own is waited for (O2).
//   G3  A poll of the eventfd is always armed while the thread sleeps here: wake() ends the sleep.
//   G4  When the submission queue is full it is handed over; when the kernel does not take it, completions are emptied
//       first, and the rest waits for the next poll().
// Cost: a share of two calls; nothing else is paid by an operation that the kernel can do at once.
#include "io/driver.h"
#include "io/syscalls.h"
#include "io/wake_fd.h"

#include <cerrno>
#include <liburing.h>
#include <new>
#include <poll.h>
#include <sys/socket.h>

namespace erlking::io {

using base::Nanos;

namespace {

constexpr unsigned kSubmissions = 256, kCompletions = 4096;
constexpr std::uint64_t kWake = 1, kCancellation = 2;  // no operation has these addresses

class UringDriver final : public Driver {
 public:
  explicit UringDriver(Rouse rouse) noexcept : Driver(rouse) {
    if (!wake_.ok()) return;
    const int fault = set_up();
    if (fault != 0) errno = -fault;
  }
  ~UringDriver() override {
    if (ok_) io_uring_queue_exit(&ring_);
  }
  bool ok() const noexcept { return ok_; }

  std::string_view name() const noexcept override { return "uring"; }
  bool does_files() const noexcept override { return true; }

  // One call is cheaper than a wait; of anything else the ring knows better.
  bool attempt(Operation& operation) noexcept override {
    if (operation.code != Code::read_at) return false;
    operation.result = read_cached(operation);
    return operation.result != -EAGAIN;
  }

  void poll() noexcept override {
    fill();
    if (io_uring_sq_ready(&ring_) != 0) {
      io_uring_submit_and_get_events(&ring_);
    } else if ((IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {  // G1
      io_uring_get_events(&ring_);
    }
    reap();
  }

  void sleep(Nanos timeout) noexcept override {
    if (has_batch() || full_) return poll();  // the kernel did not take all of it
    if (!wake_armed_) arm_wake();
    if (!wake_armed_) return poll();
    __kernel_timespec limit{};
    if (timeout != base::kForever) {
      limit.tv_sec = timeout / 1'000'000'000;
      limit.tv_nsec = timeout % 1'000'000'000;
    }
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout == base::kForever ? nullptr : &limit, nullptr);
    reap();
  }

  void wake() noexcept override { wake_.wake(); }

 private:
  // 0, or -errno.
  int set_up() noexcept {
    io_uring_params wanted{};
    wanted.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    wanted.cq_entries = kCompletions;
    int fault = io_uring_queue_init_params(kSubmissions, &ring_, &wanted);
    if (fault == -EINVAL) {  // before Linux 5.19
      wanted = {};
      wanted.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
      wanted.cq_entries = kCompletions;
      fault = io_uring_queue_init_params(kSubmissions, &ring_, &wanted);
    }
    if (fault != 0) return fault;
    if ((ring_.features & IORING_FEAT_EXT_ARG) == 0 || (ring_.features & IORING_FEAT_NODROP) == 0 || !knows_all()) {
      io_uring_queue_exit(&ring_);
      return -ENOSYS;
    }
    ok_ = true;
    return 0;
  }

  bool knows_all() noexcept {
    io_uring_probe* const probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    bool all = true;
    for (const int code :
         {IORING_OP_RECV, IORING_OP_SEND, IORING_OP_ACCEPT, IORING_OP_CONNECT, IORING_OP_READ, IORING_OP_WRITE,
          IORING_OP_FSYNC, IORING_OP_SENDMSG, IORING_OP_RECVMSG, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL}) {
      all = all && io_uring_opcode_supported(probe, code) != 0;
    }
    io_uring_free_probe(probe);
    return all;
  }

  // Null: the queue is full, and the kernel does not take it now (G4).
  io_uring_sqe* place() noexcept {
    io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
    if (sqe != nullptr) return sqe;
    io_uring_submit(&ring_);
    return io_uring_get_sqe(&ring_);
  }

  void fill() noexcept {
    take_requests();
    full_ = false;
    while (has_batch()) {
      io_uring_sqe* const sqe = place();
      if (sqe == nullptr) return void(full_ = true);
      prepare(*sqe, *take_from_batch());
    }
    while (Operation* const operation = next_to_cancel()) {  // G2
      if (!operation->done.load(base::relaxed)) {            // relaxed: only this thread stores it
        io_uring_sqe* const sqe = place();
        if (sqe == nullptr) {
          full_ = true;
          return put_back_to_cancel(*operation);
        }
        io_uring_prep_cancel(sqe, operation, 0);
        io_uring_sqe_set_data64(sqe, kCancellation);
      }
      cancel_seen(*operation);
    }
  }

  static void prepare(io_uring_sqe& sqe, Operation& operation) noexcept {
    switch (operation.code) {
      case Code::recv:
        io_uring_prep_recv(&sqe, operation.fd, operation.data, operation.size, static_cast<int>(operation.flags));
        break;
      case Code::send:
        io_uring_prep_send(&sqe, operation.fd, operation.data, operation.size,
                           static_cast<int>(operation.flags) | MSG_NOSIGNAL);
        break;
      case Code::accept:
        io_uring_prep_accept(&sqe, operation.fd, nullptr, nullptr, SOCK_CLOEXEC);
        break;
      case Code::connect:
        io_uring_prep_connect(&sqe, operation.fd, static_cast<const sockaddr*>(operation.data), operation.size);
        break;
      case Code::read:
        io_uring_prep_read(&sqe, operation.fd, operation.data, operation.size, kCurrentPosition);
        break;
      case Code::write:
        io_uring_prep_write(&sqe, operation.fd, operation.data, operation.size, kCurrentPosition);
        break;
      case Code::poll:
        io_uring_prep_poll_add(&sqe, operation.fd, operation.flags);
        break;
      case Code::send_message:
        io_uring_prep_sendmsg(&sqe, operation.fd, static_cast<const msghdr*>(operation.data),
                              operation.flags | MSG_NOSIGNAL);
        break;
      case Code::receive_message:
        io_uring_prep_recvmsg(&sqe, operation.fd, static_cast<msghdr*>(operation.data), operation.flags);
        break;
      case Code::read_at:
        io_uring_prep_read(&sqe, operation.fd, operation.data, operation.size, operation.offset);
        break;
      case Code::write_at:  // kAtEnd is kCurrentPosition: of a file opened to append, the end
        io_uring_prep_write(&sqe, operation.fd, operation.data, operation.size, operation.offset);
        break;
      case Code::sync:
        io_uring_prep_fsync(&sqe, operation.fd, 0);
        break;
      case Code::sync_data:
        io_uring_prep_fsync(&sqe, operation.fd, IORING_FSYNC_DATASYNC);
        break;
      case Code::call:  // goes to spare threads
        io_uring_prep_nop(&sqe);
        break;
    }
    io_uring_sqe_set_data(&sqe, &operation);
  }

  void arm_wake() noexcept {
    io_uring_sqe* const sqe = place();
    if (sqe == nullptr) return;
    io_uring_prep_poll_add(sqe, wake_.get(), POLLIN);
    io_uring_sqe_set_data64(sqe, kWake);
    wake_armed_ = true;
  }

  void reap() noexcept {
    io_uring_cqe* cqes[64];
    while (const unsigned n = io_uring_peek_batch_cqe(&ring_, cqes, 64)) {
      struct Ended {
        std::uint64_t data;
        std::int32_t result;
      } ended[64];
      for (unsigned i = 0; i < n; ++i) ended[i] = {cqes[i]->user_data, cqes[i]->res};
      io_uring_cq_advance(&ring_, n);
      for (unsigned i = 0; i < n; ++i) {
        if (ended[i].data == kWake) {
          wake_armed_ = false;
          wake_.clear();
        } else if (ended[i].data != kCancellation) {
          end(*reinterpret_cast<Operation*>(ended[i].data), ended[i].result);
        }
      }
    }
  }

  static constexpr std::uint64_t kCurrentPosition = ~std::uint64_t{0};  // as read(2) does

  WakeFd wake_;
  io_uring ring_{};
  bool ok_ = false;
  bool wake_armed_ = false;
  bool full_ = false;  // something could not be placed (G4)
};

}  // namespace

std::unique_ptr<Driver> make_uring_driver(Rouse rouse) noexcept {
  try {
    auto driver = std::make_unique<UringDriver>(rouse);
    if (driver->ok()) return driver;
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
  }
  return nullptr;
}

}  // namespace erlking::io
