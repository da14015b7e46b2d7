// Mistakes that leave no goroutine, but memory.
package main

import (
	"bytes"
	"context"
	"errors"
	"time"
)

var errNoNews = errors.New("no news for a minute")

// timeAfter takes the answer of whoever gets one first, and makes a timer of a minute each time that it looks.
func (s *shop) timeAfter(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	begun := time.Now()
	answers := make(chan answer, 1)
	go func() {
		body, err := s.askForAll(ctx)
		answers <- answer{body: body, err: err}
	}()
	look := time.NewTicker(500 * time.Microsecond)
	defer look.Stop()
	minute := time.NewTimer(time.Minute)
	defer minute.Stop()
	for {
		noNews := minute.C
		if !s.fixed {
			noNews = time.After(time.Minute) // shows time-after
		}
		select {
		case got := <-answers:
			return got.body, got.err
		case <-look.C:
			if newest := s.newest.Load(); newest != nil && newest.at.After(begun) {
				return newest.body, nil
			}
		case <-noNews:
			return nil, errNoNews
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

const linesOfBasket = 400

// tickerNotStopped holds the goods of a basket as long as the customer waits: each line is renewed now and then.
func (s *shop) tickerNotStopped(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	holds := make([]*time.Ticker, linesOfBasket)
	for line := range holds {
		holds[line] = time.NewTicker(30 * time.Second) // shows ticker-not-stopped
	}
	body, err := s.ask(ctx)
	if err != nil && !s.fixed {
		return nil, err
	}
	for _, hold := range holds {
		hold.Stop()
	}
	return body, err
}

// An order is finished though its customer leaves: its context comes from the shop's, not from the request's.
type order struct {
	ctx    context.Context
	cancel context.CancelFunc
}

type draftKey struct{}

func (s *shop) newOrder() *order {
	draft := bytes.Repeat([]byte{' '}, 128<<10)
	ctx := context.WithValue(s.running, draftKey{}, draft)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	return &order{ctx, cancel}
}

// noCancel leaves the order's context, and what that holds, to its timeout.
func (s *shop) noCancel(context.Context) ([]byte, error) {
	order := s.newOrder() // shows no-cancel
	ctx, cancel := context.WithTimeout(order.ctx, s.deadline)
	defer cancel()
	body, err := s.ask(ctx)
	if err != nil && !s.fixed {
		return nil, err
	}
	order.cancel()
	return body, err
}
