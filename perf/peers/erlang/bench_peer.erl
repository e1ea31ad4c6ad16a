%% SPDX-License-Identifier: Apache-2.0
%%
%% @doc The BEAM side of `erlking bench --vs beam'.
%%
%% A co-process: reads one command a line on stdin, runs that workload once,
%% answers one line on stdout (perf/peers/README.md has the protocol). Written as
%% an ordinary user would write it: default heap sizes, default message queue,
%% default scheduler flags, on-heap everything. Only the "-apart" workloads and
%% `latency' bind processes to schedulers, with the undocumented spawn option
%% `{scheduler, N}'.
%%
%% Each run happens in processes of its own, made for it and gone after it, so no
%% run inherits a grown heap from an earlier one.
-module(bench_peer).
-behaviour(gen_server).

-export([main/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_continue/2]).

-define(PRODUCERS, 4).
%% fanin: messages covered by one credit, and credits a producer starts with.
%% 4 producers * 2 credits * 128 = 1,024 outstanding at most.
-define(BLOCK, 128).
-define(CREDITS, 2).
-define(SPAWN_BATCH, 1000).
-define(RING, 1000).
-define(BIG, 120).
-define(PAIRS, 50).
-define(UNMATCHED, 10000).
-define(MONITORS, 100000).
%% sup-start: children of one supervisor; restart: restarts by one supervisor.
-define(CHILDREN, 10000).
-define(RESTARTS, 100).
%% compute: workers, and requests each of them has at most.
-define(WORKERS, 16).
-define(QUEUED, 8).
-define(TIMER_MS, 10).
-define(SLEEPERS, 100).
-define(CALL_LIMIT_MS, 5000).
%% echo: how long a server waits for a request.
-define(READ_LIMIT_MS, 3600000).
%% latency: time between set-up and the first message.
-define(LEAD_NS, 2000000).

%%% ------------------------------------------------------------------ protocol

%% Entry point of `erl ... -s bench_peer main'. Ends the node on `quit' or EOF.
main() ->
    %% Crash reports would go to stdout, into the protocol. Failures of a run are
    %% answered as "error" lines instead.
    ok = logger:set_primary_config(level, none),
    Jit = case erlang:system_info(emu_flavor) of jit -> "yes"; _ -> "no" end,
    io:format("ready beam OTP-~s/erts-~s jit=~s schedulers=~b~n",
              [erlang:system_info(otp_release), erlang:system_info(version),
               Jit, schedulers()]),
    serve().

serve() ->
    case io:get_line("") of
        Line when is_list(Line) ->
            case string:lexemes(Line, " \t\r\n") of
                [] -> serve();
                ["quit"] -> erlang:halt(0);
                Words ->
                    io:put_chars([answer(Words), $\n]),
                    serve()
            end;
        _EofOrError ->
            erlang:halt(0)
    end.

%% Runs one command and returns the line that answers it.
answer([Workload | Arguments]) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({answer, run(Workload, Arguments)}) end),
    receive
        {'DOWN', Monitor, process, Pid, {answer, Text}} -> Text;
        {'DOWN', Monitor, process, Pid, Reason} ->
            io_lib:format("error ~s failed: ~0p", [Workload, Reason])
    end.

run(Workload, Arguments) ->
    try
        Fun = workload(Workload),
        {N, Options} = parse(Arguments),
        Figures = Fun(N, Options),
        ["result ", Workload | [[" ", Key, "=", text(V)] || {Key, V} <- Figures]]
    catch
        throw:unknown -> ["error unknown workload ", Workload];
        throw:Why when is_list(Why) -> ["error ", Workload, " ", Why]
    end.

