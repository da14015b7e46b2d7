package main

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
)

// How requests ended.
const (
	served = iota
	fallback
	failed
	shed
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "fallback", "error", "shed"}

func (d *depot) order(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), d.deadline)
	defer cancel()
	if d.is("no-bulkhead") {
		if leave := d.shared.enter(ctx); leave != nil {
			defer leave()
		}
	}
	err := sleep(ctx, d.ownWork)
	var recommendation []byte
	if err == nil {
		recommendation, err = d.recommend(ctx, r.Header.Get("traceparent"))
	}
	if err == nil {
		d.served[served].Add(1)
		answer(w, `{"order":"accepted","recommendation":`+string(recommendation)+"}")
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		d.leaks.add(d.mutant)
	}
	if d.is("logs-success") {
		log.Print("order accepted by recommend")
	}
	d.withoutRecommendation(w)
}

func (d *depot) withoutRecommendation(w http.ResponseWriter) {
	switch d.mutant {
	case "no-fallback", "gray":
		d.served[failed].Add(1)
		http.Error(w, "no recommendation", http.StatusInternalServerError)
	case "empty-fallback":
		d.served[fallback].Add(1)
		w.Header().Set("x-fallback", "true")
	default:
		d.served[fallback].Add(1)
		w.Header().Set("x-fallback", "true")
		answer(w, `{"order":"accepted","fallback":true}`)
	}
}

func (d *depot) quote(w http.ResponseWriter, r *http.Request) {
	if d.is("no-bulkhead") {
		leave := d.shared.enter(r.Context())
		if leave == nil {
			return
		}
		defer leave()
	}
	d.served[served].Add(1)
	answer(w, `{"quote":42}`)
}

// answer sends JSON. A client that is gone needs none.
func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, body+"\n")
}
