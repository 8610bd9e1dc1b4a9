// SPDX-License-Identifier: MIT

// The rows of bench_runtime (its head says what they are) with goroutines and channels.
//
//	peer_go ROW OPS same|across
//
// same: GOMAXPROCS 1; across: 2, and Go places its goroutines itself.  An actor is a goroutine with
// one channel for its mailbox.  Streams need no credits: a channel is bounded and blocks, here at
// the window that the actors' credits keep.
//
// Prints the TSV row of bench_runtime.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	bigActors  = 120
	atOnce     = 1000
	warmUp     = 2000
	holders    = 1000
	busyActors = 16
	busyTime   = time.Microsecond
)

type outcome struct {
	ops       int
	took      time.Duration
	bytesEach uint64
	quantiles [3]time.Duration
}

func lehmer(seed uint32) uint32 {
	return uint32(uint64(seed) * 16807 % 2147483647)
}

func must(isRight bool, what string) {
	if !isRight {
		fmt.Fprintln(os.Stderr, "peer_go:", what)
		os.Exit(1)
	}
}

func waitReports(reports <-chan uint64, count int) uint64 {
	var sum uint64
	for i := 0; i < count; i++ {
		sum += <-reports
	}
	return sum
}

func rssBytes() uint64 {
	text, err := os.ReadFile("/proc/self/statm")
	must(err == nil, "/proc/self/statm")
	pages, err := strconv.ParseUint(string(bytes.Fields(text)[1]), 10, 64)
	must(err == nil, "/proc/self/statm")
	return pages * uint64(os.Getpagesize())
}

// --- streams ---------------------------------------------------------------------------------

func receiver(inbox <-chan uint64, messages int, reports chan<- uint64) {
	var sum uint64
	for i := 0; i < messages; i++ {
		sum += <-inbox
	}
	reports <- sum
}

func sender(to []chan uint64, rounds int, begin <-chan struct{}) {
	<-begin
	for round := 1; round <= rounds; round++ {
		for _, inbox := range to {
			inbox <- uint64(round)
		}
	}
}

func stream(senders, receivers, window int) func(int) outcome {
	return func(ops int) outcome {
		rounds := ops / senders / receivers
		reports := make(chan uint64, receivers)
		begin := make(chan struct{})
		to := make([]chan uint64, receivers)
		for i := range to {
			to[i] = make(chan uint64, window*senders)
			go receiver(to[i], rounds*senders, reports)
		}
		for i := 0; i < senders; i++ {
			go sender(to, rounds, begin)
		}
		began := time.Now()
		close(begin)
		sum := waitReports(reports, receivers)
		took := time.Since(began)
		flows := senders * receivers
		must(sum == uint64(flows)*uint64(rounds)*uint64(rounds+1)/2, "messages were lost")
		return outcome{ops: rounds * flows, took: took}
	}
}

// --- ring ------------------------------------------------------------------------------------

func node(inbox <-chan uint64, next chan<- uint64, reports chan<- uint64) {
	for left := range inbox {
		if left == 0 {
			reports <- 0
		} else {
			next <- left - 1
		}
	}
}

func ring(nodes, hopsAnOp int) func(int) outcome {
	return func(ops int) outcome {
		reports := make(chan uint64, 1)
		first := make(chan uint64, 1)
		inbox := first
		for i := 1; i < nodes; i++ {
			next := make(chan uint64, 1)
			go node(inbox, next, reports)
			inbox = next
		}
		go node(inbox, first, reports)
		first <- uint64(nodes)
		<-reports
		began := time.Now()
		first <- uint64(ops * hopsAnOp)
		<-reports
		return outcome{ops: ops, took: time.Since(began)}
	}
}

// --- many to many ----------------------------------------------------------------------------

type letter struct {
	isPong bool
	from   uint32
	value  uint64
}

