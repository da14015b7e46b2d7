package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// An answer of the peer, or why there is none.
type answer struct {
	body []byte
	err  error
	at   time.Time
}

func newTransport(headerWithin time.Duration) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost:   100, // the default of 2 makes a new connection for nearly every call under load
		IdleConnTimeout:       idleFor,
		ResponseHeaderTimeout: headerWithin,
	}
}

func (s *shop) url() string { return "http://" + s.peer + "/recommend" }

// ask calls the peer as it should be done.
func (s *shop) ask(ctx context.Context) ([]byte, error) { return s.askBy(ctx, s.client) }

func (s *shop) askBy(ctx context.Context, client *http.Client) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(), nil)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		request.Header.Set("x-deadline-ms", strconv.FormatInt(time.Until(deadline).Milliseconds(), 10))
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer discard(response.Body)
	return s.read(response)
}

func (s *shop) read(response *http.Response) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered with %s", s.peer, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<20))
}

// discard reads what is left, without which the connection cannot be used again, and closes.
func discard(body io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	_ = body.Close()
}

// askBeside asks in a goroutine of its own, so that the deadline holds whatever `call` does.
func askBeside(ctx context.Context, call func(context.Context) ([]byte, error)) ([]byte, error) {
	answers := make(chan answer, 1)
	go func() {
		body, err := call(ctx)
		answers <- answer{body: body, err: err}
	}()
	select {
	case got := <-answers:
		return got.body, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askForAll leaves its answer to others who wait for one.
func (s *shop) askForAll(ctx context.Context) ([]byte, error) {
	body, err := s.ask(ctx)
	if err == nil {
		s.newest.Store(&answer{body: body, at: time.Now()})
	}
	return body, err
}

// askPatiently is for answers that are worth having though they come too late for whoever asked.
func (s *shop) askPatiently() ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.running, 2*time.Second)
	defer cancel()
	return s.askForAll(ctx)
}
