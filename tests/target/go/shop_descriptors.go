// Mistakes that hold connections and files.
package main

import (
	"context"
	"io"
	"net/http"
	"os"
)

// bodyNotClosed returns too early when the peer answers with an error. Its request has no context: one that is cancelled, as
// a handler's is when it returns, would close the connection and hide the mistake.
func (s *shop) bodyNotClosed(context.Context) ([]byte, error) {
	request, err := http.NewRequest(http.MethodGet, s.url(), nil)
	if err != nil {
		return nil, err
	}
	response, err := s.strict.Do(request)
	if err != nil {
		return nil, err
	}
	if s.fixed {
		defer discard(response.Body)
	}
	body, err := s.read(response)
	if err != nil {
		return nil, err
	}
	if !s.fixed {
		discard(response.Body)
	}
	return body, nil
}

// clientPerRequest asks once more when a call has failed, over a connection that is surely new.
func (s *shop) clientPerRequest(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	body, err := s.ask(ctx)
	if err == nil {
		return body, nil
	}
	again := s.client
	if !s.fixed {
		again = &http.Client{Transport: &http.Transport{}} // keeps its connection for ever, for nobody
	}
	return s.askBy(ctx, again)
}

const itemsOfOrder = 40

// deferInLoop draws a number for each item, and closes nothing before the peer has answered.
func (s *shop) deferInLoop(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.deadline)
	defer cancel()
	var numbers [itemsOfOrder][8]byte
	for item := range numbers {
		random, err := os.Open("/dev/urandom")
		if err != nil {
			return nil, err
		}
		if !s.fixed {
			defer random.Close()
		}
		_, err = io.ReadFull(random, numbers[item][:])
		if s.fixed {
			random.Close()
		}
		if err != nil {
			return nil, err
		}
	}
	return s.ask(ctx)
}
