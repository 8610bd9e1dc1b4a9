// SPDX-License-Identifier: MIT

//! The rows of bench_runtime (its head says what they are) in Actix 0.13.
//!
//!     peer_actix ROW OPS same|across
//!
//! same: all actors in one arbiter (a thread with an event loop); across: in two, placed as
//! bench_runtime places its own.  Messages go by do_send; streams use the same credits as
//! bench_runtime.  Timers are tasks of the arbiter that sleep and then send: an actor's own list of
//! futures is searched from end to end, its authors say to keep it small.
//!
//! Prints the TSV row of bench_runtime.

use std::process::exit;
use std::sync::mpsc::{channel, Receiver as Reports, Sender as Report};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use actix::prelude::*;

const BIG_ACTORS: u32 = 120;
const AT_ONCE: u64 = 1000;
const WARM_UP: u64 = 2000;
const HOLDERS: u64 = 1000;
const BUSY_ACTORS: usize = 16;
const BUSY_NS: u64 = 1000;
const MAILBOX: usize = 1 << 20;

#[derive(Default)]
struct Outcome {
    ops: u64,
    ns: u64,
    bytes_each: u64,
    quantiles_ns: [u64; 3],
}

struct Bench {
    arbiters: Vec<Arbiter>,
    ops: u64,
    report: Report<u64>,
    reports: Reports<u64>,
}

impl Bench {
    fn place(&self, worker: usize) -> ArbiterHandle {
        self.arbiters[worker % self.arbiters.len()].handle()
    }

    fn wait(&self, count: u64) -> u64 {
        (0..count).map(|_| self.reports.recv().unwrap()).sum()
    }
}

fn now_ns() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn rss_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn lehmer(seed: &mut u32) -> u32 {
    *seed = (u64::from(*seed) * 16807 % 2147483647) as u32;
    *seed
}

macro_rules! message {
    ($name:ident $(($($field:ty),*))?) => {
        #[derive(Message)]
        #[rtype(result = "()")]
        struct $name $(($($field),*))?;
    };
}

message!(Begin(u64));
message!(Add(u64));
message!(AddLast(u64, Addr<Sender>));
message!(Grant(u64));

// --- streams -----------------------------------------------------------------------------------

struct Receiver {
    left: u64,
    sum: u64,
    report: Report<u64>,
}

impl Actor for Receiver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Receiver {
    fn add(&mut self, value: u64) {
        self.sum += value;
        self.left -= 1;
        if self.left == 0 {
            self.report.send(self.sum).unwrap();
        }
    }
}

impl Handler<Add> for Receiver {
    type Result = ();

    fn handle(&mut self, Add(value): Add, _: &mut Self::Context) {
        self.add(value);
    }
}

impl Handler<AddLast> for Receiver {
    type Result = ();

    fn handle(&mut self, AddLast(value, from): AddLast, _: &mut Self::Context) {
        self.add(value);
        from.do_send(Grant(value));
    }
}

struct Sender {
    to: Vec<Addr<Receiver>>,
    window: u64,
    rounds: u64,
    round: u64,
    credit: u64,
    grants: [usize; 2],
}

impl Actor for Sender {
    type Context = Context<Self>;
}

impl Sender {
    fn send_rounds(&mut self, ctx: &Context<Self>) {
        while self.credit > 0 && self.round <= self.rounds {
            if self.round % (self.window / 2) == 0 {
                for to in &self.to {
                    to.do_send(AddLast(self.round, ctx.address()));
                }
            } else {
                for to in &self.to {
                    to.do_send(Add(self.round));
                }
            }
            self.round += 1;
            self.credit -= 1;
        }
    }
}

impl Handler<Begin> for Sender {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.send_rounds(ctx);
    }
}

impl Handler<Grant> for Sender {
    type Result = ();

    fn handle(&mut self, Grant(round): Grant, ctx: &mut Self::Context) {
        let half = self.window / 2;
        let grants = &mut self.grants[(round / half % 2) as usize];
        *grants += 1;
        if *grants == self.to.len() {
            *grants = 0;
            self.credit += half;
            self.send_rounds(ctx);
        }
    }
}

/// step: the receivers alternate between the workers, or (0) all lie on the second.
fn stream(b: &Bench, senders: u64, receivers: u64, window: u64, step: usize) -> Outcome {
    let rounds = b.ops / senders / receivers;
    let to: Vec<Addr<Receiver>> = (0..receivers as usize)
        .map(|i| {
            let report = b.report.clone();
            Receiver::start_in_arbiter(&b.place(1 + i * step), move |_| Receiver {
                left: rounds * senders,
                sum: 0,
                report,
            })
        })
        .collect();
    let from: Vec<Addr<Sender>> = (0..senders)
        .map(|_| {
            let to = to.clone();
            Sender::start_in_arbiter(&b.place(0), move |_| Sender {
                to,
                window,
                rounds,
                round: 1,
                credit: window,
                grants: [0, 0],
            })
        })
        .collect();
    let began = now_ns();
    for sender in &from {
        sender.do_send(Begin(0));
    }
    let sum = b.wait(receivers);
    let ns = now_ns() - began;
    assert_eq!(sum, senders * receivers * (rounds * (rounds + 1) / 2));
    Outcome { ops: rounds * senders * receivers, ns, ..Default::default() }
}