workload("pingpong")       -> fun(N, _) -> pingpong(N, [], [], "natural") end;
workload("pingpong-apart") -> fun(N, _) -> two(), pingpong(N, on(1), on(2), "apart") end;
workload("fanin")          -> fun(N, _) -> fanin(N, [], [], "natural") end;
workload("fanin-apart")    -> fun(N, _) -> two(), fanin(N, on(2), on(1), "apart") end;
workload("spawn")          -> fun(N, _) -> spawning(N) end;
workload("call")           -> fun(N, _) -> calling(N, [], [], "natural") end;
workload("call-apart")     -> fun(N, _) -> two(), calling(N, on(1), on(2), "apart") end;
workload("latency")        -> fun latency/2;
workload("ring-1")         -> fun(N, _) -> ring(N, 1) end;
workload("ring-100")       -> fun(N, _) -> ring(N, 100) end;
workload("big")            -> fun(N, _) -> big(N) end;
workload("spawn-monitor")  -> fun(N, _) -> spawn_monitoring(N) end;
workload("fork-join-1k")   -> fun(N, _) -> fork_join(N, 10) end;
workload("fork-join-64k")  -> fun(N, _) -> fork_join(N, 16) end;
workload("monitors")       -> fun(N, _) -> monitors(N) end;
workload("call-50")        -> fun(N, _) -> call_pairs(N) end;
workload("server-call")    -> fun(N, _) -> calling(N, [], [], "natural") end;
workload("restart")        -> fun(N, _) -> restarting(N) end;
workload("sup-start")      -> fun(N, _) -> supervised_start(N) end;
workload("sup-simple-100k") -> fun(N, _) -> instances(N) end;
workload("pg-join")        -> fun(N, _) -> group_joining(N) end;
workload("selective")      -> fun(N, _) -> selective(N) end;
workload("compute-1us")    -> fun(N, _) -> compute(N, 1000) end;
workload("compute-5us")    -> fun(N, _) -> compute(N, 5000) end;
workload("compute-100us")  -> fun(N, _) -> compute(N, 100000) end;
workload("behind")         -> fun(N, _) -> two(), behind(N) end;
workload("sleepers")       -> fun(N, _) -> two(), sleeping(N, 0) end;
workload("hogs")           -> fun(N, _) -> two(), sleeping(N, 2) end;
workload("timers")         -> fun(N, _) -> timers(N) end;
workload("timer-accuracy") -> fun(N, _) -> timer_accuracy(N, 0) end;
workload("timer-accuracy-spread") -> fun(N, _) -> timer_accuracy(N, ?TIMER_MS * 1000000) end;
workload("idle")           -> fun(N, Options) -> idle(N, Options, "ns_per_spawn", fun spawn_idle/1) end;
workload("idle-servers")   -> fun(N, Options) -> idle(N, Options, "ns_per_start", fun start_idle/1) end;
workload("serve")          -> fun(_, Options) -> serve_echo(option("kind", Options, "")) end;
workload("stop")           -> fun(_, _) -> stop_echo() end;
workload(_)                -> throw(unknown).

parse([Count | Rest]) ->
    N = try list_to_integer(Count) catch error:badarg -> 0 end,
    N >= 1 orelse throw("unusable count " ++ Count),
    {N, maps:from_list([list_to_tuple(string:split(Word ++ "=", "=")) || Word <- Rest])};
parse([]) ->
    throw("no count given").

%% The value of option Key; parse/1 left one "=" at its end.
option(Key, Options, Default) ->
    case Options of
        #{Key := Value} -> string:trim(Value, trailing, "=");
        #{} -> Default
    end.

text(V) when is_float(V)   -> float_to_list(V, [{decimals, 1}]);
text(V) when is_integer(V) -> integer_to_list(V);
text(V)                    -> V.

schedulers() -> erlang:system_info(schedulers_online).

two() -> schedulers() >= 2 orelse throw("unsupported with one scheduler").

on(Scheduler) -> [{scheduler, Scheduler}].

now_ns() -> erlang:monotonic_time(nanosecond).

%% Starts Fun as a process linked to the caller; its result arrives as {Pid, Result}.
start(Fun, Options) ->
    Owner = self(),
    spawn_opt(fun() -> Owner ! {self(), Fun()} end, [link | Options]).

result(Pid) -> receive {Pid, Result} -> Result end.

%% A run that asked to be apart and was not, is no result.
check_apart([], _, _) -> ok;
check_apart(_, A, B) when A =/= B -> ok;
check_apart(_, _, _) -> throw("failed: both ended on one scheduler").

my_scheduler() -> erlang:system_info(scheduler_id).

%%% ------------------------------------------------------------------ pingpong

%% N round trips of a small tuple, timed in the first process from its first send
%% to its last reception; a hop is one message one way.
pingpong(N, PingOn, PongOn, Where) ->
    Pong = start(fun() -> pong(N), my_scheduler() end, PongOn),
    Ping = start(fun() ->
                         T0 = now_ns(),
                         ping(N, Pong),
                         {now_ns() - T0, my_scheduler()}
                 end, PingOn),
    {Ns, A} = result(Ping),
    check_apart(PingOn, A, result(Pong)),
    [{"ns_per_hop", Ns / (2 * N)}, {"where", Where}].

ping(0, _) -> ok;
ping(K, Pong) ->
    Pong ! {ping, self(), K},
    receive {pong, K} -> ping(K - 1, Pong) end.

pong(0) -> ok;
pong(Left) ->
    receive {ping, From, K} -> From ! {pong, K} end,
    pong(Left - 1).

%%% --------------------------------------------------------------------- fanin

%% 4 producers -> 1 consumer, N messages in all, at most 1,024 outstanding.
%%
%% The bound is by credit, the cheapest form found: a producer may have two blocks
%% of 128 messages on the way (4 * 2 * 128 = 1,024); the last message of a block
%% carries its pid, and the consumer answers that one with a credit for another
%% block. The consumer keeps no count per producer, and a credit costs 1/128
%% message. Timed by the consumer, from "go" to the last message.
fanin(N, ProducerOn, ConsumerOn, Where) ->
    Consumer = start(fun() ->
                             Producers = receive {producers, List} -> List end,
                             T0 = now_ns(),
                             [P ! {go, self()} || P <- Producers],
                             consume(N),
                             {now_ns() - T0, my_scheduler()}
                     end, ConsumerOn),
    Producers = [start(fun() ->
                               receive {go, To} -> produce(Share, ?BLOCK, ?CREDITS, To) end,
                               my_scheduler()
                       end, ProducerOn) || Share <- shares(N)],
    Consumer ! {producers, Producers},
    {Ns, C} = result(Consumer),
    [check_apart(ProducerOn, result(P), C) || P <- Producers],
    [{"ns_per_message", Ns / N}, {"where", Where}].

