// A reference service in Go, on libraries that services are really built with: golang.org/x/time/rate and
// eapache/go-resiliency's breaker. Each promise is one flag, which can be given a value that breaks it.
//
//	GET /order    asks the dependency, through the breaker and within the deadline; answers without it when it must,
//	              with the header x-fallback: true
//	GET /search   is limited: 429 with Retry-After beyond the limit
//	GET /healthz  answers with ok
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/time/rate"
	"gopkg.in/eapache/go-resiliency.v1/breaker"
)

type options struct {
	port            int
	dependency      string
	nameserver      string
	keepAlive       bool
	deadline        time.Duration
	breakerFailures int
	breakerOpenTime time.Duration
	limit           float64
	burst           int
	work            int
}

func parseOptions() options {
	var o options
	flag.IntVar(&o.port, "port", 0, "`port` to listen on, on 127.0.0.1")
	flag.StringVar(&o.dependency, "dependency", "", "`HOST:PORT` that an order asks for /recommend")
	flag.StringVar(&o.nameserver, "nameserver", "", "`HOST:PORT` of the DNS server to ask; without it, the system's")
	flag.BoolVar(&o.keepAlive, "keep-alive", true, "keep connections to the dependency; false: a look-up for every call")
	flag.DurationVar(&o.deadline, "deadline", 300*time.Millisecond, "wait no longer for the dependency; 0: for ever")
	flag.IntVar(&o.breakerFailures, "breaker-failures", 5, "failures that open the breaker; 0: no breaker")
	flag.DurationVar(&o.breakerOpenTime, "breaker-open-time", 2*time.Second, "how long the breaker stays open")
	flag.Float64Var(&o.limit, "limit", 100, "searches a second; 0: not limited")
	flag.IntVar(&o.burst, "burst", 20, "searches at once after a quiet time")
	flag.IntVar(&o.work, "work", 0, "SHA-256 `rounds` that an order costs")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is no flag; write --name=value", flag.Arg(0))
	}
	if o.port < 1 || o.port > 65535 {
		log.Fatalf("--port=%d: write a port from 1 to 65535", o.port)
	}
	if o.nameserver != "" {
		requireHostPort("nameserver", o.nameserver)
	}
	requireHostPort("dependency", o.dependency)
	if o.deadline < 0 || o.breakerFailures < 0 || o.breakerOpenTime < 0 || o.limit < 0 || o.burst < 0 || o.work < 0 {
		log.Fatal("a flag is negative; write 0 or more")
	}
	return o
}

func requireHostPort(name, value string) {
	if _, _, err := net.SplitHostPort(value); err != nil {
		log.Fatalf("--%s=%s: %v; write HOST:PORT", name, value, err)
	}
}

// storefront is safe for concurrent use.
type storefront struct {
	options
	client  *http.Client
	guard   func(call func() error) error
	limiter *rate.Limiter
}

func newStorefront(o options) *storefront {
	s := &storefront{options: o}
	s.client = &http.Client{Transport: &http.Transport{
		DialContext:         s.dial,
		DisableKeepAlives:   !o.keepAlive,
		MaxIdleConnsPerHost: 512, // the default of 2 makes a new connection for nearly every call under load
	}}
	s.guard = func(call func() error) error { return call() }
	if o.breakerFailures > 0 {
		s.guard = breaker.New(o.breakerFailures, 1, o.breakerOpenTime).Run
	}
	s.limiter = rate.NewLimiter(rate.Limit(o.limit), o.burst)
	if o.limit == 0 {
		s.limiter.SetLimit(rate.Inf)
	}
	return s
}

// dial looks the name up with a resolver of its own. One resolver asks only once for a name that many want at the same
// time, and does not give up when the first of them does: after an outage all would wait for a question that was lost.
func (s *storefront) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	if s.nameserver != "" {
		dialer.Resolver = &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, s.nameserver)
			},
		}
	}
	return dialer.DialContext(ctx, network, address)
}

func (s *storefront) order(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if s.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.deadline)
		defer cancel()
	}
	receipt := digest(s.work)
	recommendation, err := s.recommend(ctx)
	if err != nil {
		w.Header().Set("x-fallback", "true")
	}
	answer(w, struct {
		Order          string          `json:"order"`
		Receipt        string          `json:"receipt"`
		Recommendation json.RawMessage `json:"recommendation"`
		Fallback       bool            `json:"fallback,omitempty"`
	}{"accepted", receipt, recommendation, err != nil})
}

// recommend asks through the breaker. A customer who has left is no failure of the dependency.
func (s *storefront) recommend(ctx context.Context) (recommendation json.RawMessage, err error) {
	refused := s.guard(func() error {
		recommendation, err = s.ask(ctx)
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil
		}
		return err
	})
	if refused != nil {
		return nil, refused
	}
	return recommendation, err
}

func (s *storefront) ask(ctx context.Context) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.dependency+"/recommend", nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered with %s", s.dependency, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && !json.Valid(body) {
		err = fmt.Errorf("%s answered with something other than JSON", s.dependency)
	}
	return body, err
}

func (s *storefront) search(w http.ResponseWriter, _ *http.Request) {
	if !s.limiter.Allow() {
		secondsToToken := int(math.Ceil(1 / s.limit))
		w.Header().Set("Retry-After", strconv.Itoa(secondsToToken))
		http.Error(w, "too many searches", http.StatusTooManyRequests)
		return
	}
	answer(w, map[string][]int{"skus": {7, 11, 13}})
}

// digest stands for what an order costs in processor time.
func digest(rounds int) string {
	var sum [sha256.Size]byte
	for i := 0; i < rounds; i++ {
		sum = sha256.Sum256(sum[:])
	}
	return fmt.Sprintf("%x", sum[:4])
}

// answer sends JSON. A client that is gone needs none.
func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// serve answers until SIGTERM or SIGINT, and then what has been asked.
func serve(o options, handler http.Handler) error {
	stopping, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	server := &http.Server{
		Addr:              net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)),
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-stopping.Done():
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return server.Shutdown(patience)
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("storefront: ")
	o := parseOptions()
	s := newStorefront(o)
	http.HandleFunc("/order", s.order)
	http.HandleFunc("/search", s.search)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	if err := serve(o, http.DefaultServeMux); err != nil {
		log.Fatal(err)
	}
}
