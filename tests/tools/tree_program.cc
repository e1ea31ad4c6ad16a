// What tree_cli_test.py looks at: a program that is a tree. It says `up` when it runs.
#include <erlking/erlking.h>

#include <cstdio>
#include <string>

using namespace erlking;
using namespace std::chrono_literals;

struct Crash {};
class Store : public Server {
 public:
  using Handles = Messages<Crash>;
  void on(Crash&) { exit(Reason("crashed")); }
};

void clerk(std::string label) {
  set_label(std::move(label));
  receive(forever, [](Drain) {});
}
void idle() {
  receive(forever, [](Drain) {});
}

// Crashes the store once, ends a clerk for good, fills the pool.
void prepare(int connections) {
  while (!whereis("store") || !whereis("staff") || !whereis("connections")) sleep(1ms);
  const Pid first = *whereis("store");
  send(first, Crash{});
  while (!whereis("store") || whereis("store") == first) sleep(1ms);
  static_cast<void>(terminate_child(Name{"staff"}, "bob", 5s));
  for (int i = 0; i < connections; ++i) static_cast<void>(start_child(5s, Name{"connections"}));
  for (int i = 0; i < 900; ++i) send(Name{"deaf"}, Crash{});
  std::puts("up");
  std::fflush(stdout);
  receive(forever, [](Drain) {});
}

int main(int argc, char** argv) {
  const Options options = Options::from(argc, argv);
  const int connections = argc > 1 ? std::stoi(argv[1]) : 5;
  const auto named = [](std::string name) { return ChildOptions{.spawn = {.name = std::move(name)}}; };
  return Runtime(options).run(
      {.children =
           {
               child<Store>("store", named("store")),
               supervisor("staff",
                          {.strategy = one_for_all,
                           .children = {child("ann \"the <first>\" & only", {}, clerk, std::string("at the till")),
                                        child("\n\xff", {}, idle), child("bob", {}, clerk, std::string("in the yard")),
                                        child("deaf", named("deaf"), idle)}},
                          named("staff")),
               supervisor("connections",
                          {.strategy = simple_one_for_one,
                           .children = {child("conn", {.restart = temporary}, idle)},
                           .max_children = 100'000},
                          named("connections")),
               child("prepare", {.restart = temporary}, prepare, connections),
           }},
      {.spawn = {.name = "shop"}});
}