shares(N) ->
    [N div ?PRODUCERS + (case I =< N rem ?PRODUCERS of true -> 1; false -> 0 end)
     || I <- lists:seq(1, ?PRODUCERS)].

%% produce(MessagesLeft, LeftInBlock, CreditsLeftWithThisOne, To)
produce(0, _, _, _) -> ok;
produce(Left, _, 0, To) ->
    receive credit -> produce(Left, ?BLOCK, 1, To) end;
produce(Left, 1, Credits, To) ->
    To ! {item, Left, self()},
    produce(Left - 1, ?BLOCK, Credits - 1, To);
produce(Left, InBlock, Credits, To) ->
    To ! {item, Left},
    produce(Left - 1, InBlock - 1, Credits, To).

consume(0) -> ok;
consume(Left) ->
    receive
        {item, _} -> consume(Left - 1);
        {item, _, From} -> From ! credit, consume(Left - 1)
    end.

%%% ---------------------------------------------------------------------- ring

%% 1,000 processes in a ring pass tokens on; N hops in all, shared by the tokens,
%% which start evenly spread. Timed by who starts them, until the last is home.
ring(N, Tokens) ->
    Pid = start(fun() ->
                        Root = self(),
                        Nodes = [spawn_link(fun() -> ring_join(Root) end) || _ <- lists:seq(1, ?RING)],
                        close_ring(Nodes, hd(Nodes)),
                        Hops = max(1, N div Tokens),
                        Ring = list_to_tuple(Nodes),
                        T0 = now_ns(),
                        [element(1 + I * (?RING div Tokens), Ring) ! {token, Hops} || I <- lists:seq(0, Tokens - 1)],
                        [receive home -> ok end || _ <- lists:seq(1, Tokens)],
                        Ns = now_ns() - T0,
                        [Node ! stop || Node <- Nodes],
                        Ns / (Hops * Tokens)
                end, []),
    [{"ns_per_hop", result(Pid)}, {"where", "natural"}].

close_ring([Last], First) -> Last ! {next, First};
close_ring([Node, Next | Rest], First) ->
    Node ! {next, Next},
    close_ring([Next | Rest], First).

ring_join(Root) -> receive {next, Next} -> ring_node(Root, Next) end.

ring_node(Root, Next) ->
    receive
        {token, 0} -> Root ! home, ring_node(Root, Next);
        {token, Left} -> Next ! {token, Left - 1}, ring_node(Root, Next);
        stop -> ok
    end.

%%% ----------------------------------------------------------------------- big

%% 120 processes each ping others at random, one ping at a time, and answer the
%% pings of the others meanwhile and until all are done; N counts pings and pongs.
big(N) ->
    Pings = max(1, N div (2 * ?BIG)),
    Pid = start(fun() ->
                        Root = self(),
                        All = [spawn_link(fun() -> big_start(Root, Pings) end) || _ <- lists:seq(1, ?BIG)],
                        Everyone = list_to_tuple(All),
                        T0 = now_ns(),
                        [P ! {everyone, Me, Everyone} || {Me, P} <- lists:zip(lists:seq(1, ?BIG), All)],
                        [receive finished -> ok end || _ <- All],
                        Ns = now_ns() - T0,
                        [P ! stop || P <- All],
                        Ns / (2 * ?BIG * Pings)
                end, []),
    [{"ns_per_message", result(Pid)}, {"where", "natural"}].

big_start(Root, Pings) ->
    receive {everyone, Me, Everyone} -> big_ping(Pings, Me, Me, Everyone, Root) end.

big_ping(0, _, _, _, Root) ->
    Root ! finished,
    big_answer();
big_ping(Left, Random, Me, Everyone, Root) ->
    %% The generator that all systems use here.
    Next = (Random * 69069 + 1) band 16#7fffffff,
    Other = 1 + (Next bsr 8) rem (?BIG - 1),
    element(case Other >= Me of true -> Other + 1; false -> Other end, Everyone) ! {ping, self()},
    big_await(),
    big_ping(Left - 1, Next, Me, Everyone, Root).

big_await() ->
    receive
        {ping, From} -> From ! pong, big_await();
        pong -> ok
    end.

big_answer() ->
    receive
        {ping, From} -> From ! pong, big_answer();
        stop -> ok
    end.

%%% --------------------------------------------------------------------- spawn