func bigActor(all []chan letter, self uint32, pings uint64, reports chan<- uint64) {
	seed, left := self+1, pings
	ping := func() {
		seed = lehmer(seed)
		other := seed % (bigActors - 1)
		if other >= self {
			other++
		}
		all[other] <- letter{from: self, value: left}
	}
	begin := <-all[self]
	_ = begin
	ping()
	for m := range all[self] {
		switch {
		case !m.isPong:
			all[m.from] <- letter{isPong: true, from: self, value: m.value}
		case left == 1:
			left = 0
			reports <- pings
		default:
			left--
			ping()
		}
	}
}

func big(ops int) outcome {
	reports := make(chan uint64, bigActors)
	all := make([]chan letter, bigActors)
	for i := range all {
		all[i] = make(chan letter, 2*bigActors)
	}
	for i := range all {
		all[i] <- letter{}
	}
	began := time.Now()
	for i := range all {
		go bigActor(all, uint32(i), uint64(ops/bigActors), reports)
	}
	sum := waitReports(reports, bigActors)
	return outcome{ops: int(sum), took: time.Since(began)}
}

// --- children --------------------------------------------------------------------------------

func endingChild(inbox <-chan uint64, parent chan<- uint64) {
	parent <- <-inbox
}

func stayingChild(inbox <-chan uint64, parent chan<- uint64) {
	var value uint64
	for value = range inbox {
		parent <- value
	}
}

type childFunc func(inbox <-chan uint64, parent chan<- uint64)

func parent(count int, child childFunc, keep *[]chan uint64, reports chan<- uint64) {
	inbox := make(chan uint64, atOnce)
	var sum uint64
	for left := count; left > 0; {
		now := min(left, atOnce)
		for i := 0; i < now; i++ {
			c := make(chan uint64, 1)
			go child(c, inbox)
			c <- 1
			if keep != nil {
				*keep = append(*keep, c)
			}
		}
		sum += waitReports(inbox, now)
		left -= now
	}
	reports <- sum
}

func spawn(ops int) outcome {
	reports := make(chan uint64)
	go parent(warmUp, endingChild, nil, reports)
	<-reports
	began := time.Now()
	go parent(ops, endingChild, nil, reports)
	must(<-reports == uint64(ops), "children were lost")
	return outcome{ops: ops, took: time.Since(began)}
}

func idle(ops int) outcome {
	reports := make(chan uint64)
	kept := make([]chan uint64, 0, ops+warmUp)
	go parent(warmUp, stayingChild, &kept, reports)
	<-reports
	before := rssBytes()
	go parent(ops, stayingChild, &kept, reports)
	<-reports
	each := (rssBytes()-before)/uint64(ops) - 8 - 8 // its number, and its place in the list
	runtime.KeepAlive(kept)
	return outcome{ops: ops, bytesEach: each}
}

// --- timers ----------------------------------------------------------------------------------

type holder struct {
	timers []*time.Timer
	inbox  chan struct{}
}

func (h *holder) arm(seed uint32, least, spread int) {
	for i := range h.timers {
		seed = lehmer(seed)
		after := time.Duration(least+int(seed)%spread) * time.Millisecond
		h.timers[i] = time.AfterFunc(after, func() { h.inbox <- struct{}{} })
	}
}

func (h *holder) cancel() {
	for _, t := range h.timers {
		t.Stop()
	}
}

// each runs do for every holder in a goroutine of its own, and waits for all.
func each(all []*holder, do func(h *holder, seed uint32)) time.Duration {
	reports := make(chan uint64, len(all))
	began := time.Now()
	for i, h := range all {
		go func() {
			do(h, uint32(i+1))
			reports <- 1
		}()
	}
	waitReports(reports, len(all))
	return time.Since(began)
}

func makeHolders(ops int) []*holder {
	all := make([]*holder, holders)
	for i := range all {
		all[i] = &holder{make([]*time.Timer, ops/holders), make(chan struct{}, ops/holders)}
	}
	return all
}

func timersArm(ops int) outcome {
	all := makeHolders(ops)
	took := each(all, func(h *holder, seed uint32) { h.arm(seed, 10000, 60000) })
	return outcome{ops: ops / holders * holders, took: took}
}

