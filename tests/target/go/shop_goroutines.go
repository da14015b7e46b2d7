// Mistakes that leave goroutines behind, or hold them for too long.
package main

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// noDeadline waits for as long as the customer does.
func (s *shop) noDeadline(ctx context.Context) ([]byte, error) {
	if s.fixed {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.deadline)
		defer cancel()
	}
	return s.ask(ctx) // shows no-deadline
}

// backgroundContext answers in time, and leaves behind a call that nobody waits for.
func (s *shop) backgroundContext(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	return askBeside(ctx, s.prices)
}

// prices is deep below the handler: by then, whoever wrote it had no context at hand.
func (s *shop) prices(ctx context.Context) ([]byte, error) {
	if !s.fixed {
		ctx = context.Background()
	}
	return s.ask(ctx) // shows background-context
}

// nestedTimeouts answers in time, too.
func (s *shop) nestedTimeouts(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	return askBeside(ctx, s.stock)
}

// stock has a deadline of its own, for callers that have none. It must not outlive the caller's.
func (s *shop) stock(ctx context.Context) ([]byte, error) {
	parent := context.Background()
	if s.fixed {
		parent = ctx
	}
	ctx, cancel := context.WithTimeout(parent, 5*time.Second)
	defer cancel()
	return s.ask(ctx) // shows nested-timeouts
}

const pages = 10

// afterHangup turns page after page. Each call has its deadline, and nobody looks whether the customer is still there.
func (s *shop) afterHangup(ctx context.Context) ([]byte, error) {
	client := &http.Client{Transport: s.client.Transport, Timeout: time.Second}
	var all []byte
	for page := 0; page < pages; page++ {
		request, err := http.NewRequest(http.MethodGet, s.url(), nil)
		if err != nil {
			return nil, err
		}
		if s.fixed {
			request = request.WithContext(ctx)
		}
		response, err := client.Do(request) // shows after-hangup
		if err != nil {
			return nil, err
		}
		all, err = s.read(response)
		discard(response.Body)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// selectForever leaves a goroutine that waits for `gone`.
func (s *shop) selectForever(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	answers, gone := make(chan answer), make(chan struct{})
	if s.fixed {
		defer close(gone)
	}
	go func() {
		body, err := s.askPatiently()
		select { // shows select-forever
		case answers <- answer{body: body, err: err}:
		case <-gone:
		}
	}()
	select {
	case got := <-answers:
		return got.body, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sendNoReceiver leaves a goroutine that wants to hand over what came too late.
func (s *shop) sendNoReceiver(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	room := 0
	if s.fixed {
		room = 1
	}
	answers := make(chan answer, room)
	go func() {
		body, err := s.askPatiently()
		answers <- answer{body: body, err: err} // shows send-no-receiver
	}()
	select {
	case got := <-answers:
		return got.body, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// rangeNeverClosed leaves a goroutine that waits for the next part, once a part could not be had.
func (s *shop) rangeNeverClosed(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	parts, packed := make(chan []byte), make(chan []byte, 1)
	go func() {
		var all bytes.Buffer
		for part := range parts { // shows range-never-closed
			all.Write(part)
		}
		packed <- all.Bytes()
	}()
	for i := 0; i < 2; i++ {
		part, err := s.ask(ctx)
		if err != nil {
			if s.fixed {
				close(parts)
			}
			return nil, err
		}
		parts <- part
	}
	close(parts)
	return <-packed, nil
}
