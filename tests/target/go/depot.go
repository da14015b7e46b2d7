// A reference service in Go that keeps the promises which squall judges, or breaks just one of them, chosen by --mutant.
//
//	GET /order    asks the peer for /recommend: in time, not too often and not too many at once; answers without it when it
//	              must, with the header x-fallback: true
//	GET /quote    needs no peer
//	GET /work     takes --work-time, --concurrency of them at a time; what is too much is turned away with 503
//	GET /healthz  tells whether it is ready, and which dependency failed
//	GET /metrics  for Prometheus
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// What each mutant does instead of what it should.
var mutants = map[string]string{
	"none":                      "keeps every promise",
	"retries-without-budget":    "retries whatever failed",
	"retries-without-backoff":   "retries at once",
	"retries-in-step":           "retries every two seconds, all at once",
	"no-bulkhead":               "lets orders and quotes share one pool",
	"queues-without-limit":      "turns no work away",
	"sheds-slowly":              "turns work away after a while",
	"empty-fallback":            "answers 200 with nothing in it when the peer fails",
	"no-fallback":               "answers 500 when the peer fails",
	"drops-in-flight":           "exits at once on SIGTERM",
	"ignores-sigterm":           "runs on after SIGTERM",
	"goroutine-per-timeout":     "leaves a goroutine behind for every call that timed out",
	"thread-per-timeout":        "leaves a thread behind for every call that timed out, up to eight",
	"fd-per-timeout":            "leaves a file open for every call that timed out",
	"heap-per-timeout":          "keeps memory for every call that timed out",
	"no-propagation":            "does not tell the peer how long it will wait",
	"propagates-whole-deadline": "tells the peer its whole deadline, not what is left of it",
	"no-cancellation":           "lets calls go on after the deadline",
	"healthz-lies":              "is always ready",
	"healthz-panics-early":      "is not ready when the peer is merely slow",
	"silent":                    "does not log that the peer failed",
	"logs-success":              "logs calls that failed as if they had not",
	"metric-lies":               "depot_dependency_up stays 1",
	"metastable":                "queues much, and undoes work whose customer has left: more than it can do",
	"damaged":                   "does no work any more once it had too much of it",
	"gray":                      "answers 500 when the peer fails, and is ready all the same",
}

type options struct {
	port        int
	pprofPort   int
	peer        string
	deadline    time.Duration
	ownWork     time.Duration
	calls       int
	retryBudget float64
	workTime    time.Duration
	concurrency int
	drain       time.Duration
	mutant      string
}

func parseOptions() options {
	var o options
	flag.IntVar(&o.port, "port", 0, "`port` to listen on, on 127.0.0.1")
	flag.IntVar(&o.pprofPort, "pprof-port", 0, "`port` of /debug/pprof, on 127.0.0.1; 0: none")
	flag.StringVar(&o.peer, "peer", "", "`HOST:PORT` that an order asks for /recommend")
	flag.DurationVar(&o.deadline, "deadline", 300*time.Millisecond, "answer an order within this time")
	flag.DurationVar(&o.ownWork, "own-work", 0, "what an order takes before it asks the peer")
	flag.IntVar(&o.calls, "calls", 8, "calls that may wait for the peer at the same time")
	flag.Float64Var(&o.retryBudget, "retry-budget", 10, "retries for each hundred orders, in `percent`")
	flag.DurationVar(&o.workTime, "work-time", 50*time.Millisecond, "what /work takes")
	flag.IntVar(&o.concurrency, "concurrency", 5, "how many /work at a time")
	flag.DurationVar(&o.drain, "drain", 0, "after SIGTERM, how long to go on listening while not ready")
	flag.StringVar(&o.mutant, "mutant", "none", "the promise to break: `NAME`")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is no flag; write --name=value", flag.Arg(0))
	}
	if o.port < 1 || o.port > 65535 || o.pprofPort < 0 || o.pprofPort > 65535 {
		log.Fatalf("--port=%d, --pprof-port=%d: write ports from 1 to 65535", o.port, o.pprofPort)
	}
	if _, _, err := net.SplitHostPort(o.peer); err != nil {
		log.Fatalf("--peer=%s: %v; write HOST:PORT", o.peer, err)
	}
	if o.deadline <= 0 || o.workTime <= 0 || o.calls < 1 || o.concurrency < 1 {
		log.Fatal("--deadline, --work-time, --calls, --concurrency: write more than 0")
	}
	if o.ownWork < 0 || o.drain < 0 || !(o.retryBudget >= 0) {
		log.Fatal("--own-work, --drain, --retry-budget: write 0 or more")
	}
	if mutants[o.mutant] == "" {
		var names []string
		for name := range mutants {
			names = append(names, name)
		}
		sort.Strings(names)
		log.Fatalf("--mutant=%s: write one of %s", o.mutant, strings.Join(names, ", "))
	}
	return o
}

// depot is safe for concurrent use.
type depot struct {
	options
	stopping atomic.Bool
	client   *http.Client
	calls    *bulkhead
	shared   *bulkhead // of the mutant without one
	budget   *retryBudget
	peerIs   *dependency
	works    *worker
	leaks    leaks
	served   [outcomes]atomic.Int64
}

func newDepot(o options) *depot {
	d := &depot{options: o, peerIs: newDependency("recommend")}
	d.leaks.never = make(chan struct{})
	d.client = &http.Client{Transport: &http.Transport{
		MaxIdleConnsPerHost: 256, // the default of 2 makes a new connection for nearly every call under load
		IdleConnTimeout:     idleFor,
	}}
	d.calls = newBulkhead(o.calls, o.calls/2)
	d.shared = newBulkhead(2*o.calls, 1<<20)
	d.budget = newRetryBudget(o.retryBudget / 100)
	d.works = newWorker(o)
	return d
}

func (d *depot) is(mutant string) bool { return d.mutant == mutant }

// Sooner than anybody looks for leaks: connections that were needed only while the peer was slow are gone by then.
const idleFor = 2 * time.Second

func newServer(port int, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleFor,
	}
}

func (d *depot) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/order", d.order)
	mux.HandleFunc("/quote", d.quote)
	mux.HandleFunc("/work", d.work)
	mux.HandleFunc("/healthz", d.healthz)
	mux.HandleFunc("/metrics", d.metrics)
	return mux
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}

// serve answers until SIGTERM or SIGINT, then stops being ready, takes no more, and finishes what it has begun.
func serve(o options) error {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	stop, release := signal.NotifyContext(context.Background(), signals...)
	defer release()
	if o.mutant == "ignores-sigterm" {
		signal.Ignore(signals...)
	}
	d := newDepot(o)
	go d.watchDependency(stop)
	server := newServer(o.port, d.handler())
	failed := make(chan error, 2)
	go func() { failed <- server.ListenAndServe() }()
	if o.pprofPort != 0 {
		go func() { failed <- newServer(o.pprofPort, profiles()).ListenAndServe() }()
	}
	log.Printf("open on port %d, peer %s: %s", o.port, o.peer, mutants[o.mutant])
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
	}
	if o.mutant == "drops-in-flight" {
		os.Exit(0)
	}
	d.stopping.Store(true)
	time.Sleep(o.drain)
	patience, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(patience); err != nil {
		return fmt.Errorf("not everything was finished in time: %w", err)
	}
	log.Print("closed")
	return nil
}

func main() {
	log.SetFlags(0)
	if err := serve(parseOptions()); err != nil {
		log.Fatal(err)
	}
}