// --- ring --------------------------------------------------------------------------------------

message!(Token(u64));
message!(Close(Addr<Node>));

struct Node {
    next: Option<Addr<Node>>,
    report: Report<u64>,
}

impl Actor for Node {
    type Context = Context<Self>;
}

impl Handler<Token> for Node {
    type Result = ();

    fn handle(&mut self, Token(left): Token, _: &mut Self::Context) {
        if left == 0 {
            self.report.send(0).unwrap();
        } else if let Some(next) = &self.next {
            next.do_send(Token(left - 1));
        }
    }
}

impl Handler<Close> for Node {
    type Result = ();

    fn handle(&mut self, Close(next): Close, _: &mut Self::Context) {
        self.next = Some(next);
    }
}

fn ring(b: &Bench, nodes: usize, hops_an_op: u64) -> Outcome {
    let start = |worker: usize, next: Option<Addr<Node>>| {
        let report = b.report.clone();
        Node::start_in_arbiter(&b.place(worker), move |_| Node { next, report })
    };
    let first = start(0, None);
    let mut next = first.clone();
    for i in (1..nodes).rev() {
        next = start(i, Some(next));
    }
    first.do_send(Close(next));
    first.do_send(Token(nodes as u64));
    b.wait(1);
    let began = now_ns();
    first.do_send(Token(b.ops * hops_an_op));
    b.wait(1);
    Outcome { ops: b.ops, ns: now_ns() - began, ..Default::default() }
}

// --- many to many ------------------------------------------------------------------------------

message!(Everybody(Vec<Addr<Big>>));
message!(Ping(u64, u32));
message!(Pong(u64));

struct Big {
    all: Vec<Addr<Big>>,
    index: u32,
    seed: u32,
    pings: u64,
    left: u64,
    report: Report<u64>,
}

impl Actor for Big {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Big {
    fn ping(&mut self) {
        let mut other = lehmer(&mut self.seed) % (BIG_ACTORS - 1);
        if other >= self.index {
            other += 1;
        }
        self.all[other as usize].do_send(Ping(self.left, self.index));
    }
}

impl Handler<Everybody> for Big {
    type Result = ();

    fn handle(&mut self, Everybody(all): Everybody, _: &mut Self::Context) {
        self.all = all;
    }
}

impl Handler<Begin> for Big {
    type Result = ();

    fn handle(&mut self, _: Begin, _: &mut Self::Context) {
        self.ping();
    }
}

impl Handler<Ping> for Big {
    type Result = ();

    fn handle(&mut self, Ping(value, from): Ping, _: &mut Self::Context) {
        self.all[from as usize].do_send(Pong(value));
    }
}

impl Handler<Pong> for Big {
    type Result = ();

    fn handle(&mut self, Pong(value): Pong, _: &mut Self::Context) {
        assert_eq!(value, self.left);
        self.left -= 1;
        if self.left == 0 {
            self.report.send(self.pings).unwrap();
        } else {
            self.ping();
        }
    }
}

fn big(b: &Bench) -> Outcome {
    let pings = b.ops / u64::from(BIG_ACTORS);
    let all: Vec<Addr<Big>> = (0..BIG_ACTORS)
        .map(|index| {
            let report = b.report.clone();
            Big::start_in_arbiter(&b.place(index as usize), move |_| Big {
                all: Vec::new(),
                index,
                seed: index + 1,
                pings,
                left: pings,
                report,
            })
        })
        .collect();
    for actor in &all {
        actor.do_send(Everybody(all.clone()));
    }
    let began = now_ns();
    for actor in &all {
        actor.do_send(Begin(0));
    }
    let ops = b.wait(u64::from(BIG_ACTORS));
    Outcome { ops, ns: now_ns() - began, ..Default::default() }
}

// --- children ----------------------------------------------------------------------------------

message!(Hello(u64, Addr<Parent>));
message!(Done(u64));

struct Child {
    value: u64,
}

impl Actor for Child {
    type Context = Context<Self>;
}

impl Handler<Hello> for Child {
    type Result = ();