func timersCancel(ops int) outcome {
	all := makeHolders(ops)
	each(all, func(h *holder, seed uint32) { h.arm(seed, 10000, 60000) })
	took := each(all, func(h *holder, _ uint32) { h.cancel() })
	return outcome{ops: ops / holders * holders, took: took}
}

func timersFire(ops int) outcome {
	all := makeHolders(ops)
	var fired atomic.Int64
	took := each(all, func(h *holder, seed uint32) {
		h.arm(seed, 1, 10)
		for range h.timers {
			<-h.inbox
		}
		fired.Add(int64(len(h.timers)))
	})
	return outcome{ops: int(fired.Load()), took: took}
}

// --- latency ---------------------------------------------------------------------------------

func spin(stop *atomic.Bool) {
	inbox := make(chan struct{}, 1)
	inbox <- struct{}{}
	for range inbox {
		for end := time.Now().Add(busyTime); time.Now().Before(end); {
		}
		if stop.Load() {
			return
		}
		inbox <- struct{}{}
		runtime.Gosched() // else it goes on for 10 ms
	}
}

func latency(busy int) func(int) outcome {
	return func(ops int) outcome {
		var stop atomic.Bool
		inbox := make(chan time.Time, 1024)
		samples := make([]time.Duration, 0, ops)
		for i := 0; i < busy; i++ {
			go spin(&stop)
		}
		done := make(chan struct{})
		go func() {
			for len(samples) < ops {
				sent := <-inbox
				samples = append(samples, time.Since(sent))
			}
			close(done)
		}()
		for i := 0; i < ops; i++ {
			time.Sleep(time.Millisecond)
			inbox <- time.Now()
		}
		<-done
		stop.Store(true)
		sort.Slice(samples, func(a, b int) bool { return samples[a] < samples[b] })
		at := func(perMille int) time.Duration { return samples[ops*perMille/1000] }
		return outcome{ops: ops, quantiles: [3]time.Duration{at(500), at(990), at(999)}}
	}
}

var rows = map[string]func(int) outcome{
	"count":            stream(1, 1, 1024),
	"fan-in":           stream(8, 1, 256),
	"fan-out":          stream(1, 100, 64),
	"fork-join":        stream(1, 64, 64),
	"ping-pong":        ring(2, 2),
	"ring-100":         ring(100, 1),
	"ring-10000":       ring(10000, 1),
	"big":              big,
	"spawn":            spawn,
	"idle":             idle,
	"timers-arm":       timersArm,
	"timers-cancel":    timersCancel,
	"timers-fire":      timersFire,
	"latency-sleeping": latency(0),
	"latency-busy":     latency(busyActors),
}

func main() {
	if len(os.Args) != 4 || (os.Args[3] != "same" && os.Args[3] != "across") {
		fmt.Fprintln(os.Stderr, "usage: peer_go ROW OPS same|across")
		os.Exit(2)
	}
	row, ok := rows[os.Args[1]]
	if !ok {
		fmt.Fprintf(os.Stderr, "peer_go: no %s here\n", os.Args[1])
		os.Exit(3)
	}
	ops, err := strconv.Atoi(os.Args[2])
	must(err == nil && ops > 0, "not a number of operations")
	threads := 1
	if os.Args[3] == "across" {
		threads = 2
	}
	runtime.GOMAXPROCS(threads)
	out := row(ops)
	rate := ""
	if out.took > 0 {
		rate = fmt.Sprintf("%.0f", float64(out.ops)/out.took.Seconds())
	} else if out.bytesEach > 0 {
		rate = fmt.Sprint(out.bytesEach)
	}
	fmt.Printf("%s\t%s,%d\t%d\t%s", os.Args[1], os.Args[3], out.ops, threads, rate)
	for _, q := range out.quantiles {
		if q > 0 {
			fmt.Printf("\t%d", q.Nanoseconds())
		} else {
			fmt.Printf("\t")
		}
	}
	fmt.Println()
}