%% N processes that end at once, spawned by one parent in batches of 1,000. The
%% parent knows that a batch has run because each child counts itself on one atomic
%% and the child that completes the batch (whichever that is) sends one message.
%% No monitor, no message per child.
spawning(N) ->
    Ran = atomics:new(1, []),
    Pid = start(fun() ->
                        T0 = now_ns(),
                        spawn_batches(N, Ran),
                        now_ns() - T0
                end, []),
    [{"ns_per_spawn", result(Pid) / N}].

spawn_batches(0, _) -> ok;
spawn_batches(Left, Ran) ->
    Batch = min(Left, ?SPAWN_BATCH),
    Parent = self(),
    atomics:put(Ran, 1, Batch),
    spawn_batch(Batch, fun() -> spawned(Ran, Parent) end),
    receive batch_ran -> spawn_batches(Left - Batch, Ran) end.

spawn_batch(0, _) -> ok;
spawn_batch(K, Fun) ->
    spawn(Fun),
    spawn_batch(K - 1, Fun).

spawned(Ran, Parent) ->
    case atomics:sub_get(Ran, 1, 1) of
        0 -> Parent ! batch_ran;
        _ -> ok
    end.

%% N processes that end at once, each watched by the parent that spawns them; it
%% awaits the DOWNs of a batch before the next.
spawn_monitoring(N) ->
    Pid = start(fun() ->
                        T0 = now_ns(),
                        monitored_batches(N),
                        now_ns() - T0
                end, []),
    [{"ns_per_spawn", result(Pid) / N}].

monitored_batches(0) -> ok;
monitored_batches(Left) ->
    Batch = min(Left, ?SPAWN_BATCH),
    monitored_batch(Batch, fun() -> ok end),
    await_downs(Batch),
    monitored_batches(Left - Batch).

monitored_batch(0, _) -> ok;
monitored_batch(K, Fun) ->
    spawn_monitor(Fun),
    monitored_batch(K - 1, Fun).

await_downs(0) -> ok;
await_downs(K) -> receive {'DOWN', _, process, _, _} -> await_downs(K - 1) end.

%% A tree of processes: each spawns two, awaits what both counted and reports to its
%% parent. As many trees, one after the other, as N processes make.
fork_join(N, Depth) ->
    Nodes = (1 bsl Depth) - 1,
    Trees = max(1, N div Nodes),
    Pid = start(fun() ->
                        T0 = now_ns(),
                        [Nodes = tree(Depth) || _ <- lists:seq(1, Trees)],
                        now_ns() - T0
                end, []),
    [{"ns_per_process", result(Pid) / (Trees * Nodes)}].

tree(Depth) ->
    Me = self(),
    spawn(fun() -> tree_node(Depth, Me) end),
    receive {counted, Count} -> Count end.

tree_node(1, Parent) -> Parent ! {counted, 1};
tree_node(Depth, Parent) ->
    Me = self(),
    spawn(fun() -> tree_node(Depth - 1, Me) end),
    spawn(fun() -> tree_node(Depth - 1, Me) end),
    receive {counted, A} -> receive {counted, B} -> Parent ! {counted, A + B + 1} end end.

%% One process with 100,000 monitors on it, all made by one watcher, is told to stop;
%% timed until the watcher has every DOWN. Again and again until there were N.
monitors(N) ->
    Pid = start(fun() -> monitored_ends(N, 0) end, []),
    [{"ns_per_down", result(Pid) / N}].

monitored_ends(0, Ns) -> Ns;
monitored_ends(Left, Ns) ->
    Count = min(Left, ?MONITORS),
    Target = spawn_link(fun until_stopped/0),
    make_monitors(Count, Target),
    Target ! {are_you_there, self()},  % it has seen every monitor when it answers
    receive here -> ok end,
    T0 = now_ns(),
    Target ! stop,
    await_downs(Count),
    monitored_ends(Left - Count, Ns + now_ns() - T0).

make_monitors(0, _) -> ok;
make_monitors(K, Target) ->
    erlang:monitor(process, Target),
    make_monitors(K - 1, Target).

until_stopped() ->
    receive
        {are_you_there, From} -> From ! here, until_stopped();
        stop -> ok
    end.

%%% ---------------------------------------------------------------------- call

%% N times gen_server:call/3 with a limit of 5 s, against a minimal server.
calling(N, CallerOn, ServerOn, Where) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], [{spawn_opt, ServerOn}]),
    Caller = start(fun() ->
                           T0 = now_ns(),
                           call(N, Server),
                           {now_ns() - T0, my_scheduler()}
                   end, CallerOn),
    {Ns, A} = result(Caller),
    check_apart(CallerOn, A, gen_server:call(Server, where)),
    ok = gen_server:stop(Server),
    [{"ns_per_call", Ns / N}, {"where", Where}].

call(0, _) -> ok;
call(K, Server) ->
    K = gen_server:call(Server, {echo, K}, ?CALL_LIMIT_MS),
    call(K - 1, Server).