    /// It ends by itself once nobody has its address, so a child that stays is one that is kept.
    fn handle(&mut self, Hello(value, parent): Hello, _: &mut Self::Context) {
        self.value = value;
        parent.do_send(Done(self.value));
    }
}

struct Parent {
    arbiters: Vec<ArbiterHandle>,
    kept: Option<Vec<Addr<Child>>>,
    left: u64,
    waiting: u64,
    sum: u64,
    report: Report<u64>,
}

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

impl Parent {
    fn spawn_some(&mut self, ctx: &Context<Self>) {
        while self.left > 0 && self.waiting < AT_ONCE {
            let worker = self.left as usize % self.arbiters.len();
            let child = if worker == 0 {
                Child { value: 0 }.start()
            } else {
                Child::start_in_arbiter(&self.arbiters[worker], |_| Child { value: 0 })
            };
            child.do_send(Hello(1, ctx.address()));
            if let Some(kept) = &mut self.kept {
                kept.push(child);
            }
            self.left -= 1;
            self.waiting += 1;
        }
    }
}

impl Handler<Begin> for Parent {
    type Result = ();

    fn handle(&mut self, Begin(count): Begin, ctx: &mut Self::Context) {
        self.left = count;
        self.sum = 0;
        self.spawn_some(ctx);
    }
}

impl Handler<Done> for Parent {
    type Result = ();

    fn handle(&mut self, Done(value): Done, ctx: &mut Self::Context) {
        self.sum += value;
        self.waiting -= 1;
        if self.waiting == 0 {
            if self.left > 0 {
                self.spawn_some(ctx);
            } else {
                self.report.send(self.sum).unwrap();
            }
        }
    }
}

fn children(b: &Bench, is_staying: bool) -> Outcome {
    let report = b.report.clone();
    let arbiters = b.arbiters.iter().map(|a| a.handle()).collect();
    let room = (b.ops + WARM_UP) as usize;
    let parent = Parent::start_in_arbiter(&b.place(0), move |_| Parent {
        arbiters,
        kept: is_staying.then(|| Vec::with_capacity(room)),
        left: 0,
        waiting: 0,
        sum: 0,
        report,
    });
    parent.do_send(Begin(WARM_UP));
    b.wait(1);
    let before = rss_bytes();
    let began = now_ns();
    parent.do_send(Begin(b.ops));
    assert_eq!(b.wait(1), b.ops);
    if is_staying {
        let own = std::mem::size_of::<Child>() + std::mem::size_of::<Addr<Child>>();
        let bytes_each = (rss_bytes() - before) / b.ops - own as u64;
        return Outcome { ops: b.ops, bytes_each, ..Default::default() };
    }
    Outcome { ops: b.ops, ns: now_ns() - began, ..Default::default() }
}

// --- timers ------------------------------------------------------------------------------------

message!(Arm(u64, u64));
message!(Cancel);
message!(Fired);

struct Holder {
    count: u64,
    fired: u64,
    seed: u32,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    report: Report<u64>,
}

impl Actor for Holder {
    type Context = Context<Self>;
}

impl Handler<Arm> for Holder {
    type Result = ();

    fn handle(&mut self, Arm(least_ms, spread_ms): Arm, ctx: &mut Self::Context) {
        for _ in 0..self.count {
            let after_ms = least_ms + u64::from(lehmer(&mut self.seed)) % spread_ms;
            let me = ctx.address();
            self.tasks.push(actix::spawn(async move {
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
                me.do_send(Fired);
            }));
        }
        if least_ms > 1 {
            // Behind the tasks: a timer is armed when its task has run for the first time.
            let (report, count) = (self.report.clone(), self.count);
            actix::spawn(async move { report.send(count).unwrap() });
        }
    }
}

impl Handler<Cancel> for Holder {
    type Result = ();

    fn handle(&mut self, _: Cancel, _: &mut Self::Context) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let (report, count) = (self.report.clone(), self.count);
        actix::spawn(async move { report.send(count).unwrap() });
    }
}

impl Handler<Fired> for Holder {
    type Result = ();

    fn handle(&mut self, _: Fired, _: &mut Self::Context) {
        self.fired += 1;
        if self.fired == self.count {
            self.report.send(self.count).unwrap();
        }
    }
}

fn timers(b: &Bench, least_ms: u64, spread_ms: u64, is_cancel: bool) -> Outcome {
    let count = b.ops / HOLDERS;
    let all: Vec<Addr<Holder>> = (0..HOLDERS)
        .map(|i| {
            let report = b.report.clone();
            Holder::start_in_arbiter(&b.place(i as usize), move |_| Holder {
                count,
                fired: 0,
                seed: i as u32 + 1,
                tasks: Vec::with_capacity(count as usize),
                report,
            })
        })
        .collect();
    let mut began = now_ns();
    for holder in &all {
        holder.do_send(Arm(least_ms, spread_ms));
    }
    let ops = b.wait(HOLDERS);
    if is_cancel {
        began = now_ns();
        for holder in &all {
            holder.do_send(Cancel);
        }
        b.wait(HOLDERS);
    }
    Outcome { ops, ns: now_ns() - began, ..Default::default() }
}

