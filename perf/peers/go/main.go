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
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	producers  = 4
	bound      = 1024
	spawnBatch = 1000
	callLimit  = 5 * time.Second
	lead       = 2 * time.Millisecond // latency: from set-up to the first message

	ringNodes   = 1000
	bigOnes     = 120
	pairs       = 50
	workers     = 16 // compute: and requests each of them has at most
	queued      = 8
	timerLength = 10 * time.Millisecond
	sleepers    = 100
	readLimit   = time.Hour // of an echo server
)

var epoch = time.Now()

// now is the monotonic clock in ns (time.Since takes the short path: no wall clock).
func now() int64 { return int64(time.Since(epoch)) }

// echo is the server that runs, if any.
var echo net.Listener

// serveEcho starts a server that sends back what it reads: a goroutine for each connection.
func serveEcho(_ int, o options) (string, error) {
	if o["kind"] != "blocking" {
		return "", problem("unsupported kind")
	}
	if echo != nil {
		return "", problem("failed: it serves already")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", problem("failed: " + err.Error())
	}
	echo = listener
	go func() {
		for {
			peer, err := listener.Accept()
			if err != nil {
				return
			}
			go echoAll(peer)
		}
	}()
	return fmt.Sprintf("port=%d", listener.Addr().(*net.TCPAddr).Port), nil
}

