%% SPDX-License-Identifier: MIT
%% The rows of bench_runtime (its head says what they are) in Erlang/OTP: bare processes, compiled.
%%
%%   erl -noinput +S 1:1 -pa DIR -run peer_erlang main ROW OPS same        +S 2:2 for across
%%
%% The virtual machine places its processes itself.  Streams use the same credits as bench_runtime.
%% With one scheduler the sender of the latency rows is a process beside the receiver: nothing
%% outside of a scheduler can send.
%%
%% Prints the TSV row of bench_runtime.
-module(peer_erlang).
-export([main/1]).

-define(BIG, 120).
-define(AT_ONCE, 1000).
-define(WARM_UP, 2000).
-define(HOLDERS, 1000).
-define(BUSY, 16).
-define(BUSY_NS, 1000).

main([Row, OpsText, Placement]) ->
    Ops = list_to_integer(OpsText),
    {Did, Rate, Quantiles} = row(Row, Ops),
    io:format("~s\t~s,~b\t~b\t~s\t~s~n",
              [Row, Placement, Did, erlang:system_info(schedulers_online), Rate, Quantiles]),
    halt(0).

row("count", Ops) -> stream(Ops, 1, 1, 1024);
row("fan-in", Ops) -> stream(Ops, 8, 1, 256);
row("fan-out", Ops) -> stream(Ops, 1, 100, 64);
row("fork-join", Ops) -> stream(Ops, 1, 64, 64);
row("ping-pong", Ops) -> ring(Ops, 2, 2);
row("ring-100", Ops) -> ring(Ops, 100, 1);
row("ring-10000", Ops) -> ring(Ops, 10000, 1);
row("big", Ops) -> big(Ops);
row("spawn", Ops) -> spawn_children(Ops);
row("idle", Ops) -> idle_children(Ops);
row("timers-arm", Ops) -> timers(Ops, arm);
row("timers-cancel", Ops) -> timers(Ops, cancel);
row("timers-fire", Ops) -> timers(Ops, fire);
row("latency-sleeping", Ops) -> latency(Ops, 0);
row("latency-busy", Ops) -> latency(Ops, ?BUSY);
row(Row, _) ->
    io:format(standard_error, "peer_erlang: no ~s here~n", [Row]),
    halt(3).

now_ns() -> erlang:monotonic_time(nanosecond).

rate(Ops, BeganNs) ->
    {Ops, integer_to_list(Ops * 1000000000 div (now_ns() - BeganNs)), "\t\t"}.

lehmer(Seed) -> Seed * 16807 rem 2147483647.

wait_reports(0, Sum) -> Sum;
wait_reports(Count, Sum) -> receive {report, Value} -> wait_reports(Count - 1, Sum + Value) end.

%% --- streams ---------------------------------------------------------------------------------

receiver(Main, 0, Sum) ->
    Main ! {report, Sum};
receiver(Main, Left, Sum) ->
    receive
        Value when is_integer(Value) ->
            receiver(Main, Left - 1, Sum + Value);
        {last, Value, From} ->
            From ! {grant, Value},
            receiver(Main, Left - 1, Sum + Value)
    end.

sender(Receivers, Window, Rounds) ->
    receive 'begin' -> ok end,
    send_rounds(Receivers, length(Receivers), Window div 2, Rounds, 1, Window, 0, 0).

send_rounds(_, _, _, Rounds, Round, _, _, _) when Round > Rounds ->
    ok;
send_rounds(To, N, Half, Rounds, Round, 0, Even, Odd) ->
    receive
        {grant, Value} when Value div Half rem 2 =:= 0 ->
            if Even + 1 =:= N -> send_rounds(To, N, Half, Rounds, Round, Half, 0, Odd);
               true -> send_rounds(To, N, Half, Rounds, Round, 0, Even + 1, Odd)
            end;
        {grant, _} ->
            if Odd + 1 =:= N -> send_rounds(To, N, Half, Rounds, Round, Half, Even, 0);
               true -> send_rounds(To, N, Half, Rounds, Round, 0, Even, Odd + 1)
            end
    end;