// --- latency -----------------------------------------------------------------------------------

message!(Stamp(u64));
message!(Spin);

struct Stamped {
    samples_ns: Vec<u64>,
    cap: usize,
    result: Report<Vec<u64>>,
}

impl Actor for Stamped {
    type Context = Context<Self>;
}

impl Handler<Stamp> for Stamped {
    type Result = ();

    fn handle(&mut self, Stamp(sent_ns): Stamp, _: &mut Self::Context) {
        if self.samples_ns.len() == self.cap {
            return;
        }
        self.samples_ns.push(now_ns() - sent_ns);
        if self.samples_ns.len() == self.cap {
            self.result.send(self.samples_ns.clone()).unwrap();
        }
    }
}

struct Ticker {
    to: Addr<Stamped>,
}

impl Actor for Ticker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_millis(1), |ticker, _| {
            ticker.to.do_send(Stamp(now_ns()));
        });
    }
}

struct Busy;

impl Actor for Busy {
    type Context = Context<Self>;
}

impl Handler<Spin> for Busy {
    type Result = ();

    fn handle(&mut self, _: Spin, ctx: &mut Self::Context) {
        let end = now_ns() + BUSY_NS;
        while now_ns() < end {}
        // By way of the arbiter's queue: an actor that writes to itself is never left otherwise.
        let me = ctx.address();
        actix::spawn(async move { me.do_send(Spin) });
    }
}

fn latency(b: &Bench, busy: usize) -> Outcome {
    let (result, samples) = channel();
    let cap = b.ops as usize;
    let to = Stamped::start_in_arbiter(&b.place(1), move |_| Stamped {
        samples_ns: Vec::with_capacity(cap),
        cap,
        result,
    });
    for _ in 0..busy {
        Busy::start_in_arbiter(&b.place(1), |_| Busy).do_send(Spin);
    }
    if b.arbiters.len() > 1 {
        let to = to.clone();
        Ticker::start_in_arbiter(&b.place(0), move |_| Ticker { to });
    } else {
        for _ in 0..b.ops {
            std::thread::sleep(Duration::from_millis(1));
            to.do_send(Stamp(now_ns()));
        }
    }
    let mut ns = samples.recv().unwrap();
    ns.sort_unstable();
    let at = |per_mille: usize| ns[ns.len() * per_mille / 1000];
    let quantiles_ns = [at(500), at(990), at(999)];
    Outcome { ops: b.ops, quantiles_ns, ..Default::default() }
}

fn run(row: &str, b: &Bench) -> Outcome {
    match row {
        "count" => stream(b, 1, 1, 1024, 0),
        "fan-in" => stream(b, 8, 1, 256, 0),
        "fan-out" => stream(b, 1, 100, 64, 1),
        "fork-join" => stream(b, 1, 64, 64, 1),
        "ping-pong" => ring(b, 2, 2),
        "ring-100" => ring(b, 100, 1),
        "ring-10000" => ring(b, 10000, 1),
        "big" => big(b),
        "spawn" => children(b, false),
        "idle" => children(b, true),
        "timers-arm" => timers(b, 10000, 60000, false),
        "timers-cancel" => timers(b, 10000, 60000, true),
        "timers-fire" => timers(b, 1, 10, false),
        "latency-sleeping" => latency(b, 0),
        "latency-busy" => latency(b, BUSY_ACTORS),
        _ => {
            eprintln!("peer_actix: no {row} here");
            exit(3);
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let threads = match args.get(3).map(String::as_str) {
        Some("same") => 1,
        Some("across") => 2,
        _ => {
            eprintln!("usage: peer_actix ROW OPS same|across");
            exit(2);
        }
    };
    let _system = System::new();
    let (report, reports) = channel();
    let b = Bench {
        arbiters: (0..threads).map(|_| Arbiter::new()).collect(),
        ops: args[2].parse().expect("a number of operations"),
        report,
        reports,
    };
    let out = run(&args[1], &b);
    let text = |n: u64| if n == 0 { String::new() } else { n.to_string() };
    let rate = if out.ns > 0 {
        (out.ops as f64 * 1e9 / out.ns as f64) as u64
    } else {
        out.bytes_each
    };
    let q = out.quantiles_ns.map(text);
    println!("{}\t{},{}\t{threads}\t{}\t{}\t{}\t{}", args[1], args[3], out.ops, text(rate), q[0],
             q[1], q[2]);
    exit(0); // taking the actors down is no part of any row
}
