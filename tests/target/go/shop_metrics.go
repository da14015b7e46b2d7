package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

var started = time.Now()

// metrics is what Prometheus' own library tells of a Go program, as far as it is looked at here, and the shop's own.
func (s *shop) metrics(w http.ResponseWriter, _ *http.Request) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	tell := func(name, kind string, value float64) {
		fmt.Fprintf(w, "# TYPE %s %s\n%s %g\n", name, kind, name, value)
	}
	tell("go_goroutines", "gauge", float64(runtime.NumGoroutine()))
	tell("go_threads", "gauge", float64(pprof.Lookup("threadcreate").Count()))
	tell("go_memstats_heap_inuse_bytes", "gauge", float64(memory.HeapInuse))
	tell("go_memstats_heap_alloc_bytes", "gauge", float64(memory.HeapAlloc))
	tell("process_start_time_seconds", "gauge", float64(started.UnixMilli())/1e3)
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		tell("process_open_fds", "gauge", float64(len(fds)-1)) // but for the folder's own
	}
	var pages, resident int64
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if _, err := fmt.Sscan(string(statm), &pages, &resident); err == nil {
			tell("process_resident_memory_bytes", "gauge", float64(resident*int64(os.Getpagesize())))
		}
	}
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		seconds := func(t syscall.Timeval) float64 { return time.Duration(t.Nano()).Seconds() }
		tell("process_cpu_seconds_total", "counter", seconds(used.Utime)+seconds(used.Stime))
	}
	tell("shop_free_sessions", "gauge", float64(len(s.sessions)))
	tell("circuit_breaker_state", "gauge", float64(s.breaker.state()))
	fmt.Fprintln(w, "# TYPE shop_requests_total counter")
	for i, result := range []string{"ok", "fallback"} {
		fmt.Fprintf(w, "shop_requests_total{result=%q} %d\n", result, s.served[i].Load())
	}
}
