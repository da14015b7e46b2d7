// A reference service in Go that keeps carts in redis, through the connection pool that services are really built with:
// github.com/gomodule/redigo. Each of the pool's options that stands below is a flag, which can be given a value that breaks a
// promise.
//
//	GET /cart     reads a cart; 503 when no connection comes free in time, 502 when redis fails
//	GET /browse   does not need redis
//	GET /healthz  answers with ok
//	GET /metrics  the pool's own counts
//	/debug/pprof  profiles
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	_ "net/http/pprof"
	"strconv"
	"time"

	"github.com/gomodule/redigo/redis"
)

type options struct {
	port           int
	redis          string
	maxActive      int
	maxIdle        int
	poolWait       time.Duration
	connectTimeout time.Duration
	readTimeout    time.Duration
	giveBack       bool
}

func parseOptions() options {
	var o options
	flag.IntVar(&o.port, "port", 0, "`port` to listen on, on 127.0.0.1")
	flag.StringVar(&o.redis, "redis", "", "`HOST:PORT` of redis")
	flag.IntVar(&o.maxActive, "max-active", 8, "connections at a time; 0: no limit")
	flag.IntVar(&o.maxIdle, "max-idle", 4, "connections that are kept while nobody needs them")
	flag.DurationVar(&o.poolWait, "pool-wait", 100*time.Millisecond, "wait no longer for a connection")
	flag.DurationVar(&o.connectTimeout, "connect-timeout", 250*time.Millisecond, "wait no longer to be connected; 0: for ever")
	flag.DurationVar(&o.readTimeout, "read-timeout", 250*time.Millisecond, "wait no longer for a reply; 0: for ever")
	flag.BoolVar(&o.giveBack, "give-back", true, "give connections back to the pool that failed, too")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("%q is no flag; write --name=value", flag.Arg(0))
	}
	if o.port < 1 || o.port > 65535 {
		log.Fatalf("--port=%d: write a port from 1 to 65535", o.port)
	}
	if _, _, err := net.SplitHostPort(o.redis); err != nil {
		log.Fatalf("--redis=%s: %v; write HOST:PORT", o.redis, err)
	}
	if o.maxActive < 0 || o.maxIdle < 0 || o.poolWait < 0 || o.connectTimeout < 0 || o.readTimeout < 0 {
		log.Fatal("a flag is negative; write 0 or more")
	}
	return o
}

// carts is safe for concurrent use.
type carts struct {
	options
	pool *redis.Pool
}

func newCarts(o options) *carts {
	return &carts{options: o, pool: &redis.Pool{
		MaxActive: o.maxActive,
		MaxIdle:   o.maxIdle,
		Wait:      true,
		DialContext: func(ctx context.Context) (redis.Conn, error) {
			return redis.DialContext(ctx, "tcp", o.redis,
				redis.DialConnectTimeout(o.connectTimeout), redis.DialReadTimeout(o.readTimeout), redis.DialWriteTimeout(o.readTimeout))
		},
	}}
}

func (c *carts) cart(w http.ResponseWriter, r *http.Request) {
	waiting, cancel := context.WithTimeout(r.Context(), c.poolWait)
	conn, err := c.pool.GetContext(waiting)
	cancel()
	if waiting.Err() == context.DeadlineExceeded && err != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": "no connection to redis came free"})
		return
	}
	var items map[string]int
	if err == nil {
		items, err = redis.IntMap(conn.Do("HGETALL", "cart:7"))
		if err == nil || c.giveBack {
			_ = conn.Close()
		}
	}
	if err != nil {
		answer(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]map[string]int{"items": items})
}

func (c *carts) metrics(w http.ResponseWriter, _ *http.Request) {
	stats := c.pool.Stats()
	fmt.Fprintf(w, "# TYPE redis_pool_active gauge\nredis_pool_active %d\n", stats.ActiveCount)
	fmt.Fprintf(w, "# TYPE redis_pool_idle gauge\nredis_pool_idle %d\n", stats.IdleCount)
	fmt.Fprintf(w, "# TYPE redis_pool_waits_total counter\nredis_pool_waits_total %d\n", stats.WaitCount)
}

// answer sends JSON. A client that is gone needs none.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("cart: ")
	o := parseOptions()
	c := newCarts(o)
	http.HandleFunc("/cart", c.cart)
	http.HandleFunc("/metrics", c.metrics)
	http.HandleFunc("/browse", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string][]int{"skus": {7, 11, 13}})
	})
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	log.Fatal(http.ListenAndServe(net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port)), nil))
}
