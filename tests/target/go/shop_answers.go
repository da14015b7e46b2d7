// Mistakes that leave no goroutine, memory or descriptor behind: the answers are wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"sync"
	"time"
)

// Without one of these nobody may ask the peer.
type session struct{ id int }

const sessionsInPool = 64

var nothingInParticular = []byte(`{"skus":[1,2,3]}`)

// swallowedError makes up an answer when there is none, and forgets the session. Nobody hears of it until there is none left.
func (s *shop) swallowedError(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	var with *session
	select {
	case with = <-s.sessions:
	case <-ctx.Done():
		return nil, fmt.Errorf("no session is free: %w", ctx.Err())
	}
	body, err := s.ask(ctx)
	if err != nil && !s.fixed {
		return nothingInParticular, nil
	}
	s.sessions <- with
	return body, err
}

// errorAsSuccess sells what the peer did not recommend.
func (s *shop) errorAsSuccess(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	body, err := s.ask(ctx)
	if err != nil {
		if s.fixed {
			return nil, err
		}
		body = nothingInParticular
	}
	log.Printf("level=info msg=%q result=success bytes=%d err=%q", "recommended", len(body), fmt.Sprint(err))
	return body, nil
}

const (
	failuresToOpen = 5
	openFor        = 2 * time.Second
)

// A circuit breaker by hand: opens after failures in a row, then lets one probe through at a time. Safe for concurrent use.
type breaker struct {
	mu        sync.Mutex
	failures  int
	openUntil time.Time
	probing   bool
}

func (b *breaker) admit() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < failuresToOpen {
		return true
	}
	if b.probing || time.Now().Before(b.openUntil) {
		return false
	}
	b.probing = true
	return true
}

func (b *breaker) report(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if !failed {
		b.failures = 0
		return
	}
	b.failures++
	b.openUntil = time.Now().Add(openFor)
}

// state is 0 when closed, 1 when open, 2 while a probe is under way.
func (b *breaker) state() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < failuresToOpen {
		return 0
	}
	if b.probing {
		return 2
	}
	return 1
}

var errOpen = errors.New("the breaker is open")

// halfOpenHangs takes a call that was too slow for no failure, and so reports nothing. A probe that hangs is then never over,
// and nobody else is let through.
func (s *shop) halfOpenHangs(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	if !s.breaker.admit() {
		return nil, errOpen
	}
	body, err := s.ask(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !s.fixed {
		return nil, err
	}
	s.breaker.report(err != nil)
	return body, err
}
