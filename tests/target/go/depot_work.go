package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// How long the mutant lets wait whom it turns away.
	slowly = 300 * time.Millisecond
	// What the mutant queues: more than it can do in six seconds.
	longQueue = 300
	// After so many that were turned away the mutant is damaged.
	tooMany = 50
)

// worker does a few works at a time, and lets as many wait: none waits for longer than one work takes.
type worker struct {
	time   time.Duration
	inside *bulkhead
	shed   atomic.Int64
}

func newWorker(o options) *worker {
	waiting := o.concurrency
	switch o.mutant {
	case "queues-without-limit":
		waiting = 1 << 20
	case "metastable":
		waiting = longQueue
	}
	return &worker{time: o.workTime, inside: newBulkhead(o.concurrency, waiting)}
}

func (d *depot) work(w http.ResponseWriter, r *http.Request) {
	if d.is("damaged") && d.works.shed.Load() >= tooMany {
		d.served[failed].Add(1)
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	if d.is("metastable") {
		d.workForEverybody(w, r)
		return
	}
	leave := d.works.inside.enter(r.Context())
	if leave == nil {
		d.turnAway(w, r)
		return
	}
	defer leave()
	if sleep(r.Context(), d.works.time) == nil {
		d.served[served].Add(1)
		answer(w, `{"work":"done"}`)
	}
}

func (d *depot) turnAway(w http.ResponseWriter, r *http.Request) {
	d.works.shed.Add(1)
	d.served[shed].Add(1)
	if d.is("sheds-slowly") {
		_ = sleep(r.Context(), slowly)
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "too much work", http.StatusServiceUnavailable)
}

// workForEverybody works for customers who have left, too, and then as long again to undo it.
func (d *depot) workForEverybody(w http.ResponseWriter, r *http.Request) {
	leave := d.works.inside.enter(context.Background())
	if leave == nil {
		d.turnAway(w, r)
		return
	}
	defer leave()
	time.Sleep(d.works.time)
	if r.Context().Err() != nil {
		time.Sleep(d.works.time)
		return
	}
	d.served[served].Add(1)
	answer(w, `{"work":"done"}`)
}
