// SPDX-License-Identifier: Apache-2.0

// The Go side of `erlking bench --vs go`: a co-process that reads one command a
// line on stdin, runs that workload once and answers one line on stdout. The
// protocol is in perf/peers/README.md.
//
// Written as an ordinary user would write it: goroutines, channels, the standard
// library. Only the "-apart" workloads and latency lock goroutines to threads.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	producers  = 4
	bound      = 1024
	spawnBatch = 1000
	callLimit  = 5 * time.Second
	lead       = 2 * time.Millisecond // latency: from set-up to the first message
)

var epoch = time.Now()

// now is the monotonic clock in ns (time.Since takes the short path: no wall clock).
func now() int64 { return int64(time.Since(epoch)) }

type problem string

func (p problem) Error() string { return string(p) }

type options map[string]string

// A workload runs n operations and returns "metric=value ..." for the result line.
type workload func(n int, o options) (string, error)

var workloads = map[string]workload{
	"pingpong":       func(n int, _ options) (string, error) { return pingpong(n, false), nil },
	"pingpong-apart": func(n int, _ options) (string, error) { return apart(func() string { return pingpong(n, true) }) },
	"fanin":          func(n int, _ options) (string, error) { return fanin(n), nil },
	"fanin-apart":    faninApart,
	"spawn":          func(n int, _ options) (string, error) { return spawn(n), nil },
	"call":           func(n int, _ options) (string, error) { return call(n, false), nil },
	"call-apart":     func(n int, _ options) (string, error) { return apart(func() string { return call(n, true) }) },
	"latency":        latency,
}

func main() {
	procs := flag.Int("procs", 0, "GOMAXPROCS; 0 leaves what the environment says")
	flag.Parse()
	if *procs > 0 {
		runtime.GOMAXPROCS(*procs)
	}
	fmt.Printf("ready go %s jit=no schedulers=%d\n", runtime.Version(), runtime.GOMAXPROCS(0))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "quit" {
			return
		}
		fmt.Println(answer(words)) // os.Stdout is not buffered
	}
}

// answer runs one command and returns the line that answers it.
func answer(words []string) string {
	name := words[0]
	run, known := workloads[name]
	if !known {
		return "error unknown workload " + name
	}
	if len(words) < 2 {
		return "error " + name + " no count given"
	}
	n, err := strconv.Atoi(words[1])
	if err != nil || n < 1 {
		return "error " + name + " unusable count " + words[1]
	}
	o := options{}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		o[key] = value
	}
	text, err := run(n, o)
	if err != nil {
		return "error " + name + " " + err.Error()
	}
	return "result " + name + " " + text
}

// apart refuses what needs two threads where there is one.
func apart(f func() string) (string, error) {
	if runtime.GOMAXPROCS(0) < 2 {
		return "", problem("unsupported with one scheduler")
	}
	return f(), nil
}

func where(locked bool) string {
	if locked {
		return "apart"
	}
	return "natural"
}