send_rounds(To, N, Half, Rounds, Round, Credit, Even, Odd) ->
    if Round rem Half =:= 0 -> send_all(To, {last, Round, self()});
       true -> send_all(To, Round)
    end,
    send_rounds(To, N, Half, Rounds, Round + 1, Credit - 1, Even, Odd).

send_all([], _) -> ok;
send_all([To | Rest], Message) -> To ! Message, send_all(Rest, Message).

stream(Ops, SenderCount, ReceiverCount, Window) ->
    Main = self(),
    Rounds = Ops div SenderCount div ReceiverCount,
    Receivers = [spawn(fun() -> receiver(Main, Rounds * SenderCount, 0) end)
                 || _ <- lists:seq(1, ReceiverCount)],
    Senders = [spawn(fun() -> sender(Receivers, Window, Rounds) end)
               || _ <- lists:seq(1, SenderCount)],
    Began = now_ns(),
    send_all(Senders, 'begin'),
    Sum = wait_reports(ReceiverCount, 0),
    Result = rate(Rounds * SenderCount * ReceiverCount, Began),
    Sum = SenderCount * ReceiverCount * (Rounds * (Rounds + 1) div 2), % nothing was lost
    Result.

%% --- ring ------------------------------------------------------------------------------------

node_loop(Main, Next) ->
    receive
        0 -> Main ! {report, 0}, node_loop(Main, Next);
        Left when is_integer(Left) -> Next ! Left - 1, node_loop(Main, Next);
        {close, Pid} -> node_loop(Main, Pid)
    end.

ring(Ops, Nodes, HopsAnOp) ->
    Main = self(),
    First = spawn(fun() -> node_loop(Main, Main) end),
    Last = lists:foldl(fun(_, Next) -> spawn(fun() -> node_loop(Main, Next) end) end,
                       First, lists:seq(2, Nodes)),
    First ! {close, Last},
    First ! Nodes,
    wait_reports(1, 0),
    Began = now_ns(),
    First ! Ops * HopsAnOp,
    wait_reports(1, 0),
    rate(Ops, Began).

%% --- many to many ----------------------------------------------------------------------------

big_start(Main, Self, Pings) ->
    receive {'begin', All} -> big_ping(Main, All, Self, Pings, Pings, Self + 1) end.

big_ping(Main, All, Self, Pings, Left, Seed) ->
    Random = lehmer(Seed),
    Other = case Random rem (?BIG - 1) of
                N when N >= Self -> N + 1;
                N -> N
            end,
    element(Other + 1, All) ! {ping, Left, self()},
    big_loop(Main, All, Self, Pings, Left, Random).

big_loop(Main, All, Self, Pings, Left, Seed) ->
    receive
        {ping, Value, From} ->
            From ! {pong, Value},
            big_loop(Main, All, Self, Pings, Left, Seed);
        {pong, _} when Left =:= 1 ->
            Main ! {report, Pings},
            big_loop(Main, All, Self, Pings, 0, Seed);
        {pong, _} ->
            big_ping(Main, All, Self, Pings, Left - 1, Seed)
    end.

big(Ops) ->
    Main = self(),
    Pids = [spawn(fun() -> big_start(Main, Self, Ops div ?BIG) end)
            || Self <- lists:seq(0, ?BIG - 1)],
    Began = now_ns(),
    send_all(Pids, {'begin', list_to_tuple(Pids)}),
    rate(wait_reports(?BIG, 0), Began).

%% --- children --------------------------------------------------------------------------------

ending_child() ->
    receive {hello, Value, From} -> From ! {done, Value} end.

staying_child(Value) ->
    receive {hello, New, From} -> From ! {done, New}, staying_child(New + Value) end.

children(0, _, Sum) -> Sum;
children(Left, Child, Sum) ->
    Now = min(Left, ?AT_ONCE),
    [spawn(Child) ! {hello, 1, self()} || _ <- lists:seq(1, Now)],
    children(Left - Now, Child, wait_done(Now, Sum)).

