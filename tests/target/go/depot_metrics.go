package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

var started = time.Now()

// metrics is what Prometheus' own library tells of a Go program, as far as it is looked at here, and the depot's own.
func (d *depot) metrics(w http.ResponseWriter, _ *http.Request) {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	tell := func(name string, value float64) { fmt.Fprintf(w, "# TYPE %s gauge\n%s %g\n", name, name, value) }
	tell("go_goroutines", float64(runtime.NumGoroutine()))
	tell("go_threads", float64(pprof.Lookup("threadcreate").Count()))
	tell("go_memstats_heap_inuse_bytes", float64(memory.HeapInuse))
	tell("go_memstats_heap_alloc_bytes", float64(memory.HeapAlloc))
	tell("process_start_time_seconds", float64(started.UnixMilli())/1e3)
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		tell("process_open_fds", float64(len(fds)-1)) // but for the folder's own
	}
	var pages, resident int64
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if _, err := fmt.Sscan(string(statm), &pages, &resident); err == nil {
			tell("process_resident_memory_bytes", float64(resident*int64(os.Getpagesize())))
		}
	}
	up, replicas := 1.0, 1.0
	if d.peerIs.isDown() {
		replicas = 2 // a stand-by, which serves fallbacks
		if !d.is("metric-lies") {
			up = 0
		}
	}
	tell("depot_dependency_up", up)
	tell("depot_replicas", replicas)
	fmt.Fprintln(w, "# TYPE depot_requests_total counter")
	for i, name := range outcomeNames {
		fmt.Fprintf(w, "depot_requests_total{outcome=%q} %d\n", name, d.served[i].Load())
	}
}