%% 50 callers with a server each, all at once; timed from "go" to the last one's end.
call_pairs(N) ->
    Share = max(1, N div ?PAIRS),
    Pid = start(fun() ->
                        Root = self(),
                        Servers = [begin {ok, S} = gen_server:start_link(?MODULE, [], []), S end
                                   || _ <- lists:seq(1, ?PAIRS)],
                        Callers = [spawn_link(fun() ->
                                                      receive go -> call(Share, Server) end,
                                                      Root ! done
                                              end) || Server <- Servers],
                        T0 = now_ns(),
                        [Caller ! go || Caller <- Callers],
                        [receive done -> ok end || _ <- Callers],
                        Ns = now_ns() - T0,
                        [ok = gen_server:stop(Server) || Server <- Servers],
                        Ns
                end, []),
    [{"ns_per_call", result(Pid) / (Share * ?PAIRS)}, {"where", "natural"}].

%% As call, by a process with 10,000 messages in its mailbox that nobody takes.
selective(N) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    Caller = start(fun() ->
                           [self() ! {unmatched, K} || K <- lists:seq(1, ?UNMATCHED)],
                           T0 = now_ns(),
                           call(N, Server),
                           now_ns() - T0
                   end, []),
    Ns = result(Caller),
    ok = gen_server:stop(Server),
    [{"ns_per_call", Ns / N}, {"where", "natural"}].

%% Of gen_server, and of supervisor.
init([]) -> {ok, nothing};
init({mortal, Owner}) -> {ok, Owner, {continue, announce}};
init(session) -> {ok, {session, <<>>, 0}};
init({supervisor, Flags, Specs}) -> {ok, {Flags, Specs}}.

%% Tells when its start is complete: killed before, that would be a failed start.
handle_continue(announce, Owner) ->
    Owner ! {up, self()},
    {noreply, Owner}.

handle_call({echo, K}, _From, State) -> {reply, K, State};
handle_call(where, _From, State) -> {reply, my_scheduler(), State}.

handle_cast(_, State) -> {noreply, State}.

%%% --------------------------------------------------------------- supervision

%% A permanent child is killed; timed until its replacement says that it is up. A
%% supervisor for every 100 restarts: at each of them it goes through all those of the
%% last second.
restarting(N) ->
    Pid = start(fun() -> restarts(N, 0) end, []),
    [{"ns_per_restart", result(Pid) / N}].

