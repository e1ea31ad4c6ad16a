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
-export([init/1, handle_call/3, handle_cast/2]).

-define(PRODUCERS, 4).
%% fanin: messages covered by one credit, and credits a producer starts with.
%% 4 producers * 2 credits * 128 = 1,024 outstanding at most.
-define(BLOCK, 128).
-define(CREDITS, 2).
-define(SPAWN_BATCH, 1000).
-define(CALL_LIMIT_MS, 5000).
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

init([]) -> {ok, nothing}.

handle_call({echo, K}, _From, State) -> {reply, K, State};
handle_call(where, _From, State) -> {reply, my_scheduler(), State}.

handle_cast(_, State) -> {noreply, State}.

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