// echoAll sends back what it reads, with the limits ours has.
func echoAll(peer net.Conn) {
	defer peer.Close()
	buffer := make([]byte, 1024)
	for {
		peer.SetReadDeadline(time.Now().Add(readLimit))
		n, err := peer.Read(buffer)
		if err != nil {
			return
		}
		peer.SetWriteDeadline(time.Now().Add(callLimit))
		if _, err = peer.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func stopEcho(int, options) (string, error) {
	if echo == nil {
		return "", problem("failed: it does not serve")
	}
	echo.Close()
	echo = nil
	return "stopped=1", nil
}

type problem string

func (p problem) Error() string { return string(p) }

type options map[string]string

// A workload runs n operations and returns "metric=value ..." for the result line.
type workload func(n int, o options) (string, error)

var workloads = map[string]workload{
	"pingpong":              func(n int, _ options) (string, error) { return pingpong(n, false), nil },
	"pingpong-apart":        func(n int, _ options) (string, error) { return apart(func() string { return pingpong(n, true) }) },
	"fanin":                 func(n int, _ options) (string, error) { return fanin(n), nil },
	"fanin-apart":           faninApart,
	"spawn":                 func(n int, _ options) (string, error) { return spawn(n), nil },
	"call":                  func(n int, _ options) (string, error) { return call(n, false), nil },
	"call-apart":            func(n int, _ options) (string, error) { return apart(func() string { return call(n, true) }) },
	"latency":               latency,
	"ring-1":                func(n int, _ options) (string, error) { return ring(n, 1), nil },
	"ring-100":              func(n int, _ options) (string, error) { return ring(n, 100), nil },
	"big":                   func(n int, _ options) (string, error) { return big(n), nil },
	"spawn-monitor":         func(n int, _ options) (string, error) { return spawnMonitor(n), nil },
	"fork-join-1k":          func(n int, _ options) (string, error) { return forkJoin(n, 10), nil },
	"fork-join-64k":         func(n int, _ options) (string, error) { return forkJoin(n, 16), nil },
	"monitors":              unsupported, // no goroutine can be watched
	"call-50":               func(n int, _ options) (string, error) { return callPairs(n), nil },
	"server-call":           func(n int, _ options) (string, error) { return call(n, false), nil },
	"restart":               unsupported, // nor can one be killed
	"sup-start":             unsupported,
	"sup-simple-100k":       unsupported,
	"pg-join":               unsupported, // nor are there groups of them
	"idle-servers":          unsupported, // the start of a goroutine is not waited for
	"selective":             unsupported, // a channel is taken from in order
	"compute-1us":           func(n int, _ options) (string, error) { return compute(n, time.Microsecond), nil },
	"compute-5us":           func(n int, _ options) (string, error) { return compute(n, 5*time.Microsecond), nil },
	"compute-100us":         func(n int, _ options) (string, error) { return compute(n, 100*time.Microsecond), nil },
	"behind":                func(n int, _ options) (string, error) { return apart(func() string { return behind(n) }) },
	"sleepers":              func(n int, _ options) (string, error) { return apart(func() string { return sleeping(n, 0) }) },
	"hogs":                  func(n int, _ options) (string, error) { return apart(func() string { return sleeping(n, 2) }) },
	"timers":                func(n int, _ options) (string, error) { return timers(n), nil },
	"timer-accuracy":        func(n int, _ options) (string, error) { return timerAccuracy(n, 0), nil },
	"timer-accuracy-spread": func(n int, _ options) (string, error) { return timerAccuracy(n, timerLength), nil },
	"idle":                  idle,
	"serve":                 serveEcho,
	"stop":                  stopEcho,
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

func unsupported(int, options) (string, error) {
	return "", problem("unsupported")
}

// faninApart: Go binds a goroutine to a thread of its own, never several goroutines
// to one; "all producers there, the consumer here" cannot be said.
func faninApart(n int, o options) (string, error) { return unsupported(n, o) }

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

type request struct {
	k     int64
	reply chan int64
}

// serve echoes until the requests end.
func serve(requests <-chan request) {
	for r := range requests {
		r.reply <- r.k
	}
}

// callOnce asks once, with a limit of 5 s. The reply channel is made anew for each
// call and has room for one, as it must be where calls can time out: a late reply may
// neither block the server nor answer the next call.
func callOnce(requests chan<- request, k int64) {
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
	if !answered {
		panic("a call failed")
	}
}

// call: request and reply over channels.
func call(n int, locked bool) string {
	requests := make(chan request)
	go func() {
		defer lock(locked)()
		serve(requests)
	}()
	done := make(chan int64)
	go func() {
		defer lock(locked)()
		t0 := now()
		for k := 0; k < n; k++ {
			callOnce(requests, int64(k))
		}
		done <- now() - t0
	}()
	ns := <-done
	close(requests)
	return fmt.Sprintf("ns_per_call=%.1f where=%s", float64(ns)/float64(n), where(locked))
}

// callPairs: 50 callers with a server each, all at once.
func callPairs(n int) string {
	share := max(1, n/pairs)
	begin := make(chan struct{})
	var ran sync.WaitGroup
	for p := 0; p < pairs; p++ {
		requests := make(chan request)
		go serve(requests)
		ran.Add(1)
		go func() {
			defer ran.Done()
			defer close(requests)
			<-begin
			for k := 0; k < share; k++ {
				callOnce(requests, int64(k))
			}
		}()
	}
	t0 := now()
	close(begin)
	ran.Wait()
	return fmt.Sprintf("ns_per_call=%.1f where=natural", float64(now()-t0)/float64(share*pairs))
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
	return percentiles(times), nil
}

func percentiles(times []int64) string {
	n := len(times)
	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	at := func(perMille int) int64 { return times[max(0, (n*perMille+999)/1000-1)] }
	curve := fmt.Sprint(times[0])
	for beyond := n / 2; ; beyond /= 2 {
		curve += fmt.Sprintf(",%d", times[n-beyond-1])
		if beyond == 0 {
			break
		}
	}
	return fmt.Sprintf("p50=%d p99=%d p999=%d max=%d curve=%s", at(500), at(990), at(999), times[n-1], curve)
}

func max(a, b int) int {
	if a > b {
		return a
	}
	return b
}

// ring: 1,000 goroutines pass tokens on; n hops in all, shared by the tokens, which
// start evenly spread. A channel has room for every token, so no ring fills up.
func ring(n, tokens int) string {
	hops := max(1, n/tokens)
	nodes := make([]chan int, ringNodes)
	for i := range nodes {
		nodes[i] = make(chan int, tokens)
	}
	home := make(chan struct{}, tokens)
	for i := range nodes {
		go func(mine <-chan int, next chan<- int) {
			for left := range mine {
				if left == 0 {
					home <- struct{}{}
				} else {
					next <- left - 1
				}
			}
		}(nodes[i], nodes[(i+1)%ringNodes])
	}
	t0 := now()
	for i := 0; i < tokens; i++ {
		nodes[i*(ringNodes/tokens)] <- hops
	}
	for i := 0; i < tokens; i++ {
		<-home
	}
	ns := now() - t0
	for _, node := range nodes {
		close(node)
	}
	return fmt.Sprintf("ns_per_hop=%.1f where=natural", float64(ns)/float64(hops*tokens))
}

// big: 120 goroutines each ping others at random, one ping at a time, and answer the
// pings of the others meanwhile and until all are done; n counts pings and pongs.
// Pings and pongs share a goroutine's one channel, which has room for all that can be
// on their way to it.
func big(n int) string {
	type message struct {
		from int // whose ping it is; -1: a pong
	}
	pings := max(1, n/(2*bigOnes))
	ones := make([]chan message, bigOnes)
	for i := range ones {
		ones[i] = make(chan message, bigOnes)
	}
	begin := make(chan struct{})
	finished := make(chan struct{}, bigOnes)
	for i := range ones {
		go func(me int, mine <-chan message) {
			<-begin
			random := uint32(me + 1)
			for k := 0; k < pings; k++ {
				random = (random*69069 + 1) & 0x7fffffff
				other := int((random >> 8) % (bigOnes - 1))
				if other >= me {
					other++
				}
				ones[other] <- message{me}
				for m := range mine {
					if m.from < 0 {
						break
					}
					ones[m.from] <- message{-1}
				}
			}
			finished <- struct{}{}
			for m := range mine {
				ones[m.from] <- message{-1}
			}
		}(i, ones[i])
	}
	t0 := now()
	close(begin)
	for range ones {
		<-finished
	}
	ns := now() - t0
	for _, one := range ones {
		close(one)
	}
	return fmt.Sprintf("ns_per_message=%.1f where=natural", float64(ns)/float64(2*bigOnes*pings))
}

// spawnMonitor: n goroutines that end at once; the end of each is told on a channel,
// with the reason, which is as near as Go comes to a monitor. Batches of 1,000.
func spawnMonitor(n int) string {
	type down struct {
		which  int
		reason error
	}
	downs := make(chan down, spawnBatch)
	t0 := now()
	for left := n; left > 0; {
		batch := spawnBatch
		if batch > left {
			batch = left
		}
		for k := 0; k < batch; k++ {
			go func(which int) {
				defer func() { downs <- down{which, nil} }()
			}(k)
		}
		for k := 0; k < batch; k++ {
			<-downs
		}
		left -= batch
	}
	return fmt.Sprintf("ns_per_spawn=%.1f", float64(now()-t0)/float64(n))
}

// forkJoin: a tree of goroutines: each starts two, awaits what both counted and
// reports to its parent. As many trees, one after the other, as n goroutines make.
func forkJoin(n, depth int) string {
	nodes := 1<<depth - 1
	trees := max(1, n/nodes)
	t0 := now()
	for k := 0; k < trees; k++ {
		counted := make(chan int, 1)
		go treeNode(depth, counted)
		if <-counted != nodes {
			panic("a tree lost nodes")
		}
	}
	return fmt.Sprintf("ns_per_process=%.1f", float64(now()-t0)/float64(trees*nodes))
}

func treeNode(depth int, parent chan<- int) {
	if depth == 1 {
		parent <- 1
		return
	}
	counted := make(chan int, 2)
	go treeNode(depth-1, counted)
	go treeNode(depth-1, counted)
	parent <- <-counted + <-counted + 1
}

// spin is the unit of computation all systems share: FNV-1 of the low bytes of a
// counter, kept to 31 bits.
func spin(hash uint32, iterations int) uint32 {
	for k := iterations; k > 0; k-- {
		hash = ((hash ^ uint32(k&255)) * 16777619) & 0x7fffffff
	}
	return hash
}

var spun uint32 // what calibration computed: it may not be left out

// iterations says how many iterations of it take that long: by the quickest of some
// trials.
func iterations(long time.Duration) int {
	const trial = 20000
	best := int64(1 << 62)
	for k := uint32(0); k < 40; k++ {
		t0 := now()
		spun = spin(k, trial)
		if spent := now() - t0; spent < best {
			best = spent
		}
	}
	return max(1, int(int64(long)*trial/best))
}

// compute: 16 goroutines, each with up to 8 requests in its channel; whoever answers
// gets the next. n requests, each of which costs that long.
func compute(n int, long time.Duration) string {
	type answer struct {
		by   int
		hash uint32
	}
	count := iterations(long)
	requests := make([]chan uint32, workers)
	answers := make(chan answer, workers*queued)
	for w := range requests {
		requests[w] = make(chan uint32, queued)
		go func(w int) {
			for seed := range requests[w] {
				answers <- answer{w, spin(seed, count)}
			}
		}(w)
	}
	t0 := now()
	sent := 0
	for ; sent < n && sent < workers*queued; sent++ {
		requests[sent%workers] <- uint32(sent)
	}
	for k := 0; k < n; k++ {
		a := <-answers
		if sent < n {
			requests[a.by] <- a.hash
			sent++
		}
	}
	ns := now() - t0
	for _, c := range requests {
		close(c)
	}
	return fmt.Sprintf("ns_per_message=%.1f where=natural", float64(ns)/float64(n))
}

// behind: the hog handles one message of 100 us after the other; each time, just
// before it computes, it sends to the prober, who notes how late that message comes.
func behind(n int) string {
	count := iterations(100 * time.Microsecond)
	times := make([]int64, n)
	for i := range times {
		times[i] = -1
	}
	ticks := make(chan int64, bound)
	done := make(chan struct{})
	go func() {
		for i := range times {
			sent := <-ticks
			times[i] = now() - sent
		}
		close(done)
	}()
	work := make(chan uint32, 1)
	work <- 1
	go func() {
		for k := 0; k < n; k++ {
			seed := <-work
			ticks <- now()
			work <- spin(seed, count)
		}
	}()
	<-done
	return percentiles(times)
}

// sleepers, hogs: 100 goroutines sleep 10 ms, n / 100 times each, beside as many hogs,
// which compute on for a second each time: how much more than 10 ms after it lay down
// each wakes.
func sleeping(n, hogs int) string {
	rounds := max(1, n/sleepers)
	count := iterations(100 * time.Microsecond)
	times := make([]int64, rounds*sleepers)
	var over atomic.Bool
	var computing, asleep sync.WaitGroup
	computing.Add(hogs)
	for k := 0; k < hogs; k++ {
		go func() {
			defer computing.Done()
			hash := uint32(1)
			for !over.Load() {
				for until := now() + int64(time.Second); !over.Load() && now() < until; {
					hash = spin(hash, count)
				}
				runtime.Gosched()
			}
			atomic.StoreUint32(&spun, hash)
		}()
	}
	asleep.Add(sleepers)
	for k := 0; k < sleepers; k++ {
		go func(mine []int64) {
			defer asleep.Done()
			for i := range mine {
				due := now() + int64(timerLength)
				time.Sleep(timerLength)
				mine[i] = now() - due
			}
		}(times[k*rounds : (k+1)*rounds])
	}
	asleep.Wait()
	over.Store(true)
	computing.Wait()
	return percentiles(times)
}

// timers: n timers of 5 s, each stopped at once.
func timers(n int) string {
	t0 := now()
	for k := 0; k < n; k++ {
		time.NewTimer(callLimit).Stop()
	}
	return fmt.Sprintf("ns_per_timer=%.1f", float64(now()-t0)/float64(n))
}

// timerAccuracy: n timers of 10 ms, armed at once or spread evenly; how much later
// than 10 ms after it was armed each one's message is received.
func timerAccuracy(n int, spread time.Duration) string {
	times := make([]int64, 0, n)
	fired := make(chan int64, n)
	note := func(due int64) { times = append(times, now()-due) }
	done := make(chan struct{})
	go func() {
		t0 := now()
		for k := 0; k < n; k++ {
			for now()-t0 < int64(k)*int64(spread)/int64(n) {
				select {
				case due := <-fired:
					note(due)
				default:
					runtime.Gosched()
				}
			}
			due := now() + int64(timerLength)
			time.AfterFunc(timerLength, func() { fired <- due })
		}
		for len(times) < n {
			note(<-fired)
		}
		close(done)
	}()
	<-done
	return percentiles(times)
}

// idle: n goroutines that wait for ever, each on a channel of its own: memory and time
// each took, and the share of a CPU used while they wait ("rest" ms). They stay until
// the program ends.
func idle(n int, o options) (string, error) {
	rest := int64(5000)
	if text, given := o["rest"]; given {
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 1 {
			return "", problem("unusable rest")
		}
		rest = value
	}
	var waiting sync.WaitGroup
	waiting.Add(n)
	before := residentBytes()
	t0 := now()
	for k := 0; k < n; k++ {
		go func() {
			mine := make(chan int64, 1)
			waiting.Done()
			<-mine
		}()
	}
	waiting.Wait()
	ns := now() - t0
	bytes := residentBytes() - before
	cpu := cpuTime()
	time.Sleep(time.Duration(rest) * time.Millisecond)
	used := cpuTime() - cpu
	return fmt.Sprintf("bytes_each=%.1f ns_per_spawn=%.1f percent_cpu=%.3f", float64(bytes)/float64(n),
		float64(ns)/float64(n), 100*float64(used)/float64(rest*1000000)), nil
}

// residentBytes is this process's memory, its page tables included.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	sum := int64(0)
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) >= 2 && (words[0] == "VmRSS:" || words[0] == "VmPTE:") {
			kb, _ := strconv.ParseInt(words[1], 10, 64)
			sum += kb * 1024
		}
	}
	return sum
}

// cpuTime is the CPU time of this process in ns.
func cpuTime() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}