restarts(0, Ns) -> Ns;
restarts(Left, Ns) ->
    Count = min(Left, ?RESTARTS),
    Supervisor = start_supervisor(#{intensity => ?RESTARTS, period => 1}, [spec(mortal, {mortal, self()})]),
    Child = await_up(),
    T0 = now_ns(),
    kill(Count, Child),
    Spent = now_ns() - T0,
    ok = gen_server:stop(Supervisor),
    restarts(Left - Count, Ns + Spent).

kill(0, _) -> ok;
kill(Left, Child) ->
    exit(Child, kill),
    kill(Left - 1, await_up()).

await_up() -> receive {up, Child} -> Child end.

start_supervisor(Flags, Specs) ->
    {ok, Supervisor} = supervisor:start_link(?MODULE, {supervisor, Flags, Specs}),
    Supervisor.

spec(Id, Argument) -> #{id => Id, start => {gen_server, start_link, [?MODULE, Argument, []]}}.

%% Supervisors of 10,000 servers each, started with the list of them, and stopped.
supervised_start(N) ->
    Pid = start(fun() -> supervised_starts(N, 0) end, []),
    [{"ns_per_child", result(Pid) / N}].

supervised_starts(0, Ns) -> Ns;
supervised_starts(Left, Ns) ->
    Count = min(Left, ?CHILDREN),
    Specs = [spec({worker, I}, []) || I <- lists:seq(1, Count)],
    T0 = now_ns(),
    ok = gen_server:stop(start_supervisor(#{}, Specs)),
    supervised_starts(Left - Count, Ns + now_ns() - T0).

%% N servers under one simple_one_for_one supervisor, which is then stopped.
instances(N) ->
    Pid = start(fun() ->
                        Template = (spec(worker, []))#{restart => temporary},
                        Supervisor = start_supervisor(#{strategy => simple_one_for_one}, [Template]),
                        T0 = now_ns(),
                        start_instances(N, Supervisor),
                        ok = gen_server:stop(Supervisor),
                        now_ns() - T0
                end, []),
    [{"ns_per_child", result(Pid) / N}].

start_instances(0, _) -> ok;
start_instances(Left, Supervisor) ->
    {ok, _} = supervisor:start_child(Supervisor, []),
    start_instances(Left - 1, Supervisor).

%% 1,000 processes join a group, one call each, and leave it, the last first.
group_joining(N) ->
    Pid = start(fun() ->
                        {ok, Scope} = pg:start_link(bench_scope),
                        Members = [spawn_link(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, min(N, 1000))],
                        T0 = now_ns(),
                        join_and_leave(N, Members),
                        Spent = now_ns() - T0,
                        [Member ! stop || Member <- Members],
                        ok = gen_server:stop(Scope),
                        Spent
                end, []),
    [{"ns_per_join", result(Pid) / N}].

join_and_leave(0, _) -> ok;
join_and_leave(Left, Members) ->
    Some = lists:sublist(Members, Left),
    [ok = pg:join(bench_scope, members, Member) || Member <- Some],
    [ok = pg:leave(bench_scope, members, Member) || Member <- lists:reverse(Some)],
    join_and_leave(Left - length(Some), Members).

%%% ------------------------------------------------------------------- latency

%% Open loop. The generator sends message K at T0 + K/rate and puts that *intended*
%% time into it; if it is late, or the receiver is, the delay is in the figures (no
%% coordinated omission). The receiver writes each latency into a preallocated
%% array outside its heap; percentiles are taken after the timed part.
%%
%% With two schedulers or more, the generator is bound to 1 and the receiver to 2.
%% With one, placement is natural and whoever polls yields between polls: it would
%% otherwise hold the scheduler for a whole time slice, and time that instead.
latency(N, Options) ->
    Rate = try list_to_integer(option("rate", Options, "100000"))
           catch error:badarg -> 0
           end,
    Rate >= 1 orelse throw("unusable rate"),
    {GeneratorOn, ReceiverOn, Yields} =
        case schedulers() of
            1 -> {[], [], true};
            _ -> {on(1), on(2), false}
        end,
    Times = atomics:new(N, []),
    Receive = case option("mode", Options, "parked") of
                  "parked" -> fun() -> receive_parked(1, N, Times) end;
                  "busy" -> fun() -> receive_busy(1, N, Times, Yields) end;
                  _ -> throw("unusable mode: parked or busy")
              end,
    Receiver = start(fun() -> Receive(), my_scheduler() end, ReceiverOn),
    Generator = start(fun() ->
                              generate(0, N, Rate, now_ns() + ?LEAD_NS, Receiver, Yields),
                              my_scheduler()
                      end, GeneratorOn),
    A = result(Generator),
    check_apart(GeneratorOn, A, result(Receiver)),
    percentiles(N, Times).

generate(N, N, _, _, _, _) -> ok;
generate(K, N, Rate, T0, To, Yields) ->
    Due = T0 + K * 1000000000 div Rate,
    wait_until(Due, Yields),
    To ! {tick, Due},
    generate(K + 1, N, Rate, T0, To, Yields).

wait_until(Due, Yields) ->
    case now_ns() >= Due of
        true -> ok;
        false when Yields -> erlang:yield(), wait_until(Due, Yields);
        false -> wait_until(Due, Yields)
    end.

receive_parked(K, N, _) when K > N -> ok;
receive_parked(K, N, Times) ->
    receive
        {tick, Due} ->
            atomics:put(Times, K, now_ns() - Due),
            receive_parked(K + 1, N, Times)
    end.

%% Never parks: polls.
receive_busy(K, N, _, _) when K > N -> ok;
receive_busy(K, N, Times, Yields) ->
    receive
        {tick, Due} ->
            atomics:put(Times, K, now_ns() - Due),
            receive_busy(K + 1, N, Times, Yields)
    after 0 ->
            Yields andalso erlang:yield(),
            receive_busy(K, N, Times, Yields)
    end.

percentiles(N, Times) ->
    Sorted = list_to_tuple(lists:sort([atomics:get(Times, K) || K <- lists:seq(1, N)])),
    At = fun(PerMille) -> element(max(1, (N * PerMille + 999) div 1000), Sorted) end,
    [{"p50", At(500)}, {"p99", At(990)}, {"p999", At(999)}, {"max", element(N, Sorted)},
     {"curve", lists:join(",", [integer_to_list(element(max(1, N - Beyond), Sorted)) || Beyond <- halves(N)])}].

halves(0) -> [0];
halves(N) -> [N | halves(N div 2)].

%%% ------------------------------------------------------------------- compute

%% The unit of computation all systems share: FNV-1 of the low bytes of a counter,
%% kept to 31 bits, which here are small integers.
spin(Hash, 0) -> Hash;
spin(Hash, K) -> spin(((Hash bxor (K band 255)) * 16777619) band 16#7fffffff, K - 1).

%% How many iterations of it take Ns: by the quickest of some trials.
iterations(Ns) ->
    Trial = 20000,
    Best = lists:min([begin
                          T0 = now_ns(),
                          spin(K, Trial),
                          max(1, now_ns() - T0)
                      end || K <- lists:seq(1, 40)]),
    max(1, round(Ns * Trial / Best)).

%% 16 workers, each with up to 8 requests in its mailbox; whoever answers gets the
%% next. N requests, each of which costs Ns of computation.
compute(N, Ns) ->
    Iterations = iterations(Ns),
    Pid = start(fun() ->
                        Workers = [spawn_link(fun() -> compute_worker(Iterations) end) || _ <- lists:seq(1, ?WORKERS)],
                        First = min(N, ?WORKERS * ?QUEUED),
                        T0 = now_ns(),
                        [[W ! {work, self(), I} || W <- Workers] || I <- lists:seq(1, First div ?WORKERS)],
                        [W ! {work, self(), 0} || W <- lists:sublist(Workers, First rem ?WORKERS)],
                        dispatch(N - First, First),
                        Spent = now_ns() - T0,
                        [W ! stop || W <- Workers],
                        Spent
                end, []),
    [{"ns_per_message", result(Pid) / N}, {"where", "natural"}].

dispatch(0, 0) -> ok;
dispatch(0, Out) -> receive {worked, _, _} -> dispatch(0, Out - 1) end;
dispatch(Left, Out) ->
    receive
        {worked, Worker, Hash} ->
            Worker ! {work, self(), Hash},
            dispatch(Left - 1, Out)
    end.

compute_worker(Iterations) ->
    receive
        {work, From, Seed} ->
            From ! {worked, self(), spin(Seed, Iterations)},
            compute_worker(Iterations);
        stop -> ok
    end.

%%% -------------------------------------------------------------------- behind

%% The hog handles one message of 100 us after the other; each time, just before it
%% computes, it sends to the prober, who notes how late that message comes.
behind(N) ->
    Iterations = iterations(100000),
    Times = atomics:new(N, []),
    Prober = start(fun() -> receive_parked(1, N, Times) end, []),
    Hog = start(fun() ->
                        self() ! handle,
                        hog(N, Prober, Iterations)
                end, []),
    result(Hog),
    result(Prober),
    percentiles(N, Times).

hog(0, _, _) -> ok;
hog(Left, Prober, Iterations) ->
    receive handle -> ok end,
    Prober ! {tick, now_ns()},
    self() ! handle,
    spin(Left, Iterations),
    hog(Left - 1, Prober, Iterations).

%%% ------------------------------------------------------------ sleepers, hogs

%% 100 processes sleep 10 ms, N / 100 times each, beside as many Hogs, which compute on
%% for a second each time: how much more than 10 ms after it lay down each wakes.
sleeping(N, Hogs) ->
    Rounds = max(1, N div ?SLEEPERS),
    Iterations = iterations(100000),
    Times = atomics:new(Rounds * ?SLEEPERS, []),
    Over = atomics:new(1, []),
    Hogging = [start(fun() -> compute_on(Over, Iterations, 1) end, []) || _ <- lists:seq(1, Hogs)],
    Sleepers = [start(fun() -> sleep_on(K, K + Rounds, Times) end, [])
                || K <- lists:seq(1, Rounds * ?SLEEPERS, Rounds)],
    [result(Pid) || Pid <- Sleepers],
    atomics:put(Over, 1, 1),
    [result(Pid) || Pid <- Hogging],
    percentiles(Rounds * ?SLEEPERS, Times).

sleep_on(Last, Last, _) -> ok;
sleep_on(K, Last, Times) ->
    Due = now_ns() + ?TIMER_MS * 1000000,
    receive after ?TIMER_MS -> atomics:put(Times, K, now_ns() - Due) end,
    sleep_on(K + 1, Last, Times).

compute_on(Over, Iterations, Hash) ->
    More = compute_until(now_ns() + 1000000000, Over, Iterations, Hash),
    erlang:yield(),
    case atomics:get(Over, 1) of
        0 -> compute_on(Over, Iterations, More);
        1 -> More
    end.

compute_until(Until, Over, Iterations, Hash) ->
    case atomics:get(Over, 1) =:= 1 orelse now_ns() >= Until of
        true -> Hash;
        false -> compute_until(Until, Over, Iterations, spin(Hash, Iterations))
    end.

%%% -------------------------------------------------------------------- timers

%% N timers of 5 s, each cancelled at once.
timers(N) ->
    Pid = start(fun() ->
                        T0 = now_ns(),
                        start_and_cancel(N),
                        now_ns() - T0
                end, []),
    [{"ns_per_timer", result(Pid) / N}].

start_and_cancel(0) -> ok;
start_and_cancel(K) ->
    Timer = erlang:send_after(5000, self(), expired),
    erlang:cancel_timer(Timer),
    start_and_cancel(K - 1).

%% N timers of 10 ms, armed at once or spread evenly over SpreadNs; how much later
%% than 10 ms after it was armed each one's message is received.
timer_accuracy(N, SpreadNs) ->
    Times = atomics:new(N, []),
    result(start(fun() -> arm(0, N, SpreadNs, now_ns(), Times, 1) end, [])),
    percentiles(N, Times).

%% Noted is the place of the next lateness.
arm(N, N, _, _, Times, Noted) -> receive_parked(Noted, N, Times);
arm(K, N, SpreadNs, T0, Times, Noted) ->
    case now_ns() - T0 >= K * SpreadNs div N of
        true ->
            erlang:send_after(?TIMER_MS, self(), {tick, now_ns() + ?TIMER_MS * 1000000}),
            arm(K + 1, N, SpreadNs, T0, Times, Noted);
        false ->
            receive
                {tick, Due} ->
                    atomics:put(Times, Noted, now_ns() - Due),
                    arm(K, N, SpreadNs, T0, Times, Noted + 1)
            after 0 -> arm(K, N, SpreadNs, T0, Times, Noted)
            end
    end.

%%% ---------------------------------------------------------------------- echo

%% A server that sends back what comes, a process for each connection, until stop/0:
%% passive, {active, once}, or {active, 100}.
serve_echo(Kind) ->
    lists:member(Kind, ["passive", "once", "hundred"]) orelse throw("unsupported kind"),
    whereis(echo_server) =:= undefined orelse throw("failed: it serves already"),
    Me = self(),
    spawn(fun() ->
                  register(echo_server, self()),
                  process_flag(trap_exit, true),
                  {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {nodelay, true},
                                                      {backlog, 1024}, {send_timeout, ?CALL_LIMIT_MS}]),
                  spawn_link(fun() -> accept_echo(Listener, Kind) end),
                  {ok, Port} = inet:port(Listener),
                  Me ! {port, Port},
                  receive stop -> gen_tcp:close(Listener) end
          end),
    receive {port, Port} -> [{"port", Port}]
    after ?CALL_LIMIT_MS -> throw("failed: no port")
    end.

stop_echo() ->
    case whereis(echo_server) of
        undefined -> throw("failed: it does not serve");
        Server ->
            Monitor = monitor(process, Server),
            Server ! stop,
            receive {'DOWN', Monitor, process, Server, _} -> [{"stopped", 1}] end
    end.

accept_echo(Listener, Kind) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            Pid = spawn(fun() ->
                                receive yours -> echo(Kind, Socket) end
                        end),
            ok = gen_tcp:controlling_process(Socket, Pid),
            Pid ! yours,
            accept_echo(Listener, Kind);
        {error, _} -> ok
    end.

echo("passive", Socket) -> echo_passive(Socket);
echo("once", Socket)    -> echo_once(Socket);
echo("hundred", Socket) ->
    ok = inet:setopts(Socket, [{active, 100}]),
    echo_hundred(Socket).

echo_passive(Socket) ->
    case gen_tcp:recv(Socket, 0, ?READ_LIMIT_MS) of
        {ok, Data} -> ok = gen_tcp:send(Socket, Data), echo_passive(Socket);
        {error, _} -> gen_tcp:close(Socket)
    end.

echo_once(Socket) ->
    ok = inet:setopts(Socket, [{active, once}]),
    receive
        {tcp, Socket, Data} -> ok = gen_tcp:send(Socket, Data), echo_once(Socket);
        {tcp_closed, Socket} -> ok
    after ?READ_LIMIT_MS -> gen_tcp:close(Socket)
    end.

echo_hundred(Socket) ->
    receive
        {tcp, Socket, Data} -> ok = gen_tcp:send(Socket, Data), echo_hundred(Socket);
        {tcp_passive, Socket} -> ok = inet:setopts(Socket, [{active, 100}]), echo_hundred(Socket);
        {tcp_closed, Socket} -> ok
    after ?READ_LIMIT_MS -> gen_tcp:close(Socket)
    end.

%%% ---------------------------------------------------------------------- idle

%% N processes that wait for ever: memory and time each took, and the share of a CPU
%% used while they wait (`rest' ms). They stay until the node ends; needs erl +P.
idle(N, Options, Metric, Make) ->
    Rest = try list_to_integer(option("rest", Options, "5000"))
           catch error:badarg -> 0
           end,
    Rest >= 1 orelse throw("unusable rest"),
    erlang:system_info(process_limit) > N + 1000 orelse throw("unsupported without a larger +P"),
    Bytes0 = resident_bytes(),
    T0 = now_ns(),
    Make(N),
    Ns = now_ns() - T0,
    Bytes = resident_bytes() - Bytes0,
    {Cpu0, _} = erlang:statistics(runtime),
    receive after Rest -> ok end,
    {Cpu, _} = erlang:statistics(runtime),
    [{"bytes_each", Bytes / N}, {Metric, Ns / N}, {"percent_cpu", 100 * (Cpu - Cpu0) / Rest}].

spawn_idle(N) ->
    Ran = atomics:new(1, []),
    atomics:put(Ran, 1, N),
    Me = self(),
    spawn_batch(N, fun() ->
                           case atomics:sub_get(Ran, 1, 1) of
                               0 -> Me ! all_wait;
                               _ -> ok
                           end,
                           receive stop -> ok end
                   end),
    receive all_wait -> ok end.

%% Servers, each start waited for.
start_idle(0) -> ok;
start_idle(N) ->
    {ok, _} = gen_server:start(?MODULE, session, []),
    start_idle(N - 1).

%% Of this node, its page tables included.
resident_bytes() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    lists:sum([begin
                   {match, [Kb]} = re:run(Status, Key ++ ":\\s+(\\d+) kB", [{capture, [1], list}]),
                   list_to_integer(Kb) * 1024
               end || Key <- ["VmRSS", "VmPTE"]]).
