package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	attempts = 3
	// Before the second attempt, and twice as long before the third; shorter by up to a half at random.
	firstPause = 50 * time.Millisecond
	// How long a call may wait for others to end.
	mayQueueFor = 50 * time.Millisecond
	// When the mutant retries: every so often, whoever waits.
	step = 2 * time.Second
)

var errBusy = errors.New("too many calls wait already")

// recommend asks the peer, and again when it fails, as long as the deadline and the budget allow.
func (d *depot) recommend(ctx context.Context, traceparent string) ([]byte, error) {
	d.budget.deposit()
	for attempt := 1; ; attempt++ {
		body, err := d.guardedCall(ctx, traceparent)
		if err == nil || ctx.Err() != nil || errors.Is(err, errBusy) || attempt == attempts {
			return body, err
		}
		pause := d.pauseAfter(attempt)
		if deadline, _ := ctx.Deadline(); time.Until(deadline) < pause {
			return nil, err
		}
		if !d.is("retries-without-budget") && !d.budget.withdraw() {
			return nil, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (d *depot) pauseAfter(attempt int) time.Duration {
	pause := firstPause << (attempt - 1)
	switch d.mutant {
	case "retries-without-backoff":
		return 0
	case "retries-in-step":
		now := time.Now()
		return now.Add(pause).Truncate(step).Add(step).Sub(now)
	default:
		return pause - time.Duration(rand.Int63n(int64(pause/2)))
	}
}

// guardedCall calls unless too many do already, and keeps in mind how it went.
func (d *depot) guardedCall(ctx context.Context, traceparent string) ([]byte, error) {
	leave := func() {}
	if !d.is("no-bulkhead") {
		queue, cancel := context.WithTimeout(ctx, mayQueueFor)
		defer cancel()
		if leave = d.calls.enter(queue); leave == nil {
			return nil, errBusy
		}
	}
	begun := time.Now()
	deadline, _ := ctx.Deadline()
	call := func(ctx context.Context) ([]byte, error) {
		defer leave()
		return d.call(ctx, deadline, traceparent)
	}
	var body []byte
	var err error
	if d.is("no-cancellation") {
		body, err = beside(ctx, call)
	} else {
		body, err = call(ctx)
	}
	// A customer who has left is no failure of the peer.
	if !errors.Is(ctx.Err(), context.Canceled) {
		d.peerIs.note(err, time.Since(begun))
	}
	return body, err
}

// beside calls without the deadline, and waits no longer than it.
func beside(ctx context.Context, call func(context.Context) ([]byte, error)) ([]byte, error) {
	type result struct {
		body []byte
		err  error
	}
	results := make(chan result, 1)
	go func() {
		forLong, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		body, err := call(forLong)
		results <- result{body, err}
	}()
	select {
	case got := <-results:
		return got.body, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *depot) call(ctx context.Context, deadline time.Time, traceparent string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.peer+"/recommend", nil)
	if err != nil {
		return nil, err
	}
	if traceparent != "" {
		request.Header.Set("traceparent", traceparent)
	}
	if d.is("propagates-whole-deadline") {
		deadline = time.Now().Add(d.deadline)
	}
	if !d.is("no-propagation") {
		request.Header.Set("x-deadline-ms", strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	response, err := d.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered with %s", d.peer, response.Status)
	}
	return bytes.TrimSpace(body), nil
}

// bulkhead lets a few in, and a few more wait for them to leave.
type bulkhead struct {
	places chan struct{} // inside or waiting
	inside chan struct{}
}

func newBulkhead(inside, waiting int) *bulkhead {
	return &bulkhead{make(chan struct{}, inside+waiting), make(chan struct{}, inside)}
}

// enter returns what to call when leaving; nil: there was no place, or not in time.
func (b *bulkhead) enter(ctx context.Context) (leave func()) {
	select {
	case b.places <- struct{}{}:
	default:
		return nil
	}
	select {
	case b.inside <- struct{}{}:
		return func() { <-b.inside; <-b.places }
	case <-ctx.Done():
		<-b.places
		return nil
	}
}

// retryBudget allows a share of the orders to be retried: a bucket into which each order puts a part of a retry.
type retryBudget struct {
	mutex  sync.Mutex
	tokens float64
	each   float64
}

const mostTokens = 10

func newRetryBudget(each float64) *retryBudget { return &retryBudget{each: each} }

func (b *retryBudget) deposit() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.tokens += b.each; b.tokens > mostTokens {
		b.tokens = mostTokens
	}
}

func (b *retryBudget) withdraw() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// sleep ends early, with an error, when the context does.
func sleep(ctx context.Context, length time.Duration) error {
	if length <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