// lock binds the goroutine to a thread of its own; the thread ends with it, or is
// released by the function returned.
func lock(locked bool) func() {
	if !locked {
		return func() {}
	}
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// pingpong: n round trips between two goroutines over unbuffered channels; a hop is
// one message one way.
func pingpong(n int, locked bool) string {
	type message struct{ from, k int64 }
	there, back := make(chan message), make(chan message)
	go func() {
		defer lock(locked)()
		for m := range there {
			back <- message{2, m.k}
		}
	}()
	done := make(chan int64)
	go func() {
		defer lock(locked)()
		t0 := now()
		for k := 0; k < n; k++ {
			there <- message{1, int64(k)}
			<-back
		}
		done <- now() - t0
	}()
	ns := <-done
	close(there)
	return fmt.Sprintf("ns_per_hop=%.1f where=%s", float64(ns)/float64(2*n), where(locked))
}

// fanin: 4 producers to 1 consumer through one channel of capacity 1,024.
func fanin(n int) string {
	type message struct{ from, k int64 }
	c := make(chan message, bound)
	done := make(chan int64)
	go func() {
		t0 := now()
		for p := 0; p < producers; p++ {
			share := n / producers
			if p < n%producers {
				share++
			}
			go func(p, share int) {
				for k := 0; k < share; k++ {
					c <- message{int64(p), int64(k)}
				}
			}(p, share)
		}
		for k := 0; k < n; k++ {
			<-c
		}
		done <- now() - t0
	}()
	return fmt.Sprintf("ns_per_message=%.1f where=natural", float64(<-done)/float64(n))
}

// faninApart: Go binds a goroutine to a thread of its own, never several goroutines
// to one; "all producers there, the consumer here" cannot be said.
func faninApart(int, options) (string, error) {
	return "", problem("unsupported")
}

// spawn: n goroutines that end at once, in batches of 1,000, awaited by a WaitGroup.
func spawn(n int) string {
	t0 := now()
	var ran sync.WaitGroup
	for left := n; left > 0; {
		batch := spawnBatch
		if batch > left {
			batch = left
		}
		ran.Add(batch)
		for k := 0; k < batch; k++ {
			go func() { ran.Done() }()
		}
		ran.Wait()
		left -= batch
	}
	return fmt.Sprintf("ns_per_spawn=%.1f", float64(now()-t0)/float64(n))
}

// call: request and reply over channels with a limit of 5 s. The reply channel is
// made anew for each call and has room for one, as it must be where calls can time
// out: a late reply may neither block the server nor answer the next call.
func call(n int, locked bool) string {
	type request struct {
		k     int64
		reply chan int64
	}
	requests := make(chan request)
	go func() {
		defer lock(locked)()
		for r := range requests {
			r.reply <- r.k
		}
	}()
	once := func(k int64) bool {
		reply := make(chan int64, 1)
		limit := time.NewTimer(callLimit)
		answered := false
		select {
		case requests <- request{k, reply}:
			select {
			case got := <-reply:
				answered = got == k
			case <-limit.C:
			}
		case <-limit.C:
		}
		limit.Stop()
		return answered
	}
	done := make(chan int64)
	go func() {
		defer lock(locked)()
		t0 := now()
		for k := 0; k < n; k++ {
			if !once(int64(k)) {
				panic("a call failed")
			}
		}
		done <- now() - t0
	}()
	ns := <-done
	close(requests)
	return fmt.Sprintf("ns_per_call=%.1f where=%s", float64(ns)/float64(n), where(locked))
}

// latency: open loop. Message k is sent at t0 + k/rate and carries that intended
// time, so that a late sender or a backlog shows in the figures. With two schedulers
// or more both goroutines are locked to threads; with one, whoever waits yields.
func latency(n int, o options) (string, error) {
	rate := int64(100000)
	if text, given := o["rate"]; given {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 1 {
			return "", problem("unusable rate")
		}
		rate = value
	}
	busy := false
	switch o["mode"] {
	case "", "parked":
	case "busy":
		busy = true
	default:
		return "", problem("unusable mode: parked or busy")
	}
	locked := runtime.GOMAXPROCS(0) > 1
	wait := func() {
		if !locked {
			runtime.Gosched()
		}
	}

	times := make([]int64, n)
	for i := range times {
		times[i] = -1 // touch the pages now
	}
	c := make(chan int64, bound)
	done := make(chan struct{})
	go func() {
		defer lock(locked)()
		for i := range times {
			var due int64
			if busy {
				for got := false; !got; {
					select {
					case due = <-c:
						got = true
					default:
						wait()
					}
				}
			} else {
				due = <-c
			}
			times[i] = now() - due
		}
		close(done)
	}()
	go func() {
		defer lock(locked)()
		t0 := now() + int64(lead)
		for k := int64(0); k < int64(n); k++ {
			due := t0 + k*1000000000/rate
			for now() < due {
				wait()
			}
			c <- due
		}
	}()
	<-done
	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	at := func(perMille int) int64 {
		i := (n*perMille+999)/1000 - 1
		if i < 0 {
			i = 0
		}
		return times[i]
	}
	curve := fmt.Sprint(times[0])
	for beyond := n / 2; ; beyond /= 2 {
		curve += fmt.Sprintf(",%d", times[n-beyond-1])
		if beyond == 0 {
			break
		}
	}
	return fmt.Sprintf("p50=%d p99=%d p999=%d max=%d curve=%s",
		at(500), at(990), at(999), times[n-1], curve), nil
}
