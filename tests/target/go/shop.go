// A reference service in Go that makes one of the classic mistakes, chosen by --bug, or none. --fixed chooses its twin: the
// same code without the mistake. README.md tells what goes wrong, and what shows it; "shows NAME" stands at the lines that
// profiles name.
//
//	GET /work     asks the peer for /recommend; answers without it when it must, with the header x-fallback: true
//	GET /healthz  answers with ok
//	GET /metrics  for Prometheus
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"os/signal"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A lookup gets for a customer what the peer recommends. It knows its deadline itself.
type lookup func(*shop, context.Context) ([]byte, error)

var bugs = map[string]lookup{
	"none":               (*shop).plain,
	"after-hangup":       (*shop).afterHangup,
	"background-context": (*shop).backgroundContext,
	"body-not-closed":    (*shop).bodyNotClosed,
	"client-per-request": (*shop).clientPerRequest,
	"defer-in-loop":      (*shop).deferInLoop,
	"error-as-success":   (*shop).errorAsSuccess,
	"half-open-hangs":    (*shop).halfOpenHangs,
	"nested-timeouts":    (*shop).nestedTimeouts,
	"no-cancel":          (*shop).noCancel,
	"no-deadline":        (*shop).noDeadline,
	"range-never-closed": (*shop).rangeNeverClosed,
	"select-forever":     (*shop).selectForever,
	"send-no-receiver":   (*shop).sendNoReceiver,
	"swallowed-error":    (*shop).swallowedError,
	"ticker-not-stopped": (*shop).tickerNotStopped,
	"time-after":         (*shop).timeAfter,
}

type options struct {
	port      int
	pprofPort int
	peer      string
	bug       string
	fixed     bool
	deadline  time.Duration
}

func parseOptions() options {
	var o options
	flag.IntVar(&o.port, "port", 0, "`port` to listen on, on 127.0.0.1")
	flag.IntVar(&o.pprofPort, "pprof-port", 0, "`port` of /debug/pprof, on 127.0.0.1; 0: none")
	flag.StringVar(&o.peer, "peer", "", "`HOST:PORT` that is asked for /recommend")
	flag.StringVar(&o.bug, "bug", "none", "the mistake: `NAME`")
	flag.BoolVar(&o.fixed, "fixed", false, "the same without the mistake")
	flag.DurationVar(&o.deadline, "deadline", 300*time.Millisecond, "wait no longer for the peer")
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
	if bugs[o.bug] == nil {
		var names []string
		for name := range bugs {
			names = append(names, name)
		}
		sort.Strings(names)
		log.Fatalf("--bug=%s: write one of %s", o.bug, strings.Join(names, ", "))
	}
	if o.deadline <= 0 {
		log.Fatal("--deadline: write more than 0")
	}
	return o
}

// shop is safe for concurrent use.
type shop struct {
	options
	running  context.Context // until the shop is told to stop
	client   *http.Client
	strict   *http.Client // gives up when no header has come by the deadline, whatever the request says
	newest   atomic.Pointer[answer]
	sessions chan *session
	breaker  breaker
	served   [2]atomic.Int64 // with a recommendation, without
}

func newShop(running context.Context, o options) *shop {
	s := &shop{options: o, running: running, sessions: make(chan *session, sessionsInPool)}
	s.client = &http.Client{Transport: newTransport(0)}
	s.strict = &http.Client{Transport: newTransport(o.deadline)}
	for id := 0; id < sessionsInPool; id++ {
		s.sessions <- &session{id}
	}
	return s
}

func (s *shop) work(w http.ResponseWriter, r *http.Request) {
	body, err := bugs[s.bug](s, r.Context())
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		log.Printf("level=error msg=%q err=%q", "no recommendation", err)
		s.served[1].Add(1)
		w.Header().Set("x-fallback", "true")
		fmt.Fprintln(w, `{"skus":[]}`)
		return
	}
	s.served[0].Add(1)
	_, _ = w.Write(body) // a client that is gone needs none
}

// plain makes no mistake.
func (s *shop) plain(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	return s.ask(ctx)
}

// Shorter than anybody looks for leaks: connections that were needed only while the peer was slow are gone by then.
const idleFor = 3 * time.Second

func newServer(port int, handler http.Handler) *http.Server {
	return &http.Server{
		Addr:              net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       idleFor,
	}
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	return mux
}

// serve answers until SIGTERM or SIGINT, and then for a second what has been asked.
func serve(o options) error {
	running, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	s := newShop(running, o)
	mux := http.NewServeMux()
	mux.HandleFunc("/work", s.work)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/metrics", s.metrics)
	server := newServer(o.port, mux)
	failed := make(chan error, 2)
	go func() { failed <- server.ListenAndServe() }()
	if o.pprofPort != 0 {
		go func() { failed <- newServer(o.pprofPort, profiles()).ListenAndServe() }()
	}
	log.Printf("level=info msg=%q bug=%s fixed=%t port=%d peer=%s", "open", o.bug, o.fixed, o.port, o.peer)
	select {
	case err := <-failed:
		return err
	case <-running.Done():
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := server.Shutdown(patience); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	}
}

func main() {
	log.SetFlags(0)
	if err := serve(parseOptions()); err != nil {
		log.Fatalf("level=error msg=%q", err)
	}
}