wait_done(0, Sum) -> Sum;
wait_done(Count, Sum) -> receive {done, Value} -> wait_done(Count - 1, Sum + Value) end.

%% The parent is a process of its own, as elsewhere.
as_parent(Fun) ->
    Main = self(),
    spawn(fun() -> Main ! {report, Fun()} end),
    wait_reports(1, 0).

spawn_children(Ops) ->
    Child = fun() -> ending_child() end,
    ?WARM_UP = as_parent(fun() -> children(?WARM_UP, Child, 0) end),
    Began = now_ns(),
    Ops = as_parent(fun() -> children(Ops, Child, 0) end),
    rate(Ops, Began).

idle_children(Ops) ->
    Child = fun() -> staying_child(0) end,
    ?WARM_UP = as_parent(fun() -> children(?WARM_UP, Child, 0) end),
    Before = rss_bytes(),
    Ops = as_parent(fun() -> children(Ops, Child, 0) end),
    {Ops, integer_to_list((rss_bytes() - Before) div Ops - 8), "\t\t"}.

rss_bytes() ->
    {ok, Text} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = string:lexemes(Text, " "),
    binary_to_integer(Pages) * 4096.

%% --- timers ----------------------------------------------------------------------------------

holder(Main, Count, Seed) ->
    receive
        {arm, Least, Spread} ->
            Timers = arm(Count, Seed, Least, Spread, []),
            Main ! {report, Count},
            receive cancel -> lists:foreach(fun erlang:cancel_timer/1, Timers) end,
            Main ! {report, Count};
        {fire, Least, Spread} ->
            arm(Count, Seed, Least, Spread, []),
            fired(Count),
            Main ! {report, Count}
    end.

arm(0, _, _, _, Timers) -> Timers;
arm(Count, Seed, Least, Spread, Timers) ->
    Random = lehmer(Seed),
    Timer = erlang:send_after(Least + Random rem Spread, self(), fired),
    arm(Count - 1, Random, Least, Spread, [Timer | Timers]).

fired(0) -> ok;
fired(Count) -> receive fired -> fired(Count - 1) end.

timers(Ops, What) ->
    Main = self(),
    Holders = [spawn(fun() -> holder(Main, Ops div ?HOLDERS, Seed) end)
               || Seed <- lists:seq(1, ?HOLDERS)],
    Began = now_ns(),
    send_all(Holders, case What of
                          fire -> {fire, 1, 10};
                          _ -> {arm, 10000, 60000}
                      end),
    Did = wait_reports(?HOLDERS, 0),
    case What of
        cancel ->
            BeganCancel = now_ns(),
            send_all(Holders, cancel),
            rate(wait_reports(?HOLDERS, 0), BeganCancel);
        _ ->
            rate(Did, Began)
    end.

%% --- latency ---------------------------------------------------------------------------------

stamped(Main, 0, Samples) -> Main ! {samples, Samples};
stamped(Main, Left, Samples) ->
    receive Sent -> stamped(Main, Left - 1, [now_ns() - Sent | Samples]) end.

ticker(To) ->
    receive after 1 -> ok end,
    To ! now_ns(),
    ticker(To).

busy() ->
    receive spin -> spin(now_ns() + ?BUSY_NS) end,
    self() ! spin,
    busy().

spin(End) ->
    case now_ns() < End of
        true -> spin(End);
        false -> ok
    end.

latency(Ops, Busy) ->
    Main = self(),
    To = spawn(fun() -> stamped(Main, Ops, []) end),
    [spawn(fun busy/0) ! spin || _ <- lists:seq(1, Busy)],
    spawn(fun() -> ticker(To) end),
    receive {samples, Samples} -> ok end,
    Sorted = list_to_tuple(lists:sort(Samples)),
    At = fun(PerMille) -> element(Ops * PerMille div 1000 + 1, Sorted) end,
    {Ops, "", io_lib:format("~b\t~b\t~b", [At(500), At(990), At(999)])}.
